//! Which kind a failure of TLS is, and what to tell people about it.

use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible, PeerMisbehaved};

use crate::fetch::facts;
use crate::fetch::tls::{Client, Shown};
use crate::model::{ErrorKind, Failure};

/// Why TLS failed, seen with what the handshake has shown.
pub(in crate::fetch) fn tls(error: &rustls::Error, shown: &Shown) -> Failure {
    use rustls::Error;
    let (kind, message) = match error {
        Error::InvalidCertificate(error) => return certificate(error, shown),
        Error::NoCertificatesPresented => (ErrorKind::TlsCert, "the target showed no certificate".to_owned()),
        Error::AlertReceived(alert) => return alerted(*alert, shown),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon,
        ) => (ErrorKind::TlsVersion, "the target speaks neither TLS 1.2 nor TLS 1.3 as we do".to_owned()),
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite) => {
            (ErrorKind::TlsVersion, "the target picked a cipher that was not offered".to_owned())
        }
        Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        ) => {
            let message =
                "the target's certificates, or another part of its handshake, are longer than 64 KiB";
            (ErrorKind::TlsHandshake, message.to_owned())
        }
        // Before a certificate came, a record that makes no sense is most likely no record at all.
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::InvalidEmptyPayload,
        ) if shown.chain.is_empty() => {
            (ErrorKind::TlsNotTls, "the target does not speak TLS on this port".to_owned())
        }
        other => (ErrorKind::TlsHandshake, format!("TLS failed: {other}")),
    };
    Failure::new(kind, message)
}

fn certificate(error: &CertificateError, shown: &Shown) -> Failure {
    let (kind, message) = match error {
        CertificateError::Expired => (ErrorKind::TlsExpired, "the certificate has expired".to_owned()),
        CertificateError::ExpiredContext { not_after, .. } => {
            (ErrorKind::TlsExpired, format!("the certificate expired at {}", moment(not_after.as_secs())))
        }
        CertificateError::NotValidYet => {
            (ErrorKind::TlsNotYetValid, "the certificate is not valid yet".to_owned())
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let from = moment(not_before.as_secs());
            (ErrorKind::TlsNotYetValid, format!("the certificate is not valid before {from}"))
        }
        CertificateError::NotValidForName => {
            (ErrorKind::TlsName, "the certificate is for another name".to_owned())
        }
        CertificateError::NotValidForNameContext { expected, .. } => {
            let names = shown.chain.first().and_then(facts::names_of).filter(|names| !names.is_empty());
            let names = names.unwrap_or_else(|| "no name".to_owned());
            let expected = expected.to_str();
            let message = if names.split(',').any(|name| name == expected) {
                format!("the certificate has {expected} among its DNS names, not among its addresses")
            } else {
                format!("the certificate is for {names}, not for {expected}")
            };
            (ErrorKind::TlsName, message)
        }
        _ if shown.no_roots => {
            let message = "the runner has no certificate authority to verify with: install the system's, or \
                           set ca_file";
            (ErrorKind::LocalTrust, message.to_owned())
        }
        // Whatever else is wrong with it, that it vouches for itself is what a person has to know.
        _ if shown.chain.first().is_some_and(facts::is_self_issued) => {
            (ErrorKind::TlsSelfSigned, "the certificate is signed by itself and not trusted".to_owned())
        }
        CertificateError::UnknownIssuer => {
            let message =
                "the certificate's issuer is not trusted, or its certificate is missing in the chain";
            (ErrorKind::TlsUntrusted, message.to_owned())
        }
        CertificateError::Revoked => (ErrorKind::TlsCert, "the certificate is revoked".to_owned()),
        // Another authority may bear a trusted one's name; it does not have its key.
        CertificateError::BadSignature if shown.verified == Some(false) => {
            let message = "the certificate was not signed by the trusted authority that it names";
            (ErrorKind::TlsUntrusted, message.to_owned())
        }
        CertificateError::BadSignature => match shown.chain.first().and_then(facts::short_rsa_key) {
            Some(bits) => {
                let message =
                    format!("the certificate's RSA key has {bits} bits, which is too short: it takes 2048");
                (ErrorKind::TlsCert, message)
            }
            None => (ErrorKind::TlsCert, "the target does not have the certificate's key".to_owned()),
        },
        CertificateError::UnsupportedSignatureAlgorithmContext { .. } => {
            let message = match shown.chain.iter().find_map(facts::broken_digest) {
                Some(digest) => {
                    format!("a certificate of the target is signed by way of {digest}, which proves nothing")
                }
                None => "a certificate of the target is signed in a way that is not supported".to_owned(),
            };
            (ErrorKind::TlsCert, message)
        }
        CertificateError::BadEncoding => (ErrorKind::TlsCert, "the certificate cannot be read".to_owned()),
        // Its own words, without the types around them.
        CertificateError::Other(inner) => {
            (ErrorKind::TlsCert, format!("the certificate is not acceptable: {inner}"))
        }
        other => (ErrorKind::TlsCert, format!("the certificate is not acceptable: {other}")),
    };
    Failure::new(kind, message)
}

fn alerted(alert: AlertDescription, shown: &Shown) -> Failure {
    let code = u8::from(alert);
    let about_a_certificate = matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    );
    let wants_one = match shown.client {
        Client::NotAsked => alert == AlertDescription::CertificateRequired,
        Client::Nameless => about_a_certificate || alert == AlertDescription::HandshakeFailure,
        Client::Named => false,
    };
    let (kind, message) = match alert {
        _ if wants_one => {
            (ErrorKind::TlsClientCertRequired, "the target wants a client certificate".to_owned())
        }
        _ if about_a_certificate && shown.client == Client::Named => {
            let message =
                format!("the target refused the client certificate it was shown: alert {code} ({alert:?})");
            (ErrorKind::TlsHandshake, message)
        }
        AlertDescription::ProtocolVersion => {
            (ErrorKind::TlsVersion, "the target speaks neither TLS 1.2 nor TLS 1.3".to_owned())
        }
        AlertDescription::InsufficientSecurity => {
            (ErrorKind::TlsVersion, "the target shares no cipher with us".to_owned())
        }
        AlertDescription::NoApplicationProtocol => {
            (ErrorKind::HttpVersion, "the target speaks none of the offered versions of HTTP".to_owned())
        }
        AlertDescription::UnrecognisedName => {
            (ErrorKind::TlsHandshake, "the target does not know the name it was asked for".to_owned())
        }
        AlertDescription::HandshakeFailure if shown.chain.is_empty() => {
            let message = "the target ended TLS with alert 40 (HandshakeFailure): it shares no version, cipher or \
                           signature with us, or has no answer for this name";
            (ErrorKind::TlsHandshake, message.to_owned())
        }
        _ => (ErrorKind::TlsHandshake, format!("the target ended TLS with alert {code} ({alert:?})")),
    };
    Failure::new(kind, message)
}

/// A moment for people, in UTC.
fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "an unknown time".to_owned(), |moment| moment.to_string())
}
