//! Targets that are listed twice, and what targets share.

use super::*;

fn named(name: &str, url: &str) -> TargetText {
    TargetText { name: Some(name.to_owned()), ..item(url) }
}

#[test]
fn identical_targets_become_one_and_both_places_are_told() {
    let loaded =
        load_list([item("example.com"), item("http://example.com/#a"), item("HTTP://EXAMPLE.com:80")]);
    assert_eq!(urls(&loaded), ["http://example.com/"]);
    assert_eq!(
        shown(&loaded.warnings),
        [
            "2:3: \"http://example.com/\" is listed twice, first at shop.toml:1:3; it is probed once (remove one)",
            "3:3: \"http://example.com/\" is listed twice, first at shop.toml:1:3; it is probed once (remove one)",
        ]
    );
}

#[test]
fn the_first_counts_where_settings_differ() {
    let slow = TargetText { every: Some("60s".to_owned()), ..item("example.com") };
    let loaded = load_list([slow, item("example.com")]);
    assert_eq!(loaded.targets.len(), 1);
    assert_eq!(loaded.targets[0].every, Some(Duration::from_mins(1)));
    assert!(
        shown(&loaded.warnings)[0].contains("with different \"every\" or \"labels\", first at shop.toml:1:3")
    );
}

#[test]
fn one_name_for_two_urls_is_a_problem() {
    let loaded = load_list([
        named("team: api?", "a.example"),
        named("team: api?", "b.example"),
        named("b", "a.example"),
    ]);
    assert_eq!(
        shown(&loaded.problems),
        [
            "2:3: two targets are named \"team: api?\", the first at shop.toml:1:3 (give each a name of its own)"
        ]
    );
    assert_eq!(loaded.targets.len(), 2, "one URL may have two names");
}

#[test]
fn places_are_told_across_sources_without_queries() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("shop.txt");
    fs::write(&path, "\n  https://example.com/?token=hunter2\n").unwrap();
    let list = ListSource { targets: vec![item("https://example.com/?token=hunter2")], place: place(1) };
    let file = FileSource { path: Arc::from(path), place: place(7) };
    let loaded = load(&[Source::File(file), Source::List(list)], parse_duration);
    assert_eq!(loaded.targets.len(), 1);
    let what = &loaded.warnings.list[0].what;
    assert!(what.contains("shop.txt:2:3; it"), "{what}");
    assert!(!what.contains("hunter2"), "{what}");
}

#[test]
fn equal_texts_are_shared() {
    let labels = || vec![("team".to_owned(), "core".to_owned())];
    let loaded = load_list([
        TargetText { labels: labels(), ..item("a.example") },
        TargetText { labels: labels(), ..item("b.example") },
    ]);
    let [a, b] = loaded.targets.as_slice() else { panic!("two targets") };
    assert!(Arc::ptr_eq(&a.labels, &b.labels));
    assert!(Arc::ptr_eq(&a.name, &a.url));
    assert_eq!(a.label("team"), Some("core"));
}
