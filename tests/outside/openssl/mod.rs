//! What rustls cannot serve, `openssl s_server` can: old versions, weak ciphers and keys, huge certificates, and who
//! asks. `cases.toml` has the cases.

mod pki;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use self::pki::Certificate;
use crate::support::{LONG, Project, Row, Running, SIGTERM, differences, inline, say_left_out};

/// All certificates and cases.
#[derive(Deserialize)]
struct Cases {
    certificate: Vec<Certificate>,
    case: Vec<Case>,
}

/// One of them; the head of the file says what each field means.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    server: String,
    #[serde(default = "ec")]
    certificate: String,
    needs: Option<String>,
    #[serde(default)]
    tls: Value,
    says: Option<String>,
    row: Row,
}

fn ec() -> String {
    "ec".to_owned()
}

/// A running `openssl s_server`, and its port. Its page tells of the handshake, also who was asking.
struct Server {
    running: Running,
    port: u16,
}

impl Server {
    fn start(pki: &Path, certificate: &str, arguments: &str) -> Self {
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-www", "-accept", "127.0.0.1:0"])
            .args(["-cert", &format!("{certificate}.pem"), "-key", &format!("{certificate}.key")])
            .args(arguments.split_whitespace())
            .current_dir(pki);
        let mut running = Running::start(command);
        running.until_stdout_has(LONG, "ACCEPT 127.0.0.1:");
        let said = running.stdout();
        let (_, port) = said.rsplit_once("ACCEPT 127.0.0.1:").unwrap();
        Self { port: port.trim().parse().unwrap(), running }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }
}

/// A project whose folder `pki` has the certificates.
fn prepare() -> (Project, PathBuf, Cases) {
    let project = Project::new();
    let pki = project.path().join("pki");
    fs::create_dir(&pki).unwrap();
    let text = include_str!("cases.toml").replace("{pki}", pki.to_str().unwrap());
    let cases: Cases = toml::from_str(&text).unwrap();
    (project, pki, cases)
}

/// `[request.tls]` with the authority of the certificates.
fn trusting(pki: &Path, tls: &Value) -> Value {
    let mut tls = tls.clone();
    if tls.is_null() {
        tls = json!({});
    }
    tls["ca_file"] = json!(pki.join("authority.pem"));
    json!({ "tls": tls, "timeout": "30s" })
}

#[test]
fn n25_n27_n28_every_server_of_openssl_makes_the_row_that_it_should() {
    let (project, pki, mut cases) = prepare();
    pki::make(&pki, &cases.certificate);
    cases.case.retain(|case| {
        let can = case.needs.as_ref().is_none_or(|cipher| pki::has_cipher(&pki, cipher));
        if !can {
            say_left_out(&format!("openssl: {}", case.name), "this openssl has no such cipher");
        }
        can
    });
    let servers: Vec<_> = cases
        .case
        .iter()
        .map(|case| Server::start(&pki, &case.certificate, &case.server.replace("{here}", pki::HERE)))
        .collect();
    for (case, server) in cases.case.iter().zip(&servers) {
        let target = json!({ "url": server.url(), "name": case.name });
        let checks = case.says.iter().map(|text| json!({ "plugin": "body", "config": { "contains": text } }));
        project.write(
            &format!("pipelines/{}.toml", case.name),
            format!(
                "request = {}\nsources = [{{ targets = [{}] }}]\nchecks = {}\n",
                inline(&trusting(&pki, &case.tls)),
                inline(&target),
                inline(&checks.collect())
            ),
        );
    }
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    let mut told = String::new();
    for (case, server) in cases.case.iter().zip(&servers) {
        let row = rows.the_row(&case.name);
        for difference in differences(row, &case.row) {
            let said = server.running.stderr();
            told += &format!("{}: {difference} ({})\n    {said}\n", case.name, row["error_message"]);
        }
    }
    assert!(told.is_empty(), "\n{told}");
}

#[test]
fn h87_a_client_certificate_that_is_changed_on_disk_is_shown() {
    let (project, pki, cases) = prepare();
    pki::make(&pki, &cases.certificate);
    let server = Server::start(
        &pki,
        "ec",
        &format!("-Verify 1 -verify_return_error -CAfile {}/authority.pem", pki.display()),
    );
    let replace = |file: &str, with: &str| {
        fs::copy(pki.join(with), pki.join("new")).unwrap();
        fs::rename(pki.join("new"), pki.join(file)).unwrap();
    };
    replace("shown.pem", "client.pem");
    replace("shown.key", "client.key");
    let tls = json!({ "cert_file": pki.join("shown.pem"), "key_file": pki.join("shown.key") });
    // The page says who was asking; the check wants the one that is not shown yet.
    project.write(
        "pipelines/shop.toml",
        format!(
            "[schedule]\nevery = \"200ms\"\n[[sources]]\ntargets = [\"{}\"]\n[[sinks]]\ntype = \"stdout\"\nformat = \"json\"\n\
             [[checks]]\nplugin = \"body\"\nconfig = {{ contains = \"Subject: CN=client-ed25519\" }}\n[request]\n{}\n",
            server.url(),
            trusting(&pki, &tls).as_object().unwrap().iter().map(|(key, value)| format!("{key} = {}\n", inline(value))).collect::<String>()
        ),
    );
    let mut running = project.start(&["run"]);
    running.until_stdout_has(LONG, "\"outcome\":\"down\"");
    let said = running.stdout_reader();
    let rows_of = |outcome: &str| said().matches(&format!("\"outcome\":\"{outcome}\"")).count();

    // A certificate without its key is a mistake, as long as it is one: the last good pair goes on.
    replace("shown.pem", "client-ed25519.pem");
    running.until_stderr_has(LONG, "it is not the key of the certificate in cert_file");
    let before = rows_of("down");
    running.until(LONG, "probes with the last good pair", || (rows_of("down") > before + 2).then_some(()));
    assert_eq!(rows_of("up"), 0);
    replace("shown.key", "client-ed25519.key");
    running.until_stdout_has(LONG, "\"outcome\":\"up\"");
    running.signal(SIGTERM);
    running.wait(Duration::from_secs(30)).expect_code(0);

    let rows = project.rows();
    rows.expect_whole();
    let outcomes: Vec<_> = rows.probes.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    let turn = outcomes.iter().position(|outcome| *outcome == "up").unwrap();
    assert!(outcomes[turn..].iter().all(|outcome| *outcome == "up"), "{outcomes:?}");
    assert!(
        rows.probes.iter().all(|row| row["http_status"] == 200),
        "nobody was turned away: {:?}",
        rows.probes
    );
}
