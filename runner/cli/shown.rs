//! Addresses and names as commands may show them: a secret in a query is told by the name of its parameter, as one
//! in a header is.

use crate::check::is_secret;
use crate::config::{SECRET_MARK, SecretTexts};
use crate::model::harmless;

/// Parameters that hold secrets, besides those that [`is_secret`] tells.
const PARAMETERS: [&str; 9] = ["access", "auth", "code", "hmac", "key", "pass", "pwd", "sig", "signature"];

/// A URL without user information, and with a mark in the place of what may be a secret.
pub(super) fn shown_url(url: &str, secrets: &SecretTexts) -> String {
    let masked = secrets.mask(url);
    let (place, query) =
        masked.split_once('?').map_or((&*masked, None), |(place, query)| (place, Some(query)));
    let place = match place.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.find('/').unwrap_or(rest.len());
            let host = rest[..authority].rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[host..])
        }
        None => place.to_owned(),
    };
    let Some(query) = query else { return harmless(&place) };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match secret_in(pair) {
            Some((name, _)) => format!("{name}={SECRET_MARK}"),
            None => pair.to_owned(),
        })
        .collect();
    harmless(&format!("{place}?{}", pairs.join("&")))
}

/// A name that a URL may stand for.
pub(super) fn shown_name(name: &str, secrets: &SecretTexts) -> String {
    if name.contains("://") { shown_url(name, secrets) } else { harmless(&secrets.mask(name)) }
}

/// The values of a URL's query that may be secrets.
pub(super) fn secrets_of_url(url: &str) -> impl Iterator<Item = &str> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|pair| secret_in(pair).map(|(_, value)| value))
}

/// A parameter and its value, where that may be a secret.
fn secret_in(pair: &str) -> Option<(&str, &str)> {
    let (name, value) = pair.split_once('=')?;
    let plain = name.to_ascii_lowercase().replace('_', "-");
    let is_one = is_secret(&plain)
        || PARAMETERS.contains(&plain.as_str())
        || PARAMETERS.iter().any(|word| plain.rsplit('-').next() == Some(word));
    (is_one && !value.is_empty()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let cases = [
            ("https://a.example/x", "https://a.example/x"),
            ("https://me:pw@a.example/x?page=2", "https://a.example/x?page=2"),
            ("https://a.example/?page=2&api_key=abc&x", "https://a.example/?page=2&api_key=<secret>&x"),
            (
                "https://a.example/?X-Amz-Signature=abc&sort=key",
                "https://a.example/?X-Amz-Signature=<secret>&sort=key",
            ),
            ("https://a.example/?monkey=1&token=", "https://a.example/?monkey=1&token="),
            ("<secret>", "<secret>"),
            ("https://a.example/hidden", "https://a.example/<secret>"),
        ];
        let secrets = SecretTexts::new(["hidden"]);
        for (url, expected) in cases {
            assert_eq!(shown_url(url, &secrets), expected);
        }
        let found: Vec<_> = secrets_of_url("https://a/?a=1&token=t&sig=s").collect();
        assert_eq!(found, ["t", "s"]);
        assert_eq!(shown_name("api?token=x", &secrets), "api?token=x");
    }
}
