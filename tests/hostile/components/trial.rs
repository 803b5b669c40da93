//! Has a component do what plugins do: it is loaded, configured, and judges.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use probity::check::{
    CheckEngine, CheckPool, CheckSet, CheckSpec, ConfigureError, ConfiguredCheck, FaultKind, Isolation,
    Limits, MemoryState, Observed, Plugin, PoolSettings,
};
use probity::clock::{Clock, Instant, UnixNanos};
use probity::model::{CheckStatus, Exchange, Head, HttpVersion, Severity, Target, Verdict};

use super::component;
use crate::wat_guest::Guest;

/// Small, so that a loop costs little.
const LIMITS: Limits = Limits { time: Duration::from_millis(2), memory_bytes: 2 << 20 };
/// Calls of each check: `reuse` finds in the second what the first one left.
const CALLS: u32 = 2;

/// A machine for trials: one check thread.
pub(crate) struct Trial {
    engine: Arc<CheckEngine>,
    pool: CheckPool,
    clock: Clock,
    seen: Arc<Observed>,
    good: Arc<CheckSet>,
}

/// What became of one component.
#[derive(Debug)]
pub(crate) struct Tried {
    /// Where it ended: `refused: Damaged`, `not configured: Failed`, `judged: pass`, `judged: output`.
    pub(crate) how: String,
    /// The longest call.
    pub(crate) slowest_call: Duration,
    /// All of it, with compiling.
    pub(crate) took: Duration,
}

impl Trial {
    /// Starts the machine.
    pub(crate) fn new() -> Self {
        let clock = Clock::system();
        let engine = Arc::new(CheckEngine::new().expect("an engine"));
        let pool = CheckPool::start(PoolSettings { threads: 1, queue: 8 }, &clock).expect("a pool");
        let plugin = Plugin::load(&engine, &Guest::PLAIN.component()).expect("a good plugin");
        let good =
            check(&Arc::new(plugin), Isolation::Configure, Limits::default()).expect("its configuration");
        Self { engine, pool, clock, seen: observed(), good: set(good) }
    }

    /// Tries the component of a seed. An error is a fault of the host.
    pub(crate) async fn try_one(&self, seed: u64) -> Result<Tried, String> {
        let (began, faults) = (self.clock.now(), self.faults());
        let (how, slowest_call) = self.see(seed, &component(seed)).await?;
        if self.faults() > faults {
            return Err(format!("a fault of the runner; {how}"));
        }
        Ok(Tried { how, slowest_call, took: self.clock.now().saturating_duration_since(began) })
    }

    /// A good check still judges as it should.
    pub(crate) async fn is_sound(&self) -> Result<(), String> {
        let verdict = self.judge(&self.good).await;
        match verdict.status {
            CheckStatus::Pass if verdict.message == "as it should be" => Ok(()),
            _ => Err(format!("a good check was harmed: {}", verdict.message)),
        }
    }

    async fn see(&self, seed: u64, bytes: &[u8]) -> Result<(String, Duration), String> {
        let plugin = match Plugin::load(&self.engine, bytes) {
            Ok(plugin) => Arc::new(plugin),
            Err(error) if error.to_string().contains("gave up") => return Err(error.to_string()),
            Err(error) => return Ok((format!("refused: {}", variant(&error)), Duration::ZERO)),
        };
        let isolation = match seed % 8 {
            0 => Isolation::Snapshot,
            1 => Isolation::Reuse,
            _ => Isolation::Configure,
        };
        let configured = match check(&plugin, isolation, LIMITS) {
            // Not every component can be frozen; then it is configured each time.
            Err(ConfigureError::NotFrozen(error)) if error.to_string().contains("gave up") => {
                return Err(error.to_string());
            }
            Err(ConfigureError::NotFrozen(_)) => check(&plugin, Isolation::Configure, LIMITS),
            other => other,
        };
        let set = match configured {
            Ok(check) => set(check),
            Err(error) => return Ok((format!("not configured: {}", variant(&error)), Duration::ZERO)),
        };
        let (mut how, mut slowest_call) = (String::new(), Duration::ZERO);
        for _ in 0..CALLS {
            let before = self.pool.stats().errors;
            let verdict = self.judge(&set).await;
            let after = self.pool.stats().errors;
            let kind = after.iter().zip(&before).find(|(after, before)| after.1 > before.1);
            let said = kind.map_or(verdict.status.as_str(), |((kind, _), _)| kind.as_str());
            how = format!("judged: {said}");
            slowest_call = slowest_call.max(verdict.duration);
            bounded(&verdict)?;
        }
        Ok((how, slowest_call))
    }

    async fn judge(&self, set: &Arc<CheckSet>) -> Verdict {
        let judgement = self.pool.judge(set, Arc::clone(&self.seen), self.in_time()).await;
        judgement.commit_state().remove(0)
    }

    fn in_time(&self) -> Instant {
        self.clock.now() + Duration::from_mins(1)
    }

    /// Faults of the runner itself so far.
    fn faults(&self) -> u64 {
        let internal = |error: &&(FaultKind, u64)| error.0 == FaultKind::Internal;
        self.pool.stats().errors.iter().find(internal).expect("a kind").1
    }
}

/// The name of an error's variant.
fn variant(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

/// What a verdict must be whatever the guest says: short, one line, no control characters, finite.
fn bounded(verdict: &Verdict) -> Result<(), String> {
    let is_tame = |text: &str, bytes: usize| text.len() <= bytes && !text.chars().any(char::is_control);
    let metrics = verdict.metrics.iter().all(|(name, value)| is_tame(name, 64) && value.is_finite());
    let annotations =
        verdict.annotations.iter().all(|(name, text)| is_tame(name, 64) && is_tame(text, 1_024));
    let is_bounded = is_tame(&verdict.message, 1_024)
        && metrics
        && annotations
        && verdict.metrics.len() <= 32
        && verdict.annotations.len() <= 32;
    if is_bounded { Ok(()) } else { Err(format!("a verdict beyond its bounds: {verdict:?}")) }
}

fn check(
    plugin: &Arc<Plugin>,
    isolation: Isolation,
    limits: Limits,
) -> Result<ConfiguredCheck, ConfigureError> {
    let spec = CheckSpec {
        name: "c".into(),
        plugin: "guest.wasm".into(),
        severity: Severity::Fail,
        on_error: false,
        limits,
        config: r#"{"text":"é🐟"}"#.into(),
        isolation,
    };
    ConfiguredCheck::new(plugin, spec)
}

fn set(check: ConfiguredCheck) -> Arc<CheckSet> {
    Arc::new(CheckSet::new("p".into(), vec![check], Arc::new(MemoryState::default())))
}

/// A response with a bit of everything: labels, headers, a body of several kinds of text.
fn observed() -> Arc<Observed> {
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("text/html; charset=utf-8"));
    for value in [&b"a=1"[..], b"b=\xff\xfe"] {
        headers.append("set-cookie", http::HeaderValue::from_bytes(value).expect("a value"));
    }
    let exchange = Exchange {
        head: Some(Head { status: 200, version: HttpVersion::Http11, headers }),
        body: Bytes::from("<p>é🐟 Ā\u{0}</p>".repeat(40)),
        ..Exchange::default()
    };
    let labels = [("team".into(), "core".into()), ("ä".into(), "🐟".into())];
    let target = Target { name: "t🐟".into(), url: "http://t/".into(), labels: labels.into(), every: None };
    Arc::new(Observed::new(target.into(), exchange.into(), UnixNanos(1)))
}
