//! Through a proxy, and past one.

use std::time::Duration;

use crate::support::{Project, Running, Server};

/// What must not be told: long enough to be looked for everywhere.
const PASSWORD: &str = "hunter2-hunter2";

fn host_and_port(server: &Server) -> String {
    server.url("").trim_start_matches("http://").to_owned()
}

/// Runs the pipelines once, in an environment that has these variables as well.
fn run(project: &Project, variables: &[(&str, String)]) -> crate::support::Finished {
    let mut command = project.with_data(&["run", "--once", "--format", "json"]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Running::start(command).wait(Duration::from_mins(2))
}

#[test]
fn n74_the_environments_proxy_is_passed_over_unless_it_is_named() {
    let (target, proxy) = (Server::start(), Server::start());
    let url = format!("http://ann:{PASSWORD}@{}", host_and_port(&proxy));
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let variables: Vec<_> = names.iter().map(|name| (*name, url.clone())).collect();
    let project = Project::new();
    let pipeline =
        |request: &str, url: String| format!("[request]\n{request}\n[[sources]]\ntargets = [\"{url}\"]\n");
    project.write("pipelines/plain.toml", pipeline("", target.url("/ok/plain")));
    run(&project, &variables).expect_code(0);
    assert_eq!((proxy.count(), target.count()), (0, 1));

    // By name, with what does not go through it by name too; where it is not set, there is none.
    let by_name = "proxy_url = { env = \"HTTP_PROXY\", default = \"\" }\nno_proxy = [{ env = \"NO_PROXY\", default = \"\" }]";
    project.write("pipelines/plain.toml", pipeline(by_name, target.url("/ok/named")));
    run(&project, &[]).expect_code(0);
    assert_eq!((proxy.count(), target.count()), (0, 2));
    run(&project, &variables).expect_code(0);
    assert_eq!((proxy.count(), target.count()), (1, 2));
    assert_eq!(proxy.requests()[0].path, target.url("/ok/named"));
    let except = [variables, vec![("NO_PROXY", "shop.example,127.0.0.1".to_owned())]].concat();
    run(&project, &except).expect_code(0);
    assert_eq!((proxy.count(), target.count()), (1, 3));
}

#[test]
fn n73_k1_a_proxys_credentials_are_sent_to_it_and_never_shown() {
    let proxy = Server::start();
    let project = Project::new();
    let url = format!("http://ann:{PASSWORD}@{}", host_and_port(&proxy));
    // As it stands, from a file, and a proxy that is not there.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (name, said) in [
        ("plain", format!("\"{url}\"")),
        ("elsewhere", "{ file = \"proxy\" }".to_owned()),
        ("gone", format!("\"http://ann:{PASSWORD}@{gone}\"")),
    ] {
        let text = format!(
            "[record]\nwhen = \"always\"\n[request]\nproxy_url = {said}\n[[sources]]\n\
             targets = [{{ url = \"http://shop.test/ok\", name = \"{name}\" }}]\n"
        );
        project.write(&format!("pipelines/{name}.toml"), text);
    }
    project.write("pipelines/proxy", &url);
    let finished = run(&project, &[]).expect_code(1);
    let mut told = format!("{}{}", finished.stdout, finished.stderr);
    for request in proxy.requests() {
        assert_eq!(request.path, "http://shop.test/ok");
        let line = "proxy-authorization: Basic YW5uOmh1bnRlcjItaHVudGVyMg==";
        assert!(request.headers.iter().any(|header| header == line), "{:?}", request.headers);
    }
    assert_eq!(proxy.count(), 2);
    let rows = project.rows();
    for name in ["plain", "elsewhere"] {
        let row = rows.the_row(name);
        assert_eq!((&row["outcome"], &row["dns_us"]), (&"up".into(), &serde_json::Value::Null), "{row:?}");
        assert_eq!(row["remote_addr"], host_and_port(&proxy));
    }
    let row = rows.the_row("gone");
    assert_eq!((&row["outcome"], &row["error_kind"]), (&"unknown".into(), &"proxy_refused".into()));
    told.push_str(&format!("{:?}", rows.probes));
    for name in ["plain", "elsewhere", "gone"] {
        let shown = project.run_plain(&["probe", name, "--pipeline", name]);
        told.push_str(&shown.stdout);
        told.push_str(&shown.stderr);
    }
    assert!(told.contains("shop.test was not resolved here"), "{told}");
    assert!(told.contains("the proxy cannot be reached"), "{told}");
    for secret in ["hunter2", "YW5uOmh1bnRlcjI"] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
}

#[test]
fn what_does_not_go_through_no_proxy_is_worth_a_warning() {
    let project = Project::with_pipeline(
        "[request]\nno_proxy = [\"shop.example\"]\n[[sources]]\ntargets = [\"https://shop.example/\"]\n",
    );
    let said = project.run_plain(&["validate"]).expect_code(0).stderr;
    assert!(said.contains("shop.toml:2:13") && said.contains("\"proxy_url\", which is not given"), "{said}");
}
