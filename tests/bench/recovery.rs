//! What a recovery takes: `cargo bench --bench recovery`, or `-- --mib 64,256` for other journals.
//!
//! For each size, a journal as a killed runner leaves it is made by the real writer; then a process of its own
//! starts a writer beside it, as the runner does, and waits until all is converted. Beside the time stands what
//! merely reading the journal and its checksums takes in the same run, since only the ratio says something on a
//! machine that does other work too. The aims: 256 MiB within 2 s and 128 MiB of memory, and no more memory for
//! a journal four times as long, but for a quarter.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a tool for developers: it prints, and measures real time"
)]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use probity::clock::{Clock, UnixNanos};
use probity::model::{
    CheckStatus, Exchange, Head, HttpVersion, Outcome, Phases, ProbeResult, Severity, Target, Verdict,
};
use probity::sink::{Fsync, ParquetSpec, Rotate, Writer, WriterSpec};

const RUN: &str = "0198f0a0-0000-7000-8000-000000000001";
const NEXT_RUN: &str = "0198f0a0-0000-7000-8000-000000000002";
const TARGETS: i64 = 10_000;
/// 2026-09-01 00:00 UTC.
const MIDNIGHT: i64 = 1_788_220_800_000_000_000;
const WORKER: &str = "--worker";
const AIM_SECONDS: f64 = 2.0;
const AIM_MIB: u64 = 128;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [WORKER, data] => recover(Path::new(data)),
        [] => compare(&[0, 256, 1_024]),
        ["--mib", sizes] => {
            let sizes: Vec<u64> = sizes.split(',').map(|size| size.parse().expect("a number")).collect();
            compare(&sizes)
        }
        other => {
            println!("unknown: {other:?}");
            ExitCode::from(2)
        }
    }
}

fn compare(sizes: &[u64]) -> ExitCode {
    println!("journal MiB    probes  verdicts  reading+crc s  recovery s   ratio  peak MiB  files MiB");
    let mut peak_of_256 = None;
    let mut missed = Vec::new();
    for mib in sizes {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let journal = leave_journal(folder.path(), *mib);
        let floor = read_all(&journal);
        let output = Command::new(std::env::current_exe().unwrap()).arg(WORKER).arg(folder.path()).output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        let numbers: Vec<f64> = said.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [seconds, peak, files, probes, verdicts] = numbers[..] else { panic!("{said}") };
        let ratio = seconds / floor.as_secs_f64();
        println!(
            "{mib:>11} {probes:>9} {verdicts:>9} {:>14.3} {seconds:>11.2} {ratio:>7.1} {peak:>9.0} {files:>10.1}",
            floor.as_secs_f64()
        );
        if *mib == 256 {
            peak_of_256 = Some(peak);
            if seconds > AIM_SECONDS {
                missed.push(format!("256 MiB took {seconds:.2} s, aim {AIM_SECONDS} s"));
            }
            if peak > AIM_MIB as f64 {
                missed.push(format!("256 MiB took {peak:.0} MiB of memory, aim {AIM_MIB} MiB"));
            }
        }
        if let Some(before) = peak_of_256
            && peak > before * 1.25
        {
            missed.push(format!("{mib} MiB took {peak:.0} MiB of memory, 256 MiB took {before:.0}"));
        }
    }
    for line in &missed {
        println!("missed: {line}");
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A journal of about so many MiB in a data folder, as a killed runner leaves it.
fn leave_journal(data: &Path, mib: u64) -> PathBuf {
    let folder = data.join("state/main/journal");
    fs::create_dir_all(&folder).unwrap();
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    block_on(async {
        let writer = Writer::start(spec(elsewhere.path(), RUN)).unwrap();
        let (sender, counters) = (writer.sender(), Arc::clone(writer.counters()));
        let mut seq = 0;
        while counters.journal_bytes.load(Ordering::Acquire) < mib << 20 || seq == 0 {
            for _ in 0..1_024 {
                seq += 1;
                sender.send(result(seq)).await.unwrap();
            }
        }
        while counters.queue_depth() > 0 || counters.rows_finished.load(Ordering::Acquire) < seq as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let journals = fs::read_dir(elsewhere.path().join("state/main/journal")).unwrap();
        let journals: Vec<PathBuf> = journals.map(|entry| entry.unwrap().path()).collect();
        let [journal] = journals.as_slice() else { panic!("{journals:?}") };
        let place = folder.join(journal.file_name().unwrap());
        // Whatever becomes of the other name, this one stays.
        fs::hard_link(journal, &place).unwrap();
        place
    })
}

fn spec(data: &Path, run_id: &str) -> WriterSpec {
    let rotate = Rotate { every: Duration::from_hours(24), size: u64::MAX, rows: u64::MAX };
    let parquet = ParquetSpec { rotate, fsync: Fsync::Off, ..ParquetSpec::new(data.join("results")) };
    WriterSpec {
        runner: "main".into(),
        run_id: run_id.into(),
        parquet: Some(parquet),
        followers: Vec::new(),
        first_number: 1,
        capacity: 8_192,
        clock: Clock::system(),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

/// Reading the journal and its checksums, frame by frame's length.
fn read_all(journal: &Path) -> Duration {
    let begin = Instant::now();
    let mut file = fs::File::open(journal).unwrap();
    let mut part = vec![0; 1 << 20];
    let mut sum = 0;
    while let Ok(len @ 1..) = file.read(&mut part) {
        sum = crc32c::crc32c_append(sum, &part[..len]);
    }
    std::hint::black_box(sum);
    begin.elapsed()
}

/// The worker: recovers, and prints seconds, peak MiB, MiB of files, probes, verdicts.
fn recover(data: &Path) -> ExitCode {
    let begin = Instant::now();
    let (counters, summary) = block_on(async {
        let writer = Writer::start(spec(data, NEXT_RUN)).unwrap();
        let counters = Arc::clone(writer.counters());
        (counters, writer.drained().await.unwrap())
    });
    let seconds = begin.elapsed().as_secs_f64();
    assert_eq!(summary.journals_left, 0);
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Acquire);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!(
        "{seconds} {} {} {} {}",
        peak_kib / 1_024.0,
        count(&counters.file_bytes) as f64 / f64::from(1 << 20),
        count(&counters.rows_published),
        count(&counters.check_rows_published),
    );
    ExitCode::SUCCESS
}

/// A probe as most are, with two verdicts: every target in turn.
fn result(seq: i64) -> ProbeResult {
    let number = seq % TARGETS;
    let micros = |base: i64| Some(Duration::from_micros((base + (seq * 7_919) % 1_000) as u64));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", http::HeaderValue::from_static("text/html; charset=utf-8"));
    let phases = Phases {
        dns: micros(900),
        connect: micros(10_000),
        tls: None,
        first_byte: micros(40_000),
        transfer: micros(2_000),
        total: micros(60_000),
    };
    let exchange = Exchange {
        head: Some(Head { status: 200, version: HttpVersion::Http11, headers }),
        body_truncated: Some(false),
        header_bytes: Some(312),
        body_bytes: Some(18_000 + seq as u64 % 500),
        decoded_bytes: Some(81_000 + seq as u64 % 500),
        phases,
        method: Some(Method::GET),
        redirects: Some(0),
        remote_addr: Some(std::net::SocketAddr::from(([203, 0, 113, (number % 250) as u8], 443))),
        dns_answers: Some(2),
        connection_reused: Some(false),
        ..Exchange::default()
    };
    let verdict = |name: &str, message: String| Verdict {
        check_name: name.into(),
        plugin: name.into(),
        status: CheckStatus::Pass,
        severity: Severity::Fail,
        message,
        duration: Duration::from_micros(20 + seq as u64 % 9),
        metrics: vec![("page_bytes".to_owned(), seq as f64)],
        annotations: Vec::new(),
    };
    let started_at = UnixNanos(MIDNIGHT + seq / TARGETS * 60_000_000_000 + number * 6_000_000);
    ProbeResult {
        seq,
        probe_seq: seq,
        pipeline: "shop".into(),
        generation: "0123456789abcdef".into(),
        target: Arc::new(Target {
            name: format!("shop-{number:05}").into(),
            url: format!("https://shop-{number:05}.example/products?page={number}").into(),
            labels: [("region".into(), "eu".into()), ("team".into(), "core".into())].into(),
            every: None,
        }),
        scheduled_at: started_at,
        started_at,
        lateness: Duration::from_micros(seq as u64 % 700),
        missed: 0,
        attempt: 1,
        is_final: true,
        in_maintenance: false,
        runner_overloaded: false,
        method: Method::GET,
        outcome: Outcome::Up,
        exchange: Arc::new(exchange),
        verdicts: vec![
            verdict("status", "200 is one of 2xx".to_owned()),
            verdict("latency", format!("{} ms", 40 + seq % 20)),
        ],
    }
}
