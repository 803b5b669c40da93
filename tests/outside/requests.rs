//! What a target gets to see of a request: its body and its type, and who asks.

use crate::support::{LONG, Project, Running, Server};

/// The value of a header of a request, and its body.
fn seen(server: &Server, path: &str, header: &str) -> (Option<String>, String) {
    let request = server.requests().into_iter().find(|request| request.path == path).expect(path);
    let start = format!("{header}: ");
    let value = request.headers.iter().find_map(|line| line.strip_prefix(&start).map(str::to_owned));
    (value, String::from_utf8(request.body).unwrap())
}

/// What a pipeline's `[request]` says, what body a target gets of it, and of which type.
const BODIES: &[(&str, &str, &str)] = &[
    (r#"body = "hello""#, "hello", "text/plain; charset=utf-8"),
    (r#"body = '{ "a": 1 }'"#, r#"{ "a": 1 }"#, "application/json"),
    (r#"body_file = "body.txt""#, "from a file", "text/plain; charset=utf-8"),
    (r#"json = { a = [1, 2.5], b = { c = "d" } }"#, r#"{"a":[1,2.5],"b":{"c":"d"}}"#, "application/json"),
    (r#"form = { q = "a b&c", z = "é" }"#, "q=a+b%26c&z=%C3%A9", "application/x-www-form-urlencoded"),
    ("body = \"x\"\nheaders = { Content-Type = \"text/csv\" }", "x", "text/csv"),
];

#[test]
fn h16_h17_h18_bodies_of_every_kind_arrive_with_their_type() {
    let server = Server::start();
    let project = Project::new();
    project.write("pipelines/body.txt", "from a file");
    for (index, (said, ..)) in BODIES.iter().enumerate() {
        let url = server.url(&format!("/ok/{index}"));
        project.write(
            &format!("pipelines/p{index}.toml"),
            format!("[request]\nmethod = \"POST\"\n{said}\n[[sources]]\ntargets = [\"{url}\"]\n"),
        );
    }
    project.run(&["run", "--once"]).expect_code(0);
    for (index, (said, body, content_type)) in BODIES.iter().enumerate() {
        let found = seen(&server, &format!("/ok/{index}"), "content-type");
        assert_eq!(found, (Some((*content_type).to_owned()), (*body).to_owned()), "{said}");
    }
}

#[test]
fn h21_k1_who_asks_is_sent_and_never_shown() {
    let server = Server::start();
    let project = Project::new();
    let basic = "auth = { basic = { username = \"ann\", password = \"hunter2-hunter2\" } }";
    let bearer = "auth = { bearer = { file = \"token\" } }";
    project.write("pipelines/token", "tok3n-tok3n-tok3n\n");
    for (name, said) in [("basic", basic), ("bearer", bearer)] {
        let url = server.url(&format!("/ok/{name}"));
        project.write(
            &format!("pipelines/{name}.toml"),
            format!(
                "[record]\nwhen = \"always\"\n[request]\n{said}\n[[sources]]\n\
                 targets = [{{ url = \"{url}\", name = \"{name}\" }}]\n"
            ),
        );
    }
    let run = project.run(&["run", "--once", "--format", "json"]).expect_code(0);
    let value = |name: &str| seen(&server, &format!("/ok/{name}"), "authorization").0.unwrap();
    assert_eq!(value("basic"), "Basic YW5uOmh1bnRlcjItaHVudGVyMg==");
    assert_eq!(value("bearer"), "Bearer tok3n-tok3n-tok3n");
    let mut told = format!("{}{}", run.stdout, run.stderr);
    for name in ["basic", "bearer"] {
        let shown = project.run_plain(&["probe", name, "--pipeline", name]).expect_code(0);
        told.push_str(&shown.stdout);
        told.push_str(&shown.stderr);
    }
    assert!(told.contains("authorization"), "{told}");
    for secret in ["hunter2", "tok3n", "YW5uOmh1bnRlcjI"] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
}

#[test]
fn h23_h28_requests_bear_what_joins_them_with_rows() {
    let server = Server::start();
    let url = server.url("");
    let project = Project::with_pipeline(&format!(
        "[request]\nrequest_id_header = \"X-Request-Id\"\ncache_buster = \"cb\"\nheaders = {{ host = \"shop.example\" }}\n\
         retry = {{ attempts = 2, backoff = \"10ms\" }}\n[[sources]]\ntargets = [\"{url}/redirect/ok\", \"{url}/status/503?a=b\"]\n"
    ));
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows().probes;
    let mut expected: Vec<String> = rows
        .iter()
        .map(|row| format!("{}-{}-{}", row["run_id"].as_str().unwrap(), row["probe_seq"], row["attempt"]))
        .collect();
    expected.sort();
    assert_eq!(expected.len(), 3, "one attempt, and two of the probe that is tried again");
    let mut sent = Vec::new();
    for request in server.requests() {
        let of = |name: &str| {
            let values = request.headers.iter().filter_map(|line| line.split_once(": "));
            values
                .filter(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
                .next()
        };
        let id = of("x-request-id").unwrap();
        match request.path.as_str() {
            // A redirect is followed as it is told.
            path if path.starts_with("/ok") => assert!(expected.contains(&id)),
            path => {
                let query = if path.starts_with("/status") { "?a=b&cb=" } else { "?cb=" };
                assert!(path.ends_with(&format!("{query}{id}")), "{path}");
                sent.push(id);
            }
        }
        assert_eq!(of("host").as_deref(), Some("shop.example"));
    }
    sent.sort();
    assert_eq!(sent, expected);
}

#[test]
fn h30_connections_leave_from_the_address_that_is_given() {
    let server = Server::start();
    let probe = |source: &str| {
        let project = Project::with_pipeline(&format!(
            "[request]\nsource_address = \"{source}\"\n[[sources]]\ntargets = [\"{}\"]\n",
            server.url("/ok")
        ));
        let run = project.run(&["run", "--once"]);
        let row = project.rows().probes.remove(0);
        (run, row["outcome"].as_str().unwrap().to_owned(), row["error_kind"].as_str().map(str::to_owned))
    };
    assert_eq!(probe("127.0.0.7").1, "up");
    // An address of no machine (RFC 5737).
    let (_, outcome, kind) = probe("192.0.2.7");
    assert_eq!((outcome.as_str(), kind.as_deref()), ("unknown", Some("local_address")));
    let project = Project::with_pipeline(
        "[request]\nsource_address = \"eth7\"\n[[sources]]\ntargets = [\"http://127.0.0.1:1/\"]\n",
    );
    let told = Running::start(project.command(&["validate"])).wait(LONG).expect_code(78).stderr.clone();
    assert!(told.contains("pipelines/shop.toml:2:18") && told.contains("no IP address"), "{told}");
}
