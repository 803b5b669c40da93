//! Addresses that stand in the pipeline file instead of a resolver's answer.

use super::support::{Server, fetch, header, kind, spec, status};
use crate::fetch::{AddressPolicy, IpVersion, Request, RequestError, RequestSpec};
use crate::model::ErrorKind;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn pinned(key: &str, address: &str) -> RequestSpec {
    RequestSpec { resolve: vec![(key.to_owned(), address.to_owned())], ..spec(&[]) }
}

#[tokio::test]
async fn a_pinned_name_is_connected_to_without_a_question() {
    let server = Server::answering(OK).await;
    let port = server.addr.port();
    let cases = [
        ("http://shop.invalid/".to_owned(), "shop.invalid:80".to_owned(), server.addr.to_string()),
        (format!("http://shop.invalid:{port}/"), format!("Shop.INVALID.:{port}"), "127.0.0.1".to_owned()),
        ("http://shop.invalid.:81/".to_owned(), "shop.invalid:81".to_owned(), server.addr.to_string()),
        ("http://192.0.2.1/".to_owned(), "192.0.2.1:80".to_owned(), server.addr.to_string()),
        ("http://[2001:db8::1]/".to_owned(), "[2001:db8::1]:80".to_owned(), server.addr.to_string()),
    ];
    for (url, key, address) in &cases {
        let exchange = fetch(pinned(key, address), url).await;
        assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{url}: {:?}", exchange.failure);
        assert_eq!(exchange.remote_addr, Some(server.addr), "{url}");
        assert_eq!((exchange.phases.dns, exchange.dns_answers), (None, None), "{url}");
        assert_eq!(exchange.final_url.as_deref(), Some(url.as_str()));
    }
    let hosts: Vec<_> =
        server.seen().iter().map(|request| header(request, "host").unwrap().to_owned()).collect();
    let shop = format!("shop.invalid:{port}");
    assert_eq!(hosts, ["shop.invalid", &shop, "shop.invalid.:81", "192.0.2.1", "[2001:db8::1]"]);
}

#[tokio::test]
async fn a_redirect_goes_to_the_pinned_address_too() {
    let server = Server::routed(|request| {
        if request.starts_with("GET /end") {
            OK.into()
        } else {
            "HTTP/1.1 302 Found\r\nlocation: http://other.invalid/end\r\ncontent-length: 0\r\n\r\n".into()
        }
    })
    .await;
    let exchange = fetch(pinned("other.invalid:80", &server.addr.to_string()), &server.url("/")).await;
    assert_eq!((kind(&exchange), status(&exchange)), (None, Some(200)), "{:?}", exchange.failure);
    assert_eq!(exchange.final_url.as_deref(), Some("http://other.invalid/end"));
}

#[tokio::test]
async fn the_address_policy_and_the_ip_version_hold_for_pinned_addresses() {
    let server = Server::answering(OK).await;
    let public =
        RequestSpec { address_policy: AddressPolicy::PublicOnly, ..pinned("shop.invalid:80", "127.0.0.1") };
    assert_eq!(kind(&fetch(public, "http://shop.invalid/").await), Some(ErrorKind::ConnectDenied));
    let metadata = pinned("shop.invalid:80", "169.254.169.254");
    assert_eq!(kind(&fetch(metadata, "http://shop.invalid/").await), Some(ErrorKind::ConnectDenied));
    let v6 = RequestSpec { ip_version: IpVersion::V6, ..pinned("shop.invalid:80", &server.addr.to_string()) };
    assert_eq!(kind(&fetch(v6, "http://shop.invalid/").await), Some(ErrorKind::DnsNodata));
    assert!(server.seen().is_empty());
}

#[test]
fn what_cannot_be_pinned_is_refused_without_repeating_the_address() {
    let cases = [
        ("shop.example", "10.0.0.1", "the key is no \"host:port\""),
        ("shop.example:0", "10.0.0.1", "the key is no \"host:port\""),
        ("shop.example:99999", "10.0.0.1", "the key is no \"host:port\""),
        (":80", "10.0.0.1", "the key is no \"host:port\""),
        ("shop.example:+80", "10.0.0.1", "the key is no \"host:port\""),
        ("shop..example:80", "10.0.0.1", "the key is no \"host:port\""),
        ("http://shop.example:80", "10.0.0.1", "the key is no \"host:port\""),
        ("shop.example:80", "canary.example", "the value is neither an IP address nor one with a port"),
        ("shop.example:80", "10.0.0.1:0", "the value is neither an IP address nor one with a port"),
        ("shop.example:80", "", "the value is neither an IP address nor one with a port"),
    ];
    for (key, address, reason) in cases {
        let problems = Request::build(pinned(key, address)).unwrap_err();
        assert_eq!(problems, [RequestError::Resolve { key: key.to_owned(), reason }], "{key} {address}");
        assert!(!problems[0].to_string().contains("canary"));
    }
    let twice = ["shop.example:80", "SHOP.example.:80"].map(|key| (key.to_owned(), "[::1]:81".to_owned()));
    let problems = Request::build(RequestSpec { resolve: twice.into(), ..spec(&[]) }).unwrap_err();
    let reason = "the same host and port stand here twice";
    assert_eq!(problems, [RequestError::Resolve { key: "SHOP.example.:80".to_owned(), reason }]);
}
