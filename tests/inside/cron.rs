//! Times of cron expressions and what is refused, as tables; and a sample of the comparison with another
//! implementation, whose full run is tests/bench/cron.py.

use jiff::Timestamp;
use probity::clock::UnixNanos;
use probity::schedule::{BUNDLED_TIMEZONES, ScheduleText, Timing, timezone_data};

use crate::timing::with_table;
use crate::tree::root;

fn timing(text: &str) -> Result<Timing, String> {
    with_table(text, |table: ScheduleText, document, diagnostics| table.timing(document, diagnostics))
}

/// The lines of a table that are no comments, split at a character.
fn rows(path: &str, split: char) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("tests/inside").join(path)).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split(split).map(|part| part.trim().to_owned()).collect()).collect()
}

fn times(timing: &Timing, from_s: i64, to_s: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut at = UnixNanos(from_s * 1_000_000_000);
    while let Some(next) = timing.next_fire(at).filter(|next| next.seconds() <= to_s) {
        found.push(next.seconds());
        at = next;
    }
    found
}

#[test]
fn t3_t4_times_of_expressions() {
    for row in rows("cron_times.txt", '|') {
        let [id, expression, zone, from, wanted] = &row[..] else { panic!("{row:?}") };
        let timing = timing(&format!("cron = \"{expression}\"\ntimezone = \"{zone}\"\n")).unwrap();
        let wanted: Vec<&str> = wanted.split_whitespace().collect();
        let mut at = UnixNanos(from.parse::<Timestamp>().unwrap().as_second() * 1_000_000_000);
        for wanted in &wanted {
            at = timing.next_fire(at).unwrap();
            let found = Timestamp::from_second(at.seconds()).unwrap().to_string();
            assert_eq!(found, *wanted, "{id}: {expression} in {zone} from {from}");
        }
    }
}

#[test]
fn t7_t8_what_is_refused() {
    for row in rows("schedule_refused.txt", '|') {
        let [id, text, wanted @ ..] = &row[..] else { panic!("{row:?}") };
        let text = text.replace("\\n", "\n");
        let problem = timing(&text).map(|_| "nothing").expect_err(&text);
        assert!(problem.contains("x.toml:"), "{id}: {text}: no place\n{problem}");
        for wanted in wanted {
            assert!(problem.contains(wanted.as_str()), "{id}: {text}: \"{wanted}\" is not in\n{problem}");
        }
    }
}

#[test]
fn the_other_implementation_agrees() {
    let rows = rows("cron_sample.txt", '\t');
    assert!(rows.len() > 1_000, "{}", rows.len());
    for row in rows {
        let [zone, expression, from, to, wanted @ ..] = &row[..] else { panic!("{row:?}") };
        let timing = timing(&format!("cron = \"{expression}\"\ntimezone = \"{zone}\"\n")).unwrap();
        let (from, to): (i64, i64) = (from.parse().unwrap(), to.parse().unwrap());
        let wanted: Vec<i64> = wanted
            .first()
            .map(|steps| steps.split_whitespace().map(|step| from + step.parse::<i64>().unwrap()).collect())
            .unwrap_or_default();
        assert_eq!(times(&timing, from, to), wanted, "{expression} in {zone} from {from}");
    }
}

#[test]
fn t6_the_time_zone_data_is_told_with_its_version() {
    assert!(!timezone_data().is_empty());
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let (name, version) = BUNDLED_TIMEZONES.split_once(' ').unwrap();
    assert!(
        lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")),
        "{BUNDLED_TIMEZONES} is stale"
    );
}
