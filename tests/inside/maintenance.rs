//! Maintenance windows: when they are open, for whom, and what is refused.

use jiff::Timestamp;
use probity::clock::UnixNanos;
use probity::config::Located;
use probity::model::Target;
use probity::schedule::{Maintenance, MaintenanceText};

use crate::timing::with_table;

fn maintenance(text: &str) -> Result<Maintenance, String> {
    with_table(text, |table: MaintenanceText, document, diagnostics| {
        let table = Located { value: table, span: Some(0..text.len()) };
        Maintenance::of(&[table], document, diagnostics)
    })
}

fn target(name: &str, team: &str) -> Target {
    let labels = [("team".into(), team.into())].into();
    Target { name: name.into(), url: "https://shop.example/".into(), labels, every: None }
}

fn at(text: &str) -> UnixNanos {
    UnixNanos(text.parse::<Timestamp>().unwrap().as_second() * 1_000_000_000)
}

#[test]
fn windows_are_open_when_they_say() {
    // Text, moments inside, moments outside.
    let cases: [(&str, &[&str], &[&str]); 6] = [
        (
            "from = 2026-12-01T22:00:00Z\nto = 2026-12-02T02:00:00Z",
            &["2026-12-01T22:00:00Z", "2026-12-02T01:59:59Z"],
            &["2026-12-01T21:59:59Z", "2026-12-02T02:00:00Z"],
        ),
        (
            "from = 2026-12-01T22:00:00\nto = \"2026-12-02T02:00:00\"\ntimezone = \"Europe/Berlin\"",
            &["2026-12-01T21:00:00Z", "2026-12-02T00:59:59Z"],
            &["2026-12-01T20:59:59Z", "2026-12-02T01:00:00Z"],
        ),
        (
            "days = \"sun\"\nfrom = \"22:00\"\nto = \"02:00\"\ntimezone = \"Europe/London\"",
            // In summer London is an hour ahead of UTC.
            &["2026-07-05T21:00:00Z", "2026-07-06T00:59:00Z", "2026-12-06T22:00:00Z", "2026-12-07T01:59:00Z"],
            &["2026-07-05T20:59:00Z", "2026-07-06T01:00:00Z", "2026-07-06T22:00:00Z", "2026-12-06T21:59:00Z"],
        ),
        (
            "days = [\"sat\", \"sun\"]",
            &["2026-11-21T00:00:00Z", "2026-11-22T23:59:59Z"],
            &["2026-11-20T23:59:59Z", "2026-11-23T00:00:00Z"],
        ),
        ("from = 23:00:00", &["2026-11-21T23:00:00Z", "2026-11-21T23:59:59Z"], &["2026-11-22T00:00:00Z"]),
        // The hour that comes twice belongs to the window as a whole.
        (
            "from = \"01:00\"\nto = \"02:30\"\ntimezone = \"Europe/Berlin\"",
            &["2026-10-24T23:00:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:29:00Z"],
            &["2026-10-24T22:59:00Z", "2026-10-25T01:30:00Z"],
        ),
    ];
    for (text, inside, outside) in cases {
        let maintenance = maintenance(text).unwrap();
        let target = target("api", "core");
        // In any order: what is remembered must not show.
        for moment in inside.iter().chain(inside.iter().rev()) {
            assert!(maintenance.covers(at(moment), &target), "{text}: {moment} is inside");
            for moment in outside {
                assert!(!maintenance.covers(at(moment), &target), "{text}: {moment} is outside");
            }
        }
    }
}

#[test]
fn a_window_is_for_whom_it_names() {
    let now = at("2026-12-01T23:00:00Z");
    let text = "from = 2026-12-01T22:00:00Z\nto = 2026-12-02T02:00:00Z\nreason = \"the database moves\"\n";
    let all = maintenance(text).unwrap();
    assert_eq!(all.reason(now, &target("api", "core")), Some("the database moves"));
    let named = maintenance(&format!("{text}targets = [\"api\"]")).unwrap();
    assert!(named.covers(now, &target("api", "core")) && !named.covers(now, &target("shop", "core")));
    let labelled = maintenance(&format!("{text}labels = {{ team = \"core\" }}")).unwrap();
    assert!(labelled.covers(now, &target("shop", "core")) && !labelled.covers(now, &target("shop", "web")));
    let both = maintenance(&format!("{text}targets = [\"api\"]\nlabels = {{ team = \"core\" }}")).unwrap();
    assert!(both.covers(now, &target("api", "core")) && !both.covers(now, &target("api", "web")));
    assert!(!Maintenance::default().covers(now, &target("api", "core")));
}

#[test]
fn wrong_windows_are_refused() {
    let cases = [
        ("reason = \"x\"", "says no time"),
        ("from = 2026-12-01T22:00:00Z", "one end only"),
        ("from = 2026-12-01T22:00:00Z\nto = 2026-12-01T21:00:00Z", "ends before it begins"),
        ("from = 2026-12-01T22:00:00\nto = 2026-12-01T23:00:00", "needs a time zone"),
        ("from = 2026-12-01T22:00:00Z\nto = \"23:00\"", "do not make a window"),
        ("days = \"mon\"\nfrom = 2026-12-01T22:00:00Z\nto = 2026-12-01T23:00:00Z", "exclude each other"),
        ("from = 2026-12-01\nto = 2026-12-02", "\"2026-12-01\" is no time"),
        ("days = \"mon\"\ntargets = []", "names no target"),
        ("from = 5\nto = 6", "a time of day, such as"),
        ("days = \"mon\"\ntimezone = \"Europe/Berln\"", "did you mean \"Europe/Berlin\"?"),
        ("days = \"mon\"\nfrom = \"08:00\"\nto = \"08:00\"", "ends when it begins"),
    ];
    for (text, wanted) in cases {
        let problem = maintenance(text).map(|_| "nothing").expect_err(text);
        assert!(problem.contains(wanted) && problem.contains("x.toml:"), "{text}: \"{wanted}\"\n{problem}");
    }
}
