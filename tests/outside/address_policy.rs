//! A12, M9: an address that the policy forbids is not connected to, however it is written and whoever leads
//! there; the runner's own file says what holds for all pipelines.

use crate::support::{Project, Server};

fn request(server: &Server, request: &str) -> (Project, String) {
    let port = server.url("").rsplit(':').next().unwrap().to_owned();
    let text = format!(
        r#"
[[sources]]
targets = [
  {{ url = "http://127.0.0.1:{port}/ok", name = "plain" }},
  {{ url = "http://2130706433:{port}/ok", name = "a number" }},
  {{ url = "http://0x7f.1:{port}/ok", name = "short and hexadecimal" }},
  {{ url = "http://[::ffff:127.0.0.1]:{port}/ok", name = "mapped" }},
  {{ url = "http://0.0.0.0:{port}/ok", name = "all zero" }},
  {{ url = "http://localhost:{port}/ok", name = "by name" }},
  {{ url = "http://[64:ff9b::a9fe:a9fe]/", name = "NAT64 of metadata" }},
  {{ url = "http://127.0.0.1:{port}/redirect//169.254.169.254/latest", name = "redirect" }},
]
[request]
timeout = "5s"
{request}
"#
    );
    (Project::with_pipeline(&text), port)
}

#[test]
fn a12_m9_public_only_reaches_nothing_inside() {
    let server = Server::start();
    let (project, _) = request(&server, "address_policy = \"public_only\"");
    project.run(&["run", "--once"]).expect_code(1);
    assert_eq!(server.count(), 0);
    let rows = project.rows();
    assert_eq!(rows.probes.len(), 8);
    for row in &rows.probes {
        assert_eq!(
            (&row["outcome"], &row["error_kind"]),
            (&"unknown".into(), &"connect_denied".into()),
            "{row:?}"
        );
        let message = row["error_message"].as_str().unwrap();
        assert!(message.contains("the address policy forbids to connect to"), "{message}");
        assert!(row["remote_addr"].is_string(), "which one it was: {row:?}");
    }
}

#[test]
fn a12_by_default_a_redirect_does_not_lead_to_metadata() {
    let server = Server::start();
    let (project, _) = request(&server, "");
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    for name in ["plain", "a number", "short and hexadecimal", "all zero"] {
        assert_eq!(rows.the_row(name)["outcome"], "up", "{name}");
    }
    for name in ["redirect", "NAT64 of metadata"] {
        let row = rows.the_row(name);
        assert_eq!(
            (&row["outcome"], &row["error_kind"]),
            (&"unknown".into(), &"connect_denied".into()),
            "{name}"
        );
    }
    assert_eq!(rows.the_row("redirect")["remote_addr"], "169.254.169.254:80");
}

#[test]
fn the_runners_own_file_holds_for_all_and_a_pipeline_may_say_otherwise() {
    let server = Server::start();
    let (project, port) = request(&server, "");
    project.write(
        "probity.toml",
        "[defaults]\naddress_policy = { deny = [\"127.0.0.0/8\"] }\ndata = \"elsewhere\"\nrunner = \"eu-1\"\n",
    );
    let own = format!(
        "[[sources]]\ntargets = [\"http://127.0.0.1:{port}/ok\"]\n[request]\naddress_policy = {{ allow = [\"127.0.0.1\"] }}\n"
    );
    project.write("pipelines/own.toml", own);
    project.run_plain(&["run", "--once"]).expect_code(1);
    let rows = crate::support::read_rows(&project.path().join("elsewhere/results"));
    assert_eq!(rows.the_row("plain")["error_kind"], "connect_denied");
    assert_eq!(rows.the_row(&format!("http://127.0.0.1:{port}/ok"))["outcome"], "up");
    assert!(rows.probes[0]["runner"].as_str().unwrap().starts_with("eu-1"), "{:?}", rows.probes[0]["runner"]);
    // Two of them: which one is meant?
    project.write("pipelines/probity.toml", "[defaults]\n");
    for command in [&["validate"][..], &["run", "--once"]] {
        let told = project.run_plain(command).expect_code(78).stderr;
        assert_eq!(told.matches("there are two files of the runner's own").count(), 1, "{told}");
    }
}
