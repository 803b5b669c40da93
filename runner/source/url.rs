//! Reads a URL as users write it and refuses at load what could never be probed, or would do something
//! else than it says: the `url` crate drops line ends, takes backslashes for slashes, keeps passwords
//! and port 0, and reads `http:///x` as host `x`.

use std::borrow::Cow;

use ::url::{Host, ParseError, Url};

/// The longest URL in bytes. Servers have to take 8,000 (RFC 9110 section 4.1); beyond that few do.
const MAX_URL_BYTES: usize = 8_192;

/// The longest URL that a message shows, in characters.
const MAX_SHOWN_CHARS: usize = 120;

/// A label of a host name holds at most this many octets (RFC 1035 section 2.3.4).
const MAX_LABEL_OCTETS: usize = 63;

/// A host name holds at most this many octets without its final dot: 255 on the wire.
const MAX_HOST_OCTETS: usize = 253;

/// Why a text is not taken, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong with it.
    pub(super) what: String,
    /// What to do about it.
    pub(super) hint: Option<&'static str>,
}

fn refuse<T>(what: impl Into<String>, hint: impl Into<Option<&'static str>>) -> Result<T, Refusal> {
    Err(Refusal { what: what.into(), hint: hint.into() })
}

/// The URL to probe: `http` or `https`, without user information and fragment, as the `url` crate
/// serialises it. `http://` is added where there is no scheme.
pub(super) fn read_url(text: &str) -> Result<String, Refusal> {
    let text = text.trim_matches(' ');
    check_characters(text)?;
    let whole = with_scheme(text)?;
    let mut url = match Url::parse(&whole) {
        Ok(url) => url,
        Err(ParseError::EmptyHost) => return no_host(text),
        Err(error) => return refuse(format!("{} is not a URL: {error}", quoted(text)), None),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return user_information(text);
    }
    if url.port() == Some(0) {
        return refuse(
            format!("{} has port 0", quoted(text)),
            "nothing can listen there; leave the port out or name another",
        );
    }
    check_host(&url, text)?;
    url.set_fragment(None);
    // What the HTTP client will be given: better refused here than at every probe.
    if let Err(error) = http::Uri::try_from(url.as_str()) {
        return refuse(format!("{} can not be requested: {error}", quoted(text)), None);
    }
    Ok(url.into())
}

/// The URL of a document with targets, checked as those of targets are. The error says what is wrong, and what to do.
pub fn document_url(text: &str) -> Result<Url, (String, Option<&'static str>)> {
    let url = read_url(text).map_err(|refusal| (refusal.what, refusal.hint))?;
    Url::parse(&url).map_err(|_| ("this is not a URL".to_owned(), None))
}

fn check_characters(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return refuse("the URL is empty", None);
    }
    if text.len() > MAX_URL_BYTES {
        return refuse(format!("the URL is longer than {MAX_URL_BYTES} bytes"), None);
    }
    if text.chars().any(char::is_control) {
        return refuse(
            format!("the URL {} holds a control character, such as a line end", quoted(text)),
            "remove it",
        );
    }
    if text.chars().any(char::is_whitespace) {
        return refuse(format!("the URL {} holds a space", quoted(text)), "write it as %20, or remove it");
    }
    let before_query = text.split(['?', '#']).next().unwrap_or(text);
    if before_query.contains('\\') {
        return refuse(format!("the URL {} holds a backslash", quoted(text)), "write / or %5C");
    }
    Ok(())
}

/// The text with `http://` in front where it names no scheme. `localhost:8080` names none.
fn with_scheme(text: &str) -> Result<Cow<'_, str>, Refusal> {
    if text.starts_with('/') {
        return no_host(text);
    }
    let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return Ok(Cow::Owned(format!("http://{text}")));
    };
    if is_http(scheme) {
        return match rest.strip_prefix("//") {
            Some(rest) if !rest.is_empty() && !rest.starts_with(['/', '?', '#']) => Ok(Cow::Borrowed(text)),
            _ => no_host(text),
        };
    }
    if rest.starts_with("//") {
        return refuse(format!("scheme \"{scheme}\" is not supported"), "write http:// or https://");
    }
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        return Ok(Cow::Owned(format!("http://{text}")));
    }
    if rest.contains('@') {
        return user_information(text);
    }
    refuse(format!("{} is not an http or https URL", quoted(text)), "write http:// or https://")
}

/// RFC 3986 section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

fn check_host(url: &Url, text: &str) -> Result<(), Refusal> {
    let Some(Host::Domain(host)) = url.host() else {
        return Ok(());
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > MAX_HOST_OCTETS {
        return refuse(
            format!(
                "the host of {} has {} octets, more than the {MAX_HOST_OCTETS} of DNS",
                quoted(text),
                host.len()
            ),
            None,
        );
    }
    for label in host.split('.') {
        if label.is_empty() {
            return refuse(format!("the host of {} has an empty label", quoted(text)), "remove a dot");
        }
        if label.len() > MAX_LABEL_OCTETS {
            let octets = label.len();
            return refuse(
                format!(
                    "the host of {} has a label of {octets} octets, more than the {MAX_LABEL_OCTETS} of DNS",
                    quoted(text)
                ),
                None,
            );
        }
    }
    Ok(())
}

fn no_host<T>(text: &str) -> Result<T, Refusal> {
    refuse(format!("{} names no host", quoted(text)), "a URL is http://host/path or https://host/path")
}

fn user_information<T>(text: &str) -> Result<T, Refusal> {
    refuse(
        format!("{} holds a user name or a password", quoted(text)),
        "it would be written to every result; use headers in [request]",
    )
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", printable_url(text))
}

/// A URL as messages may show it: without user information, query and fragment, control characters
/// replaced, cut where it is long. The text may be anything, also what is not a URL.
pub fn printable_url(text: &str) -> String {
    let bare = text.split(['?', '#']).next().unwrap_or(text);
    let (scheme, rest) = bare.find("://").map_or(("", bare), |at| bare.split_at(at + 3));
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // A password may hold what ends an authority: "user:pa/ss@host", "user:p?ss@host". What stands
    // where a port should and is none may be the begin of one.
    let shown = match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{scheme}{name}:...")
        }
        _ => format!("{scheme}{host}{path}"),
    };
    let mut cut: String = shown
        .chars()
        .take(MAX_SHOWN_CHARS)
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if shown.chars().nth(MAX_SHOWN_CHARS).is_some() {
        cut.push_str("...");
    }
    cut
}
