//! What must be true of a disk that lost its power, before and after the next start.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use probity::clock::Clock;
use probity::sink::parquet::Table;
use probity::sink::parquet::recover::JournalReader;
use probity::sink::{Fsync, ParquetSpec, Writer, WriterSpec};
use twox_hash::XxHash3_64;

use super::disk::Disk;
use super::record::Recording;
use super::trace::Act;

/// `run_id` and `seq`.
type Key = (String, i64);
/// A whole row.
type Row = RecordBatch;

/// The run that recovers.
const NEXT_RUN: &str = "0198f0a0-0000-7000-8000-00000000000f";

/// What was written, when it was promised, and every file that was found to be right.
pub(super) struct Truth {
    rows: HashMap<Key, Written>,
    /// Operation and row, in the order of the operations.
    promised: Vec<(usize, Key)>,
    known_files: Mutex<HashMap<u64, Arc<Vec<Key>>>>,
}

struct Written {
    /// The operation that wrote it.
    at: usize,
    probe: Row,
    checks: Vec<Row>,
}

/// One journal, as it grew.
#[derive(Default)]
struct Growth {
    path: PathBuf,
    content: Vec<u8>,
    /// After which operation there were how many bytes.
    lengths: Vec<(usize, usize)>,
    /// Bytes that a sync has covered.
    synced: usize,
    /// Bytes promised so far.
    promised: usize,
}

impl Truth {
    pub(super) fn of(recording: &Recording) -> Self {
        let mut journals: BTreeMap<PathBuf, Growth> = BTreeMap::new();
        // Operation, journal, bytes of it: the rows in them are promised.
        let mut promises: Vec<(usize, PathBuf, usize)> = Vec::new();
        let mut told = Vec::new();
        let mut disk = Disk::new();
        for (at, op) in recording.ops.iter().enumerate() {
            let name = |path: &Path| journal_name(path);
            if let Act::Remove(path) = &op.act
                && let Some(growth) = name(path).and_then(|name| journals.get(&name))
            {
                promises.push((at, name(path).unwrap(), growth.content.len()));
            }
            let durable = disk.apply(op);
            match &op.act {
                Act::Write { path, .. } | Act::Rename { to: path, .. } => {
                    if let Some(name) = name(path) {
                        let growth = journals.entry(name).or_default();
                        growth.path.clone_from(path);
                        growth.content = disk.content(path).unwrap().to_vec();
                        growth.lengths.push((at, growth.content.len()));
                    }
                }
                Act::Sync(_) => {
                    if let Some(durable) = durable
                        && let Some(growth) = name(&durable.path).and_then(|name| journals.get_mut(&name))
                    {
                        growth.synced = durable.content.len();
                    }
                    for (name, growth) in &mut journals {
                        if growth.synced > growth.promised && disk.is_listed(&growth.path) {
                            growth.promised = growth.synced;
                            promises.push((at, name.clone(), growth.synced));
                        }
                    }
                }
                Act::Told { run_id, seq } if recording.told_is_safe => {
                    told.push((at, (run_id.clone(), *seq)));
                }
                _ => {}
            }
        }
        Self::of_journals(&journals, promises, told)
    }

    fn of_journals(
        journals: &BTreeMap<PathBuf, Growth>,
        of_journals: Vec<(usize, PathBuf, usize)>,
        mut promised: Vec<(usize, Key)>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = HashMap::new();
        let mut order: HashMap<&Path, Vec<(usize, Key)>> = HashMap::new();
        for (name, growth) in journals {
            let path = folder.path().join(name);
            fs::write(&path, &growth.content).unwrap();
            let reader = JournalReader::open(&path).unwrap();
            let probes = single_rows(&reader.read(Table::Probes).unwrap().0);
            let mut checks: HashMap<Key, Vec<Row>> = HashMap::new();
            for row in single_rows(&reader.read(Table::Checks).unwrap().0) {
                checks.entry(key(&row)).or_default().push(row);
            }
            let ends = ends_of_rows(&growth.content);
            assert_eq!(ends.len(), probes.len(), "rows of {}", name.display());
            for (end, probe) in ends.into_iter().zip(probes) {
                let key = key(&probe);
                let at = growth.lengths.iter().find(|(_, len)| *len >= end).unwrap().0;
                order.entry(name).or_default().push((end, key.clone()));
                let checks = checks.remove(&key).unwrap_or_default();
                let before = rows.insert(key.clone(), Written { at, probe, checks });
                assert!(before.is_none(), "in two journals: {key:?}");
            }
        }
        for (at, name, len) in of_journals {
            let covered = order.get(name.as_path()).into_iter().flatten().filter(|(end, _)| *end <= len);
            promised.extend(covered.map(|(_, key)| (at, key.clone())));
        }
        promised.sort();
        Self { rows, promised, known_files: Mutex::default() }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn promised(&self) -> usize {
        self.promised.iter().map(|(_, key)| key).collect::<HashSet<_>>().len()
    }

    /// Judges what a loss of power after `ops` operations has left in `folder`, and starts there anew. The
    /// number of journals that went to quarantine.
    pub(super) fn judge(&self, ops: usize, folder: &Path) -> Result<usize, String> {
        self.judge_files(ops, folder).map_err(|fault| format!("before the next start: {fault}"))?;
        start(folder)?;
        let (probes, checks) = self.judge_files(ops, folder)?;
        for (_, key) in self.promised.iter().take_while(|(at, _)| *at < ops) {
            if !probes.contains(key) {
                return Err(format!("a promised row is lost: {key:?}"));
            }
            if !self.rows[key].checks.is_empty() && !checks.contains_key(key) {
                return Err(format!("the verdicts of a promised row are lost: {key:?}"));
            }
        }
        let mut kept = 0;
        for path in files_below(&folder.join("state")) {
            let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).collect();
            match parts.as_slice() {
                [_, "checksums" | "lock" | "adopt"] => {}
                [_, "quarantine", _] => kept += 1,
                _ => return Err(format!("left in state: {}", path.display())),
            }
        }
        Ok(kept)
    }

    /// Every file below the results is whole, known by its checksum, and has nothing that is there twice or
    /// was never written. The rows, and how many verdicts they have: all or none, where not even the row was
    /// promised.
    fn judge_files(&self, ops: usize, folder: &Path) -> Result<(HashSet<Key>, HashMap<Key, usize>), String> {
        let results = folder.join("results");
        let mut probes = HashSet::new();
        let mut checks = HashMap::new();
        let sums = checksums(&folder.join("state"));
        for path in files_below(&results) {
            let table = if path.starts_with("probes") { Table::Probes } else { Table::Checks };
            let bytes = fs::read(results.join(&path)).unwrap();
            let sum = XxHash3_64::oneshot(&bytes);
            let line = format!("{sum:016x} {:>12} {}", bytes.len(), path.display());
            if !sums.contains(&line) {
                return Err(format!("no checksum of {}", path.display()));
            }
            let keys = self.keys_of(table, sum, &results.join(&path))?;
            for key in keys.iter() {
                match table {
                    Table::Probes if !probes.insert(key.clone()) => return Err(format!("twice: {key:?}")),
                    Table::Probes => {}
                    Table::Checks => *checks.entry(key.clone()).or_insert(0) += 1,
                }
            }
        }
        for key in probes.iter().chain(checks.keys()) {
            if self.rows[key].at >= ops {
                return Err(format!("from the future: {key:?}"));
            }
        }
        for (key, count) in &checks {
            if *count != self.rows[key].checks.len() {
                return Err(format!("{count} verdicts of {key:?}"));
            }
        }
        Ok((probes, checks))
    }

    /// The keys of a file whose every value is right, row for row as it was written.
    fn keys_of(&self, table: Table, sum: u64, path: &Path) -> Result<Arc<Vec<Key>>, String> {
        if let Some(keys) = self.known_files.lock().unwrap().get(&sum) {
            return Ok(Arc::clone(keys));
        }
        let unreadable = |error: String| format!("{}: {error}", path.display());
        let file = fs::File::open(path).unwrap();
        let batches: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|error| unreadable(error.to_string()))?
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable(error.to_string()))?;
        let mut keys = Vec::new();
        for row in single_rows(&batches) {
            let key = key(&row);
            let written = self.rows.get(&key).ok_or_else(|| format!("never written: {key:?}"))?;
            let columns = |row: &Row| row.columns().to_vec();
            let same = match table {
                Table::Probes => columns(&written.probe) == columns(&row),
                Table::Checks => written.checks.iter().any(|check| columns(check) == columns(&row)),
            };
            if !same {
                return Err(format!("another row was written: {key:?}"));
            }
            keys.push(key);
        }
        let keys = Arc::new(keys);
        self.known_files.lock().unwrap().insert(sum, Arc::clone(&keys));
        Ok(keys)
    }
}

/// Starts a writer as the runner does, and lets it end: it converts what it finds.
fn start(folder: &Path) -> Result<(), String> {
    let mut parquet = ParquetSpec::new(folder.join("results"));
    parquet.fsync = Fsync::Off;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let writer = Writer::start(WriterSpec {
            runner: "main".into(),
            run_id: NEXT_RUN.into(),
            parquet: Some(parquet),
            followers: Vec::new(),
            first_number: 1,
            capacity: 1,
            clock: Clock::system(),
        })
        .map_err(|error| format!("no start: {error}"))?;
        let drained = tokio::time::timeout(Duration::from_mins(1), writer.drained()).await;
        let summary = drained.map_err(|_| "recovery does not end")?.map_err(|error| error.to_string())?;
        if summary.journals_left > 0 {
            Err(format!("{} journals left", summary.journals_left))
        } else {
            Ok(())
        }
    })
}

fn journal_name(path: &Path) -> Option<PathBuf> {
    let is_one = path.extension().is_some_and(|extension| extension == "journal");
    is_one.then(|| path.file_name().map(PathBuf::from)).flatten()
}

/// For each row of `probes` in a whole journal, where its frame ends. The format is that of `journal.rs`.
fn ends_of_rows(journal: &[u8]) -> Vec<usize> {
    let number = |at: usize| u32::from_le_bytes(journal[at..at + 4].try_into().unwrap()) as usize;
    let mut ends = Vec::new();
    let mut at = 16;
    while at + 24 <= journal.len() {
        let end = at + 24 + number(at + 8);
        if journal[at + 4] == 4 && end <= journal.len() {
            ends.extend(std::iter::repeat_n(end, number(at + 12)));
        }
        at = end;
    }
    ends
}

fn single_rows(batches: &[RecordBatch]) -> Vec<Row> {
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| batch.slice(row, 1))).collect()
}

fn key(row: &Row) -> Key {
    (row["run_id"].as_string::<i32>().value(0).to_owned(), row["seq"].as_primitive::<Int64Type>().value(0))
}

/// Every file below a folder, relative to it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

/// Every line of checksums, of all runners.
fn checksums(state: &Path) -> HashSet<String> {
    let lists = files_below(state).into_iter().filter(|path| path.ends_with("checksums"));
    let texts = lists.map(|path| String::from_utf8_lossy(&fs::read(state.join(path)).unwrap()).into_owned());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}
