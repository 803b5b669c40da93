//! Who asks: where the token of a pipeline's requests comes from.

use url::{Host, Url};

use crate::config::{Code, Diagnostic, Diagnostics};
use crate::fetch::{OAuthSpec, OAuthStyleText, OAuthText, RequestText};
use crate::pipeline::build::Site;

/// Parameters that have keys of their own.
const OWN_KEYS: [&str; 5] = ["grant_type", "client_id", "client_secret", "scope", "audience"];

/// Where the table says that tokens come from. None where it does not; what is wrong is told.
pub(super) fn oauth(text: &RequestText, site: Site<'_>, diagnostics: &mut Diagnostics) -> Option<OAuthSpec> {
    let auth = text.auth.as_ref()?;
    let OAuthText { token_url, client_id, client_secret, scopes, audience, params, auth_style } =
        auth.value.oauth2.as_ref()?;
    let hidden = |span| site.document.hidden_place_or_file(span);
    if client_id.expose().is_empty() {
        let message = "the client has no name: \"client_id\" is empty";
        diagnostics.add(Diagnostic::error(Code::BadValue, hidden(auth.span.as_ref()), message));
    }
    for scope in scopes.iter().filter(|scope| !is_scope(&scope.value)) {
        let message = "a scope has neither spaces nor quotes nor backslashes in it";
        let problem = Diagnostic::error(Code::BadValue, scope.place(site.document), message);
        diagnostics.add(problem.hint("give several scopes as a list: [\"read\", \"write\"]"));
    }
    for (name, value) in params.iter().filter(|(name, _)| OWN_KEYS.contains(&name.as_str())) {
        let message = format!("\"{name}\" is not given among the \"params\"");
        let hint = match name.as_str() {
            "grant_type" => "it is always client_credentials".to_owned(),
            "scope" => "give it as \"scopes\" of oauth2".to_owned(),
            name => format!("give it as \"{name}\" of oauth2"),
        };
        let problem = Diagnostic::error(Code::Conflict, hidden(value.span.as_ref()), message);
        diagnostics.add(problem.hint(hint));
    }
    if goes_in_plain_text(&token_url.value) {
        let message = "the client's secret and the token go over the network in plain text";
        let problem = Diagnostic::warning(Code::Suspicious, hidden(token_url.span.as_ref()), message);
        diagnostics.add(problem.hint("use https in token_url"));
    }
    let audience = audience.iter().map(|audience| ("audience".to_owned(), audience.expose().to_owned()));
    let params = params.iter().map(|(name, value)| (name.clone(), value.value.expose().to_owned()));
    Some(OAuthSpec {
        token_url: token_url.value.clone(),
        client_id: client_id.expose().to_owned(),
        client_secret: client_secret.expose().to_owned(),
        scopes: scopes.iter().map(|scope| scope.value.clone()).collect(),
        params: audience.chain(params).collect(),
        credentials_in_body: *auth_style == OAuthStyleText::Body,
    })
}

/// Whether a text is a scope (RFC 6749 section 3.3).
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
}

/// Whether a URL is http, and not on this machine.
fn goes_in_plain_text(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| {
        let is_here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => true,
        };
        url.scheme() == "http" && !is_here
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_words() {
        for scope in ["read", "https://api.example/.default", "a:b"] {
            assert!(is_scope(scope), "{scope}");
        }
        for text in ["", "a b", "a\"b", "a\\b", "a\nb", "é"] {
            assert!(!is_scope(text), "{text}");
        }
    }

    #[test]
    fn plain_text_is_for_this_machine() {
        for url in ["http://sso.example/token", "http://10.0.0.1/", "http://[fd00::1]/"] {
            assert!(goes_in_plain_text(url), "{url}");
        }
        for url in
            ["https://sso.example/token", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost/", "x"]
        {
            assert!(!goes_in_plain_text(url), "{url}");
        }
    }
}
