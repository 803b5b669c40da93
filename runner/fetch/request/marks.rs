//! What tells the request of one attempt from all others: a header for whoever reads the server's log, a parameter for
//! caches on the way.

use std::borrow::Cow;

use http::header::{self, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};

use super::{Request, RequestError};

/// Headers that say something else.
const TAKEN: [HeaderName; 5] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::AUTHORIZATION,
];

/// How requests are marked.
#[derive(Debug, Clone, Default)]
pub(in crate::fetch) struct Marks {
    header: Option<HeaderName>,
    parameter: Option<String>,
}

impl Marks {
    /// Checks a header's name and a parameter's.
    pub(super) fn build(
        header: Option<String>,
        parameter: Option<String>,
        problems: &mut Vec<RequestError>,
    ) -> Self {
        let header = header.and_then(|given| match HeaderName::from_bytes(given.as_bytes()) {
            Ok(name) if !TAKEN.contains(&name) => Some(name),
            _ => {
                problems.push(RequestError::RequestIdHeader { name: given });
                None
            }
        });
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if let Some(name) = parameter.as_ref().filter(|name| name.is_empty() || !name.bytes().all(plain)) {
            problems.push(RequestError::CacheBuster { name: name.clone() });
        }
        Self { header, parameter }
    }
}

impl Request {
    /// The request as one attempt sends it, marked by an `id` of that attempt's own: ASCII letters, digits and `-`.
    /// The request itself, and no `id`, where it is not to be marked.
    pub fn marked(&self, id: impl FnOnce() -> String) -> Cow<'_, Self> {
        let Marks { header, parameter } = &self.marks;
        if header.is_none() && parameter.is_none() {
            return Cow::Borrowed(self);
        }
        let id = id();
        let mut request = self.clone();
        if let (Some(name), Ok(value)) = (header, HeaderValue::from_str(&id)) {
            request.headers.insert(name.clone(), value);
        }
        request.first_query = parameter.as_ref().map(|name| format!("{name}={id}"));
        Cow::Owned(request)
    }

    /// The URL of the first request, with what marks it behind the query that is there.
    pub(in crate::fetch) fn first_uri(&self, uri: Uri) -> Uri {
        let Some(mark) = &self.first_query else { return uri };
        let given = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let path = match given.split_once('?') {
            Some((_, "")) => format!("{given}{mark}"),
            Some(_) => format!("{given}&{mark}"),
            None => format!("{given}?{mark}"),
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = path.try_into().ok();
        // What was a URL before is one with a longer query, too.
        Uri::from_parts(parts).unwrap_or(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::RequestSpec;

    fn request(parameter: Option<&str>) -> Request {
        let spec = RequestSpec {
            request_id_header: Some("X-Request-Id".to_owned()),
            cache_buster: parameter.map(str::to_owned),
            ..RequestSpec::default()
        };
        Request::build(spec).unwrap()
    }

    #[test]
    fn h28_a_parameter_stands_behind_the_query_that_is_there() {
        let request = request(Some("cb"));
        let marked = request.marked(|| "a-1".to_owned());
        for (url, expected) in [
            ("http://x/", "http://x/?cb=a-1"),
            ("http://x", "http://x/?cb=a-1"),
            ("http://x/a?", "http://x/a?cb=a-1"),
            ("http://x/a?b=c%26&d", "http://x/a?b=c%26&d&cb=a-1"),
        ] {
            assert_eq!(marked.first_uri(url.parse().unwrap()).to_string(), expected);
        }
        assert_eq!(request.first_uri("http://x/a".parse().unwrap()).to_string(), "http://x/a");
    }

    #[test]
    fn h23_each_attempt_has_an_id_of_its_own() {
        let request = request(None);
        let id = |id: &str| request.marked(|| id.to_owned()).headers()["x-request-id"].clone();
        assert_eq!((id("a"), id("b")), ("a".parse().unwrap(), "b".parse().unwrap()));
        assert!(!request.headers().contains_key("x-request-id"));
        let plain = Request::build(RequestSpec::default()).unwrap();
        let marked = plain.marked(|| unreachable!("nobody wants it"));
        assert!(matches!(marked, Cow::Borrowed(_)));
    }

    #[test]
    fn names_that_would_break_the_request_are_refused() {
        for (header, parameter) in [
            (Some("host"), None),
            (Some("Content-Length"), None),
            (Some("x y"), None),
            (None, Some("a&b")),
            (None, Some("")),
        ] {
            let spec = RequestSpec {
                request_id_header: header.map(str::to_owned),
                cache_buster: parameter.map(str::to_owned),
                ..RequestSpec::default()
            };
            assert_eq!(Request::build(spec).unwrap_err().len(), 1, "{header:?} {parameter:?}");
        }
    }
}
