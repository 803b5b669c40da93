//! Results in buckets: files stay on this machine, and each gets to the bucket once, whatever happens to the bucket or
//! to the runner meanwhile.

mod moto;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{
    Bucket, LONG, Mood, Project, Running, SIGTERM, Server, parquet_files, read_rows, until,
};

/// What must not be told: the server of these tests has it in its refusals as well.
const CANARY: &str = "hunter2";
const SECRET: &str = "hunter2-hunter2-hunter2-hunter2";

/// A pipeline of 10 targets, four times a second, a file a second, into a bucket.
fn pipeline(server: &Server, sink: &str) -> String {
    let targets: String = (0..10).map(|n| format!("  \"{}\",\n", server.url(&format!("/ok/{n}")))).collect();
    format!(
        "[schedule]\nevery = \"250ms\"\n[[sources]]\ntargets = [\n{targets}]\n\
         [[sinks]]\ntype = \"parquet\"\nrotate = {{ every = \"1s\" }}\n{sink}\n"
    )
}

/// A command in the environment of somebody who has credentials for S3.
fn with_credentials(mut command: Command, endpoint: &str) -> Command {
    command
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "eu-central-1");
    command
}

fn start(project: &Project, arguments: &[&str], bucket: &Bucket) -> Running {
    Running::start(with_credentials(project.with_data(arguments), &bucket.url()))
}

/// Stands for a file's content where it is compared.
fn print(content: &[u8]) -> String {
    format!("{:016x} {}", twox_hash::XxHash3_64::oneshot(content), content.len())
}

/// The finished files of this machine, by their path below the folder.
fn local(folder: &Path) -> BTreeMap<String, String> {
    let below = |path: PathBuf| {
        (path.strip_prefix(folder).unwrap().display().to_string(), print(&fs::read(&path).unwrap()))
    };
    parquet_files(folder).into_iter().map(below).collect()
}

/// The files of the bucket, by their key below a prefix; nothing else is there.
#[track_caller]
fn uploaded(bucket: &Bucket, prefix: &str) -> BTreeMap<String, String> {
    let below = |(key, content): (String, Vec<u8>)| {
        let place = key.strip_prefix(prefix).unwrap_or_else(|| panic!("{key} is not below {prefix}"));
        (place.to_owned(), print(&content))
    };
    bucket.objects().into_iter().map(below).collect()
}

#[track_caller]
fn expect_no_secret(project: &Project, said: &str) {
    assert!(!said.contains(CANARY), "{said}");
    let mut everything = String::new();
    everything_below(project.path(), &mut everything);
    assert!(!everything.contains(CANARY), "a secret lies on the disk");
}

fn everything_below(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            everything_below(&path, out);
        } else {
            out.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn an_outage_of_the_bucket_loses_nothing_and_holds_up_nothing() {
    let (server, bucket) = (Server::start(), Bucket::start());
    let project = Project::with_pipeline(&pipeline(&server, "path = \"s3://acme-probes/shop\""));
    let folder = project.data().join("s3-acme-probes-shop");
    // It cannot be reached at the start: the runner starts all the same.
    bucket.is(Mood::Gone);
    let mut running = start(&project, &["run"], &bucket);
    running.until_stderr_has(LONG, "the bucket takes no files");
    let before = server.count();
    running.until(LONG, "probing goes on", || server.reached(before + 40));
    bucket.is(Mood::Well);
    running.until_stderr_has(LONG, "the bucket takes files again");
    running.until(LONG, "files in the bucket", || (bucket.objects().len() >= 4).then_some(()));
    bucket.is(Mood::Refuses(503, "SlowDown"));
    running.until_stderr_has(LONG, "answered 503 (Service Unavailable, SlowDown)");
    let published = parquet_files(&folder).len();
    running
        .until(LONG, "files of the outage", || (parquet_files(&folder).len() >= published + 4).then_some(()));
    bucket.is(Mood::Well);
    let waiting = local(&folder);
    running.until(LONG, "all that waited", || {
        let there = uploaded(&bucket, "acme-probes/shop/");
        waiting.keys().all(|place| there.contains_key(place)).then_some(())
    });
    running.signal(SIGTERM);
    let finished = running.wait(LONG).expect_code(0);
    assert_eq!(uploaded(&bucket, "acme-probes/shop/"), local(&folder), "{}", finished.stderr);
    assert_eq!(bucket.written_at_most(), 1, "a key is written once");
    assert!(bucket.asked().iter().all(|asked| asked.method != "PUT" || asked.only_new));
    let rows = read_rows(&folder);
    rows.expect_whole();
    assert_eq!(rows.probes.len(), server.count(), "a row a request");
    let files = local(&folder).len();
    assert!(finished.stderr.contains(&format!("{files} files uploaded")), "{}", finished.stderr);
    expect_no_secret(&project, &finished.stderr);
}

#[test]
fn a_kill_in_an_outage_loses_nothing_and_the_next_start_goes_on() {
    let (server, bucket) = (Server::start(), Bucket::start());
    let sink = "path = \"s3://acme-probes\"\nlocal = \"results\"";
    let project = Project::with_pipeline(&pipeline(&server, sink));
    let mut running = start(&project, &["run"], &bucket);
    running.until(LONG, "files in the bucket", || (bucket.objects().len() >= 2).then_some(()));
    // Files get there, and nobody learns of it.
    bucket.is(Mood::Mute);
    let there = bucket.objects().len();
    running.until(LONG, "a file without an answer", || (bucket.objects().len() > there).then_some(()));
    bucket.is(Mood::Gone);
    let published = parquet_files(&project.results()).len();
    running.until(LONG, "files of the outage", || {
        (parquet_files(&project.results()).len() >= published + 4).then_some(())
    });
    running.kill();
    // A line that the kill has torn.
    let list = project.state("main").join("uploaded");
    let torn = fs::read(&list).unwrap();
    fs::write(&list, [torn.as_slice(), b"0123456789ab"].concat()).unwrap();
    let left = local(&project.results());
    assert!(left.len() > bucket.objects().len());
    bucket.is(Mood::Well);
    let mut running = start(&project, &["run"], &bucket);
    running.until(LONG, "what was left", || {
        let there = bucket.objects();
        left.keys().all(|place| there.contains_key(&format!("acme-probes/{place}"))).then_some(())
    });
    running.signal(SIGTERM);
    running.wait(LONG).expect_code(0);
    assert_eq!(uploaded(&bucket, "acme-probes/"), local(&project.results()));
    assert_eq!(bucket.written_at_most(), 1, "what got there without an answer is not written again");
    // What is known to be there is not even asked for.
    let asked = bucket.asked().len();
    start(&project, &["run", "--once"], &bucket).wait(LONG).expect_code(0);
    assert_eq!(bucket.asked().len(), asked + 2, "the two files of a single run");
}

#[test]
fn a_single_run_leaves_what_it_cannot_upload_to_the_next() {
    let (server, bucket) = (Server::start(), Bucket::start());
    let project =
        Project::with_pipeline(&pipeline(&server, "path = \"s3://acme-probes/x\"\nlocal = \"results\""));
    bucket.is(Mood::Refuses(403, "AccessDenied"));
    let first = start(&project, &["run", "--once"], &bucket).wait(LONG).expect_code(0);
    for part in ["answered 403 (Forbidden, AccessDenied)", "2 files are left to be uploaded"] {
        assert!(first.stderr.contains(part), "{}", first.stderr);
    }
    expect_no_secret(&project, &first.stderr);
    assert!(bucket.objects().is_empty());
    bucket.is(Mood::Simple);
    let second = start(&project, &["run", "--once"], &bucket).wait(LONG).expect_code(0);
    assert!(second.stderr.contains("4 files uploaded"), "{}", second.stderr);
    let files = local(&project.results());
    assert_eq!(uploaded(&bucket, "acme-probes/x/"), files);
    assert_eq!(files.len(), 4);
    // The two runs had states of their own, and left one list.
    let list = fs::read_to_string(project.state("main").join("uploaded")).unwrap();
    assert_eq!(list.lines().filter(|line| line.ends_with(" s3://acme-probes/x")).count(), 4, "{list}");
}

#[test]
fn files_go_from_this_machine_once_the_bucket_has_them() {
    let (server, bucket) = (Server::start(), Bucket::start());
    let sink = "path = \"s3://acme-probes\"\nlocal = \"results\"\ndelete_local = true";
    let project = Project::with_pipeline(&pipeline(&server, sink));
    bucket.is(Mood::Gone);
    start(&project, &["run", "--once"], &bucket).wait(LONG).expect_code(0);
    let kept = local(&project.results());
    assert_eq!(kept.len(), 2, "nothing goes before the bucket has it");
    // One of them is there already, under the same key, and is another: it is not touched, nor is ours.
    let (place, _) = kept.first_key_value().unwrap();
    bucket.put(&format!("acme-probes/{place}"), b"something else");
    bucket.is(Mood::Well);
    let finished = start(&project, &["run", "--once"], &bucket).wait(LONG).expect_code(3);
    for part in ["another object is there under the same key", "1 files could not be uploaded"] {
        assert!(finished.stderr.contains(part), "{}", finished.stderr);
    }
    assert_eq!(local(&project.results()).into_keys().collect::<Vec<_>>(), std::slice::from_ref(place));
    let there = uploaded(&bucket, "acme-probes/");
    assert_eq!(there.len(), 4);
    assert_eq!(there[place], print(b"something else"));
    let (other, content) = kept.last_key_value().unwrap();
    assert_eq!(&there[other], content);
}

#[test]
fn a_large_file_goes_in_parts_and_appears_as_a_whole() {
    let (server, bucket) = (Server::start(), Bucket::start());
    let project =
        Project::with_pipeline(&pipeline(&server, "path = \"s3://acme-probes/x\"\nlocal = \"results\""));
    // A file of an earlier run, as large as an hour of a million probes.
    let place = "probes/date=2026-09-01/probes-20260901T05Z-main-x-000001.parquet";
    let content: Vec<u8> =
        (0..20_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    project.write(&format!("data/results/{place}"), &content);
    let checksum = twox_hash::XxHash3_64::oneshot(&content);
    project.write("data/state/main/checksums", format!("{checksum:016x} {:>12} {place}\n", content.len()));
    let mut running = start(&project, &["run"], &bucket);
    let key = format!("acme-probes/x/{place}");
    running.until(LONG, "the large file", || bucket.objects().contains_key(&key).then_some(()));
    running.signal(SIGTERM);
    running.wait(LONG).expect_code(0);
    assert!(bucket.objects()[&key] == content, "the parts in their order");
    let asked = bucket.asked();
    let of_it = asked.iter().filter(|asked| asked.path.contains("main-x-000001"));
    let methods: Vec<_> = of_it.map(|asked| asked.method.as_str()).collect();
    assert_eq!(methods, ["HEAD", "POST", "PUT", "PUT", "PUT", "POST"]);
    assert_eq!(bucket.written_at_most(), 1);
}

#[test]
fn google_and_azure_get_the_same_files() {
    let server = Server::start();
    for (address, prefix, options) in [
        ("gs://acme-probes/x", "acme-probes/x/", "service_account_key = { env = \"ACCOUNT\" }"),
        (
            "az://probes/x",
            "probes/x/",
            "storage_account_name = \"acme\", endpoint = \"URL\", storage_account_key = { env = \"KEY\" }",
        ),
    ] {
        let bucket = Bucket::start();
        let options = options.replace("URL", &bucket.url());
        let sink = format!(
            "path = \"{address}\"\nlocal = \"results\"\noptions = {{ allow_http = \"true\", {options} }}"
        );
        let project = Project::with_pipeline(&pipeline(&server, &sink));
        let mut command = project.with_data(&["run", "--once"]);
        let account = format!(
            "{{\"gcs_base_url\": \"{}\", \"disable_oauth\": true, \"client_email\": \"\", \"private_key\": \"\", \
             \"private_key_id\": \"{CANARY}\"}}",
            bucket.url()
        );
        command.env("KEY", "aHVudGVyMmh1bnRlcjI=").env("ACCOUNT", account);
        let finished = Running::start(command).wait(LONG).expect_code(0);
        assert!(finished.stderr.contains("2 files uploaded"), "{}", finished.stderr);
        assert_eq!(uploaded(&bucket, prefix), local(&project.results()), "{address}");
        assert!(bucket.asked().iter().all(|asked| asked.only_new), "{address}: {:?}", bucket.asked());
        expect_no_secret(&project, &finished.stderr);
    }
}

#[test]
fn many_runners_share_a_bucket() {
    let (server, bucket) = (Server::start(), Bucket::start());
    let sink = "path = \"s3://acme-probes\"\nlocal = \"results\"";
    let projects: Vec<_> = (0..3).map(|_| Project::with_pipeline(&pipeline(&server, sink))).collect();
    let running: Vec<_> = projects.iter().map(|project| start(project, &["run"], &bucket)).collect();
    until(LONG, "files of all", || (bucket.objects().len() >= 12).then_some(()));
    for one in &running {
        one.signal(SIGTERM);
    }
    for one in running {
        one.wait(LONG).expect_code(0);
    }
    // They even have one name: each run has an identity of its own.
    let all: BTreeMap<_, _> = projects.iter().flat_map(|project| local(&project.results())).collect();
    assert_eq!(uploaded(&bucket, "acme-probes/"), all);
    assert_eq!(bucket.written_at_most(), 1);
}
