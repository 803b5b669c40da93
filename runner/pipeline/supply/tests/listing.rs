//! `listing`: a server of the shape of Reddit's `new.json`, with submissions that appear while it is followed.

use serde_json::json;

use super::*;

/// Submissions by number, the newest first, in pages of so many.
#[derive(Clone)]
struct Submissions {
    newest: Arc<Mutex<u32>>,
    page: u32,
}

impl Submissions {
    fn new(newest: u32, page: u32) -> Self {
        Self { newest: Arc::new(Mutex::new(newest)), page }
    }

    fn submit(&self, count: u32) {
        *self.newest.lock().unwrap() += count;
    }

    fn serve(&self) -> Server {
        let shared = self.clone();
        Server::start(move |path, _| shared.answer(path))
    }

    fn answer(&self, path: &str) -> Answer {
        let newest = *self.newest.lock().unwrap();
        let after = path.split(['?', '&']).find_map(|part| part.strip_prefix("after=t3_"));
        let begin = after.map_or(newest, |after| after.parse::<u32>().unwrap() - 1);
        let shown: Vec<u32> = (1..=begin).rev().take(self.page as usize).collect();
        let child = |number: &u32| {
            json!({ "kind": "t3", "data": { "id": number.to_string(), "name": format!("t3_{number}"),
                "title": format!("s{number}"), "url": format!("http://site.example/{number}"),
                "permalink": format!("/r/x/comments/{number}/"), "subreddit": "x" } })
        };
        let after = shown.last().filter(|last| **last > 1).map(|last| format!("t3_{last}"));
        let children: Vec<_> = shown.iter().map(child).collect();
        ok(json!({ "kind": "Listing", "data": { "after": after, "children": children } }).to_string())
    }
}

fn plan(url: &str, more: &str) -> Arc<SupplyPlan> {
    let text = format!(
        "[[sources]]\ntype = \"listing\"\nurl = \"{url}\"\nevery = \"1s\"\nitems = \"/data/children\"\n\
         item = {{ url = \"/data/url\", name = \"/data/title\", id = \"/data/name\", labels = {{ sub = \"/data/subreddit\" }} }}\n{more}\n"
    );
    plans(&text).unwrap().remove(0)
}

#[tokio::test]
async fn all_items_are_targets_for_as_long_as_they_are_listed() {
    let reddit = Submissions::new(2, 3);
    let server = reddit.serve();
    let mut source = Running::start(&plan(&server.url("/new.json"), ""), None, false);
    let first = source.next().await;
    assert_eq!(shown(&first.supplied), "replace s2 s1");
    let Supplied::Replace(targets) = first.supplied else { unreachable!() };
    assert_eq!((targets[0].url.as_ref(), targets[0].label("sub")), ("http://site.example/2", Some("x")));
    reddit.submit(2);
    assert_eq!(source.taken().await, "replace s4 s3 s2");
    source.stop().await;
}

#[tokio::test]
async fn each_new_item_comes_once_also_after_restarts() {
    let folder = TempDir::new().unwrap();
    let reddit = Submissions::new(3, 10);
    let server = reddit.serve();
    let plan = plan(&server.url("/new.json"), "only_new = true");
    let mut source = Running::start(&plan, Some(folder.path()), false);
    assert_eq!(source.taken().await, "once s1 s2 s3");
    reddit.submit(1);
    assert_eq!(source.taken().await, "once s4");
    reddit.submit(2);
    assert_eq!(source.taken().await, "once s5 s6");
    source.stop().await;
    reddit.submit(1);
    for expected in ["once s7", "ended"] {
        let mut source = Running::start(&plan, Some(folder.path()), true);
        assert_eq!(source.taken().await, expected);
        source.stop().await;
    }
}

#[tokio::test]
async fn what_was_not_probed_is_offered_again() {
    let folder = TempDir::new().unwrap();
    let reddit = Submissions::new(2, 10);
    let server = reddit.serve();
    let plan = plan(&server.url("/new.json"), "only_new = true");
    let mut source = Running::start(&plan, Some(folder.path()), false);
    let lost = source.next().await;
    assert_eq!(shown(&lost.supplied), "once s1 s2");
    drop(lost);
    // The same process offers it again …
    assert_eq!(shown(&source.next().await.supplied), "once s1 s2");
    // … and so does the next one: as after a kill.
    source.task.abort();
    let mut source = Running::start(&plan, Some(folder.path()), false);
    let update = source.next().await;
    assert_eq!(shown(&update.supplied), "once s1 s2");
    // A receipt that comes at the very end counts.
    let Running { updates, task, switch } = source;
    switch.raise(StopLevel::Drain);
    update.receipt.unwrap().probed(None);
    drop(updates);
    timeout(PATIENCE, task).await.unwrap().unwrap();
    let mut source = Running::start(&plan, Some(folder.path()), true);
    assert_eq!(source.taken().await, "ended");
}

#[tokio::test]
async fn the_first_look_can_be_skipped() {
    let folder = TempDir::new().unwrap();
    let reddit = Submissions::new(3, 10);
    let server = reddit.serve();
    let plan = plan(&server.url("/new.json"), "only_new = true\nfirst = \"skip\"");
    let mut source = Running::start(&plan, Some(folder.path()), true);
    assert_eq!(source.taken().await, "ended");
    source.stop().await;
    reddit.submit(1);
    let mut source = Running::start(&plan, Some(folder.path()), true);
    assert_eq!(source.taken().await, "once s4", "the second look is after a restart");
    source.stop().await;
    // A memory that is damaged is no first look: rather twice than not at all.
    let store = std::fs::read_dir(folder.path().join("shop")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(store, "s3cret").unwrap();
    let mut source = Running::start(&plan, Some(folder.path()), true);
    assert_eq!(source.taken().await, "once s1 s2 s3 s4");
}

#[tokio::test]
async fn a_new_item_is_kept_for_a_while_also_across_a_restart() {
    let folder = TempDir::new().unwrap();
    let reddit = Submissions::new(1, 1);
    let server = reddit.serve();
    let plan = plan(&server.url("/new.json"), "only_new = true\nkeep_for = \"6s\"");
    let mut source = Running::start(&plan, Some(folder.path()), false);
    assert_eq!(source.taken().await, "replace s1");
    reddit.submit(1);
    assert_eq!(source.taken().await, "replace s1 s2", "it has fallen off the page, and stays all the same");
    source.stop().await;
    let mut source = Running::start(&plan, Some(folder.path()), false);
    let mut given = source.taken().await;
    // The first may be over already. The second may not have been kept yet when the source was stopped: then it is
    // new once more.
    let (over, early) = ("replace s2", "replace s1");
    assert!(["replace s1 s2", over, early].contains(&given.as_str()), "{given}");
    while given != "replace" {
        given = source.taken().await;
    }
    source.stop().await;
    let mut source = Running::start(&plan, Some(folder.path()), true);
    assert_eq!(source.taken().await, "ended", "its time is over, and it is not new");
}

#[tokio::test]
async fn pages_are_read_by_a_parameter() {
    let reddit = Submissions::new(7, 3);
    let server = reddit.serve();
    let paged = |pages: u32| {
        let more = format!("next = \"/data/after\"\npage_param = \"after\"\nmax_pages = {pages}");
        plan(&server.url("/new.json?limit=3"), &more)
    };
    for (pages, expected) in [(2, "replace s7 s6 s5 s4 s3 s2"), (9, "replace s7 s6 s5 s4 s3 s2 s1")] {
        let mut source = Running::start(&paged(pages), None, true);
        assert_eq!(source.taken().await, expected);
        source.stop().await;
    }
    let paths: Vec<String> = server.requests().into_iter().map(|(path, _)| path).collect();
    let page = |after: &str| format!("/new.json?limit=3{after}");
    assert_eq!(paths[..2], [page(""), page("&after=t3_5")]);
    assert_eq!(paths.len(), 5);
}

#[tokio::test]
async fn pages_are_read_by_links_and_loops_end() {
    let server = Server::start(|path, _| {
        let (next, item) = match path {
            "/json" => ("link: </json?page=2>; rel=\"next\"\r\n", r#"["/1"]"#),
            "/json?page=2" => ("link: </json>; rel=prev, </json>; rel=next\r\n", r#"["/2"]"#),
            "/document" => ("", r#"{ "next": "document?2", "items": ["/1"] }"#),
            "/document?2" => ("", r#"{ "next": null, "items": ["/2"] }"#),
            "/feed" => ("", r#"<feed><link rel="next" href="?2"/><entry><link href="/1"/></entry></feed>"#),
            "/feed?2" => ("", r#"<feed><entry><link href="/2"/></entry></feed>"#),
            "/away" => ("link: <http://127.0.0.2:1/>; rel=next\r\n", r#"["/1"]"#),
            _ => unreachable!("{path}"),
        };
        Answer { headers: next.to_owned(), ..ok(item) }
    });
    for (path, more) in [("/json", ""), ("/document", "items = \"/items\"\nnext = \"/next\""), ("/feed", "")]
    {
        let text = format!(
            "[[sources]]\ntype = \"listing\"\nurl = \"{}\"\nmax_pages = 5\n{more}\n",
            server.url(path)
        );
        let mut source = Running::start(&plans(&text).unwrap()[0], None, true);
        let expected = format!("replace {} {}", server.url("/1"), server.url("/2"));
        assert_eq!(source.taken().await, expected, "{path}");
    }
    let away = format!("[[sources]]\ntype = \"listing\"\nurl = \"{}\"\nmax_pages = 5\n", server.url("/away"));
    let mut source = Running::start(&plans(&away).unwrap()[0], None, true);
    assert_eq!(source.taken().await, "ended", "another origin is not asked, and half a listing is none");
}

#[tokio::test]
async fn many_new_items_come_in_batches_while_earlier_ones_are_probed() {
    let reddit = Submissions::new(2_500, 3_000);
    let server = reddit.serve();
    let mut source = Running::start(&plan(&server.url("/new.json"), "only_new = true"), None, false);
    let mut receipts = Vec::new();
    let mut names = Vec::new();
    for _ in 0..3 {
        let update = source.next().await;
        receipts.push(update.receipt.unwrap());
        let Supplied::Once(targets) = update.supplied else { panic!("new items come once") };
        names.extend(targets.into_iter().map(|target| target.name.to_string()));
    }
    let expected: Vec<String> = (1..=2_500).map(|number| format!("s{number}")).collect();
    assert_eq!(names, expected);
    for receipt in receipts {
        receipt.probed(None);
    }
    reddit.submit(1);
    assert_eq!(source.taken().await, "once s2501");
    source.stop().await;
}
