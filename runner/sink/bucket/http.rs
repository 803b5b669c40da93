//! HTTP for buckets: over hyper and rustls, as everything here, with a limit on every request. It also keeps
//! what went wrong last in words that hold no secrets: what the library says may quote signed URLs.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    HttpClient, HttpConnector as MakesClients, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::settings::is_yes;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a request and its answer may take together: a part of 8 MiB at 100 kB/s, and some.
const REQUEST: Duration = Duration::from_mins(2);
/// How long a connection may wait for the next request.
const IDLE: Duration = Duration::from_secs(30);
/// Answers are short: lists of parts, tokens, errors.
const ANSWER_BYTES: usize = 1 << 20;

/// What went wrong last.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Refusal>>>);

/// An answer that is none, or no answer.
#[derive(Debug)]
pub(super) struct Refusal {
    /// For people.
    pub(super) text: String,
    /// The status, where there was an answer.
    pub(super) status: Option<StatusCode>,
}

impl Trouble {
    /// Notes what goes wrong.
    pub(super) fn is(&self, text: String, status: Option<StatusCode>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Refusal { text, status });
    }

    /// What it was, once.
    pub(super) fn take(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The status of the last answer that was a refusal.
    pub(super) fn status(&self) -> Option<StatusCode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.status
    }
}

/// Makes HTTP clients for a store.
#[derive(Debug, Default)]
pub(super) struct Connector {
    pub(super) trouble: Trouble,
}

impl MakesClients for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let may_be_plain =
            options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| is_yes(&value));
        Ok(HttpClient::new(Service { may_be_plain, client: OnceLock::new(), trouble: self.trouble.clone() }))
    }
}

type Hyper = Client<HttpsConnector<HttpConnector>, HttpRequestBody>;

/// One client, made when it is first needed: to check a configuration reads no certificates.
#[derive(Debug)]
struct Service {
    may_be_plain: bool,
    client: OnceLock<Hyper>,
    trouble: Trouble,
}

// What `async_trait` would write.
impl HttpService for Service {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.answer(request))
    }
}

impl Service {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host = request.uri().host().unwrap_or("the bucket's host").to_owned();
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return Err(HttpError::new(HttpErrorKind::Unknown, error)),
        };
        match timeout(REQUEST, exchange(client, request)).await {
            Ok(Ok(response)) => {
                self.note(&host, &response);
                let (head, body) = response.into_parts();
                Ok(HttpResponse::from_parts(head, HttpResponseBody::from(body)))
            }
            Ok(Err(error)) => {
                self.trouble.is(format!("{host}: {}", innermost(&*error)), None);
                Err(HttpError::new_boxed(kind_of(&*error), error))
            }
            Err(late) => {
                self.trouble.is(format!("{host} did not answer within {} s", REQUEST.as_secs()), None);
                Err(HttpError::new(HttpErrorKind::Timeout, late))
            }
        }
    }

    fn client(&self) -> Result<&Hyper, rustls::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = client(self.may_be_plain)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Notes a refusal: its status, and the code that all three providers give with it.
    fn note(&self, host: &str, response: &http::Response<Bytes>) {
        let status = response.status();
        if status.is_success() {
            return;
        }
        let reason = status.canonical_reason().unwrap_or("no known status");
        let code = code_of(response.body()).map(|code| format!(", {code}")).unwrap_or_default();
        self.trouble.is(format!("{host} answered {} ({reason}{code})", status.as_u16()), Some(status));
    }
}

fn client(may_be_plain: bool) -> Result<Hyper, rustls::Error> {
    let mut roots = RootCertStore::empty();
    // Where some of the system's authorities cannot be read, the others may do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_nodelay(true);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls);
    let https = if may_be_plain { https.https_or_http() } else { https.https_only() };
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(https.enable_http1().wrap_connector(tcp)))
}

type AnyError = Box<dyn StdError + Send + Sync>;

#[allow(clippy::disallowed_methods, reason = "a body with a limit, within a time-out")]
async fn exchange(
    client: &Hyper,
    request: Request<HttpRequestBody>,
) -> Result<http::Response<Bytes>, AnyError> {
    let (head, body) = client.request(request).await?.into_parts();
    let body: Limited<Incoming> = Limited::new(body, ANSWER_BYTES);
    let whole = body.collect().await?.to_bytes();
    // A HEAD's answer has a length and no body, and a redirect tells of a wrong region.
    if head.status == StatusCode::MOVED_PERMANENTLY || head.status == StatusCode::TEMPORARY_REDIRECT {
        return Err("the bucket is in another region, or behind another endpoint".into());
    }
    Ok(http::Response::from_parts(head, whole))
}

/// The code in an error's XML: `<Code>NoSuchBucket</Code>`.
fn code_of(body: &[u8]) -> Option<String> {
    let text = str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_word = (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}

fn kind_of(error: &(dyn StdError + 'static)) -> HttpErrorKind {
    let is_connect = error
        .downcast_ref::<hyper_util::client::legacy::Error>()
        .is_some_and(hyper_util::client::legacy::Error::is_connect);
    if is_connect { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted }
}

/// What is at the bottom of an error: the operating system's or TLS's own words, which quote no request.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut inner = error;
    loop {
        let next = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => inner.source(),
        };
        match next {
            Some(next) => inner = next,
            None => return inner.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_refusals() {
        let code = |text: &str| code_of(text.as_bytes());
        assert_eq!(code("<Error><Code>NoSuchBucket</Code></Error>").as_deref(), Some("NoSuchBucket"));
        for text in ["", "<Code>", "<Code></Code>", "<Code>a b</Code>", "<Code>\u{1b}[2J</Code>"] {
            assert_eq!(code(text), None, "{text}");
        }
    }

    #[test]
    fn the_innermost_cause_is_told() {
        let refused = io::Error::other(io::Error::new(io::ErrorKind::ConnectionRefused, "refused"));
        assert_eq!(innermost(&refused), "refused");
    }
}
