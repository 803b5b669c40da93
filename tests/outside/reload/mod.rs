//! Hot reload, as editors and tools do it to the files: `cases.toml` has the cases.

mod steps;
mod swaps;
mod under_load;

use std::time::Duration;

use serde::Deserialize;

use self::steps::Stage;
use crate::support::{LONG, Running, SIGTERM};

/// All cases.
#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

/// One of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    name: String,
    #[serde(default)]
    start: Vec<String>,
    steps: Vec<String>,
    runs: Vec<String>,
    changes: Option<usize>,
    changes_at_most: Option<usize>,
    reloads_at_most: Option<usize>,
    #[serde(default)]
    says: Vec<String>,
}

/// The lines of the log that tell of a reload: how many pipelines it changed.
fn reloads(running: &Running) -> Vec<u64> {
    let of_line = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let fields = line.get("fields")?;
        (fields["message"] == "reloaded").then(|| {
            ["added", "removed", "changed"].iter().map(|field| fields[field].as_u64().unwrap()).sum()
        })
    };
    running.stderr().lines().filter_map(of_line).collect()
}

fn play(case: &Case, watch: &str) {
    let stage = Stage::new();
    stage.play(&["put shop.toml a".to_owned()], None);
    stage.play(&case.start, None);
    let mut running = stage.project.start(&["run", "pipelines", "--log-json", "--watch", watch]);
    stage.until_asked(&mut running, &["a".to_owned()]);
    stage.play(&case.steps, Some(&running));
    // The change has to be seen by itself.
    stage.until_asked(&mut running, &case.runs);
    for said in &case.says {
        running.until_stderr_has(Duration::from_secs(10), said);
    }
    // Whatever is still to come comes with this; the report of it ends the case.
    let before = reloads(&running).len();
    stage.play(&["hup 1".to_owned()], Some(&running));
    let log = running.stderr_reader();
    running.until(LONG, "the last reload", || (log().matches("\"reloaded\"").count() > before).then_some(()));
    let all = reloads(&running);
    let changes = all.iter().filter(|changed| **changed > 0).count();
    let log = running.stderr();
    if let Some(expected) = case.changes {
        assert_eq!(changes, expected, "changes\n{log}");
    }
    if let Some(most) = case.changes_at_most {
        assert!((1..=most).contains(&changes), "{changes} changes\n{log}");
    }
    if let Some(most) = case.reloads_at_most {
        assert!(all.len() <= most + 1, "{} reloads\n{log}", all.len());
    }
    stage.expect_only(&mut running, &case.runs);
    running.signal(SIGTERM);
    let finished = running.wait(Duration::from_secs(20)).expect_code(0);
    assert!(!finished.stderr.contains("fault of the runner"), "{}", finished.stderr);
    let rows = stage.project.rows();
    rows.expect_whole();
}

/// Cases run side by side, a few at once: each mostly waits.
fn play_all(watch: &str, wanted: impl Fn(&Case) -> bool) {
    let cases: Cases = toml::from_str(include_str!("cases.toml")).unwrap();
    let only = std::env::var("PROBITY_CASE").ok();
    let is_only = |case: &Case| only.as_ref().is_none_or(|only| case.name == *only);
    let cases: Vec<Case> = cases.case.into_iter().filter(wanted).filter(is_only).collect();
    assert!(!cases.is_empty());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(case, watch)));
                    if played.is_err() {
                        failed.lock().unwrap().push(format!("{} {}", case.id, case.name));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "with --watch {watch}:\n{}", failed.join("\n"));
}

#[test]
fn files_change_as_editors_and_tools_change_them() {
    play_all("auto", |_| true);
}

#[test]
fn without_events_the_same_is_seen_by_looking() {
    // What editors do; the other cases do not depend on how a change is seen.
    play_all("poll", |case| matches!(case.id.as_str(), "C3" | "C4" | "C6" | "C7" | "C8" | "C10"));
}
