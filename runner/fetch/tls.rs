//! How TLS is spoken: what is prepared once (roots, verifiers, a configuration), and what is made for each
//! attempt (a verifier that remembers what it was shown).
//!
//! Facts survive failure here: the chain that the other side presented, the exact reason why it was refused,
//! whether an OCSP response was stapled and whether a client certificate was asked for are kept outside the
//! handshake, so that they are known also when it never ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use super::request::{ClientPem, HttpVersions, RequestError, TlsOptions};
use super::{FetchSetupError, facts};
use crate::clock::Clock;

/// The TLS part of a request, checked: built once.
#[derive(Debug, Clone, Default)]
pub(super) struct TlsTemplate {
    /// Verifies against the request's own authorities; none for the operating system's.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    /// The same authorities as certificates.
    pub(super) listed: Arc<[CertificateDer<'static>]>,
    /// Accept any certificate.
    pub(super) insecure_skip_verify: bool,
    /// What is shown to whoever asks for a client certificate.
    client: Option<Arc<CertifiedKey>>,
    /// Whether TLS 1.2 is not spoken.
    only_tls13: bool,
    /// The name to ask for and to verify, instead of the URL's host.
    pub(super) server_name: Option<ServerName<'static>>,
}

impl TlsTemplate {
    /// The same for a server that is not the target: its authorities and versions count there too, what the user
    /// says of the target itself does not.
    pub(super) fn for_another_server(&self) -> Self {
        Self { insecure_skip_verify: false, client: None, server_name: None, ..self.clone() }
    }
}

/// Checks what the user wrote about TLS.
pub(super) fn template(options: &TlsOptions) -> Result<TlsTemplate, RequestError> {
    let TlsOptions { ca_pem, insecure_skip_verify, server_name, client, only_tls13 } = options;
    let (verifier, listed) = match ca_pem {
        Some(pem) => {
            let listed = certificates(pem)?;
            (Some(ca_verifier(&listed)?), listed.into())
        }
        None => (None, Arc::default()),
    };
    let server_name = match server_name {
        Some(name) => {
            Some(server_name_of(name).ok_or_else(|| RequestError::ServerName { name: name.clone() })?)
        }
        None => None,
    };
    Ok(TlsTemplate {
        verifier,
        listed,
        insecure_skip_verify: *insecure_skip_verify,
        client: client.as_ref().map(certified).transpose()?.map(Arc::new),
        only_tls13: *only_tls13,
        server_name,
    })
}

/// A client's certificates and their key, held against each other.
fn certified(pem: &ClientPem) -> Result<CertifiedKey, RequestError> {
    let chain = certificates(&pem.certificates).map_err(|problem| match problem {
        RequestError::CaFile { reason } => RequestError::CertFile { reason },
        other => other,
    })?;
    let refused = |reason: &str| RequestError::KeyFile { reason: reason.to_owned() };
    // What the library says may quote the file.
    let key = PrivateKeyDer::from_pem_slice(&pem.key)
        .map_err(|_| refused("it holds no PEM block of a private key that is not encrypted"))?;
    let key = ring::sign::any_supported_type(&key)
        .map_err(|_| refused("it is none of RSA, ECDSA (P-256, P-384) and Ed25519"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(refused("it is not the key of the certificate in cert_file"))
        }
        Err(_) => Err(RequestError::CertFile { reason: "its first certificate cannot be read".to_owned() }),
    }
}

/// The name as TLS knows it: a DNS name without its final dot, or an address (with or without brackets).
pub(super) fn server_name_of(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare.to_owned()).ok()
}

/// The certificates of a PEM bundle. One that cannot be read refuses the whole bundle: authorities that are
/// left out in silence are found out in an outage.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RequestError> {
    let mut listed = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        listed.push(certificate.map_err(|error| RequestError::CaFile {
            reason: format!("certificate {} is not valid PEM: {error}", listed.len() + 1),
        })?);
    }
    if listed.is_empty() {
        return Err(RequestError::CaFile { reason: "it holds no PEM block \"CERTIFICATE\"".to_owned() });
    }
    Ok(listed)
}

/// A verifier for the authorities of one bundle.
fn ca_verifier(listed: &[CertificateDer<'static>]) -> Result<Arc<WebPkiServerVerifier>, RequestError> {
    let refused = |reason: String| RequestError::CaFile { reason };
    let mut roots = RootCertStore::empty();
    for (index, certificate) in listed.iter().enumerate() {
        roots
            .add(certificate.clone())
            .map_err(|error| refused(format!("certificate {} cannot be used: {error}", index + 1)))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .map_err(|error| refused(error.to_string()))
}

/// Verifies a server certificate that the user listed itself in `ca_file`: dates and name. webpki would refuse
/// it where it is marked as an authority's, as `openssl req -x509` does; to the user it is simply trusted.
fn verify_listed(
    leaf: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    let (from, until) = facts::validity(leaf).ok_or(CertificateError::BadEncoding)?;
    let moment = |seconds: i64| {
        UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
    };
    let (not_before, not_after) = (moment(from), moment(until));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
    Ok(ServerCertVerified::assertion())
}

/// What every handshake of the runner shares.
#[derive(Debug)]
pub(super) struct TlsBase {
    /// Never used as it is for a handshake: every attempt has its own verifier in a copy of it.
    config: Arc<ClientConfig>,
    /// The same without TLS 1.2.
    config_tls13: Arc<ClientConfig>,
    /// Verifies against the operating system's authorities; none where there are none.
    system: Option<Arc<WebPkiServerVerifier>>,
    /// For signatures, where there is no verifier to ask.
    algorithms: WebPkiSupportedAlgorithms,
}

impl TlsBase {
    /// Loads the operating system's authorities and prepares a configuration. A machine without any can
    /// still probe plain http; a request that needs them fails as our own fault.
    pub(super) fn load() -> Result<Self, FetchSetupError> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        // Some systems carry a few certificates that webpki does not take; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let system =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok();
        let algorithms = provider.signature_verification_algorithms;
        let of = |versions: &[&'static SupportedProtocolVersion]| {
            let mut config = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(versions)
                .map_err(|error| FetchSetupError::Tls { reason: error.to_string() })?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth();
            // A resumed session would hide a certificate that was changed for a bad one.
            config.resumption = Resumption::disabled();
            Ok(Arc::new(config))
        };
        let (config, config_tls13) = (of(rustls::DEFAULT_VERSIONS)?, of(&[&rustls::version::TLS13])?);
        Ok(Self { config, config_tls13, system, algorithms })
    }

    /// Whether the operating system has any certificate authority.
    pub(super) fn has_system_roots(&self) -> bool {
        self.system.is_some()
    }

    /// The configuration for a connection without TLS.
    pub(super) fn unused(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The configuration for one handshake, and where its facts will be.
    pub(super) fn for_attempt(
        &self,
        template: &TlsTemplate,
        shows_certificate: bool,
        versions: HttpVersions,
        clock: &Clock,
    ) -> (Arc<ClientConfig>, Arc<HandshakeRecorder>) {
        let recorder = Arc::new(HandshakeRecorder {
            inner: template.verifier.clone().or_else(|| self.system.clone()),
            listed: template.listed.clone(),
            client: template.client.clone().filter(|_| shows_certificate),
            accept_any: template.insecure_skip_verify,
            algorithms: self.algorithms,
            clock: clock.clone(),
            shown: Mutex::default(),
        });
        let base = if template.only_tls13 { &self.config_tls13 } else { &self.config };
        let mut config = ClientConfig::clone(base);
        config.alpn_protocols = match versions {
            HttpVersions::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            HttpVersions::Http11 => vec![b"http/1.1".to_vec()],
            HttpVersions::Http2 => vec![b"h2".to_vec()],
        };
        config.time_provider = recorder.clone();
        config.client_auth_cert_resolver = recorder.clone();
        config.dangerous().set_certificate_verifier(recorder.clone());
        (Arc::new(config), recorder)
    }
}

/// What a handshake has shown so far.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// The chain as presented, leaf first; empty when none was.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Whether the chain was verified; none before one was presented.
    pub(super) verified: Option<bool>,
    /// Why the chain was refused.
    pub(super) error: Option<rustls::Error>,
    /// Whether an OCSP response was stapled.
    pub(super) ocsp_stapled: bool,
    /// Whether the runner had no authority to verify with.
    pub(super) no_roots: bool,
    /// Whether the other side asked who we are.
    pub(super) client: Client,
}

/// What became of the client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Client {
    /// Nobody asked for one.
    #[default]
    NotAsked,
    /// The other side asked, and there was none to be shown.
    Nameless,
    /// The other side asked, and was shown one.
    Named,
}

/// Verifies as rustls does and remembers what it saw. One serves one handshake.
#[derive(Debug)]
pub(super) struct HandshakeRecorder {
    inner: Option<Arc<WebPkiServerVerifier>>,
    listed: Arc<[CertificateDer<'static>]>,
    client: Option<Arc<CertifiedKey>>,
    accept_any: bool,
    algorithms: WebPkiSupportedAlgorithms,
    clock: Clock,
    shown: Mutex<Shown>,
}

impl HandshakeRecorder {
    /// What the handshake has shown so far.
    pub(super) fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for HandshakeRecorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let result = match &self.inner {
            Some(inner) => {
                inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let result = match result {
            Err(_) if self.listed.contains(end_entity) => verify_listed(end_entity, server_name, now),
            result => result,
        };
        let mut shown = self.shown();
        shown.chain =
            std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned()).collect();
        shown.verified = Some(result.is_ok());
        shown.ocsp_stapled = !ocsp_response.is_empty();
        shown.no_roots = self.inner.is_none();
        shown.error = result.as_ref().err().cloned();
        if self.accept_any { Ok(ServerCertVerified::assertion()) } else { result }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Who takes any certificate gains nothing from a proof of its key, and a certificate too odd to hold
        // a usable key is among those to be taken.
        if self.accept_any {
            return Ok(HandshakeSignatureValid::assertion());
        }
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.accept_any {
            return Ok(HandshakeSignatureValid::assertion());
        }
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for HandshakeRecorder {
    fn resolve(&self, _issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // One whose key signs in no way that the other side takes is not shown by TLS either.
        let client = self.client.clone().filter(|client| client.key.choose_scheme(schemes).is_some());
        self.shown().client = if client.is_some() { Client::Named } else { Client::Nameless };
        client
    }

    fn has_certs(&self) -> bool {
        self.client.is_some()
    }
}

impl TimeProvider for HandshakeRecorder {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.clock.wall().seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
