//! What is known of an attempt so far, kept outside the future that the deadline cuts off.
//!
//! [`Progress`] belongs to the attempt's task alone. [`Wire`] is the part that hyper's connector and connection
//! own a share of; both run in the attempt's task too, so its lock is never waited for. A connection that is kept takes
//! its share along to the next attempt, and leaves a copy.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;

use super::body::KeptBody;
use super::facts;
use super::proxy;
use super::tls::{HandshakeRecorder, Shown};
use super::wire::Violation;
use crate::clock::{Clock, Instant};
use crate::model::{ErrorKind, Exchange, Failure, Head, Hop, Phases};

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    /// Waiting for, or asking, the resolver.
    #[default]
    Dns,
    /// Connecting.
    Connect,
    /// Shaking hands.
    Tls,
    /// Sending the request and waiting for the response's head.
    FirstByte,
    /// Reading the body.
    Transfer,
}

/// How a request goes through a proxy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Whether the proxy is sent the request itself, instead of carrying a connection.
    pub(super) forwards: bool,
    /// Whether anything has come from beyond a proxy that carries a connection.
    pub(super) is_heard: bool,
}

/// What the dialer and the connection tell of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct WireState {
    /// How far the dialer has come; `Tls` once it is done.
    pub(super) stage: Stage,
    /// Whether the name has yet to be asked for, since others are.
    pub(super) waits_for_turn: bool,
    /// Time to resolve the name.
    pub(super) dns: Option<Duration>,
    /// Time to connect.
    pub(super) connect: Option<Duration>,
    /// When the connection stood.
    pub(super) connected_at: Option<Instant>,
    /// The address connected to, or tried last.
    pub(super) remote_addr: Option<SocketAddr>,
    /// How many addresses the resolver gave.
    pub(super) dns_answers: Option<u32>,
    /// Bytes of the final response's head, once it is whole; with HTTP/2 as it is compressed.
    pub(super) header_bytes: Option<u64>,
    /// Whether anything of a response has come: any byte of HTTP/1, or a frame of HTTP/2 with a head or a body.
    pub(super) any_byte: bool,
    /// Why TLS broke once the handshake was over, which h2 hands on as a text only.
    pub(super) tls_error: Option<rustls::Error>,
    /// What no honest other side does, and this one did.
    pub(super) violation: Option<Violation>,
    /// Which of its connection's exchanges this is, from 0.
    pub(super) nth_exchange: u32,
    /// How the request goes through a proxy; none where it does not.
    pub(super) way: Option<Way>,
}

/// A share of what the dialer and the connection tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Wire(Arc<Mutex<WireState>>);

impl Wire {
    /// The next exchange begins on a connection that stands.
    pub(super) fn begin_exchange(&self) {
        let mut state = self.lock();
        let WireState { stage, connected_at, remote_addr, nth_exchange, way, .. } = *state;
        // Whoever carried the last exchange may be gone by now.
        let way = way.map(|way| Way { is_heard: false, ..way });
        let nth_exchange = nth_exchange + 1;
        *state = WireState { stage, connected_at, remote_addr, nth_exchange, way, ..WireState::default() };
    }

    /// One that nobody else writes to.
    pub(super) fn copy(&self) -> Self {
        let state = self.lock().clone();
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, WireState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt so far.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) exchange: Exchange,
    /// What the current request's dialer and connection tell.
    pub(super) wire: Wire,
    /// What the current request's handshake shows; none for plain http.
    pub(super) handshake: Option<Arc<HandshakeRecorder>>,
    /// The body of the last response.
    pub(super) body: KeptBody,
    /// Whether the attempt waits for a token: the target has not been asked yet.
    pub(super) waits_for_token: bool,
    /// Whether the body waits for memory, not for the other side.
    pub(super) waits_for_memory: bool,
    /// The current request's phases that are not the dialer's.
    pub(super) tls: Option<Duration>,
    pub(super) first_byte: Option<Duration>,
    /// How far the current request has come beyond the dialer.
    stage: Stage,
    /// When `stage` began.
    stage_began: Instant,
    hop_url: String,
    hop_status: Option<u16>,
    hop_began: Instant,
    began: Instant,
}

impl Progress {
    /// An attempt that begins now.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            exchange: Exchange::default(),
            wire: Wire::default(),
            handshake: None,
            body: KeptBody::default(),
            waits_for_token: false,
            waits_for_memory: false,
            tls: None,
            first_byte: None,
            stage: Stage::Dns,
            stage_began: now,
            hop_url: String::new(),
            hop_status: None,
            hop_began: now,
            began: now,
        }
    }

    /// The next request begins; what was known of the one before has been settled.
    pub(super) fn begin_hop(&mut self, url: String, method: http::Method, now: Instant) {
        self.wire = Wire::default();
        self.handshake = None;
        self.body = KeptBody::default();
        self.tls = None;
        self.first_byte = None;
        self.stage = Stage::Dns;
        self.stage_began = now;
        self.hop_began = now;
        self.exchange.method = Some(method);
        self.hop_status = None;
        self.hop_url = url;
    }

    /// The connection that was taken up is gone: the current request begins once more.
    pub(super) fn start_over(&mut self, now: Instant) {
        self.wire = Wire::default();
        self.exchange.tls = None;
        self.enter(Stage::Dns, now);
    }

    /// The head of the current request's response has come.
    pub(super) fn head_came(&mut self, head: Head, now: Instant) {
        self.first_byte = Some(self.in_stage(now));
        self.enter(Stage::Transfer, now);
        self.hop_status = Some(head.status);
        self.exchange.head = Some(head);
    }

    /// The current request has come to `stage`.
    pub(super) fn enter(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.stage_began = now;
    }

    /// How far the current request has come.
    pub(super) fn stage(&self) -> Stage {
        match self.stage {
            // Until the connector is done, the dialer knows best.
            Stage::Dns => self.wire.lock().stage,
            later => later,
        }
    }

    /// How long the current stage lasts.
    pub(super) fn in_stage(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stage_began)
    }

    /// The failure that the deadline makes of the stage it met.
    pub(super) fn at_deadline(&self) -> Failure {
        let remote = self.wire.lock().remote_addr;
        let whom = remote.map_or_else(|| "the target".to_owned(), |address| address.to_string());
        let (kind, message) = match self.stage() {
            _ if self.waits_for_memory => {
                let message = "other bodies had all of body_memory until the deadline";
                (ErrorKind::LocalMemory, message.to_owned())
            }
            _ if self.waits_for_token => (
                ErrorKind::OAuth,
                "there is no token for the target: none came before the deadline".to_owned(),
            ),
            Stage::Dns if self.wire.lock().waits_for_turn => {
                let message = "other names had every turn with the name servers until the deadline";
                (ErrorKind::LocalLimit, message.to_owned())
            }
            Stage::Dns => (ErrorKind::DnsTimeout, "the name was not resolved before the deadline".to_owned()),
            Stage::Connect => {
                (ErrorKind::ConnectTimeout, format!("{whom} did not answer before the deadline"))
            }
            Stage::Tls => {
                (ErrorKind::TlsTimeout, format!("{whom} did not end the TLS handshake before the deadline"))
            }
            Stage::FirstByte => {
                (ErrorKind::Timeout, format!("{whom} did not send a response before the deadline"))
            }
            Stage::Transfer => {
                let read = self.body.arrived();
                let message = format!("{whom} did not end the body before the deadline, {read} bytes came");
                (ErrorKind::Timeout, message)
            }
        };
        Failure::new(kind, message)
    }

    /// A failure of the current request as it is to be told: a proxy's is not the target's.
    pub(super) fn told(&self, failure: Failure) -> Failure {
        proxy::seen_through(failure, &self.wire.lock(), self.first_byte.is_some())
    }

    /// The current request ended, well or not: its facts and phases go into the exchange.
    pub(super) fn settle_hop(&mut self, more_follow: bool, clock: &Clock) {
        let now = clock.now();
        // The body of a redirect that is followed is not read.
        let transfer = self.body.begun().then(|| self.in_stage(now));
        let wire = self.wire.lock();
        let phases = Phases {
            dns: wire.dns,
            connect: wire.connect,
            tls: self.tls,
            first_byte: self.first_byte,
            transfer,
            total: Some(now.saturating_duration_since(self.hop_began)),
        };
        let exchange = &mut self.exchange;
        exchange.remote_addr = wire.remote_addr;
        exchange.dns_answers = wire.dns_answers;
        exchange.header_bytes = wire.header_bytes.or(exchange.header_bytes);
        exchange.connection_reused = wire.connected_at.map(|_| wire.nth_exchange > 0);
        drop(wire);
        if let Some(handshake) = self.handshake.take() {
            settle_tls(exchange, &handshake.shown());
        }
        add_phases(&mut exchange.phases, &phases);
        let status = self.hop_status;
        let url = std::mem::take(&mut self.hop_url);
        if more_follow || !exchange.hops.is_empty() {
            exchange.hops.push(Hop { url: url.clone(), status, phases });
        }
        exchange.final_url = Some(url).filter(|url| !url.is_empty());
    }

    /// The attempt ended.
    pub(super) fn finish(mut self, failure: Option<Failure>, now: Instant) -> Exchange {
        let body = std::mem::take(&mut self.body);
        let mut exchange = self.exchange;
        exchange.phases.total = Some(now.saturating_duration_since(self.began));
        if body.begun() {
            exchange.body_bytes = Some(body.arrived());
            exchange.decoded_bytes = Some(body.read());
            exchange.body_truncated = body.ended().then(|| body.truncated());
            exchange.body = body.into_bytes();
        } else {
            exchange.body = Bytes::new();
        }
        exchange.failure = failure;
        exchange
    }
}

/// Adds a hop's phases to the sum; the total is the attempt's own.
fn add_phases(sum: &mut Phases, hop: &Phases) {
    let Phases { dns, connect, tls, first_byte, transfer, total: _ } = hop;
    for (sum, hop) in [
        (&mut sum.dns, dns),
        (&mut sum.connect, connect),
        (&mut sum.tls, tls),
        (&mut sum.first_byte, first_byte),
        (&mut sum.transfer, transfer),
    ] {
        *sum = match (*sum, *hop) {
            (Some(sum), Some(hop)) => Some(sum + hop),
            (sum, hop) => sum.or(hop),
        };
    }
}

/// Adds what the handshake has shown, where it has shown anything.
fn settle_tls(exchange: &mut Exchange, shown: &Shown) {
    if !shown.chain.is_empty() {
        facts::add_shown(exchange.tls.get_or_insert_default(), shown);
    }
}
