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

#[test]
fn h99_every_address_has_a_row_and_the_worst_decides() {
    // It listens at 127.0.0.1, and nobody does at 127.0.0.2.
    let server = Server::start();
    let names = NameServer::start();
    let port = server.url("").rsplit(':').next().unwrap().to_owned();
    let project = Project::with_pipeline(&format!(
        "[request]\naddresses = \"all\"\nip_version = \"4\"\ndns = {{ servers = [\"{}\"] }}\n\
         retry = {{ attempts = 2, backoff = \"10ms\" }}\n[[sources]]\ntargets = [\n\
         {{ name = \"both\", url = \"http://both.test:{port}/ok\" }},\n\
         {{ name = \"one\", url = \"http://there.test:{port}/ok\" }},\n\
         {{ name = \"gone\", url = \"http://gone.test:{port}/ok\" }},\n]\n",
        names.address()
    ));
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    let of = |target: &str| {
        let of = rows.probes.iter().filter(|row| row["target"] == target);
        let told = of.map(|row| {
            let address =
                row["remote_addr"].as_str().map(|address| address.split(':').next().unwrap().to_owned());
            let outcome = row["outcome"].as_str().unwrap().to_owned();
            (
                row["attempt"].as_i64().unwrap(),
                row["address_index"].as_i64(),
                address,
                outcome,
                row["is_final"] == true,
            )
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    };
    let both = of("both");
    assert_eq!(both.len(), 4, "{both:?}");
    for (at, (attempt, index, address, outcome, is_final)) in both.iter().enumerate() {
        assert_eq!((*attempt, *index), (1 + at as i64 / 2, Some(at as i64 % 2)), "{both:?}");
        let answers = address.as_deref() == Some("127.0.0.1");
        assert_eq!(outcome, if answers { "up" } else { "down" }, "{both:?}");
        assert_eq!(*is_final, !answers && *attempt == 2, "{both:?}");
    }
    let one = of("one");
    assert_eq!(one, [(1, Some(0), Some("127.0.0.1".to_owned()), "up".to_owned(), true)]);
    let gone = of("gone");
    assert_eq!(gone, [(1, None, None, "down".to_owned(), true)]);
    let dns: Vec<_> = rows.probes.iter().map(|row| (&row["dns_answers"], &row["dns_us"])).collect();
    assert!(dns.iter().all(|(_, took)| took.is_i64()), "{dns:?}");
    assert_eq!(dns.iter().filter(|(answers, _)| **answers == 2).count(), 4, "{dns:?}");
    // The name is asked for once an attempt, not once an address.
    assert!((1..=2).contains(&names.asked("both.test")), "{}", names.asked("both.test"));
}

#[test]
fn h99_a_silent_address_takes_nothing_from_the_others() {
    let server = Server::start();
    let names = NameServer::start();
    let port = server.url("").rsplit(':').next().unwrap().to_owned();
    // It lets itself be connected to, and says nothing.
    let _silent = std::net::TcpListener::bind(format!("127.0.0.2:{port}")).unwrap();
    let project = Project::with_pipeline(&format!(
        "[request]\naddresses = \"all\"\ntimeout = \"1s\"\nip_version = \"4\"\n\
         dns = {{ servers = [\"{}\"] }}\n[[sources]]\ntargets = [\"http://both.test:{port}/ok\"]\n",
        names.address()
    ));
    project.run(&["run", "--once"]).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    let told = rows.probes.iter().map(|row| {
        (
            row["address_index"].as_i64(),
            row["outcome"].as_str(),
            row["error_kind"].as_str(),
            row["is_final"] == true,
        )
    });
    let mut told: Vec<_> = told.collect();
    told.sort_unstable();
    assert_eq!(told, [(Some(0), Some("down"), Some("timeout"), true), (Some(1), Some("up"), None, false)]);
}
