//! How TLS is spoken: what is prepared once (roots, verifiers, a configuration), and what is made for each
//! attempt (a verifier that remembers what it was shown).
//!
//! Facts survive failure here: the chain that the other side presented, the exact reason why it was refused,
//! whether an OCSP response was stapled and whether a client certificate was asked for are kept outside the
//! handshake, so that they are known also when it never ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::FetchSetupError;
use super::request::{RequestError, TlsOptions};
use crate::clock::Clock;

/// The TLS part of a request, checked: built once.
#[derive(Debug, Clone, Default)]
pub(super) struct TlsTemplate {
    /// Verifies against the request's own authorities; none for the operating system's.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    /// Accept any certificate.
    insecure_skip_verify: bool,
    /// The name to ask for and to verify, instead of the URL's host.
    pub(super) server_name: Option<ServerName<'static>>,
}

/// Checks what the user wrote about TLS.
pub(super) fn template(options: &TlsOptions) -> Result<TlsTemplate, RequestError> {
    let TlsOptions { ca_pem, insecure_skip_verify, server_name } = options;
    let verifier = ca_pem.as_ref().map(|pem| ca_verifier(pem)).transpose()?;
    let server_name = match server_name {
        Some(name) => {
            Some(server_name_of(name).ok_or_else(|| RequestError::ServerName { name: name.clone() })?)
        }
        None => None,
    };
    Ok(TlsTemplate { verifier, insecure_skip_verify: *insecure_skip_verify, server_name })
}

/// The name as TLS knows it: a DNS name without its final dot, or an address (with or without brackets).
pub(super) fn server_name_of(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(bare.to_owned()).ok()
}

/// A verifier for the authorities in a PEM bundle. One bad certificate refuses the whole bundle: authorities
/// that are left out in silence are found out in an outage.
fn ca_verifier(pem: &[u8]) -> Result<Arc<WebPkiServerVerifier>, RequestError> {
    let refused = |reason: String| RequestError::CaFile { reason };
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let place = index + 1;
        let certificate =
            certificate.map_err(|error| refused(format!("certificate {place} is not valid PEM: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| refused(format!("certificate {place} cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(refused("it holds no PEM block \"CERTIFICATE\"".to_owned()));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .map_err(|error| refused(error.to_string()))
}

/// What every handshake of the runner shares.
#[derive(Debug)]
pub(super) struct TlsBase {
    /// Never used as it is for a handshake: every attempt has its own verifier in a copy of it.
    config: Arc<ClientConfig>,
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
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| FetchSetupError::Tls { reason: error.to_string() })?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        // A resumed session would hide a certificate that was changed for a bad one.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), system, algorithms })
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
        clock: &Clock,
    ) -> (Arc<ClientConfig>, Arc<HandshakeRecorder>) {
        let recorder = Arc::new(HandshakeRecorder {
            inner: template.verifier.clone().or_else(|| self.system.clone()),
            accept_any: template.insecure_skip_verify,
            algorithms: self.algorithms,
            clock: clock.clone(),
            shown: Mutex::default(),
        });
        let mut config = ClientConfig::clone(&self.config);
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
    /// Whether the other side asked for a client certificate.
    pub(super) client_certificate_asked: bool,
}

/// Verifies as rustls does and remembers what it saw. One serves one handshake.
#[derive(Debug)]
pub(super) struct HandshakeRecorder {
    inner: Option<Arc<WebPkiServerVerifier>>,
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
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.shown().client_certificate_asked = true;
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

impl TimeProvider for HandshakeRecorder {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.clock.wall().seconds()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
