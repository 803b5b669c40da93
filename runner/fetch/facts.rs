//! What a TLS session and the certificates shown in its handshake say, as plain values.
//!
//! Certificates come from the other side and may be anything: every text is bounded and free of control
//! characters, and what cannot be read is left out.

use std::fmt::Write as _;
use std::net::IpAddr;

use rustls::ClientConnection;
use rustls::ProtocolVersion;
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::classify;
use super::tls::Shown;
use crate::model::TlsFacts;

/// Names that are listed of a certificate.
const MAX_NAMES: usize = 32;
/// The longest text for a subject, an issuer or one name, in bytes.
const MAX_TEXT: usize = 512;
/// Certificates of a chain whose dates are read.
const MAX_CHAIN: usize = 16;

/// Adds what an established session agreed on.
pub(super) fn add_session(facts: &mut TlsFacts, session: &ClientConnection) {
    facts.version = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Some("1.2"),
        Some(ProtocolVersion::TLSv1_3) => Some("1.3"),
        _ => None,
    };
    // rustls names its TLS 1.3 suites TLS13_…, IANA has them as TLS_….
    facts.cipher = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).map(|name| {
        name.strip_prefix("TLS13_").map_or_else(|| name.to_owned(), |rest| format!("TLS_{rest}"))
    });
    facts.alpn = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
}

/// Adds what the handshake has shown, also when it failed.
pub(super) fn add_shown(facts: &mut TlsFacts, shown: &Shown) {
    facts.verified = shown.verified;
    facts.verify_error = shown.error.as_ref().map(|error| classify::tls(error, shown).message);
    let Some(leaf) = shown.chain.first() else { return };
    facts.ocsp_stapled = Some(shown.ocsp_stapled);
    facts.cert_sha256 = sha256_hex(leaf);
    let leaf = parse(leaf);
    let beyond = shown.chain.iter().take(MAX_CHAIN).skip(1).filter_map(parse);
    let ends = leaf.iter().map(not_after).chain(beyond.map(|certificate| not_after(&certificate)));
    facts.cert_chain_not_after = ends.min();
    let Some(leaf) = leaf else { return };
    facts.cert_subject = Some(name_text(leaf.subject()));
    facts.cert_issuer = Some(name_text(leaf.issuer()));
    facts.cert_names = names(&leaf);
    facts.cert_not_before = Some(leaf.validity().not_before.timestamp());
    facts.cert_not_after = Some(not_after(&leaf));
}

/// The certificate, where it can be read.
fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

fn not_after(certificate: &X509Certificate<'_>) -> i64 {
    certificate.validity().not_after.timestamp()
}

/// Begin and end of a certificate's validity, seconds since the Unix epoch.
pub(super) fn validity(der: &CertificateDer<'_>) -> Option<(i64, i64)> {
    parse(der).map(|certificate| (certificate.validity().not_before.timestamp(), not_after(&certificate)))
}

/// Whether a certificate names itself as its issuer.
pub(super) fn is_self_issued(der: &CertificateDer<'_>) -> bool {
    parse(der).is_some_and(|certificate| certificate.subject().as_raw() == certificate.issuer().as_raw())
}

/// The digest that a certificate is signed by way of, where anybody can make another certificate of the same digest.
/// One that names itself as its issuer needs no signature.
pub(super) fn broken_digest(der: &CertificateDer<'_>) -> Option<&'static str> {
    let certificate = parse(der).filter(|certificate| certificate.subject() != certificate.issuer())?;
    match certificate.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => Some("SHA-1"),
        "1.2.840.113549.1.1.4" => Some("MD5"),
        _ => None,
    }
}

/// The bits of a certificate's RSA key, where they are too few for us to take a signature by it.
pub(super) fn short_rsa_key(der: &CertificateDer<'_>) -> Option<usize> {
    match parse(der)?.public_key().parsed().ok()? {
        PublicKey::RSA(key) => Some(key.key_size()).filter(|bits| *bits < 2_048),
        _ => None,
    }
}

/// The names that a certificate is for, as one line: at most 32, the others counted.
pub(super) fn names_of(der: &CertificateDer<'_>) -> Option<String> {
    names(&parse(der)?)
}

/// The subject's alternative names that a server can be reached by.
fn names(certificate: &X509Certificate<'_>) -> Option<String> {
    let alternative = certificate.subject_alternative_name().ok()??;
    let mut text = String::new();
    let mut more = 0_usize;
    let names = alternative.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    });
    for (index, name) in names.enumerate() {
        match index {
            0 => text.push_str(&name),
            1..MAX_NAMES => text.extend([",", &name]),
            _ => more += 1,
        }
    }
    if more > 0 {
        let _ = write!(text, " (+{more} more)");
    }
    Some(text)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// A distinguished name as RFC 4514 writes it: the last part first.
fn name_text(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (index, part) in parts.iter().rev().enumerate() {
        for (inner, attribute) in part.iter().enumerate() {
            let separator = match (index, inner) {
                (0, 0) => "",
                (_, 0) => ",",
                _ => "+",
            };
            text.push_str(separator);
            push_attribute(&mut text, attribute);
            if text.len() > MAX_TEXT {
                return cut(text);
            }
        }
    }
    text
}

fn push_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    match oid2abbrev(attribute.attr_type(), oid_registry()) {
        Ok(name) => text.push_str(name),
        Err(_) => text.push_str(&attribute.attr_type().to_id_string()),
    }
    text.push('=');
    let Ok(value) = attribute.as_str() else {
        text.push('#');
        push_hex(text, &attribute.as_slice()[..attribute.as_slice().len().min(MAX_TEXT)]);
        return;
    };
    let end = value.chars().count();
    for (index, character) in value.chars().take(MAX_TEXT).enumerate() {
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => text.extend(['\\', character]),
            ' ' if index == 0 || index + 1 == end => text.push_str("\\ "),
            '#' if index == 0 => text.push_str("\\#"),
            character if character.is_control() => {
                let mut buffer = [0; 4];
                for byte in character.encode_utf8(&mut buffer).as_bytes() {
                    let _ = write!(text, "\\{byte:02X}");
                }
            }
            character => text.push(character),
        }
    }
}

fn printable(text: &str) -> String {
    cut(text.chars().take(MAX_TEXT + 1).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect())
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let at = (0..=MAX_TEXT - 3).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(at);
        text.push('…');
    }
    text
}

fn sha256_hex(bytes: &[u8]) -> Option<String> {
    // The TLS library has the hash already; a crate of its own would be a second copy.
    let digest = TLS13_AES_128_GCM_SHA256.tls13()?.common.hash_provider.hash(bytes);
    let mut text = String::with_capacity(64);
    push_hex(&mut text, digest.as_ref());
    Some(text)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn shown(params: &CertificateParams) -> TlsFacts {
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let shown = Shown { chain: vec![certificate.der().clone()], ..Shown::default() };
        let mut facts = TlsFacts::default();
        add_shown(&mut facts, &shown);
        facts
    }

    #[test]
    fn names_are_escaped_and_reversed() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::OrganizationName, "A, \"B\" \n");
        params.distinguished_name.push(DnType::CountryName, "GB");
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, "#x");
        let facts = shown(&params);
        assert_eq!(facts.cert_subject.as_deref(), Some("CN=\\#x,C=GB,O=A\\, \\\"B\\\" \\0A"));
        assert_eq!(facts.cert_issuer, facts.cert_subject);
    }

    #[test]
    fn a_thousand_names_are_counted_not_listed() {
        let names: Vec<_> = (0..1_000).map(|index| format!("h{index}.example")).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.subject_alt_names.insert(0, SanType::IpAddress("::1".parse().unwrap()));
        let text = shown(&params).cert_names.unwrap();
        assert!(text.starts_with("::1,h0.example,"), "{text}");
        assert!(text.ends_with(",h30.example (+969 more)"), "{text}");
    }

    #[test]
    fn dates_and_digest_are_read() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        let facts = shown(&params);
        assert_eq!(facts.cert_not_before, Some(1_577_836_800));
        assert_eq!(facts.cert_not_after, Some(1_577_923_200));
        assert_eq!(facts.cert_chain_not_after, facts.cert_not_after);
        assert_eq!(facts.cert_sha256.unwrap().len(), 64);
    }

    #[test]
    fn rubbish_is_left_out() {
        let shown = Shown { chain: vec![CertificateDer::from(vec![0x30, 0xff])], ..Shown::default() };
        let mut facts = TlsFacts::default();
        add_shown(&mut facts, &shown);
        assert!(
            facts.cert_sha256.is_some() && facts.cert_subject.is_none() && facts.cert_not_after.is_none()
        );
    }
}
