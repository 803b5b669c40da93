//! What befalls the disk while the runner runs, and what the files are like: cases D6 to D26 and H129 to H138
//! that need the real binary.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::support::{Finished, LONG, Project, Running, SIGTERM, Server, leave_out, parquet_files, wrapped};

const END: Duration = Duration::from_secs(30);

/// Twenty targets that are asked five times a second; `sink` stands in the table of the Parquet sink.
fn busy(server: &Server, sink: &str) -> Project {
    let targets: String = (0..20).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    Project::with_pipeline(&format!(
        "[schedule]\nevery = \"200ms\"\n[request]\ntimeout = \"5s\"\n[[sources]]\ntargets = [\n{targets}]\n\
         [[sinks]]\ntype = \"parquet\"\npath = \"results\"\n{sink}\n"
    ))
}

/// Stops a run, and asserts that every result that it told of is in the files, once.
#[track_caller]
fn stop_and_expect_all(running: Running, project: &Project) -> Finished {
    running.signal(SIGTERM);
    let finished = running.wait(END).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    let keys = rows.keys();
    let told = finished.json_lines();
    assert!(!told.is_empty(), "nothing was told: {}", finished.stderr);
    for line in told {
        let key = (line["run_id"].as_str().unwrap().to_owned(), line["seq"].as_i64().unwrap());
        assert_eq!(keys.get(&key), Some(&1), "{key:?}\n{}", finished.stderr);
    }
    finished
}

/// The command under `strace`, which leaves the process to be the test's; none where there is no `strace`.
fn with_faults(test: &str, command: &Command, faults: &[&str]) -> Option<Command> {
    if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
        leave_out(test, "there is no strace, which makes system calls fail");
        return None;
    }
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-qq", "-o", "/dev/null"]).args(faults);
    Some(wrapped(traced, command))
}

#[test]
fn d6_without_descriptors_at_a_rotation_results_wait_and_none_is_lost() {
    let server = Server::start();
    let project = busy(&server, "rotate = { every = \"1s\" }");
    let mut running = project.start(&["run", "--format", "json"]);
    running.until(LONG, "60 requests", || server.reached(60));
    let pid = Pid::from_raw(running.pid() as i32);
    // Not one more than there are: no journal can be begun and none be read.
    let open = fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().count() as u64;
    let few = Rlimit { current: Some(open / 2), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(pid, Resource::Nofile, few).unwrap();
    running.until_stderr_has(LONG, "the journal cannot be written");
    prlimit(pid, Resource::Nofile, before).unwrap();
    running.until_stderr_has(LONG, "the journal is written again");
    let goal = server.count() + 40;
    running.until(LONG, "requests afterwards", || server.reached(goal));
    stop_and_expect_all(running, &project);
}

/// A sync of 1 s holds up what is told, not the probes.
#[test]
fn d9_d21_h138_a_slow_disk_delays_what_is_told_and_no_probe() {
    let server = Server::start();
    let project = busy(&server, "fsync = \"each\"");
    let command = project.with_data(&["run", "--format", "json"]);
    let slow = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=1s:when=2+"];
    let Some(command) = with_faults("d9_d21_h138", &command, &slow) else { return };
    let mut running = Running::start(command);
    let stdout = running.stdout_reader();
    running.until(LONG, "the first line", || stdout().contains('\n').then_some(()));
    // Between two syncs, more are asked; what is told comes in steps, a batch a sync.
    let asked = server.count();
    let mut most_waiting = 0;
    running.until(LONG, "200 further requests", || {
        most_waiting = most_waiting.max(server.count().saturating_sub(stdout().lines().count()));
        server.reached(asked + 200)
    });
    assert!(most_waiting >= 20, "{most_waiting} answers at most waited for their sync");
    stop_and_expect_all(running, &project);
}

#[test]
fn d9_an_interrupted_sync_is_done_again() {
    let server = Server::start();
    let project = busy(&server, "fsync = \"each\"\nrotate = { every = \"1s\" }");
    let command = project.with_data(&["run", "--format", "json"]);
    let interrupted = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EINTR:when=1+3"];
    let Some(command) = with_faults("d9_an_interrupted_sync", &command, &interrupted) else { return };
    let mut running = Running::start(command);
    running.until(LONG, "200 requests", || server.reached(200));
    let finished = stop_and_expect_all(running, &project);
    assert!(!finished.stderr.contains("cannot be written"), "{}", finished.stderr);
}

#[test]
fn d11_a_data_folder_that_is_removed_is_made_again_with_the_rows_of_the_open_journal() {
    let server = Server::start();
    let project = busy(&server, "");
    let mut running = project.start(&["run", "--format", "json"]);
    running.until(LONG, "60 requests", || server.reached(60));
    // Files are made in it meanwhile.
    while fs::remove_dir_all(project.data()).is_err() && project.data().exists() {}
    running.until_stderr_has(LONG, "its rows are written anew");
    let goal = server.count() + 40;
    running.until(LONG, "requests afterwards", || server.reached(goal));
    stop_and_expect_all(running, &project);
}

#[test]
fn d12_strays_of_a_crash_are_swept_and_were_never_among_the_results() {
    let server = Server::start();
    let project = busy(&server, "");
    for stray in ["probes-x.parquet", "checks-x.parquet.runs"] {
        project.write(&format!("data/state/main/tmp/{stray}"), "PAR1 and no more");
    }
    let mut running = project.start(&["run", "--format", "json"]);
    let tmp = project.state("main").join("tmp");
    running.until(LONG, "an empty folder", || fs::read_dir(&tmp).unwrap().next().is_none().then_some(()));
    running.until(LONG, "40 requests", || server.reached(40));
    stop_and_expect_all(running, &project);
}

/// A journal's header as `journal.rs` describes it, of other versions.
fn journal_of_version(format: u16, schema: u16) -> Vec<u8> {
    let mut bytes = b"\xF5PROBJ\xFF\n".to_vec();
    bytes.extend_from_slice(&format.to_le_bytes());
    bytes.extend_from_slice(&schema.to_le_bytes());
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(b"what nobody here can read");
    bytes
}

#[test]
fn d23_a_newer_journal_is_left_untouched_with_a_message() {
    let server = Server::start();
    let project = busy(&server, "");
    let run = "0198f0a0-0000-7000-8000-000000000001";
    // Of this runner, and of one that is gone.
    let newer = [
        (
            format!("data/state/main/journal/20260901T05Z-main-{run}-000001.journal"),
            journal_of_version(1, 999),
        ),
        (
            format!("data/state/gone/journal/20260901T05Z-gone-{run}-000001.journal"),
            journal_of_version(999, 1),
        ),
    ];
    for (path, bytes) in &newer {
        project.write(path, bytes);
    }
    let mut running = project.start(&["run", "--format", "json"]);
    running.until_stderr_has(LONG, "was written by a newer version (format 999, schema 1)");
    running.until_stderr_has(LONG, "was written by a newer version (format 1, schema 999)");
    running.until(LONG, "40 requests", || server.reached(40));
    stop_and_expect_all(running, &project);
    for (path, bytes) in &newer {
        assert_eq!(&fs::read(project.path().join(path)).unwrap(), bytes, "{path}");
    }
}

#[test]
fn d26_whatever_the_umask_nobody_else_may_read() {
    let server = Server::start();
    let project = busy(&server, "rotate = { every = \"1s\" }");
    let command = project.with_data(&["run", "--format", "json"]);
    let mut open = Command::new("sh");
    open.args(["-c", "umask 000; exec \"$0\" \"$@\""]);
    let mut running = Running::start(wrapped(open, &command));
    let published = || (!parquet_files(&project.results()).is_empty()).then_some(());
    running.until(LONG, "a published file", published);
    // While a journal is open, too.
    expect_closed_to_others(&project.data());
    stop_and_expect_all(running, &project);
    expect_closed_to_others(&project.data());
    for file in parquet_files(&project.results()) {
        assert_eq!(mode(&file), 0o640, "{}", file.display());
        assert_eq!(mode(file.parent().unwrap()), 0o750);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[track_caller]
fn expect_closed_to_others(data: &Path) {
    let mut folders = vec![data.join("results"), data.join("state")];
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder) & 0o027, 0, "{}", folder.display());
        for path in fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            // Journals and files on their way come and go.
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            if found.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(found.permissions().mode() & 0o037, 0, "{}", path.display());
            }
        }
    }
}

fn schema_of(file: &Path) -> Schema {
    let opened = fs::File::open(file).unwrap();
    Schema::clone(ParquetRecordBatchReaderBuilder::try_new(opened).unwrap().schema())
}

/// One file has only failures, a later one has what they lack, labels and metrics included.
#[test]
fn h129_h130_h134_h135_h136_every_file_has_the_same_columns_whatever_its_rows_have() {
    let server = Server::start();
    let pipeline = |target: &str| format!("[[sources]]\ntargets = [{target}]\n");
    let project = Project::with_pipeline(&pipeline(
        "{ url = \"http://127.0.0.1:1/\", name = \"a\", labels = { n = \"1\" } }",
    ));
    project.run(&["run", "--once"]).expect_code(1);
    let url = server.url("/ok");
    let later = format!("{{ url = \"{url}\", name = \"b\", labels = {{ n = \"x\", new = \"y\" }} }}");
    project.write(
        "pipelines/shop.toml",
        format!("{}[[checks]]\nplugin = \"latency\"\nconfig = {{ warn = \"9s\" }}\n", pipeline(&later)),
    );
    project.run(&["run", "--once"]).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    let (failed, well) = (rows.the_row("a"), rows.the_row("b"));
    for column in ["http_status", "first_byte_us", "body_bytes", "content_type"] {
        assert!(failed[column].is_null(), "H134 {column}: {failed:?}");
        assert!(column == "content_type" || !well[column].is_null(), "H130 {column}: {well:?}");
    }
    assert_eq!((&failed["labels"]["n"], &well["labels"]["n"]), (&"1".into(), &"x".into()), "H129");
    assert_eq!(well["labels"]["new"], "y", "H130");
    let mut tables: BTreeMap<String, Vec<(PathBuf, Schema)>> = BTreeMap::new();
    for file in parquet_files(&project.results()) {
        let table = file.strip_prefix(project.results()).unwrap().iter().next().unwrap();
        tables.entry(table.to_str().unwrap().to_owned()).or_default().push((file.clone(), schema_of(&file)));
    }
    assert_eq!(tables["probes"].len(), 2);
    for files in tables.values() {
        let (_, first) = &files[0];
        assert!(files.iter().all(|(_, schema)| schema.fields() == first.fields()), "H135: {files:?}");
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(first.field_with_name("started_at").unwrap().data_type(), &time, "H136");
    }
}

#[test]
fn h131_a_quiet_stream_is_published_by_the_clock() {
    let server = Server::start();
    let url = server.url("/ok");
    let project = Project::with_pipeline(&format!(
        "[schedule]\nevery = \"1h\"\n[[sources]]\ntargets = [\"{url}\"]\n\
         [[sinks]]\ntype = \"parquet\"\npath = \"results\"\nrotate = {{ every = \"1s\" }}\n"
    ));
    let mut running = project.start(&["run", "--format", "json"]);
    running.until(LONG, "both files", || (parquet_files(&project.results()).len() == 2).then_some(()));
    assert_eq!(server.count(), 1, "no further result has closed it");
    stop_and_expect_all(running, &project);
    assert_eq!(parquet_files(&project.results()).len(), 2, "and no empty file comes after it");
}

#[test]
fn h132_runners_on_one_folder_never_choose_one_name() {
    let server = Server::start();
    let project = busy(&server, "rotate = { every = \"1s\", rows = 30 }");
    let names = ["main", "main-2", "other"];
    let mut runners: Vec<_> =
        names.iter().map(|name| project.start(&["run", "--format", "json", "--runner", name])).collect();
    for running in &mut runners {
        running.until(LONG, "400 requests", || server.reached(400));
    }
    let mut told = BTreeSet::new();
    for running in runners {
        running.signal(SIGTERM);
        for line in running.wait(END).expect_code(0).json_lines() {
            told.insert((line["run_id"].as_str().unwrap().to_owned(), line["seq"].as_i64().unwrap()));
        }
    }
    let rows = project.rows();
    rows.expect_whole();
    let keys = rows.keys();
    assert!(told.iter().all(|key| keys.get(key) == Some(&1)));
    let files = parquet_files(&project.results());
    let file_names: BTreeSet<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
    assert_eq!(file_names.len(), files.len());
    for name in names {
        assert!(rows.probes.iter().any(|row| row["runner"] == name), "rows of {name}");
    }
}
