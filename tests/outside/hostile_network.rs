//! Peers that mean harm: each costs its own target an outcome, and nobody else anything.
//!
//! The cases are data: `tests/hostile/network/cases.toml`. What came of each is in `tests/hostile/RESULTS.md`, which
//! `PROBITY_BLESS=1 cargo test --test outside hostile_network` writes anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::network::{Case, Elsewhere, Expect, Network, Played, cases};
use crate::support::{Finished, LONG, Project, Row, Rows, Running, SIGTERM, Server};

/// What the runner has of what cases need.
const HAS: &[&str] = &["http2", "dns"];
/// The deadline of an attempt.
const TIMEOUT_MS: i64 = 4_000;
/// How much later than its deadline an attempt may end: 100 ms, and what two slow cores take when an unoptimised
/// runner, its peers and its readers share them.
const LATE_MS: i64 = 400;
/// The same where all peers are asked again and again, and the machine has more to do than it can.
const LATE_UNDER_LOAD_MS: i64 = 2_000;
/// The most memory that the runner may have had, with all peers at once.
const MOST_MEMORY_KIB: u64 = 384 * 1_024;

/// A project with a pipeline for each kind of request, and the peers that they ask.
struct Bench {
    project: Project,
    network: Network,
}

impl Bench {
    /// Each peer is asked once `every` so often.
    fn new(cases: &[Case], every: &str) -> Self {
        let project = Project::new();
        let ca_file = project.path().join("ca.pem");
        let network = Network::start(cases, |pem| {
            std::fs::write(&ca_file, pem).unwrap();
            ca_file.display().to_string()
        });
        let mut alike: BTreeMap<_, String> = BTreeMap::new();
        for Played { case, url, request, .. } in &network.played {
            let targets = alike.entry((&case.pipeline, request, &case.checks)).or_default();
            targets.push_str(&format!("  {{ url = \"{url}\", name = \"{}\" }},\n", case.name));
        }
        for (index, ((pipeline, request, checks), targets)) in alike.iter().enumerate() {
            let text = format!(
                "{pipeline}\n[schedule]\nevery = \"{every}\"\n[request]\ntimeout = \"{TIMEOUT_MS}ms\"\n\
                 {request}\n{checks}\n[[sources]]\ntargets = [\n{targets}]\n"
            );
            project.write(&format!("pipelines/p{index}.toml"), text);
        }
        Self { project, network }
    }

    /// What differs from what must be said, over all cases; an attempt may end so much after its deadline.
    fn differences(&self, rows: &Rows, late_ms: i64) -> Vec<String> {
        let mut differences = Vec::new();
        for played in &self.network.played {
            let of_target = rows.of_target(&played.case.name);
            if of_target.is_empty() {
                differences.push(format!("{}: no row", played.case.name));
            }
            let wrong = of_target.iter().flat_map(|row| row_differences(row, &played.case.expect, late_ms));
            let wrong: Vec<_> = wrong.chain(sent_differences(played, of_target.len())).collect();
            if !wrong.is_empty() {
                let said = of_target.first().map(|row| row["error_message"].to_string()).unwrap_or_default();
                differences.push(format!("{}: {} ({said})", played.case.name, wrong.join("; ")));
            }
        }
        differences
    }
}

/// The cases that this runner can be asked, and the others.
fn playable() -> (Vec<Case>, Vec<Case>, Vec<Elsewhere>) {
    let all = cases();
    let has = |case: &Case| case.needs.as_deref().is_none_or(|needs| HAS.contains(&needs));
    let (playable, others) = all.cases.into_iter().partition(has);
    (playable, others, all.elsewhere)
}

/// What a row says otherwise than it must.
fn row_differences(row: &Row, expect: &Expect, late_ms: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut differs = |what: &str, said: &dyn std::fmt::Display, wanted: &dyn std::fmt::Display| {
        wrong.push(format!("{what} is {said}, should be {wanted}"));
    };
    if row["outcome"] != expect.outcome.as_str() {
        differs("outcome", &row["outcome"], &expect.outcome);
    }
    if !expect.error_kind.allow(row["error_kind"].as_str()) {
        differs("error_kind", &row["error_kind"], &expect.error_kind.shown());
    }
    let said = row["error_message"].as_str().unwrap_or_default();
    if let Some(part) = expect.says.as_ref().filter(|part| !said.contains(*part)) {
        differs("error_message", &said, part);
    }
    let lost = expect.may_lose_head && row["http_status"].is_null();
    if row["http_status"].as_i64() != expect.http_status && !lost {
        differs("http_status", &row["http_status"], &format!("{:?}", expect.http_status));
    }
    for (column, value) in &expect.columns {
        if row[column] != *value {
            differs(column, &row[column], value);
        }
    }
    for (column, most) in &expect.at_most {
        if row[column].as_i64().is_none_or(|value| value > *most) {
            differs(column, &row[column], &format!("{most} at most"));
        }
    }
    for column in expect.present.iter().filter(|column| row[*column].is_null()) {
        differs(column, &"null", &"a value");
    }
    for column in expect.absent.iter().filter(|column| !row[*column].is_null()) {
        differs(column, &row[column], &"null");
    }
    let most = if expect.early { TIMEOUT_MS / 2 } else { TIMEOUT_MS } + late_ms;
    if row["total_us"].as_i64().is_none_or(|total| total > most * 1_000) {
        differs("total_us", &row["total_us"], &format!("{most} ms at most"));
    }
    wrong
}

/// What the peers of a case were sent otherwise than they must, in so many attempts.
fn sent_differences(played: &Played, attempts: usize) -> Vec<String> {
    let expect = &played.case.expect;
    let (here, there) = (played.seen.all(), played.seen_there.all());
    let has = |requests: &[String], begin: &String| {
        requests.iter().any(|request| request.lines().any(|line| line.starts_with(begin)))
    };
    let mut wrong = Vec::new();
    for (whom, requests, sent, not_sent) in [
        ("the peer", &here, &expect.sent, &expect.not_sent),
        ("the other peer", &there, &expect.sent_there, &expect.not_sent_there),
    ] {
        let missing = sent.iter().filter(|line| !has(requests, line));
        wrong.extend(missing.map(|line| format!("{whom} was not sent \"{line}\": {requests:?}")));
        let too_much = not_sent.iter().filter(|line| has(requests, line));
        wrong.extend(too_much.map(|line| format!("{whom} was sent \"{line}\"")));
    }
    if expect.requests_there.is_some_and(|count| count * attempts != there.len()) {
        wrong.push(format!("the other peer got {} requests", there.len()));
    }
    wrong
}

#[test]
fn each_gets_its_outcome_before_the_deadline() {
    let (playable, others, elsewhere) = playable();
    let bench = Bench::new(&playable, "60s");
    let finished = bench.project.run(&["run", "--once"]).expect_code(1);
    let rows = bench.project.rows();
    rows.expect_whole();
    let mut differences = bench.differences(&rows, LATE_MS);
    let doubled = playable.iter().filter(|case| rows.of_target(&case.name).len() > 1);
    differences.extend(doubled.map(|case| format!("{}: several rows", case.name)));
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    // What a peer sends never steers the terminal of whoever looks at the table.
    let Finished { stdout, stderr, .. } = &finished;
    let steers = |c: char| c.is_control() && c != '\n';
    assert!(!stdout.contains(steers) && !stderr.contains(steers), "{stdout:?}\n{stderr:?}");
    expect_results(&results(&bench, &rows, &others, &elsewhere));
}

/// The page of what came.
fn results(bench: &Bench, rows: &Rows, others: &[Case], elsewhere: &[Elsewhere]) -> String {
    let mut lines = vec![
        "# What hostile peers come to".to_owned(),
        String::new(),
        "Written by `PROBITY_BLESS=1 cargo test --test outside hostile_network`: the cases of \
         [network/cases.toml](network/cases.toml), each asked once by the binary. Where two error kinds stand, \
         the operating system's timing decides between them."
            .to_owned(),
        String::new(),
        "| number | case | what the peer does | outcome | error kind | status |".to_owned(),
        "| --- | --- | --- | --- | --- | --- |".to_owned(),
    ];
    for Played { case, .. } in &bench.network.played {
        let row = rows.the_row(&case.name);
        let status = case.expect.http_status.map(|status| status.to_string()).unwrap_or_default();
        lines.push(format!(
            "| {} | {} | {} | {} | {} | {status} |",
            case.id,
            case.name,
            case.title,
            row["outcome"].as_str().unwrap_or_default(),
            case.expect.error_kind.shown()
        ));
    }
    lines.extend([
        String::new(),
        "## Not asked here".to_owned(),
        String::new(),
        "| number | what | where it is tested | why |".to_owned(),
        "| --- | --- | --- | --- |".to_owned(),
    ]);
    for case in others {
        let needs = case.needs.as_deref().unwrap_or_default();
        lines.push(format!("| {} | {} | nowhere yet | it needs {needs} |", case.id, case.title));
    }
    for Elsewhere { id, title, tested_by, why } in elsewhere {
        let link = |path: &String| format!("[{path}](../../{path})");
        let place = tested_by.as_ref().map_or_else(|| "nowhere".to_owned(), link);
        lines.push(format!("| {id} | {title} | {place} | {why} |"));
    }
    lines.join("\n") + "\n"
}

fn expect_results(results: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/RESULTS.md");
    if std::env::var_os("PROBITY_BLESS").is_some() {
        std::fs::write(&path, results).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == results,
        "tests/hostile/RESULTS.md is stale; write it anew: PROBITY_BLESS=1 cargo test --test outside hostile_network"
    );
}

/// The peak of resident memory of a process, in KiB; none once it has ended.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().trim_end_matches(" kB").parse().ok()
}

/// Stops it; the peak of its memory until then.
fn stop(running: Running) -> u64 {
    let peak = peak_kib(running.pid()).expect("it runs");
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(40)).expect_code(0);
    peak
}

/// The time that 99 of 100 of the neighbours' probes took at most.
fn neighbours_p99_ms(rows: &Rows) -> i64 {
    let of_neighbours = rows.probes.iter().filter(|row| row["pipeline"] == "neighbours");
    let mut times: Vec<_> = of_neighbours
        .map(|row| {
            assert_eq!(row["outcome"], "up", "{row:?}");
            row["total_us"].as_i64().unwrap()
        })
        .collect();
    times.sort_unstable();
    times[times.len() * 99 / 100] / 1_000
}

/// Runs ten targets that are asked five times a second beside what `project` has, until they were asked 800 times;
/// the peak of the runner's memory.
fn run_beside(project: &Project) -> u64 {
    let server = Server::start();
    let targets: String = (0..10).map(|n| format!("\"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    let text = format!(
        "[schedule]\nevery = \"200ms\"\n[request]\ntimeout = \"5s\"\n[[sources]]\ntargets = [\n{targets}]\n"
    );
    project.write("pipelines/neighbours.toml", text);
    let mut running = project.start(&["run"]);
    running.until(LONG, "the neighbours", || server.reached(800));
    stop(running)
}

#[test]
fn their_neighbours_stay_up_and_fast_and_memory_stays_flat() {
    let (playable, ..) = playable();
    // What as many peers that mean no harm cost, on this machine, in this build.
    let honest = Bench::new(&playable.iter().map(Case::honest).collect::<Vec<_>>(), "2s");
    run_beside(&honest.project);
    let beside_honest_ms = neighbours_p99_ms(&honest.project.rows());
    drop(honest);

    let bench = Bench::new(&playable, "2s");
    let peak = run_beside(&bench.project);
    let rows = bench.project.rows();
    rows.expect_whole();
    let differences = bench.differences(&rows, LATE_UNDER_LOAD_MS);
    let p99_ms = neighbours_p99_ms(&rows);
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(peak < MOST_MEMORY_KIB, "peak of memory: {peak} KiB");
    // Two of the peers send small pieces as fast as they are taken, and take as much time of the machine to do so
    // as the runner takes for them. A turn that is not given up costs seconds.
    let most_ms = 2 * beside_honest_ms + 400;
    assert!(p99_ms < most_ms, "p99: {p99_ms} ms, {beside_honest_ms} ms beside honest peers");
}

/// The CPU time that a process has used.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may hold anything: user and system time, in hundredths of a second.
    let fields: Vec<_> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
    Duration::from_millis(10 * (fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()))
}

#[test]
fn n14_n16_peers_that_do_nothing_cost_nothing() {
    const WATCHED: Duration = Duration::from_secs(2);
    let idle = [
        "tcp-full",
        "tcp-silence",
        "half-a-head",
        "half-a-body",
        "held-open",
        "tls-silence",
        "tls-stall-after-hello",
        "tls-goodbye-then-silence",
        "dns-silence",
        "h2-silence",
        "h2-no-streams",
        "h2-no-window",
    ];
    let (mut cases, ..) = playable();
    cases.retain(|case| idle.contains(&case.name.as_str()));
    assert_eq!(cases.len(), idle.len());
    let bench = Bench::new(&cases, "1h");
    let mut running = bench.project.start(&["run"]);
    let read_from = || {
        let peers = bench.network.played.iter().filter(|played| !played.case.peer.greets);
        peers.filter(|played| !played.seen.all().is_empty()).count()
    };
    // All but those that are never read from: a handshake, or a question, or a connection that nobody takes.
    let most = cases.iter().filter(|case| !case.peer.greets).count() - 2;
    running.until(LONG, "every peer asked", || (read_from() >= most).then_some(()));
    let before = cpu(running.pid());
    // Not a wait for anything: how much it does in this time is what is measured.
    std::thread::sleep(WATCHED);
    let used = cpu(running.pid()).checked_sub(before).unwrap();
    stop(running);
    let differences = bench.differences(&bench.project.rows(), LATE_MS);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // One that spins has all of a core. What the runner does beside its probes is in it.
    assert!(used < WATCHED / 4, "{used:?} of CPU time in {WATCHED:?}");
}

#[test]
fn n2_names_that_nobody_answers_for_hold_up_no_others() {
    // More than have a turn at the same time, for as long as they may take.
    const DEAD: usize = 600;
    let (mut cases, ..) = playable();
    cases.retain(|case| ["dns-silence", "dns-silence-for-aaaa"].contains(&case.name.as_str()));
    let network = Network::start(&cases, |_| String::new());
    let project = Project::new();
    for (Played { case, url, request, seen, .. }, (count, every)) in
        network.played.iter().zip([(DEAD, "4s"), (5, "500ms")])
    {
        assert!(seen.all().is_empty() && (count == DEAD) == (case.name == "dns-silence"));
        let targets: String = (0..count).map(|n| format!("\"{url}{n}\",\n")).collect();
        let text = format!(
            "[schedule]\nevery = \"{every}\"\n[request]\ntimeout = \"{TIMEOUT_MS}ms\"\n{request}\n\
             [[sources]]\ntargets = [\n{targets}]\n"
        );
        project.write(&format!("pipelines/{}.toml", case.name), text);
    }
    let mut running = project.start(&["run"]);
    running.until(LONG, "probes of the others", || (network.played[1].seen.all().len() >= 75).then_some(()));
    stop(running);
    let rows = project.rows();
    rows.expect_whole();
    let (dead, others): (Vec<_>, Vec<_>) =
        rows.probes.iter().partition(|row| row["pipeline"] == "dns-silence");
    assert!(dead.len() >= DEAD && dead.iter().all(|row| row["error_kind"] == "dns_timeout"));
    for row in others {
        assert_eq!(row["outcome"], "up", "{row:?}");
        // With no turn until another one's deadline, it would be that long.
        assert!(row["total_us"].as_i64().is_some_and(|total| total < TIMEOUT_MS * 500), "{row:?}");
    }
}

#[test]
fn n66_many_long_bodies_at_once_share_the_memory_that_there_is() {
    const TARGETS: usize = 60;
    const MEMORY_KIB: u64 = 64 * 1_024;
    let (mut cases, ..) = playable();
    cases.retain(|case| case.name == "body-of-8-mib");
    let network = Network::start(&cases, |_| String::new());
    let played = &network.played[0];
    let targets: String = (0..TARGETS).map(|n| format!("\"{}{n}\",\n", played.url)).collect();
    let project = Project::with_pipeline(&format!(
        "[request]\ntimeout = \"60s\"\n{}\n[[sources]]\ntargets = [\n{targets}]\n",
        played.request
    ));
    project.write("probity.toml", format!("[defaults]\nbody_memory = \"{MEMORY_KIB}KiB\"\n"));
    let mut running = project.start(&["run", "--once"]);
    let mut peak = 0;
    while running.is_running() {
        peak = peak.max(peak_kib(running.pid()).unwrap_or(peak));
        std::thread::sleep(Duration::from_millis(5));
    }
    running.wait(LONG).expect_code(0);
    let rows = project.rows();
    rows.expect_whole();
    assert_eq!(rows.probes.len(), TARGETS);
    for row in &rows.probes {
        assert_eq!((&row["outcome"], &row["body_bytes"]), (&"up".into(), &(8_i64 << 20).into()), "{row:?}");
    }
    // All of them at once would be 480 MiB; what the runner is without any is less than 100.
    assert!(peak < MEMORY_KIB + 128 * 1_024, "peak of memory: {peak} KiB");
}

#[test]
fn n58_n60_a_thousand_bombs_and_endless_bodies_at_once_stay_small() {
    let parts = ["brotli-bomb", "gzip-endless", "body-endless", "bomb-twice"];
    let (mut cases, ..) = playable();
    cases.retain(|case| parts.contains(&case.name.as_str()));
    let network = Network::start(&cases, |_| String::new());
    let url = |part: &str| {
        network
            .played
            .iter()
            .find(|played| played.case.name == part)
            .map(|played| played.url.clone())
            .unwrap()
    };
    let hostile: String = (0..1_000).map(|n| format!("\"{}{n}\",\n", url(parts[n % 4]))).collect();
    let server = Server::start();
    let well: String = (0..5).map(|n| format!("\"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    let project = Project::with_pipeline(&format!(
        "default_checks = false\n[request]\ntimeout = \"20s\"\n[schedule]\nevery = \"1h\"\n\
         [[sources]]\ntargets = [\n{hostile}{well}]\n"
    ));
    let mut running = project.start(&["run"]);
    let asked = || network.played.iter().map(|played| played.seen.all().len()).sum::<usize>();
    running.until(LONG, "every target asked", || (asked() >= 1_000).then(|| server.reached(5)).flatten());
    let peak = stop(running);
    assert!(peak < 256 * 1_024, "peak of resident memory: {peak} KiB");
    let rows = project.rows();
    rows.expect_whole();
    let of = |begin: &str, kind: Option<&str>| {
        let is = |row: &&Row| {
            row["url"].as_str().is_some_and(|url| url.starts_with(begin))
                && row["error_kind"].as_str() == kind
        };
        rows.probes.iter().filter(is).count()
    };
    assert_eq!(of(&url("brotli-bomb"), Some("decompress_bomb")), 250);
    assert_eq!(of(&url("bomb-twice"), Some("body_encoding")), 250);
    assert_eq!((of(&url("gzip-endless"), None), of(&url("body-endless"), None)), (250, 250));
    assert_eq!(of(&server.url("/ok/"), None), 5);
}
