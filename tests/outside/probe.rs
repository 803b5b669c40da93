//! `probity probe`: one attempt with every step shown, and what of it is to blame.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::support::{LONG, Project, Running, Server};

/// See [`PLAIN`].
type Case = (&'static str, i32, &'static str, Option<&'static str>, &'static [&'static str]);

/// A path of the website, and what a probe of it comes to: the exit code, the outcome, the phase or the check to
/// blame, and words of the page.
const PLAIN: &[Case] = &[
    (
        "/ok",
        0,
        "up",
        None,
        &["UP in ", "200 OK", "text in UTF-8", "nonce ", "pass   status", "outcome = 'up'"],
    ),
    (
        "/status/503",
        1,
        "down",
        Some("status"),
        &["DOWN in ", "theirs", "503 Service Unavailable", "decided here", "failed_check = 'status'"],
    ),
    (
        "/redirect/ok",
        0,
        "up",
        None,
        &["redirects  1. 302 http://", "2. 200 http://", "GET /redirect/ok HTTP/1.1"],
    ),
    ("/slow/400ms/x", 0, "up", None, &["most of the time"]),
    (
        "/close",
        1,
        "down",
        Some("first_byte"),
        &["connection_closed", "failed here", "response   none", "not called"],
    ),
    ("/short", 1, "down", Some("transfer"), &["body_incomplete", "not whole", "| not as long"]),
    (
        "/garbage",
        1,
        "down",
        Some("first_byte"),
        &["http_malformed", "http_malformed means: the response is not"],
    ),
];

fn object(project: &Project, arguments: &[&str], code: i32) -> Map<String, Value> {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
    let finished = project.run_plain(&arguments).expect_code(code);
    let mut lines = finished.json_lines();
    assert_eq!(lines.len(), 1, "{}", finished.stdout);
    lines.remove(0)
}

fn blamed(object: &Map<String, Value>) -> Option<&str> {
    let blame = object.get("blame")?;
    blame["check"].as_str().or(blame["phase"].as_str())
}

#[test]
fn each_end_has_its_step_to_blame() {
    let server = Server::start();
    let project = Project::new();
    for (path, code, outcome, to_blame, words) in PLAIN {
        let url = server.url(path);
        let page = project.run_plain(&["probe", &url]).expect_code(*code).stdout;
        for word in *words {
            assert!(page.contains(word), "{path}: no {word:?} in\n{page}");
        }
        let object = object(&project, &["probe", &url], *code);
        assert_eq!(object["outcome"], *outcome, "{path}");
        assert_eq!(blamed(&object), *to_blame, "{path}: {object:?}");
        assert_eq!(object["request"]["sent"], true, "{path}");
        assert_eq!(object["url"], url.as_str());
    }
    // Nothing is written, not even a folder.
    assert_eq!(fs::read_dir(project.path()).unwrap().count(), 0);
}

#[test]
fn what_fails_before_the_request_says_so() {
    let project = Project::new();
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/");
    let page = project.run_plain(&["probe", &url]).expect_code(1).stdout;
    for word in
        ["connect_refused", "it failed in connect", "(was not sent)", "there is no connection", "failed here"]
    {
        assert!(page.contains(word), "no {word:?} in\n{page}");
    }
    let told = object(&project, &["probe", &url], 1);
    assert_eq!((blamed(&told), &told["blame"]["whose"]), (Some("connect"), &"target".into()));
    assert_eq!(told["error_meaning"], "The target refused the connection.");
    assert_eq!(told["request"]["sent"], false);
}

#[test]
fn a_name_shows_how_it_was_resolved() {
    let server = Server::start();
    let url = server.url("/ok").replace("127.0.0.1", "localhost");
    let page = Project::new().run_plain(&["probe", &url]).expect_code(0).stdout;
    assert!(page.contains("dns        localhost: ") && page.contains(" address"), "{page}");
    assert!(page.contains("connect    127.0.0.1:"), "{page}");
}

#[test]
fn the_sum_of_the_phases_is_the_time() {
    let server = Server::start();
    let told = object(&Project::new(), &["probe", &server.url("/slow/300ms/x")], 0);
    let phases = ["connect_us", "first_byte_us", "transfer_us"].map(|name| told[name].as_i64().unwrap());
    let total = told["total_us"].as_i64().unwrap();
    assert!(phases[1] >= 300_000 && phases.iter().sum::<i64>() <= total, "{phases:?} of {total}");
    assert!(
        !told.contains_key("dns_us") && !told.contains_key("tls_us"),
        "what did not happen is not there: {told:?}"
    );
    assert!(!told.contains_key("run_id") && !told.contains_key("seq"), "it is of no run: {told:?}");
    assert!(told["checks"][0]["duration_us"].is_i64());
}

/// The attempt of a pipeline: its request, its time-out, its checks; but one attempt only.
#[test]
fn a_pipelines_target_is_probed_as_the_pipeline_does_it() {
    let server = Server::start();
    let (never, page) = (server.url("/never"), server.url("/json/x"));
    let project = Project::with_pipeline(&format!(
        "[[sources]]\ntargets = [\n  {{ url = \"{never}\", name = \"never\" }},\n  {{ url = \"{page}\", name = \"page\", \
         labels = {{ team = \"core\" }} }},\n]\n[request]\ntimeout = \"500ms\"\nretry = {{ attempts = 3, backoff = \"10ms\", \
         on = [\"timeout\"] }}\nheaders = {{ accept = \"text/plain\" }}\n[[checks]]\nplugin = \"changed\"\n\
         [[checks]]\nplugin = \"body\"\nseverity = \"warn\"\nconfig = {{ contains = [\"nowhere\"] }}\n"
    ));
    project.write("pipelines/wrong.toml", "this = is not a pipeline\n");
    let late = object(&project, &["probe", "never", "--pipeline", "shop"], 1);
    assert_eq!((&late["error_kind"], blamed(&late)), (&"timeout".into(), Some("first_byte")));
    assert_eq!(server.count(), 1, "one attempt");
    let shown = project.run_plain(&["probe", "never", "--pipeline", "shop"]).expect_code(1).stdout;
    assert!(shown.contains("failed here") && shown.contains("timeout 500ms"), "{shown}");

    for _ in 0..2 {
        let told = object(&project, &["probe", "page", "--pipeline", "shop", "pipelines"], 0);
        assert_eq!((&told["outcome"], blamed(&told)), (&"degraded".into(), Some("body")), "{told:?}");
        assert_eq!((&told["target"], &told["labels"]["team"]), (&"page".into(), &"core".into()));
        assert_eq!(told["generation"].as_str().map(str::len), Some(16));
        let checks: Vec<_> =
            told["checks"].as_array().unwrap().iter().map(|check| &check["check_name"]).collect();
        assert_eq!(checks, ["status", "changed", "body"]);
        // Nothing was remembered of the attempt before.
        assert_eq!(told["checks"][1]["status"], "pass", "{told:?}");
    }
    let sent = server.requests();
    assert!(
        sent.iter().all(|request| request.headers.iter().any(|line| line.ends_with("text/plain"))),
        "{sent:?}"
    );
    // Its URL stands for the target; another URL is probed in the same way.
    let by_url = object(&project, &["probe", &page, "--pipeline", "shop"], 0);
    assert_eq!(by_url["labels"]["team"], "core");
    let other = project.run_plain(&["probe", &server.url("/ok"), "--pipeline", "shop"]).expect_code(0).stdout;
    assert!(other.contains("the target is none of its own") && other.contains("it only degrades"), "{other}");
    assert_eq!(fs::read_dir(project.path()).unwrap().count(), 1, "only the pipelines are there");
}

#[test]
fn wrong_arguments_and_configurations_have_their_codes() {
    let project = Project::with_pipeline(
        "[[sources]]\ntargets = [{ url = \"http://127.0.0.1:9/\", name = \"home\" }]\n",
    );
    project.write("pipelines/env.toml", "[[sources]]\ntargets = [{ env = \"NOT_SET_ANYWHERE\" }]\n");
    let cases: [(&[&str], i32, &str); 9] = [
        (&["probe"], 2, "URL"),
        (&["probe", "ftp://127.0.0.1/"], 2, "scheme \"ftp\" is not supported"),
        (&["probe", "http://me:hunter2@127.0.0.1/"], 2, "holds a user name or a password"),
        (&["probe", "http://127.0.0.1:9/", "pipelines"], 2, "--pipeline"),
        (&["probe", "home", "--pipeline", "shpo"], 78, "did you mean \"shop\"?"),
        (&["probe", "home", "--pipeline", "other"], 78, "there is: env, shop"),
        (&["probe", "hoem", "--pipeline", "shop"], 2, "did you mean \"home\"?"),
        (&["probe", "stranger", "--pipeline", "shop"], 2, "probity list --targets"),
        (&["probe", "http://127.0.0.1:9/", "--pipeline", "env"], 78, "NOT_SET_ANYWHERE"),
    ];
    for (arguments, code, words) in cases {
        let finished = project.run_plain(arguments).expect_code(code);
        assert!(finished.stderr.contains(words), "{arguments:?}: {}", finished.stderr);
        assert!(
            finished.stdout.is_empty() && !finished.stderr.contains("hunter2"),
            "{arguments:?}: {finished:?}"
        );
    }
}

/// A certificate that nobody trusts: its facts are shown all the same.
#[test]
fn the_certificate_is_shown_although_it_is_refused() {
    let address = self_signed_server();
    let url = format!("https://{address}/");
    let project = Project::with_pipeline(&format!(
        "[[sources]]\ntargets = [\"{url}\"]\n[request]\ntls = {{ insecure_skip_verify = true }}\n"
    ));
    let page = project.run_plain(&["probe", &url]).expect_code(1).stdout;
    for word in [
        "tls_self_signed",
        "it failed in tls",
        "is NOT verified",
        "subject  CN=a test\n",
        "issuer   CN=a test\n",
        "names    127.0.0.1,shop.example\n",
        "valid    2020-01-01T00:00:00Z to 2080-01-01T00:00:00Z, ",
        " days left",
        "sha256   ",
        "(was not sent)",
    ] {
        assert!(page.contains(word), "no {word:?} in\n{page}");
    }
    let told = object(&project, &["probe", &url, "--pipeline", "shop"], 0);
    assert_eq!((&told["outcome"], &told["tls_verified"]), (&"up".into(), &false.into()), "{told:?}");
    assert_eq!(
        (&told["tls_version"], &told["cert_not_after"]),
        (&"1.3".into(), &"2080-01-01T00:00:00Z".into())
    );
    assert!(told["cert_days_left"].as_i64().unwrap() > 10_000 && told["tls_us"].is_i64());
}

/// A website over TLS that says `hello` to each, with a certificate of its own making.
fn self_signed_server() -> SocketAddr {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["127.0.0.1", "shop.example"].map(str::to_owned);
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "a test");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2080, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            let mut request = [0; 4_096];
            // Whoever does not trust the certificate leaves here.
            if stream.read(&mut request).is_ok_and(|length| length > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    address
}

/// K1: secrets of headers, URLs and the environment, which the answer repeats in its head and its body.
#[test]
fn k1_no_secret_is_shown() {
    let address = mirror();
    let project = Project::with_pipeline(&format!(
        "[[sources]]\ntargets = [{{ url = {{ env = \"SHOP_URL\" }}, name = \"shop\", labels = {{ site = {{ env = \"LABEL\" }} }} }},\n\
         {{ url = \"http://{address}/plain?page=2&api_key=hunter2-literal\", name = \"plain\" }}]\n\
         [request]\nmethod = \"POST\"\nheaders = {{ authorization = {{ env = \"BEARER\" }}, x-shop = \"hunter2-header\", \
         cookie = \"a=hunter2-cookie\", accept = \"text/html\" }}\nbody = \"hunter2-in-the-body\"\n"
    ));
    for target in ["shop", "plain"] {
        for format in ["table", "json"] {
            let mut command = project.command(&[
                "probe",
                target,
                "--pipeline",
                "shop",
                "--format",
                format,
                "--log",
                "debug",
            ]);
            command
                .env("SHOP_URL", format!("http://{address}/hunter2-path?key=hunter2-query-value"))
                .env("BEARER", "Bearer hunter2-bearer-token")
                .env("LABEL", "hunter2-label");
            let finished = Running::start(command).wait(LONG).expect_code(0);
            for text in [&finished.stdout, &finished.stderr] {
                assert!(!text.contains("hunter2"), "{target} {format}:\n{text}");
            }
            let page = &finished.stdout;
            assert!(page.contains("<secret>") && page.contains("text/html"), "{page}");
            if format == "table" {
                assert!(
                    page.contains("x-shop: <secret>") && page.contains("authorization: <secret>"),
                    "{page}"
                );
                assert!(page.contains("| you sent: post"), "the rest of the body is shown: {page}");
            }
        }
    }
    let url = format!("http://{address}/x?token=hunter2-on-the-command-line&page=3");
    let page = project.run_plain(&["probe", &url]).expect_code(0).stdout;
    assert!(!page.contains("hunter2") && page.contains("page=3"), "{page}");
    let leave = format!("http://{address}/leave");
    let page = project.run_plain(&["probe", &leave]).expect_code(0).stdout;
    assert!(!page.contains("hunter2") && page.contains("/x?page=4&token=<secret>"), "{page}");
    project.write(
        "pipelines/stay.toml",
        format!("[[sources]]\ntargets = [\"{leave}\"]\n[request]\nfollow_redirects = false\n"),
    );
    let page = project.run_plain(&["probe", &leave, "--pipeline", "stay"]).expect_code(1).stdout;
    assert!(page.contains("location: /x?page=4&token=<secret>"), "{page}");
}

/// A website that answers with what it was sent, in a header and in the body.
fn mirror() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut lines = Vec::new();
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim_end().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                lines.push(line.trim_end().to_owned());
            }
            let mut sent = vec![0; length];
            let _ = reader.read_exact(&mut sent);
            let echo = lines.join(" ");
            let body = format!("you sent: post\n{echo}\n{}\n", String::from_utf8_lossy(&sent));
            if echo.starts_with("GET /leave") {
                let location = "location: /x?page=4&token=hunter2-of-a-redirect\r\ncontent-length: 0\r\n\r\n";
                let _ = stream.write_all(format!("HTTP/1.1 302 Found\r\n{location}").as_bytes());
                continue;
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nx-echo: {echo}\r\nset-cookie: id=hunter2-from-the-server; path=/\r\n"
            );
            let _ =
                stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    });
    address
}

/// What a target says steers no terminal.
#[test]
fn what_the_target_says_is_harmless() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let long = "x".repeat(5_000);
            let body = format!("\u{1b}[31mred\u{202e}\n{long}\n{}", "line\n".repeat(100));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\nx-a: \u{9b}31m\r\n";
            let _ =
                stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    });
    for format in ["table", "json"] {
        let page = Project::new().run_plain(&["probe", &url, "--format", format]).expect_code(0).stdout;
        let is_steering = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!page.contains(is_steering), "{page:?}");
        assert!(page.lines().count() < 60 && page.len() < 6_000 && page.contains("[31mred"), "{page}");
    }
}
