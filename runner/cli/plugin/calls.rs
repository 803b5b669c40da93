//! Calls of a check, timed: what `inspect` and `bench` have in common.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::check::{
    CheckSet, CheckSpec, ConfigureError, ConfiguredCheck, Effort, Isolation, Limits, MemoryState, Observed,
    Plugin, Timing, time_in_turn,
};
use crate::clock::{Clock, UnixNanos};
use crate::model::{Exchange, Head, HttpVersion, Phases, Severity, Target, Verdict};

/// Limits of a timed call: wide, since it is the plugin that is looked at. The big interpreters need this
/// much memory.
const LIMITS: Limits = Limits { time: Duration::from_secs(1), memory_bytes: 256 << 20 };

/// How a call may begin, as it is told.
pub(super) const BARE: &str = "bare start";

/// One plugin with one configuration, ready to be called in each way.
pub(super) struct Calls {
    /// Without a snapshot; then with one, or why there is none.
    configure: CheckSet,
    reuse: CheckSet,
    snapshot: Result<CheckSet, String>,
    observed: Arc<Observed>,
}

/// One way to call, and how long it took.
pub(super) struct Row {
    /// The isolation, or [`BARE`].
    pub(super) what: &'static str,
    /// How long a call took.
    pub(super) timing: Timing,
    /// How many bare starts it takes, by the fastest tenth of each.
    pub(super) times_bare: f64,
}

impl Calls {
    /// Configures the plugin in each way; freezes it, which takes seconds. The error is the plugin's
    /// answer to the configuration.
    pub(super) fn new(plugin: &Arc<Plugin>, config: &str, body: Vec<u8>) -> Result<Self, ConfigureError> {
        let set = |isolation| {
            let check = ConfiguredCheck::new(plugin, spec(plugin, config, isolation))?;
            Ok(CheckSet::new("timed".into(), vec![check], Arc::new(MemoryState::default())))
        };
        let configure = set(Isolation::Configure)?;
        let snapshot = match set(Isolation::Snapshot) {
            Ok(set) => Ok(set),
            Err(ConfigureError::NotFrozen(reason)) => Err(reason.to_string()),
            Err(other) => Err(other.to_string()),
        };
        Ok(Self { configure, reuse: set(Isolation::Reuse)?, snapshot, observed: page(body) })
    }

    /// Why it cannot be frozen after `configure`; none where it can.
    pub(super) fn not_frozen(&self) -> Option<&str> {
        self.snapshot.as_ref().err().map(String::as_str)
    }

    /// What the check says of the page.
    pub(super) fn says(&self, clock: &Clock) -> Option<Verdict> {
        self.configure.judge_here(&self.observed, clock).verdicts.into_iter().next()
    }

    /// What a call begins with: the frozen check where there is one.
    pub(super) fn begins_with(&self) -> &ConfiguredCheck {
        let set = self.snapshot.as_ref().unwrap_or(&self.configure);
        &set.checks()[0]
    }

    /// Times a call in each way, in turn.
    pub(super) fn time(&self, effort: Effort, clock: &Clock) -> Result<Vec<Row>, String> {
        let bare = self.begins_with().bare_start()?;
        bare.once()?;
        let call = |set: &CheckSet| drop(set.judge_here(&self.observed, clock));
        let mut start = || {
            // It has worked above; what it needs is given back after each.
            let _ = bare.once();
        };
        let (mut reuse, mut configure) = (|| call(&self.reuse), || call(&self.configure));
        let mut snapshot = || {
            if let Ok(set) = &self.snapshot {
                call(set);
            }
        };
        let mut names = vec![BARE, "reuse", "configure"];
        let mut things: Vec<&mut dyn FnMut()> = vec![&mut start, &mut reuse, &mut configure];
        if self.snapshot.is_ok() {
            names.insert(2, "snapshot");
            things.insert(2, &mut snapshot);
        }
        let timings = time_in_turn(&mut things, effort, clock);
        let bare = timings.first().map_or(Duration::ZERO, |timing| timing.p10).as_secs_f64().max(1e-9);
        let rows = names.into_iter().zip(timings);
        Ok(rows
            .map(|(what, timing)| Row { what, timing, times_bare: timing.p10.as_secs_f64() / bare })
            .collect())
    }
}

impl Row {
    /// As a JSON object.
    pub(super) fn object(&self) -> Value {
        let Timing { calls, p10, median, p99, cpu } = self.timing;
        json!({
            "isolation": if self.what == BARE { "bare" } else { self.what },
            "calls": calls,
            "p10_us": micros(p10),
            "median_us": micros(median),
            "p99_us": micros(p99),
            "cpu_us": micros(cpu),
            "times_bare": (self.times_bare * 100.0).round() / 100.0,
        })
    }
}

/// Rows as a table.
pub(super) fn table(rows: &[Row]) -> String {
    let titles = ["p10", "median", "p99", "CPU"].map(|title| format!("{title:>9}")).join("  ");
    let mut out = format!("{:12}  {titles}  {:>10}\n", "a call", "times bare");
    for Row { what, timing: Timing { calls: _, p10, median, p99, cpu }, times_bare } in rows {
        let times = [p10, median, p99, cpu].map(|time| format!("{:>9}", length(*time))).join("  ");
        let _ = writeln!(out, "{what:12}  {times}  {times_bare:>10.1}");
    }
    out
}

/// A length of time with three digits or so: `7.1 us`, `1.24 ms`, `12 s`.
pub(super) fn length(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    let (number, unit) = match nanos {
        nanos if nanos < 1e6 => (nanos / 1e3, "us"),
        nanos if nanos < 1e9 => (nanos / 1e6, "ms"),
        nanos => (nanos / 1e9, "s"),
    };
    match number {
        number if number < 10.0 => format!("{number:.2} {unit}"),
        number if number < 100.0 => format!("{number:.1} {unit}"),
        number => format!("{number:.0} {unit}"),
    }
}

/// A number of bytes for people: `57 KiB`.
pub(super) fn size(bytes: usize) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

fn spec(plugin: &Plugin, config: &str, isolation: Isolation) -> CheckSpec {
    CheckSpec {
        name: plugin.manifest().name.as_str().into(),
        plugin: plugin.manifest().name.as_str().into(),
        severity: Severity::Fail,
        on_error: false,
        limits: LIMITS,
        config: config.into(),
        isolation,
    }
}

/// An ordinary answer with this body.
fn page(body: Vec<u8>) -> Arc<Observed> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/html; charset=utf-8"));
    let exchange = Exchange {
        head: Some(Head { status: 200, version: HttpVersion::Http11, headers }),
        body: Bytes::from(body),
        body_truncated: Some(false),
        phases: Phases {
            first_byte: Some(Duration::from_millis(20)),
            total: Some(Duration::from_millis(30)),
            ..Phases::default()
        },
        ..Exchange::default()
    };
    let url = "https://example.test/";
    let target = Target { name: url.into(), url: url.into(), labels: [].into(), every: None };
    Arc::new(Observed::new(target.into(), exchange.into(), UnixNanos(0)))
}

/// A page of so many bytes, for those who bring none.
pub(super) fn made_up_page(bytes: usize) -> Vec<u8> {
    let begin = "<!doctype html><title>A page that nobody sent</title>\n";
    let line = "<p>One line is as good as another, and 42 is a number.</p>\n";
    begin.bytes().chain(line.bytes().cycle()).take(bytes).collect()
}
