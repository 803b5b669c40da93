//! Who is asked for the addresses of a name.

use crate::support::{NameServer, Project, Server};

#[test]
fn n1_a_pipeline_asks_name_servers_of_its_own() {
    let server = Server::start();
    let names = NameServer::start();
    let port = server.url("").rsplit(':').next().unwrap().to_owned();
    let pipeline = |servers: &str| {
        format!(
            "[request]\nip_version = \"4\"\ndns = {{ servers = [{servers}] }}\n[[sources]]\ntargets = [\n\
             {{ name = \"there\", url = \"http://there.test:{port}/ok\" }},\n\
             {{ name = \"gone\", url = \"http://gone.test:{port}/ok\" }},\n\
             {{ name = \"broken\", url = \"http://broken.test:{port}/ok\" }},\n]\n"
        )
    };
    let project = Project::new();
    // As it stands, and from a file.
    project.write("pipelines/plain.toml", pipeline(&format!("\"{}\"", names.address())));
    project.write("pipelines/elsewhere.toml", pipeline("{ file = \"name-server\" }"));
    project.write("pipelines/name-server", names.address().to_string());
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    assert_eq!(rows.probes.len(), 6);
    for row in &rows.probes {
        let (outcome, kind) = match row["target"].as_str().unwrap() {
            "there" => ("up", None),
            "gone" => ("down", Some("dns_nxdomain")),
            _ => ("unknown", Some("dns_servfail")),
        };
        assert_eq!((row["outcome"].as_str(), row["error_kind"].as_str()), (Some(outcome), kind), "{row:?}");
        assert!(row["dns_us"].as_i64().unwrap() >= 0, "{row:?}");
        assert_eq!(row["dns_answers"].as_i64(), (outcome == "up").then_some(1), "{row:?}");
    }
    // Questions that are on their way at the same time are asked once.
    assert!((1..=2).contains(&names.asked("there.test")));
}
