//! What can be sent, and what is refused.

use super::*;

fn with_headers(headers: &[(&str, &str)]) -> RequestSpec {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    RequestSpec { headers, ..RequestSpec::default() }
}

#[test]
fn defaults_are_set_where_the_user_has_none() {
    let request =
        Request::build(with_headers(&[("Accept", "text/html"), ("x-a", "1"), ("X-A", "2")])).unwrap();
    assert_eq!(request.headers[header::ACCEPT], "text/html");
    assert_eq!(request.headers[header::USER_AGENT], USER_AGENT);
    assert_eq!(request.headers.get_all("x-a").iter().count(), 2);
}

#[test]
fn all_problems_are_told_at_once() {
    let mut spec = with_headers(&[
        ("content-LENGTH", "3"),
        ("Transfer-Encoding", "chunked"),
        ("a b", "c"),
        ("x-secret", "top\r\nsecret"),
        ("Host", "a"),
        ("host", "b"),
    ]);
    spec.method = "G ET".to_owned();
    spec.body_limit = 0;
    let problems = Request::build(spec).unwrap_err();
    assert_eq!(
        problems,
        [
            RequestError::Method { method: "G ET".to_owned() },
            RequestError::HeaderForbidden { name: "content-LENGTH".to_owned() },
            RequestError::HeaderForbidden { name: "Transfer-Encoding".to_owned() },
            RequestError::HeaderName { name: "a b".to_owned() },
            RequestError::HeaderValue { name: "x-secret".to_owned() },
            RequestError::HeaderRepeated { name: "host".to_owned() },
            RequestError::BodyLimit,
        ]
    );
    assert!(problems.iter().all(|problem| !problem.to_string().contains("top")));
}

#[test]
fn secrets_are_not_printed() {
    let mut spec = with_headers(&[("authorization", "s3cret")]);
    spec.body = Some(Bytes::from_static(b"s3cret"));
    let printed = format!("{spec:?} {:?}", Request::build(spec.clone()).unwrap());
    assert!(printed.contains("authorization") && !printed.contains("s3cret"), "{printed}");
}

#[test]
fn a_bad_ca_file_and_server_name_are_refused() {
    let tls = TlsOptions { ca_pem: Some(Bytes::from_static(b"no pem")), ..TlsOptions::default() };
    let problems = Request::build(RequestSpec { tls, ..RequestSpec::default() }).unwrap_err();
    assert!(matches!(problems[0], RequestError::CaFile { .. }), "{problems:?}");
    let tls = TlsOptions { server_name: Some("no name".to_owned()), ..TlsOptions::default() };
    let problems = Request::build(RequestSpec { tls, ..RequestSpec::default() }).unwrap_err();
    assert!(matches!(problems[0], RequestError::ServerName { .. }), "{problems:?}");
}
