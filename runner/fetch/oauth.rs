//! Tokens of OAuth 2.0 by a client's own credentials (RFC 6749 section 4.4): fetched by the fetcher itself, kept until
//! shortly before they expire, one fetch at a time for all targets of a request.
//!
//! Whatever goes wrong here says nothing of the target, which is not asked then. What the token endpoint says is shown
//! only as far as it is known not to be a secret: its status, and the codes that the RFC has for errors.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use url::{Url, form_urlencoded};

use super::Fetcher;
use super::request::{HttpVersions, Request, RequestError, USER_AGENT};
use crate::clock::{Clock, Instant};
use crate::model::{ErrorKind, Exchange, Failure, Secret};

/// The longest answer of a token endpoint: tokens have some hundred bytes, seldom some thousand.
const LONGEST_ANSWER: usize = 64 << 10;
/// How long a token is kept whose endpoint does not say how long it is good.
const USUAL_LIFE: Duration = Duration::from_mins(5);
/// The longest time that a token is kept.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// How long before its end a token is not used any more: at most this, and at most a tenth of its life.
const LONGEST_MARGIN: Duration = Duration::from_secs(30);
/// The codes of errors that endpoints answer with (RFC 6749 section 5.2, RFC 8707): others are not shown.
const ERROR_CODES: [&str; 8] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "temporarily_unavailable",
];

/// How a token is asked for, as the user wrote it. Printed without its secrets.
#[derive(Clone)]
pub struct OAuthSpec {
    /// Where tokens come from.
    pub token_url: String,
    /// Who asks.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// What for; none for what the endpoint gives by itself.
    pub scopes: Vec<String>,
    /// More parameters of the request.
    pub params: Vec<(String, String)>,
    /// Whether the credentials go in the body instead of a header.
    pub credentials_in_body: bool,
}

impl fmt::Debug for OAuthSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthSpec").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// The tokens of one request.
pub(super) struct OAuth {
    url: String,
    headers: HeaderMap,
    body: String,
    /// The client's secret, as it is and as a header has it.
    secrets: [String; 2],
    /// Held by whoever fetches a token.
    turn: tokio::sync::Mutex<()>,
    kept: Mutex<Kept>,
}

/// What came of the last fetch.
#[derive(Default)]
struct Kept {
    token: Option<Token>,
    failed: Option<(Instant, Failure)>,
}

/// A token.
#[derive(Clone)]
pub(super) struct Token {
    /// As `authorization` has it.
    pub(super) header: HeaderValue,
    /// As it must not be shown.
    pub(super) secret: Secret,
    fetched_at: Instant,
    good_until: Instant,
}

impl OAuth {
    /// Checks what the user wrote. The URL may be a secret, so problems do not repeat it.
    pub(super) fn build(spec: OAuthSpec) -> Result<Self, RequestError> {
        let OAuthSpec { token_url, client_id, client_secret, scopes, params, credentials_in_body } = spec;
        let wrong = |reason| RequestError::TokenUrl { reason };
        let url = Url::parse(&token_url).map_err(|_| wrong("it is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it is neither http nor https"));
        }
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it has a fragment, or a user's name or password, which are not sent"));
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !scopes.is_empty() {
            form.append_pair("scope", &scopes.join(" "));
        }
        for (name, value) in &params {
            form.append_pair(name, value);
        }
        let mut headers = HeaderMap::with_capacity(6);
        for (name, value) in [
            (header::USER_AGENT, USER_AGENT),
            (header::ACCEPT, "application/json"),
            (header::ACCEPT_ENCODING, "gzip, br, zstd"),
            (header::CONNECTION, "close"),
            (header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // RFC 6749 section 2.3.1: both are encoded as in a form, then joined.
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let basic = STANDARD.encode(format!("{}:{}", encoded(&client_id), encoded(&client_secret)));
        if credentials_in_body {
            form.append_pair("client_id", &client_id).append_pair("client_secret", &client_secret);
        } else {
            let unusable = |_| wrong("its credentials cannot be sent");
            let mut value = HeaderValue::try_from(format!("Basic {basic}")).map_err(unusable)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Self {
            url: url.into(),
            headers,
            body: form.finish(),
            secrets: [client_secret, basic],
            turn: tokio::sync::Mutex::default(),
            kept: Mutex::default(),
        })
    }

    /// What is sent to the token endpoint that nobody should see.
    pub(super) fn secrets(&self) -> impl Iterator<Item = String> {
        self.secrets.clone().into_iter()
    }

    /// A token that is good: the one at hand, or a new one. Who waits for another one's fetch shares what comes of it,
    /// also when it fails: an endpoint that is down is not asked by every target again.
    pub(super) async fn token(
        &self,
        request: &Request,
        fetcher: &Fetcher,
        deadline: Instant,
        clock: &Clock,
    ) -> Result<Token, Failure> {
        let wanted_at = clock.now();
        if let Some(token) = self.at_hand(wanted_at) {
            return Ok(token);
        }
        let _turn = self.turn.lock().await;
        let now = clock.now();
        if let Some(token) = self.at_hand(now) {
            return Ok(token);
        }
        // However short its life: it was fetched since it was wanted.
        if let Some(token) = self.kept().token.clone().filter(|token| token.fetched_at >= wanted_at) {
            return Ok(token);
        }
        if let Some((_, failure)) = self.kept().failed.as_ref().filter(|(at, _)| *at >= wanted_at) {
            return Err(failure.clone());
        }
        // Some time is left to tell those who wait of a failure, before they come to their own deadlines.
        let token_deadline = now + deadline.saturating_duration_since(now) / 10 * 9;
        let asking = self.request(request);
        let exchange = fetcher.fetch_within(&asking, &self.url, token_deadline, clock).await;
        let answer = token_of(&exchange, now);
        *self.kept() = match &answer {
            Ok(token) => Kept { token: Some(token.clone()), failed: None },
            Err(failure) => Kept { token: None, failed: Some((clock.now(), failure.clone())) },
        };
        answer
    }

    /// The target does not accept a token: it is not used again.
    pub(super) fn refused(&self, token: &Token) {
        let mut kept = self.kept();
        if kept.token.as_ref().is_some_and(|known| known.header == token.header) {
            kept.token = None;
        }
    }

    fn at_hand(&self, now: Instant) -> Option<Token> {
        self.kept().token.clone().filter(|token| now < token.good_until)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What asks for a token: on the same ways as the request itself, with nothing of it that is for the target.
    fn request(&self, request: &Request) -> Request {
        Request {
            method: Method::POST,
            headers: self.headers.clone(),
            body: Some(self.body.clone().into()),
            follow_redirects: false,
            body_limit: LONGEST_ANSWER,
            fail_if_body_over: None,
            response_headers: Arc::default(),
            tls: request.tls.for_another_server(),
            http_version: HttpVersions::Auto,
            reuses_connections: None,
            oauth: None,
            first_query: None,
            ..request.clone()
        }
    }
}

/// The token in an endpoint's answer (RFC 6749 section 5.1) to a request that was sent then.
fn token_of(exchange: &Exchange, sent: Instant) -> Result<Token, Failure> {
    if let Some(Failure { kind, message }) = &exchange.failure {
        return Err(no_token(&format!("{kind}: {message}")));
    }
    let status = exchange.head.as_ref().map_or(0, |head| head.status);
    let answer: serde_json::Value = serde_json::from_slice(&exchange.body).unwrap_or_default();
    let text = |name: &str| answer.get(name).and_then(|value| value.as_str());
    if status != 200 {
        let code = text("error").and_then(|error| ERROR_CODES.iter().find(|code| **code == error));
        let code = code.map(|code| format!(", {code}")).unwrap_or_default();
        return Err(no_token(&format!("the token endpoint answered with status {status}{code}")));
    }
    if text("token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(no_token("the token endpoint gave a token that is no bearer token"));
    }
    let token = text("access_token").filter(|token| !token.is_empty());
    let header = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    let (Some(token), Some(mut header)) = (token, header) else {
        return Err(no_token("the token endpoint's answer has no \"access_token\" that could be sent"));
    };
    header.set_sensitive(true);
    let life = answer.get("expires_in").and_then(seconds).unwrap_or(USUAL_LIFE);
    Ok(Token { header, secret: Secret::new(token), fetched_at: sent, good_until: sent + good_for(life) })
}

/// A number of seconds; some endpoints write it as a text.
fn seconds(value: &serde_json::Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
    let most = LONGEST_LIFE.as_secs_f64();
    seconds.is_finite().then(|| Duration::from_secs_f64(seconds.clamp(0.0, most)))
}

/// How long a token is used whose life is `life`.
fn good_for(life: Duration) -> Duration {
    life.saturating_sub((life / 10).min(LONGEST_MARGIN))
}

fn no_token(why: &str) -> Failure {
    Failure::new(ErrorKind::OAuth, format!("there is no token for the target: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_used_until_shortly_before_they_expire() {
        for (life, good) in [(0, 0), (10, 9), (60, 54), (300, 270), (3_600, 3_570), (86_400, 86_370)] {
            assert_eq!(good_for(Duration::from_secs(life)), Duration::from_secs(good), "{life}");
        }
        for (text, expected) in [
            ("3600", Some(3_600)),
            ("\"3600\"", Some(3_600)),
            ("1e30", Some(86_400)),
            ("-5", Some(0)),
            ("\"soon\"", None),
            ("\"NaN\"", None),
            ("null", None),
            ("[]", None),
        ] {
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(seconds(&value), expected.map(Duration::from_secs), "{text}");
        }
    }
}
