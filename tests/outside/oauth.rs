//! A token first: who asks for it, how often, and that nobody reads it anywhere.

use std::fs;

use crate::support::{Project, Server};

/// What must not be told.
const TOKEN: &str = "t0k3n.t0k3n-t0k3n_t0k3n";
const SECRET: &str = "hunter2-hunter2";

fn answer(token: &str) -> String {
    format!("{{\"access_token\": \"{token}\", \"token_type\": \"Bearer\", \"expires_in\": 3600}}")
}

/// All that lies below a folder, as text.
fn everything_below(folder: &std::path::Path, out: &mut String) {
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
fn k1_a_token_is_fetched_once_and_never_shown() {
    let server = Server::start();
    server.put("token", answer(TOKEN));
    // A target that repeats what it was sent, and a check that tells of it.
    server.put("echo", format!("{{\"sent\": \"{TOKEN}\"}}"));
    let project = Project::new();
    let targets: String = (0..20)
        .map(|number| {
            format!(
                "  {{ url = \"{}\", name = \"t{number}\" }},\n",
                server.url(&format!("/document/echo?{number}"))
            )
        })
        .collect();
    let token_url = server.url("/document/token");
    project.write(
        "pipelines/shop.toml",
        format!(
            "[record]\nwhen = \"always\"\n[request.auth.oauth2]\ntoken_url = \"{token_url}\"\nclient_id = \"shop\"\n\
             client_secret = {{ file = \"secret\" }}\nscopes = [\"read\"]\n[[sources]]\ntargets = [\n{targets}]\n\
             [[checks]]\nplugin = \"json\"\nconfig = {{ assert = [{{ path = \"/sent\", equals = \"other\" }}] }}\n"
        ),
    );
    project.write("pipelines/secret", SECRET);
    let run = project.run(&["run", "--once", "--format", "json"]).expect_code(1);
    let requests = server.requests();
    let to_endpoint: Vec<_> = requests.iter().filter(|request| request.path == "/document/token").collect();
    assert_eq!((to_endpoint.len(), requests.len()), (1, 21));
    assert_eq!(to_endpoint[0].body, b"grant_type=client_credentials&scope=read");
    let basic = "authorization: Basic c2hvcDpodW50ZXIyLWh1bnRlcjI=";
    assert!(to_endpoint[0].headers.iter().any(|header| header == basic), "{:?}", to_endpoint[0].headers);
    let sent = format!("authorization: Bearer {TOKEN}");
    for request in requests.iter().filter(|request| request.path != "/document/token") {
        assert!(request.headers.contains(&sent), "{:?}", request.headers);
    }

    let rows = project.rows();
    assert_eq!((rows.probes.len(), &rows.probes[0]["outcome"]), (20, &"down".into()));
    let mut told = format!("{}{}{:?}{:?}", run.stdout, run.stderr, rows.probes, rows.checks);
    everything_below(&project.data(), &mut told);
    let shown = project.run_plain(&["probe", "t1", "--pipeline", "shop"]).expect_code(1);
    told.push_str(&shown.stdout);
    told.push_str(&shown.stderr);
    assert!(shown.stdout.contains("authorization: <secret>"), "{}", shown.stdout);
    assert!(told.contains("masked") && told.contains("<secret>"));
    for secret in ["t0k3n", "hunter2", "c2hvcDpodW50ZXIy"] {
        let at = told.find(secret);
        assert!(at.is_none(), "{secret}: …{}…", &told[at.unwrap().saturating_sub(200)..][..300]);
    }
}

#[test]
fn h31_without_a_token_the_outcome_is_unknown_and_the_target_is_not_asked() {
    let (server, target) = (Server::start(), Server::start());
    let project = Project::new();
    for (name, token_url) in [("refused", server.url("/status/401")), ("nonsense", server.url("/ok"))] {
        let text = format!(
            "[request.auth.oauth2]\ntoken_url = \"{token_url}\"\nclient_id = \"shop\"\nclient_secret = \"{SECRET}\"\n\
             [[sources]]\ntargets = [{{ url = \"{}\", name = \"{name}\" }}]\n",
            target.url("/ok")
        );
        project.write(&format!("pipelines/{name}.toml"), text);
    }
    let run = project.run(&["run", "--once", "--format", "json"]).expect_code(1);
    assert_eq!((target.count(), server.count()), (0, 2));
    let rows = project.rows();
    for (name, said) in [("refused", "status 401"), ("nonsense", "no \"access_token\"")] {
        let row = rows.the_row(name);
        assert_eq!((&row["outcome"], &row["error_kind"]), (&"unknown".into(), &"oauth".into()), "{row:?}");
        assert!(row["error_message"].as_str().unwrap().contains(said), "{row:?}");
        assert_eq!(
            (&row["http_status"], &row["connect_us"]),
            (&serde_json::Value::Null, &serde_json::Value::Null)
        );
    }
    let shown = project.run_plain(&["probe", "refused", "--pipeline", "refused"]).expect_code(1);
    let told = format!("{}{}{:?}{}{}", run.stdout, run.stderr, rows.probes, shown.stdout, shown.stderr);
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn credentials_in_plain_text_are_worth_a_warning() {
    let project = Project::with_pipeline(
        "[request.auth.oauth2]\ntoken_url = \"http://sso.example/\"\nclient_id = \"a\"\nclient_secret = \"hunter2\"\n\
         [[sources]]\ntargets = [\"https://shop.example/\"]\n",
    );
    let said = project.run_plain(&["validate"]).expect_code(0).stderr;
    assert!(said.contains("shop.toml:2:13") && said.contains("in plain text"), "{said}");
}
