//! Any addresses, in any spelling, against the address policy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;
use url::{Host, Url};

use super::Choices;
use crate::fetch::pins::Pins;
use crate::fetch::policy::{AddressPolicy, Network};
use crate::fetch::{RequestSpec, dial, first_request};

/// Where clouds keep credentials, written down a second time.
const METADATA_V4: [u32; 7] =
    [0xa9fe_a9fe, 0xa9fe_aa02, 0xa9fe_aa17, 0xa9fe_2a2a, 0x6464_64c8, 0xa83f_8110, 0xc000_00c0];
const METADATA_V6: [u128; 3] = [
    0xfd00_0ec2_0000_0000_0000_0000_0000_0254,
    0xfd00_0ec2_0000_0000_0000_0000_0000_0023,
    0xfd20_00ce_0000_0000_0000_0000_0000_0254,
];

/// An address: where clouds keep credentials stays forbidden in every spelling and every mapping, and what a policy
/// allows is what its text says.
pub fn address(data: &[u8]) {
    let Some((mut choices, rest)) = Choices::split(data, 32) else { return };
    let metadata = Ipv4Addr::from_bits(METADATA_V4[usize::from(choices.byte()) % METADATA_V4.len()]);
    let noise: [u8; 16] = std::array::from_fn(|_| choices.byte());
    mapped(metadata, &noise);
    any_address(&noise);
    spelled(metadata, &mut choices);
    if let Ok(text) = std::str::from_utf8(rest) {
        url_text(text);
        pinned(text, metadata);
        network_text(text, &noise);
    }
}

#[track_caller]
fn assert_forbidden(address: IpAddr) {
    let none = AddressPolicy::Networks { allow: Vec::new(), deny: Vec::new() };
    for policy in [AddressPolicy::default(), AddressPolicy::PublicOnly, none] {
        assert!(policy.forbids(address).is_some(), "{policy:?} allows {address}");
    }
}

/// Every IPv6 address that packets to an IPv4 one can be sent by: its other bits are noise.
fn mapped(metadata: Ipv4Addr, noise: &[u8; 16]) {
    let inner = u128::from(metadata.to_bits());
    let noise = u128::from_be_bytes(*noise);
    // RFC 6052 section 2.2: the well-known prefix, and the one for local use with any length from 48 on, around the
    // octet that is not used.
    let (high, low) = (inner >> 16, inner & 0xffff);
    let local = 0x0064_ff9b_0001 << 80;
    let forms = [
        0xffff << 32 | inner,
        inner,
        0xffff << 48 | inner,
        0x0064_ff9b << 96 | inner,
        local | (noise & (0xffff_ffff_ffff << 32)) | inner,
        local | high << 64 | low << 40 | (noise & 0xff_ffff_ffff),
        local
            | (noise & 0xff << 72)
            | (inner >> 24) << 64
            | (inner & 0xff_ffff) << 32
            | (noise & 0xffff_ffff),
        local | (noise & 0xffff << 64) | inner << 24 | (noise & 0xff_ffff),
        // 6to4.
        0x2002 << 112 | inner << 80 | (noise & (u128::MAX >> 48)),
    ];
    for form in forms {
        assert_forbidden(Ipv6Addr::from_bits(form).into());
    }
    for address in METADATA_V6 {
        assert_forbidden(Ipv6Addr::from_bits(address).into());
    }
}

/// Policies agree with each other about any address.
fn any_address(noise: &[u8; 16]) {
    let v4 = Ipv4Addr::new(noise[0], noise[1], noise[2], noise[3]);
    let v6 = Ipv6Addr::from_bits(u128::from_be_bytes(*noise));
    for address in [IpAddr::from(v4), v6.into(), v4.to_ipv6_mapped().into()] {
        let default = AddressPolicy::default().forbids(address);
        if default.is_some() {
            assert_forbidden(address);
        }
        let itself = Network::parse(&address.to_canonical().to_string()).unwrap();
        let deny = AddressPolicy::Networks { allow: Vec::new(), deny: vec![itself] };
        assert!(deny.forbids(address).is_some(), "{address} is denied by itself");
        let allow = AddressPolicy::Networks { allow: vec![itself], deny: Vec::new() };
        // Where there may be another address inside, that one has to be allowed as well.
        let is_plain = address.to_canonical().is_ipv4() || matches!(v6.segments()[0], 0x2003..0x4000);
        assert!(
            !is_plain || default.is_some() || allow.forbids(address).is_none(),
            "{address} is allowed by itself"
        );
    }
    // One IPv4 address is one, however it is dressed.
    for policy in [AddressPolicy::default(), AddressPolicy::PublicOnly] {
        assert_eq!(policy.forbids(v4.into()), policy.forbids(v4.to_ipv6_mapped().into()), "{v4}");
    }
}

/// An IPv4 address as a URL's host: in one to four parts, each in one of three bases, its characters in other clothes.
fn spelled(metadata: Ipv4Addr, choices: &mut Choices<'_>) {
    let bits = metadata.to_bits();
    let parts = match choices.of(&[4, 3, 2, 1]) {
        4 => metadata.octets().map(u32::from).to_vec(),
        3 => vec![bits >> 24, bits >> 16 & 0xff, bits & 0xffff],
        2 => vec![bits >> 24, bits & 0xff_ffff],
        _ => vec![bits],
    };
    let mut host = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        host.push_str(if index == 0 { "" } else { choices.of(&[".", "。", "%2e", "．"]) });
        let zeros = "0".repeat(choices.of(&[0, 1, 2, 30]));
        let digits = match choices.of(&[10, 8, 16, 17]) {
            10 => format!("{part}"),
            8 => format!("0{zeros}{part:o}"),
            16 => format!("0x{zeros}{part:x}"),
            _ => format!("0X{zeros}{part:X}"),
        };
        let clothes = choices.byte();
        for (at, digit) in digits.chars().enumerate() {
            match (clothes >> (at % 4) & 1, clothes >> 6 & 1) {
                // Full width.
                (1, 0) => host.extend(char::from_u32(u32::from(digit) + 0xfee0)),
                (1, _) => host.extend(["%", &format!("{:02x}", u32::from(digit))]),
                _ => host.push(digit),
            }
        }
    }
    let dot = choices.of(&["", ".", "", ""]);
    let url = Url::parse(&format!("http://{host}{dot}:8080/latest/meta-data/")).unwrap();
    let address = known(&url, &Pins::default()).unwrap_or_else(|| panic!("{host} is read as a name: {url}"));
    assert_eq!(address, metadata, "{host} is read as {url}");
    assert_forbidden(address);
}

/// Where a URL leads without a resolver: what is connected to.
fn known(url: &Url, pins: &Pins) -> Option<IpAddr> {
    let request = super::request(RequestSpec::default());
    let uri: Uri = first_request(&request, url.as_str()).ok()?.uri;
    dial::place(&uri, pins).known.map(|(address, _)| address)
}

/// Any text as a URL: an address in it is read as such by everybody.
fn url_text(text: &str) {
    let Ok(url) = Url::parse(text) else { return };
    let is_http = matches!(url.scheme(), "http" | "https");
    let request = super::request(RequestSpec::default());
    let Ok(outgoing) = first_request(&request, url.as_str()) else { return };
    assert!(is_http, "{url}");
    let authority = outgoing.uri.authority().unwrap();
    assert!(!authority.as_str().contains('@'), "{url}");
    let place = dial::place(&outgoing.uri, &Pins::default());
    assert_eq!(Some(place.port), url.port_or_known_default(), "{url}");
    let address = place.known.map(|(address, _)| address);
    match url.host().unwrap() {
        Host::Domain(_) => assert_eq!(address, None, "{url}"),
        Host::Ipv4(host) => assert_eq!(address, Some(host.into()), "{url}"),
        Host::Ipv6(host) => assert_eq!(address, Some(host.into()), "{url}"),
    }
}

/// Any text as the user's own address for a name.
fn pinned(text: &str, metadata: Ipv4Addr) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let mut pins = Pins::default();
    if pins.add(key, &metadata.to_string()).is_ok() {
        assert!(pins.add(key, "127.0.0.1").is_err(), "{key:?} stands twice");
        // The name in a URL finds it, and the policy holds for it as for any other.
        let url = Url::parse(&format!("http://{key}/")).unwrap();
        if Uri::try_from(url.as_str()).is_err() {
            return; // No target has such a name.
        }
        let address = known(&url, &pins).unwrap_or_else(|| panic!("{key:?} is not found by {url}"));
        assert_eq!(address, metadata);
        assert_forbidden(address);
    }
    let _ = Pins::default().add("shop.example:80", value);
}

/// Any text as a network.
fn network_text(text: &str, noise: &[u8; 16]) {
    let Ok(network) = Network::parse(text) else { return };
    let printed = network.to_string();
    assert_eq!(Network::parse(&printed), Ok(network), "{text:?} is printed as {printed}");
    let (begin, bits) = printed.split_once('/').unwrap();
    let (begin, bits): (IpAddr, u32) = (begin.parse().unwrap(), bits.parse().unwrap());
    let v4 = Ipv4Addr::new(noise[0], noise[1], noise[2], noise[3]);
    let v6 = Ipv6Addr::from_bits(u128::from_be_bytes(*noise));
    let (any, same) = match begin {
        IpAddr::V4(begin) => {
            let differing = (begin.to_bits() ^ v4.to_bits()).leading_zeros();
            (IpAddr::from(v4), differing >= bits)
        }
        IpAddr::V6(begin) => (v6.into(), (begin.to_bits() ^ v6.to_bits()).leading_zeros() >= bits),
    };
    let deny = AddressPolicy::Networks { allow: Vec::new(), deny: vec![network] };
    assert!(deny.forbids(begin).is_some(), "{printed} begins with {begin}");
    // A mapped address is one of IPv4.
    let same = same && any.to_canonical() == any;
    assert!(!same || deny.forbids(any).is_some(), "{any} is in {printed}");
    let allow = AddressPolicy::Networks { allow: vec![network], deny: Vec::new() };
    assert!(same || any.to_canonical() != any || allow.forbids(any).is_some(), "{any} is not in {printed}");
}
