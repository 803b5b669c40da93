//! `http_sd`: targets come and go, and the last good ones stay while there are none to be had.

use super::*;

fn plan(url: &str, more: &str) -> Arc<SupplyPlan> {
    let text = format!("[[sources]]\ntype = \"http_sd\"\nurl = \"{url}\"\nevery = \"1s\"\n{more}\n");
    plans(&text).unwrap().remove(0)
}

fn group(targets: &str) -> String {
    format!("[{{ \"targets\": [{targets}] }}]")
}

#[tokio::test]
async fn targets_come_and_go_and_stay_while_the_document_is_wrong() {
    let document = Changing::new(&group("\"a\", \"b\""));
    let server = document.serve();
    let mut source = Running::start(&plan(&server.url("/sd"), "headers = { token = \"x\" }"), None, false);
    assert_eq!(source.taken().await, "replace http://a/ http://b/");
    for wrong in [ok("no json"), ok("{}"), ok(""), Answer { status: 500, ..ok(group("\"x\"")) }] {
        let before = server.requests().len();
        document.set(wrong);
        while server.requests().len() < before + 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(source.updates.try_recv().is_err(), "the last good list stays");
    }
    document.set(ok(group("\"b\", \"c d\", \"e\"")));
    assert_eq!(source.taken().await, "replace http://b/ http://e/");
    document.set(ok("[]"));
    assert_eq!(source.taken().await, "replace", "no targets is an answer as well");
    source.stop().await;
    let (path, head) = server.requests().remove(0);
    assert_eq!(path, "/sd");
    for line in ["token: x", "accept: application/json", "x-prometheus-refresh-interval-seconds: 1"] {
        assert!(head.contains(line), "{head}");
    }
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let server = Server::start(|_, head| {
        let headers = "etag: \"v1\"\r\n".to_owned();
        if head.contains("if-none-match: \"v1\"") {
            return Answer { status: 304, headers, body: String::new() };
        }
        Answer { status: 200, headers, body: group("\"a\"") }
    });
    let mut source = Running::start(&plan(&server.url("/"), ""), None, false);
    assert_eq!(source.taken().await, "replace http://a/");
    while server.requests().len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(source.updates.try_recv().is_err());
    assert!(server.requests()[2].1.contains("if-none-match"));
    source.stop().await;
}

#[tokio::test]
async fn one_look_ends_also_where_it_fails() {
    let server = Server::start(|path, _| if path == "/good" { ok(group("\"a\"")) } else { ok("x") });
    for (path, expected) in [("/good", "replace http://a/"), ("/bad", "ended")] {
        let mut source = Running::start(&plan(&server.url(path), ""), None, true);
        assert_eq!(source.taken().await, expected);
        if path == "/good" {
            assert_eq!(source.taken().await, "ended");
        }
        timeout(PATIENCE, source.task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_document_beyond_the_limit_is_refused() {
    let server = Server::start(|_, _| ok(group("\"a\",".repeat(1_000).trim_end_matches(','))));
    let mut source = Running::start(&plan(&server.url("/"), "max_size = \"1KiB\""), None, true);
    assert_eq!(source.taken().await, "ended");
    let mut source = Running::start(&plan(&server.url("/"), "max_size = \"10KiB\""), None, true);
    assert_eq!(source.taken().await, "replace http://a/");
}

#[tokio::test]
async fn it_ends_with_whoever_listens() {
    let server = Changing::new("[]").serve();
    let source = Running::start(&plan(&server.url("/"), ""), None, false);
    let Running { updates, task, switch } = source;
    drop(updates);
    timeout(PATIENCE, task).await.expect("an end in time").unwrap();
    drop(switch);
}
