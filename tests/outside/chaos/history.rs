//! What was told and asked since the beginning, held against the rows that were kept: I1 and I3 to I5 of the
//! chaos suite.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::{Finished, Request, Row, Rows, unlike};

/// How long before a kill an answer must have left to be sure of its row: a check that loops, the writer's
/// linger and a busy machine lie between.
const SURE: Duration = Duration::from_secs(3);

type Key = (String, i64);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By SIGKILL.
    Killed,
    /// By itself, when asked to: then nothing at all may be missing.
    Clean,
}

/// The end of one process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// What its requests say in `x-run`, as [`name_of`] forms it.
    pub(super) number: usize,
    pub(super) ending: Ending,
    /// When it was killed, or asked to end.
    pub(super) at: Instant,
}

/// What the requests of a process say: no other text contains it, so that it may pass for a secret.
pub(super) fn name_of(number: usize) -> String {
    format!("process-{number:06}-of-this-folder")
}

/// One process.
#[derive(Clone)]
struct Run {
    ended: Ended,
    /// Microseconds since the Unix epoch.
    began_us: i64,
    ended_us: i64,
    /// None where it told of nothing.
    id: Option<String>,
}

/// What was told and asked so far.
#[derive(Clone, Default)]
pub(super) struct History {
    told: HashMap<Key, Row>,
    runs: Vec<Run>,
}

/// What became of it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) rows: u64,
    pub(super) told: u64,
    /// Numbers below the largest one of their run that are in no file: they were in flight at a kill.
    pub(super) holes: u64,
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

fn key(row: &Row) -> Key {
    (row["run_id"].as_str().unwrap().to_owned(), row["seq"].as_i64().unwrap())
}

impl History {
    /// Adds a process that has just ended, with the results that it has told of: a line counts once its end
    /// has come.
    pub(super) fn add(&mut self, finished: &Finished, ended: Ended) {
        let mut run_id = None;
        for line in finished.json_lines() {
            let key = key(&line);
            run_id = Some(key.0.clone());
            let twice = self.told.insert(key, line);
            assert!(twice.is_none(), "I3: told twice: {twice:?}");
        }
        let began_us = now_us() - finished.began.elapsed().as_micros() as i64;
        let ended_us = now_us() - ended.at.elapsed().as_micros() as i64;
        let again = self.runs.iter().any(|run| run_id.is_some() && run.id == run_id);
        assert!(!again, "I3: two processes call themselves {run_id:?}");
        self.runs.push(Run { ended, began_us, ended_us, id: run_id });
    }

    /// Asserts that the rows are what they must be, and that requests and rows belong together.
    #[track_caller]
    pub(super) fn expect_kept(&self, rows: &Rows, requests: &[Request]) -> Kept {
        let kept = self.expect_rows(rows);
        expect_asked(rows, requests);
        self.expect_answered(rows, requests);
        kept
    }

    /// Asserts that the rows are what they must be.
    #[track_caller]
    pub(super) fn expect_rows(&self, rows: &Rows) -> Kept {
        rows.expect_whole();
        let index: HashMap<Key, &Row> = rows.probes.iter().map(|row| (key(row), row)).collect();
        self.expect_told(rows, &index);
        let holes = self.expect_no_holes(&index);
        Kept { rows: rows.probes.len() as u64, told: self.told.len() as u64, holes }
    }

    /// I1 and I3: whatever was told is there, as it was told.
    #[track_caller]
    fn expect_told(&self, rows: &Rows, index: &HashMap<Key, &Row>) {
        let mut verdicts: HashMap<Key, Vec<&Row>> = HashMap::new();
        for verdict in &rows.checks {
            verdicts.entry(key(verdict)).or_default().push(verdict);
        }
        let lost: Vec<_> = self.told.keys().filter(|key| !index.contains_key(*key)).collect();
        assert!(lost.is_empty(), "I1: {} of {} lost: {lost:?}", lost.len(), self.told.len());
        for (key, line) in &self.told {
            let none = Vec::new();
            let difference = unlike(line, index[key], verdicts.get(key).unwrap_or(&none));
            assert_eq!(difference, None, "I3: {line:?}");
        }
    }

    /// I5: an answer that left long enough before a kill, or at any time before a clean end, has its row.
    #[track_caller]
    fn expect_answered(&self, rows: &Rows, requests: &[Request]) {
        let seen: HashSet<usize> = rows.probes.iter().filter_map(nonce).collect();
        let runs: HashMap<String, &Run> =
            self.runs.iter().map(|run| (name_of(run.ended.number), run)).collect();
        for request in requests.iter().filter(|request| request.answered.is_some()) {
            let said = request.headers.iter().find_map(|line| line.strip_prefix("x-run: "));
            let run =
                said.and_then(|said| runs.get(said)).unwrap_or_else(|| panic!("of no process: {request:?}"));
            let Some(left) = request.left else { continue };
            let Ended { ending, at, .. } = run.ended;
            let sure = if ending == Ending::Clean { left < at } else { left + SURE < at };
            assert!(
                !sure || seen.contains(&request.nonce),
                "I5: no row of an answer that left {:?} before the end ({ending:?}) of {:?}: {request:?}",
                at.saturating_duration_since(left),
                run.id
            );
        }
    }

    /// I5: the rows of a run are numbered without a gap, but for what was in flight when it was killed.
    #[track_caller]
    fn expect_no_holes(&self, index: &HashMap<Key, &Row>) -> u64 {
        let mut numbers: HashMap<&str, BTreeSet<i64>> = HashMap::new();
        for (run_id, seq) in index.keys() {
            numbers.entry(run_id).or_default().insert(*seq);
        }
        let mut holes = 0;
        for run in &self.runs {
            let Some((run_id, seqs)) = run.id.as_deref().and_then(|id| numbers.get_key_value(id)) else {
                continue;
            };
            let largest = seqs.last().copied().unwrap_or(0);
            for hole in (1..=largest).filter(|seq| !seqs.contains(seq)) {
                holes += 1;
                let before = seqs.range(..hole).next_back();
                let end = before.map_or(run.began_us, |seq| end_us(index[&((*run_id).to_owned(), *seq)]));
                let fresh = end + SURE.as_micros() as i64 >= run.ended_us;
                assert!(
                    run.ended.ending == Ending::Killed && fresh,
                    "I5: {run_id} lacks number {hole} of {largest}, {} us before its end ({:?})",
                    run.ended_us - end,
                    run.ended.ending
                );
            }
        }
        holes
    }
}

/// The nonce of the answer that a row tells of; none where it has seen no head of an answer.
fn nonce(row: &Row) -> Option<usize> {
    row["response_headers"].get("x-nonce")?.as_str()?.parse().ok()
}

/// When an attempt had ended, microseconds since the Unix epoch.
fn end_us(row: &Row) -> i64 {
    row["started_at"].as_i64().unwrap_or(0) + row["total_us"].as_i64().unwrap_or(0)
}

/// I4: every row tells of a request that was made, and of one that no other row tells of.
#[track_caller]
fn expect_asked(rows: &Rows, requests: &[Request]) {
    let mut seen = HashSet::new();
    let mut unmatched: HashMap<&str, i64> = HashMap::new();
    for row in &rows.probes {
        let url = row["url"].as_str().unwrap();
        let Some(nonce) = nonce(row) else {
            // Where time or room was short, there may have been no request.
            let ours = row["error_kind"]
                .as_str()
                .is_some_and(|kind| kind.contains("timeout") || kind.starts_with("local"));
            *unmatched.entry(url).or_default() += i64::from(!ours);
            continue;
        };
        let request = requests.get(nonce).unwrap_or_else(|| panic!("I4: a row of no request: {row:?}"));
        assert!(url.ends_with(&request.path), "I4: a row of another request, {request:?}: {row:?}");
        assert!(seen.insert(nonce), "I4: one answer in two rows: {row:?}");
        if let Some(hash) = &request.answered
            && row["error_kind"].is_null()
        {
            assert_eq!(row["body_xxh3"], Value::from(hash.as_str()), "I4: {row:?}");
        }
    }
    let mut asked: HashMap<&str, i64> = HashMap::new();
    for request in requests.iter().filter(|request| !seen.contains(&request.nonce)) {
        *asked.entry(&request.path).or_default() += 1;
    }
    for (url, rows) in unmatched {
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        let requests = asked.get(format!("/{path}").as_str()).copied().unwrap_or(0);
        assert!(rows <= requests, "I4: {rows} rows without an answer of {requests} such requests: {url}");
    }
}
