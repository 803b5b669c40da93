//! Holds a frozen plugin against the configured one: both judge the same made-up responses, and have
//! to say the same. A snapshot that forgot something must never get as far as a real response.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use hyper::body::Bytes;

use super::compile::FreezeError;
use super::engine::CheckEngine;
use super::fault::FaultKind;
use super::gate::Gate;
use super::limits::Limits;
use super::observed::Observed;
use super::sandbox::{self, Answer, Origin, Run};
use super::state::{MemoryState, Staged, StateKey, StateStore};
use crate::clock::{Clock, UnixNanos};
use crate::model::{ErrorKind, Exchange, Failure, Head, HttpVersion, Phases, Target};

/// Both judge alike, or why not.
pub(super) fn same(
    engine: &CheckEngine,
    plain: Origin<'_>,
    frozen: Origin<'_>,
    limits: Limits,
) -> Result<(), FreezeError> {
    both(engine, (plain, None), (frozen, None), limits)
}

/// A plugin by itself and a part of one that has several judge alike, or why not.
pub(super) fn same_as_part(
    engine: &CheckEngine,
    alone: Origin<'_>,
    shared: Origin<'_>,
    member: u32,
    limits: Limits,
) -> Result<(), FreezeError> {
    both(engine, (alone, None), (shared, Some(member)), limits)
}

/// What is called: an instance, and which part of it.
type Called<'a> = (Origin<'a>, Option<u32>);

fn both(engine: &CheckEngine, one: Called<'_>, other: Called<'_>, limits: Limits) -> Result<(), FreezeError> {
    for observed in [page(), failure()] {
        let observed = Arc::new(observed);
        let expected = judge(engine, one, &observed, limits);
        let got = judge(engine, other, &observed, limits);
        if expected != got {
            return Err(FreezeError::Different(format!("\"{got}\" instead of \"{expected}\"")));
        }
    }
    Ok(())
}

/// Everything that a call gave, as one text.
fn judge(
    engine: &CheckEngine,
    (origin, member): Called<'_>,
    observed: &Arc<Observed>,
    limits: Limits,
) -> String {
    let nowhere: Arc<dyn StateStore> = Arc::new(MemoryState::default());
    let key = StateKey { pipeline: "".into(), target: "".into(), check: "".into() };
    let run = Run {
        clock: &Clock::system(),
        // A budget that is nearly used up must not make the difference.
        limits: limits.for_configuring(),
        gate: Arc::new(Gate::default()),
        observed: Arc::clone(observed),
        staged: Staged::new(&nowhere, key),
        member,
    };
    let (Answer { judged, report, remembered: _, staged }, _) = sandbox::run(engine, origin, run);
    let judged = match judged {
        Ok((status, message)) => format!("{}: {message}", status.as_str()),
        Err(fault) if fault.kind == FaultKind::Refused => format!("error: {}", fault.message),
        // The words of the others tell how many milliseconds it was.
        Err(fault) => fault.kind.as_str().to_owned(),
    };
    let remembers = staged.is_some();
    format!("{judged} {:?} {:?} {:?} {remembers}", report.metrics, report.annotations, report.log)
}

/// An ordinary page.
fn page() -> Observed {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/html; charset=utf-8"));
    let body = "<!doctype html><title>Trial</title><p>A page that nobody sent.</p>";
    let second = |phase: u64| Some(Duration::from_millis(phase));
    observed(Exchange {
        head: Some(Head { status: 200, version: HttpVersion::Http11, headers }),
        body: Bytes::from_static(body.as_bytes()),
        body_truncated: Some(false),
        phases: Phases { first_byte: second(20), total: second(30), ..Phases::default() },
        ..Exchange::default()
    })
}

/// No response at all.
fn failure() -> Observed {
    let failure = Failure::new(ErrorKind::ConnectRefused, "nobody was called");
    observed(Exchange { failure: Some(failure), ..Exchange::default() })
}

fn observed(exchange: Exchange) -> Observed {
    let target =
        Target { name: "trial".into(), url: "http://trial.invalid/".into(), labels: [].into(), every: None };
    Observed::new(target.into(), exchange.into(), UnixNanos(0))
}
