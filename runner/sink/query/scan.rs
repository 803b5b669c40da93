//! Reads all segments of a query, on a few threads, and tallies their rows.
//!
//! Each thread has a tally of its own and reads its share of the bytes, in the order of time, to the row group: a day in
//! one file keeps several threads at work too. The tallies are added up at the end.

use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::rows::{ReadError, Wanted, read};
use super::segments::Source;
use crate::sink::SinkError;

/// Each keeps a tally of its own: more would cost more memory than they save time.
const MOST_THREADS: usize = 4;
/// How often it is looked for what is gone. A folder that changes faster than it can be listed is read as it was.
const ROUNDS: usize = 5;

/// What rows come to.
pub(crate) trait Tally: Send {
    /// Adds the rows of a batch.
    fn take(&mut self, batch: &RecordBatch) -> Result<(), ArrowError>;

    /// Adds what another tally has.
    fn merge(&mut self, other: Self);
}

/// A segment that could not be read, or not wholly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// Tallies every segment once. `list` is asked again where something is gone when it is opened.
pub(crate) fn scan<T: Tally>(
    list: impl Fn() -> Result<Vec<Source>, SinkError>,
    wanted: &Wanted,
    make: impl Fn() -> T + Sync,
) -> Result<(T, Vec<LeftOut>), SinkError> {
    let mut sum = make();
    let mut left_out = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..ROUNDS {
        let sources: Vec<_> = list()?.into_iter().filter(|source| !seen.contains(&source.key)).collect();
        if sources.is_empty() {
            break;
        }
        let mut gone = HashSet::new();
        for share in in_shares(&sources, wanted, &make) {
            sum.merge(share.tally);
            left_out.extend(share.left_out);
            gone.extend(share.gone);
        }
        seen.extend(sources.into_iter().map(|source| source.key).filter(|key| !gone.contains(key)));
        if gone.is_empty() {
            break;
        }
    }
    left_out.sort_by(|a, b| a.path.cmp(&b.path));
    left_out.dedup();
    Ok((sum, left_out))
}

/// What one thread has read.
struct Share<T> {
    tally: T,
    left_out: Vec<LeftOut>,
    /// The segments that were gone.
    gone: Vec<(PathBuf, String)>,
}

fn in_shares<T: Tally>(sources: &[Source], wanted: &Wanted, make: &(impl Fn() -> T + Sync)) -> Vec<Share<T>> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS) as u64;
    // Every one has at least a byte, so that an empty journal belongs to one share as well.
    let total: u64 = sources.iter().map(|source| source.bytes.max(1)).sum();
    let cuts: Vec<u64> = (0..=threads).map(|number| total * number / threads).collect();
    thread::scope(|scope| {
        let mut running = Vec::new();
        let mut shares = Vec::new();
        for cut in cuts.windows(2) {
            let range = cut[0]..cut[1];
            let own = range.clone();
            let builder = thread::Builder::new().name("query".to_owned());
            match builder.spawn_scoped(scope, move || one_share(sources, &own, wanted, make())) {
                Ok(thread) => running.push(thread),
                // The machine has no thread left.
                Err(_) => shares.push(one_share(sources, &range, wanted, make())),
            }
        }
        // Only a fault of ours outside of reading, which is caught, ends a thread otherwise.
        shares.extend(running.into_iter().filter_map(|thread| thread.join().ok()));
        shares
    })
}

/// Reads what begins within a range of all bytes.
fn one_share<T: Tally>(sources: &[Source], range: &Range<u64>, wanted: &Wanted, tally: T) -> Share<T> {
    let mut share = Share { tally, left_out: Vec::new(), gone: Vec::new() };
    let mut begin = 0;
    for source in sources {
        let end = begin + source.bytes.max(1);
        let own = range.start.max(begin)..range.end.min(end);
        if own.start < own.end {
            one_source(source, &(own.start - begin..own.end - begin), wanted, &mut share);
        }
        begin = end;
    }
    share
}

fn one_source<T: Tally>(source: &Source, own: &Range<u64>, wanted: &Wanted, share: &mut Share<T>) {
    // A decoder of a damaged file may panic; a row more or less of a file that is told as damaged does no harm.
    let tally = AssertUnwindSafe(|| read(source, own, wanted, &mut |batch| share.tally.take(batch)));
    let reason = match catch_unwind(tally) {
        Ok(Ok(())) => return,
        Ok(Err(ReadError::Gone)) => return share.gone.push(source.key.clone()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "decoding it failed in an unforeseen way".to_owned(),
    };
    share.left_out.push(LeftOut { path: source.path.clone(), reason });
}
