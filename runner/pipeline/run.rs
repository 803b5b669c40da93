//! THE data path: one function, read downwards.
//!
//! ```text
//! sources --targets--> schedule --due--> fetch --exchange--> checks --verdicts--> sinks
//! ```
//!
//! One loop hands out what is due, a place at a time, so that a full queue below slows it down and
//! nothing piles up: a probe keeps its place until its row was taken over by the sink. Each probe is
//! a task; check code runs on threads of its own; rows go to the writer's thread.
//!
//! A probe belongs to the generation of its pipeline under which its turn came, to its last row: a reload
//! changes what the loop hands out from then on, and nothing in flight.

mod flight;
mod line;
mod probe;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use self::flight::Landed;
use self::line::Line;
use self::probe::{Judged, Probe};
use super::roster::{Merged, Roster};
use super::stages::{Counted, Stages};
use super::{Built, Stop};
use crate::model::ProbeResult;
use crate::sink::{OnFull, ResultSender, SendRefused};

/// A generation of a pipeline at work.
#[derive(Debug)]
pub struct Live {
    /// The pipeline as it was built.
    pub built: Arc<Built>,
    /// Where its results go.
    pub results: ResultSender,
}

/// A new generation for a pipeline that runs.
#[derive(Debug)]
pub struct Order {
    /// The generation.
    pub live: Arc<Live>,
    /// Told once it runs.
    pub done: oneshot::Sender<Merged>,
}

/// Runs one pipeline: until `stop`, until nobody can send `orders` any more, or until its targets and
/// sources are at their end. Returns when its last row was handed to the sink.
pub(super) async fn run(
    live: Arc<Live>,
    stages: Arc<Stages>,
    roster: Roster,
    orders: mpsc::Receiver<Order>,
    stop: Stop,
) {
    let mut course = Line::begin(live, stages, roster, orders, stop);
    // 1. source: who is there to be probed? 2. schedule: whose turn is it?
    while let Some((probe, place)) = course.next().await {
        let stages = Arc::clone(course.stages());
        course.start(Arc::clone(&probe), async move {
            let Some(_place) = place.taken(&stages).await else { return Landed::without_row() };
            if let Some(row) = probe.skipped(&stages) {
                return probe.told(deliver(&stages, &probe, row).await);
            }
            let (request, checks) = (&probe.live.built.request, &probe.live.built.checks);
            let mut attempt = probe.first_attempt(&stages);
            loop {
                // 3. fetch: one target becomes one exchange, within the attempt's deadline; or one for each of its
                // addresses, where the pipeline wants that.
                let deadline = attempt.started + request.timeout();
                let url = &probe.turn.target.url;
                let judge = async |exchange| {
                    // 4. check: an exchange becomes verdicts, on the check threads, within the same deadline.
                    let exchange = Arc::new(exchange);
                    let observed = probe.observed(&attempt, &exchange);
                    let judgement = stages.checks.judge(checks, observed, deadline).await;
                    Judged::new(exchange, judgement)
                };
                let request = request.marked(|| attempt.id(&stages));
                let mut judged =
                    stages.fetcher.fetch_each(&request, url, deadline, &stages.clock, judge).await;
                // Does it decide, or is there another attempt? What checks remember is kept of the last one.
                let Some(deciding) = Judged::put_deciding_last(&mut judged) else {
                    return Landed::without_row();
                };
                let pause = probe.pause_after(&attempt, &deciding.exchange, deciding.outcome, &stages.clock);
                // 5. sink: exchange and verdicts become a row; it is recorded where the pipeline wants that,
                // and handed over.
                let mut landed = Landed::without_row();
                let mut rest = judged.into_iter();
                while let Some(one) = rest.next() {
                    let is_final = pause.is_none() && rest.len() == 0;
                    let (row, notes) = probe.judged_row(&stages, &attempt, is_final, one);
                    stages.recorder.offer(&probe.live.built, &row, notes);
                    landed = deliver(&stages, &probe, row).await;
                }
                let Some(pause) = pause else { return probe.told(landed) };
                attempt = probe.next_attempt(&attempt, pause, &stages.clock).await;
            }
        });
    }
    course.land().await;
}

/// Hands a row to the sink, and waits while it is full. It counts once the sink has it. A sink that
/// takes no rows any more has been told to seal what it has: then the row is lost, and counted as that.
/// Where the pipeline wants that, a row for which there is no room is dropped, and the sink counts it; but not
/// where a source is told of the probe: it would remember a target that has no row, and never give it again.
async fn deliver(stages: &Stages, probe: &Probe, row: ProbeResult) -> Landed {
    let landed = Landed::with_row(&row);
    let counted = Counted::of(&row);
    let Live { built, results } = &*probe.live;
    let on_full = if probe.turn.told.is_some() { OnFull::Block } else { built.sinks.on_full() };
    match results.offer(row, on_full).await {
        Ok(()) => {
            stages.counters.count(counted);
            landed
        }
        Err(SendRefused::Full) => {
            stages.counters.count(counted);
            landed.lost()
        }
        Err(SendRefused::Stopped) => {
            stages.counters.lose(1);
            landed.lost()
        }
    }
}

#[cfg(test)]
mod tests;
