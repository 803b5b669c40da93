//! What the tests of hostile guests judge with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use probity::check::{
    CheckEngine, CheckPool, CheckSet, CheckSpec, ConfiguredCheck, FaultKind, Isolation, Limits, MemoryState,
    Observed, Plugin, PoolSettings,
};
use probity::clock::{Clock, Instant, UnixNanos};
use probity::model::{Exchange, Head, HttpVersion, Severity, Target, Verdict};

use crate::wat_guest::Guest;

/// Never ends.
pub(crate) const EVER: Guest<'static> = Guest { run: "(loop $ever (br $ever)) unreachable", ..Guest::PLAIN };

/// A machine for judging: one thread, so that a check that harmed it would be missed.
pub(crate) struct Bench {
    pub(crate) engine: Arc<CheckEngine>,
    pub(crate) pool: CheckPool,
    pub(crate) clock: Clock,
    pub(crate) state: Arc<MemoryState>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let clock = Clock::system();
        let engine = Arc::new(CheckEngine::new().expect("an engine"));
        let pool = CheckPool::start(PoolSettings { threads: 1, queue: 8 }, &clock).expect("a pool");
        Self { engine, pool, clock, state: Arc::default() }
    }

    pub(crate) fn plugin(&self, guest: Guest<'_>) -> Arc<Plugin> {
        Arc::new(Plugin::load(&self.engine, &guest.component()).expect("a plugin"))
    }

    pub(crate) fn set(&self, guests: &[(Guest<'_>, Limits)]) -> Arc<CheckSet> {
        let checks = guests.iter().enumerate().map(|(number, (guest, limits))| {
            let spec = CheckSpec { limits: *limits, name: format!("c{number}").into(), ..spec() };
            ConfiguredCheck::new(&self.plugin(*guest), spec).expect("a configuration")
        });
        let state = Arc::clone(&self.state);
        Arc::new(CheckSet::new("p".into(), checks.collect(), state))
    }

    pub(crate) fn in_time(&self) -> Instant {
        self.clock.now() + Duration::from_mins(1)
    }

    /// The verdicts of a hostile guest and of a good one after it.
    pub(crate) async fn judge(&self, guest: Guest<'_>, limits: Limits) -> (Verdict, Verdict) {
        let set = self.set(&[(guest, limits), (Guest::default(), Limits::default())]);
        let judgement = self.pool.judge(&set, observed(b""), self.in_time()).await;
        let mut verdicts = judgement.verdicts.into_iter();
        (verdicts.next().expect("a verdict"), verdicts.next().expect("another verdict"))
    }

    pub(crate) fn errors(&self, kind: FaultKind) -> u64 {
        self.pool.stats().errors.iter().find(|(known, _)| *known == kind).expect("a kind").1
    }
}

pub(crate) fn spec() -> CheckSpec {
    CheckSpec {
        name: "c".into(),
        plugin: "guest.wasm".into(),
        severity: Severity::Fail,
        on_error: false,
        limits: Limits::default(),
        config: "{}".into(),
        isolation: Isolation::default(),
    }
}

pub(crate) fn observed(body: &'static [u8]) -> Arc<Observed> {
    let head = Head { status: 200, version: HttpVersion::Http11, headers: http::HeaderMap::new() };
    let exchange = Exchange { head: Some(head), body: Bytes::from_static(body), ..Exchange::default() };
    let target = Target { name: "t".into(), url: "http://t/".into(), labels: [].into(), every: None };
    Arc::new(Observed::new(target.into(), exchange.into(), UnixNanos(0)))
}
