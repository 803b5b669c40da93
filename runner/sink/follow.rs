//! Whoever gets results once they are in the journal: stdout, later others. One that fails is counted
//! and logged, and never stops the rest.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tracing::{info, warn};

use super::batch::ResultBatch;
use super::counters::{WriterCounters, add};

/// Takes results that are safe already.
pub trait Follower: Send {
    /// Takes one batch. It is called on the sink's thread: one that blocks slows the whole sink.
    /// `BrokenPipe` means that nobody reads any more: the follower is not called again.
    fn deliver(&mut self, batch: &ResultBatch) -> io::Result<()>;
}

/// A follower with its name and the pipelines that it wants.
pub struct FollowerSpec {
    /// For logs.
    pub name: String,
    /// Only results of these pipelines; none means all.
    pub pipelines: Option<HashSet<Arc<str>>>,
    /// The follower.
    pub follower: Box<dyn Follower>,
}

/// A follower at work.
struct Following {
    spec: FollowerSpec,
    failing: bool,
    ended: bool,
}

/// All followers of one writer.
pub(crate) struct Followers {
    all: Vec<Following>,
    counters: Arc<WriterCounters>,
}

impl Followers {
    pub(crate) fn new(specs: Vec<FollowerSpec>, counters: Arc<WriterCounters>) -> Self {
        let all = specs.into_iter().map(|spec| Following { spec, failing: false, ended: false }).collect();
        Self { all, counters }
    }

    /// Hands a batch to each of them.
    pub(crate) fn deliver(&mut self, batch: &ResultBatch) {
        for following in self.all.iter_mut().filter(|following| !following.ended) {
            let delivered = match &following.spec.pipelines {
                None => following.spec.follower.deliver(batch),
                Some(wanted) => only_pipelines(batch, wanted)
                    .map_err(io::Error::other)
                    .and_then(|part| part.map_or(Ok(()), |part| following.spec.follower.deliver(&part))),
            };
            following.note(delivered, &self.counters);
        }
    }
}

impl Following {
    /// Counts a failure, and logs each change of state once.
    fn note(&mut self, delivered: io::Result<()>, counters: &WriterCounters) {
        let sink = self.spec.name.as_str();
        match delivered {
            Ok(()) if self.failing => {
                info!(sink, "the sink takes results again");
                self.failing = false;
            }
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                info!(sink, "nobody reads the sink any more");
                self.ended = true;
                add(&counters.followers_ended, 1);
            }
            Err(error) => {
                add(&counters.follower_errors, 1);
                if !self.failing {
                    warn!(sink, %error, "the sink fails: results are missing there");
                    self.failing = true;
                }
            }
        }
    }
}

/// The rows of some pipelines; none if there are none.
fn only_pipelines(
    batch: &ResultBatch,
    wanted: &HashSet<Arc<str>>,
) -> Result<Option<ResultBatch>, ArrowError> {
    let probes = only_rows(&batch.probes, wanted)?;
    if probes.num_rows() == 0 {
        return Ok(None);
    }
    Ok(Some(ResultBatch { probes, checks: only_rows(&batch.checks, wanted)? }))
}

fn only_rows(rows: &RecordBatch, wanted: &HashSet<Arc<str>>) -> Result<RecordBatch, ArrowError> {
    let Some(pipelines) = rows.column_by_name("pipeline") else { return Ok(rows.clone()) };
    let mask: BooleanArray = pipelines
        .as_string::<i32>()
        .iter()
        .map(|name| Some(name.is_some_and(|name| wanted.contains(name))))
        .collect();
    if mask.true_count() == rows.num_rows() {
        return Ok(rows.clone());
    }
    filter_record_batch(rows, &mask)
}
