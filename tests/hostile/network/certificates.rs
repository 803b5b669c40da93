//! Certificates, good and bad, made at the start by an authority of our own.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Names that every good certificate has.
const NAMES: [&str; 4] = ["127.0.0.1", "::1", "localhost", "good.hostile.test"];

/// An authority, and one below it.
pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A fresh one.
    pub(crate) fn new() -> Self {
        let root = CertifiedIssuer::self_signed(authority("hostile root"), key()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(authority("hostile intermediate"), key(), &root).unwrap();
        Self { root, intermediate }
    }

    /// Its certificate, in PEM.
    pub(crate) fn pem(&self) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(self.root.der());
        let lines: Vec<_> =
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// What client certificates are verified against.
    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// The certificate called `name`, its chain and its key.
    pub(crate) fn identity(&self, name: &str) -> Arc<CertifiedKey> {
        let root = self.root.der().clone();
        let intermediate = self.intermediate.der().clone();
        let own = key();
        let chain = match name {
            "good" => vec![self.issue(&own, |_| ())],
            "expired" => {
                vec![self.issue(&own, |params| {
                    (params.not_before, params.not_after) =
                        (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 1, 2));
                })]
            }
            "not_yet_valid" => {
                vec![self.issue(&own, |params| {
                    (params.not_before, params.not_after) =
                        (date_time_ymd(2089, 1, 1), date_time_ymd(2089, 1, 2));
                })]
            }
            "other_name" => vec![self.issue(&own, |params| names(params, &["other.hostile.test"]))],
            "common_name_only" => {
                vec![self.issue(&own, |params| {
                    names(params, &[]);
                    params.distinguished_name.push(DnType::CommonName, "good.hostile.test");
                })]
            }
            "wildcard" => vec![self.issue(&own, |params| names(params, &["*.hostile.test"]))],
            "other_address" => vec![self.issue(&own, |params| names(params, &["127.0.0.2"]))],
            "dns_name_of_an_address" => {
                vec![self.issue(&own, |params| {
                    params.subject_alt_names = vec![SanType::DnsName("127.0.0.1".try_into().unwrap())];
                })]
            }
            "for_clients" => {
                vec![self.issue(&own, |params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                })]
            }
            "self_signed" => vec![leaf().self_signed(&own).unwrap().der().clone()],
            "untrusted" => vec![Self::new().issue(&own, |_| ())],
            // Of the same name as the one that is trusted, and not of its key.
            "by_a_namesake" => vec![Self::new().issue(&own, |_| ()), root],
            "intermediate" => vec![self.issue_below(&own), intermediate],
            "intermediate_missing" => vec![self.issue_below(&own)],
            "chain_out_of_order" => vec![self.issue_below(&own), root, intermediate],
            "leaf_last" => vec![intermediate, self.issue_below(&own)],
            "intermediate_expires_first" => {
                let mut params = authority("hostile short intermediate");
                params.not_after = date_time_ymd(2070, 1, 1);
                let short = CertifiedIssuer::signed_by(params, key(), &self.root).unwrap();
                vec![leaf().signed_by(&own, &short).unwrap().der().clone(), short.der().clone()]
            }
            "intermediate_expired" => {
                let mut params = authority("hostile old intermediate");
                (params.not_before, params.not_after) =
                    (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 1, 2));
                let old = CertifiedIssuer::signed_by(params, key(), &self.root).unwrap();
                vec![leaf().signed_by(&own, &old).unwrap().der().clone(), old.der().clone()]
            }
            // A leaf that signs another leaf.
            "signed_by_a_leaf" => {
                let mut params = leaf();
                params.distinguished_name.push(DnType::CommonName, "another leaf");
                let middle = CertifiedIssuer::signed_by(params, key(), &self.root).unwrap();
                vec![leaf().signed_by(&own, &middle).unwrap().der().clone(), middle.der().clone()]
            }
            "names_1000" => vec![self.issue(&own, |params| many_names(params, 1_000))],
            "names_10000" => vec![self.issue(&own, |params| many_names(params, 10_000))],
            // Certificates that lead nowhere, after a good one: 50 KiB, and 2 MiB.
            "chain_of_100" => [vec![self.issue(&own, |_| ())], vec![intermediate; 100]].concat(),
            "chain_of_2_mib" => [vec![self.issue(&own, |_| ())], vec![intermediate; 5_000]].concat(),
            "no_certificate" => vec![CertificateDer::from(b"not a certificate".to_vec())],
            "key_of_another" => {
                let chain = vec![self.issue(&own, |_| ())];
                return certified(chain, &key());
            }
            other => panic!("there is no certificate called \"{other}\""),
        };
        certified(chain, &own)
    }

    fn issue(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = leaf();
        change(&mut params);
        params.signed_by(key, &self.root).unwrap().der().clone()
    }

    fn issue_below(&self, key: &KeyPair) -> CertificateDer<'static> {
        leaf().signed_by(key, &self.intermediate).unwrap().der().clone()
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<CertifiedKey> {
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Not held against each other: that they do not fit is a case.
    Arc::new(CertifiedKey::new(chain, any_supported_type(&der).unwrap()))
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn leaf() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "leaf");
    params.not_after = date_time_ymd(2080, 1, 1);
    names(&mut params, &NAMES);
    params
}

fn names(params: &mut CertificateParams, wanted: &[&str]) {
    let named = CertificateParams::new(wanted.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    params.subject_alt_names = named.unwrap().subject_alt_names;
}

fn many_names(params: &mut CertificateParams, count: usize) {
    let more = (0..count).map(|n| SanType::DnsName(format!("n{n}.hostile.test").try_into().unwrap()));
    params.subject_alt_names.extend(more);
}
