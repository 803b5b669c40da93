//! Any bytes as the certificates that a server shows.

use std::sync::OnceLock;

use hyper::body::Bytes;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::{Choices, assert_line, assert_theirs, block_on, shared};
use crate::clock::{Clock, UnixNanos};
use crate::fetch::tls::{self, TlsTemplate};
use crate::fetch::{HttpVersions, TlsOptions, classify, facts};
use crate::model::{ErrorGroup, ErrorKind, TlsFacts};

/// The authority that signed some of the seeds.
const AUTHORITY: &[u8] = include_bytes!("authority.pem");
/// The longest text about one certificate, and the most names that are listed of one, in bytes.
const MOST_TEXT: usize = 512;
const MOST_NAMES: usize = 32 * (MOST_TEXT + 1) + 32;

/// A chain of any bytes: it is refused for a reason that lies in it, and every fact that is read of it is bounded and
/// one line.
pub fn certificate(data: &[u8]) {
    static TEMPLATE: OnceLock<TlsTemplate> = OnceLock::new();
    let Some((mut choices, der)) = Choices::split(data, 5) else { return };
    let mut template = TEMPLATE.get_or_init(with_authority).clone();
    let leaf_part = usize::from(choices.of(&[255_u8, 128, 200, 0]));
    let (leaf, above) = der.split_at(der.len() * leaf_part / 255);
    let leaf = CertificateDer::from(leaf.to_vec());
    let above = vec![CertificateDer::from(above.to_vec()); choices.of(&[0, 1, 2, 20])];
    template.insecure_skip_verify = choices.of(&[false, true]);
    if choices.of(&[false, true]) {
        template.listed = vec![leaf.clone()].into();
    }
    let name = choices.of(&["shop.example", "127.0.0.1", "other.example", "::1"]);
    let name = tls::server_name_of(name).unwrap();

    let clock = block_on(async { Clock::simulated(UnixNanos(1_790_000_000_000_000_000)) });
    let (_, recorder) = shared().tls.for_attempt(&template, false, HttpVersions::Auto, &clock);
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_790_000_000));
    let verified = recorder.verify_server_cert(&leaf, &above, &name, b"", now);
    let shown = recorder.shown();
    assert_eq!(shown.verified, Some(shown.error.is_none()));
    assert!(verified.is_ok() == (template.insecure_skip_verify || shown.error.is_none()));
    if let Some(error) = &shown.error {
        let group = |kind: &&ErrorKind| kind.group() == ErrorGroup::Tls;
        let theirs: Vec<_> = ErrorKind::ALL.iter().filter(group).copied().collect();
        assert_theirs(&classify::tls(error, &shown), &theirs);
    }

    let mut facts = TlsFacts::default();
    facts::add_shown(&mut facts, &shown);
    check(&facts);
    if shown.verified == Some(true) {
        assert!(facts.cert_not_after >= Some(1_790_000_000), "a certificate that is past its time is right");
    }
}

fn with_authority() -> TlsTemplate {
    let authority = Some(Bytes::from_static(AUTHORITY));
    tls::template(&TlsOptions { ca_pem: authority, ..TlsOptions::default() }).unwrap()
}

fn check(facts: &TlsFacts) {
    let TlsFacts {
        version: _,
        cipher: _,
        alpn: _,
        verified,
        verify_error,
        ocsp_stapled,
        cert_sha256,
        cert_subject,
        cert_issuer,
        cert_names,
        cert_not_before,
        cert_not_after,
        cert_chain_not_after,
    } = facts;
    assert!(verified.is_some() && *ocsp_stapled == Some(false));
    assert_eq!(verify_error.is_none(), *verified == Some(true));
    let texts = [
        (verify_error, 1_024),
        (cert_subject, MOST_TEXT),
        (cert_issuer, MOST_TEXT),
        (cert_names, MOST_NAMES),
    ];
    for (text, most) in texts {
        if let Some(text) = text {
            assert_line(text, most);
        }
    }
    let digest = cert_sha256.as_ref().unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    // Whatever can be read at all is read whole.
    let read = cert_subject.is_some();
    assert!(
        read == cert_issuer.is_some()
            && read == cert_not_before.is_some()
            && read == cert_not_after.is_some()
    );
    assert!(!read || *cert_chain_not_after <= *cert_not_after, "a chain ends with its first certificate");
}
