//! Recording and replaying on the real binary: the same checks say the same, another check is compared,
//! and no secret, no kill and no full folder does harm.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::{LONG, Project, SIGTERM, Server};

/// The record files of a pipeline of the runner `main`.
fn record_files(project: &Project, pipeline: &str) -> Vec<PathBuf> {
    let folder = project.state("main").join("records").join(pipeline);
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Every whole line of some files, as JSON.
fn records(files: &[PathBuf]) -> Vec<Value> {
    let mut records = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        records.extend(whole.lines().map(|line| serde_json::from_str::<Value>(line).expect(line)));
    }
    records
}

/// Runs until there were so many requests, and stops.
fn run_until(project: &Project, server: &Server, requests: usize) {
    let goal = server.count() + requests;
    let mut running = project.start(&["run"]);
    running.until(LONG, "requests", || server.reached(goal));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(30)).expect_code(0);
}

/// All bundled checks, each in a way that looks at much, one of them called for failures too.
fn every_check(when: &str, server: &Server) -> String {
    let targets: String = [
        "/ok",
        "/json",
        "/page",
        "/status/503",
        "/redirect/ok",
        "/close",
        "/short",
        "/garbage",
        "/slow/150ms",
    ]
    .iter()
    .map(|path| format!("  \"{}\",\n", server.url(path)))
    .collect();
    format!(
        r#"
[schedule]
every = "600ms"
[[sources]]
targets = [
{targets}  "http://127.0.0.1:1/",
]
[request]
timeout = "500ms"
[[checks]]
plugin = "status"
config = {{ expect = ["2xx"] }}
on_error = true
[[checks]]
plugin = "latency"
config = {{ max = "100ms", warn = "1ms", phase = "first_byte" }}
[[checks]]
plugin = "header"
config = {{ require = [{{ name = "content-type", contains = "text" }}, {{ name = "x-cache" }}] }}
[[checks]]
plugin = "body"
config = {{ matches = "^nonce [0-9]+" }}
[[checks]]
plugin = "json"
config = {{ assert = [{{ path = "/price", greater = 0.4 }}] }}
[[checks]]
plugin = "cel"
config = {{ conditions = ["status == 200 && timing.total < duration('100ms')"] }}
[[checks]]
plugin = "certificate"
config = {{ allow_plain_http = true }}
[[checks]]
plugin = "changed"
[[checks]]
name = "changed-first"
plugin = "changed"
config = {{ baseline = "first", any_status = true }}
on_error = true
[[checks]]
plugin = "html"
config = {{ title = {{ contains = "Basket" }}, present = ["ul > li"] }}
[record]
when = "{when}"
"#
    )
}

/// W14: what is judged again by the same checks is judged the same, whatever they remembered in between.
#[test]
fn the_same_checks_say_the_same() {
    let server = Server::start();
    let project = Project::new();
    project.write("pipelines/all.toml", every_check("always", &server));
    // Every other answer is up, and is missing in the records; `changed` remembers it all the same.
    let text = format!(
        r#"
default_checks = false
[schedule]
every = "400ms"
[[sources]]
targets = ["{}", "{}"]
[request]
timeout = "300ms"
[[checks]]
plugin = "changed"
config = {{ tolerance = 0.9 }}
[[checks]]
plugin = "body"
config = {{ matches = "Basket [0-9]*[02468]<" }}
[record]
when = "not_up"
"#,
        server.url("/page/1"),
        server.url("/page/2"),
    );
    project.write("pipelines/gaps.toml", text);
    run_until(&project, &server, 100);
    let rows = project.rows();
    let recorded = records(&record_files(&project, "all"));
    let of_all = rows.probes.iter().filter(|row| row["pipeline"] == "all").count();
    assert_eq!(recorded.len(), of_all, "a record a row");
    let judged: usize = recorded.iter().map(|record| record["verdicts"].as_array().unwrap().len()).sum();
    let verdicts = rows.checks.iter().filter(|row| row["pipeline"] == "all").count();
    assert_eq!(judged, verdicts, "with every verdict");
    let remembered = |record: &Value| record["verdicts"].to_string().contains("baseline");
    assert!(recorded.iter().any(remembered), "and with what was remembered");
    let gaps = records(&record_files(&project, "gaps"));
    let probed = rows.probes.iter().filter(|row| row["pipeline"] == "gaps").count();
    assert!(!gaps.is_empty() && gaps.len() < probed, "{} of {probed}", gaps.len());
    assert!(gaps.iter().all(|record| record["outcome"] == "down"), "{gaps:?}");

    let lines = project.run(&["replay", "--format", "json"]).expect_code(0).json_lines();
    let told = gaps.iter().map(|record| record["verdicts"].as_array().unwrap().len()).sum::<usize>();
    assert_eq!(lines.len(), judged + told);
    let other: Vec<_> = lines.iter().filter(|line| line["change"] != "same").collect();
    assert!(other.is_empty(), "{other:?}");
    assert_eq!(project.rows().probes.len(), rows.probes.len(), "a replay writes no results");
}

/// A pipeline whose `body` check wants a text.
fn wants(server: &Server, path: &str, text: &str, more: &str) -> String {
    format!(
        "[schedule]\nevery = \"250ms\"\n[request]\ntimeout = \"200ms\"\n\
         [[sources]]\ntargets = [{{ url = \"{}\", name = \"shop\" }}]\n\
         [[checks]]\nplugin = \"body\"\nconfig = {{ contains = \"{text}\" }}\n[record]\nwhen = \"always\"\n{more}",
        server.url(path)
    )
}

#[test]
fn a_changed_check_is_compared_and_a_new_one_told() {
    let server = Server::start();
    let project = Project::with_pipeline(&wants(&server, "/page", "Cart", ""));
    run_until(&project, &server, 4);
    let count = records(&record_files(&project, "shop")).len();
    assert_eq!(count, server.count());

    // The check is mended, and another one is added.
    let new = "[[checks]]\nplugin = \"html\"\nconfig = { present = [\"form\"] }\n";
    project.write("pipelines/shop.toml", wants(&server, "/page", "Basket", "") + new);
    let finished = project.run(&["replay"]).expect_code(1);
    let text = &finished.stdout;
    let expected = [
        format!("shop/body: was fail, now pass: {count} verdicts"),
        "  was: body does not contain \"Cart\"".to_owned(),
        "  now: 1 body assertion holds".to_owned(),
        format!("shop/html: new, fail: {count} verdicts"),
        format!("{count} would be told otherwise"),
    ];
    let mut from = 0;
    for part in &expected {
        let at = text[from..].find(part.as_str()).unwrap_or_else(|| panic!("{part}, in this order: {text}"));
        from += at;
    }
    assert!(!text.contains("shop/status: "), "no difference is no news: {text}");

    // Only the one check: the other one's verdicts stand.
    let finished = project.run(&["replay", "--check", "body"]).expect_code(1);
    assert!(
        finished.stdout.contains(&format!("outcome: was down, would be up: {count} attempts")),
        "{finished:?}"
    );
    assert!(!finished.stdout.contains("shop/html"), "{}", finished.stdout);
    let finished = project.run(&["replay", "--check", "boby"]).expect_code(2);
    assert!(finished.stderr.contains("did you mean \"body\"?"), "{}", finished.stderr);

    // A plugin without a pipeline; nothing is there before 2020.
    let config = r#"{"contains":"Your basket"}"#;
    let plugin = ["replay", "--plugin", "body", "--config", config, "--format", "json"];
    let lines = project.run(&plugin).expect_code(1).json_lines();
    assert_eq!(lines.len(), count);
    for line in &lines {
        assert_eq!((&line["change"], &line["check_name"]), (&"status".into(), &"body".into()));
        assert_eq!((&line["was"]["status"], &line["now"]["status"]), (&"fail".into(), &"pass".into()));
        assert_eq!((&line["outcome_was"], &line["outcome_now"]), (&"down".into(), &"up".into()));
    }
    let started: Vec<_> = lines.iter().map(|line| line["started_at"].as_str().unwrap()).collect();
    assert!(started.is_sorted(), "in the order of the attempts: {started:?}");
    let before = project.run(&[&plugin[..], &["--until", "2020-01-01"]].concat()).expect_code(3);
    assert!(before.stderr.contains("no record"), "{}", before.stderr);
    for (arguments, code, part) in [
        (&["--plugin", "body", "--config", "{\"contain\":1}"][..], 78, "--config"),
        (&["--plugin", "boddy"], 78, "did you mean \"body\"?"),
        (&["--plugin", "no-such.wasm"], 78, "no-such.wasm"),
        (&["--since", "yesterday"], 2, "--since"),
        (&["--records", "no-such-folder", "--plugin", "status"], 3, "no-such-folder"),
        (&["--runner", "other", "--plugin", "status"], 3, "state/other/records"),
    ] {
        let finished = project.run(&[&["replay"], arguments].concat()).expect_code(code);
        assert!(finished.stderr.contains(part), "{arguments:?}: {}", finished.stderr);
    }
}

/// Secrets that a website sends, each in a header of its own.
const ANSWERED: [&str; 5] = [
    "canary-session-0005",
    "canary-token-000006",
    "canary-user-0000007",
    "canary-password-08",
    "canary-nonce-00009",
];

/// A website that sends back what it was sent, head and body, and secrets in headers. It ends with the test.
fn echo() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if answer(&stream).is_some() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (port, answered)
}

fn answer(mut stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut said = String::new();
    while !said.ends_with("\r\n\r\n") {
        (reader.read_line(&mut said).ok()? > 0).then_some(())?;
    }
    let length = said.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    said.push_str(&String::from_utf8(body).ok()?);
    let [session, token, user, password, nonce] = ANSWERED;
    // A page often has the token of its header in a form.
    said.push_str(&format!("<input name=csrf value={token}>"));
    let head = format!(
        "HTTP/1.1 401 Who\r\nset-cookie: sid={session}; Path=/; Secure\r\nx-auth-token: {token}\r\n\
         x-shop-user: {user}\r\nlocation: https://anna:{password}@127.0.0.1/login\r\n\
         www-authenticate: Digest nonce=\"{nonce}\"\r\ncontent-length: {}\r\n\r\n",
        said.len()
    );
    stream.write_all(format!("{head}{said}").as_bytes()).ok()
}

/// K1, K4: one canary for each place where a secret can be.
#[test]
fn no_secret_gets_into_a_record() {
    let (port, answered) = echo();
    let sent = ["canary-bearer-0001", "canary-cookie-0002", "canary-header-0003", "canary-body-000004"];
    let [bearer, cookie, header, body] = sent;
    let text = format!(
        r#"
[schedule]
every = "250ms"
[[sources]]
targets = [{{ url = "http://127.0.0.1:{port}/echo", name = "echo" }}]
[request]
method = "POST"
timeout = "200ms"
body = "user=x&secret={body}"
[request.headers]
authorization = "Bearer {bearer}"
cookie = "sid={cookie}"
x-shop = "{header}"
[[checks]]
plugin = "header"
[checks.config]
require = [
  {{ name = "set-cookie", equals = "x" }}, {{ name = "x-auth-token", equals = "x" }},
  {{ name = "location", equals = "x" }}, {{ name = "www-authenticate", equals = "x" }},
]
[[checks]]
plugin = "body"
config = {{ contains = "not there" }}
[record]
when = "not_up"
mask_headers = ["x-shop-user"]
"#
    );
    let project = Project::with_pipeline(&text);
    let mut running = project.start(&["run"]);
    running.until(LONG, "answers", || (answered.load(Ordering::SeqCst) >= 3).then_some(()));
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(30)).expect_code(0);

    let files = record_files(&project, "shop");
    let found: Vec<_> =
        records(&files).into_iter().filter(|record| !record["exchange"]["response"].is_null()).collect();
    assert!(!found.is_empty());
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let shown: Vec<_> = sent.iter().chain(&ANSWERED).filter(|canary| text.contains(**canary)).collect();
        assert!(shown.is_empty(), "{shown:?} in {text}");
    }
    let record = &found[0];
    let headers = record["exchange"]["response"]["headers"].to_string();
    assert!(headers.contains("sid=[masked]; Path=/; Secure"), "the rest of a cookie stays: {headers}");
    assert!(headers.contains("https://127.0.0.1/login"), "and the rest of a URL: {headers}");
    let body = record["exchange"]["body"].as_str().unwrap();
    assert!(body.contains("authorization: [masked]") && body.contains("csrf value=[masked]"), "{body}");
    let masked: Vec<_> = record["masked"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let expected =
        ["body", "location", "set-cookie", "verdicts", "www-authenticate", "x-auth-token", "x-shop-user"];
    assert_eq!(masked, expected);
    project.run(&["replay"]).expect_code(0);
}

#[test]
fn records_keep_to_their_size_and_the_newest_stay() {
    let server = Server::start();
    let project = Project::with_pipeline(&wants(
        &server,
        "/body/200000",
        "xxx",
        "max_size = \"1MiB\"\nmax_body = \"100KiB\"\n",
    ));
    run_until(&project, &server, 30);
    let files = record_files(&project, "shop");
    let sizes: u64 = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(sizes <= 1 << 20, "{sizes} bytes");
    let found = records(&files);
    let rows = project.rows();
    let newest = rows.probes.iter().map(|row| row["seq"].as_i64().unwrap()).max();
    assert_eq!(found.last().unwrap()["seq"].as_i64(), newest);
    assert!(found.len() >= 5 && found.len() < rows.probes.len());
    for record in &found {
        assert_eq!(record["body_cut_from"], 200_000);
        assert_eq!(record["exchange"]["body"].as_str().unwrap().len(), 100 << 10);
        assert_eq!(record["exchange"]["body_truncated"], false, "that is about what the check saw");
    }
    // What the check saw is not there any more, and that is said.
    project.write("pipelines/shop.toml", wants(&server, "/body/200000", "nonce", ""));
    let finished = project.run(&["replay"]).expect_code(0);
    assert!(finished.stdout.contains("no difference"), "{}", finished.stdout);
    project.write("pipelines/shop.toml", wants(&server, "/body/200000", "shop", ""));
    let finished = project.run(&["replay", "--check", "body"]).expect_code(1);
    assert!(finished.stdout.contains("have a part of the body only"), "{}", finished.stdout);
}

/// D1, D19: what a kill leaves can be read, and the next start mends it.
#[test]
fn a_kill_leaves_a_readable_file() {
    let server = Server::start();
    let project = Project::with_pipeline(&wants(&server, "/ok", "nonce", ""));
    let files = |project: &Project| record_files(project, "shop");
    let mut running = project.start(&["run"]);
    running.until(LONG, "records", || (records(&files(&project)).len() >= 3).then_some(()));
    running.kill();
    let before = records(&files(&project)).len();
    assert!(before >= 3);
    // As if it had come in the middle of a line.
    let file = files(&project).remove(0);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, [&whole[..], &whole[..100]].concat()).unwrap();
    let finished = project.run(&["replay"]).expect_code(0);
    assert!(finished.stderr.contains("has no end"), "{}", finished.stderr);
    assert!(finished.stdout.starts_with(&format!("{before} attempts")), "{}", finished.stdout);

    run_until(&project, &server, 2);
    assert_eq!(fs::read(&file).unwrap(), whole, "the torn line is cut off");
    assert!(files(&project).len() == 2 && records(&files(&project)).len() > before);
    let finished = project.run(&["replay"]).expect_code(0);
    assert!(!finished.stderr.contains("has no end"), "{}", finished.stderr);
}

/// A record is a convenience, a result is not.
#[test]
fn a_place_where_nothing_can_be_recorded_costs_no_result() {
    let server = Server::start();
    let project = Project::with_pipeline(&wants(&server, "/ok", "nonce", ""));
    project.write("data/state/main/records", "in the way");
    let mut running = project.start(&["run"]);
    running.until(LONG, "requests", || server.reached(4));
    running.signal(SIGTERM);
    let finished = running.wait(Duration::from_secs(30)).expect_code(0);
    assert_eq!(finished.stderr.matches("records cannot be written").count(), 1, "{}", finished.stderr);
    let rows = project.rows();
    rows.expect_whole();
    assert_eq!(rows.probes.len(), server.count());
    let unrecorded = format!("{} attempts could not be recorded", server.count());
    assert!(finished.stderr.contains(&unrecorded), "{}", finished.stderr);
}

#[test]
fn a_single_run_records_under_the_name_of_its_runner() {
    let server = Server::start();
    let project = Project::with_pipeline(&wants(&server, "/ok", "nonce", ""));
    for number in 1..=2 {
        project.run(&["run", "--once"]).expect_code(0);
        assert_eq!(record_files(&project, "shop").len(), number);
    }
    let left: Vec<_> =
        fs::read_dir(project.data().join("state")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [project.state("main")], "nothing else is left of them");
    private(&project.state("main").join("records"));
}

/// Records hold whole responses: they are for their owner alone.
fn private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    for path in [folder.to_owned(), folder.join("shop")] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", path.display());
        for entry in
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
        {
            assert_eq!(
                fs::metadata(&entry).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                entry.display()
            );
        }
    }
}
