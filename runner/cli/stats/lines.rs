//! Statistics for programs: JSON objects, or comma-separated values.

use serde_json::{Map, Value, json};

use crate::check::write_line;
use crate::clock::UnixNanos;
use crate::model::Outcome;
use crate::sink::query::checks::{CheckGroup, STATUSES};
use crate::sink::query::probes::PHASES;
use crate::sink::query::{By, CheckStats, Extreme, GroupStats, ProbeStats, Window};

/// The quantiles that are told, and their names.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];

/// All probes of a window, as one object.
pub(super) fn whole_json(stats: &ProbeStats, window: Window) -> String {
    let mut object = Map::new();
    object.insert("since".to_owned(), time(window.since));
    object.insert("until".to_owned(), time(window.until));
    object.insert("targets".to_owned(), stats.targets.into());
    if let Some(group) = stats.groups.first() {
        object.extend(numbers(group));
    }
    let expiring = stats.expiring.iter().map(|found| {
        json!({ "pipeline": &*found.pipeline, "target": &*found.target, "cert_not_after": time(found.not_after) })
    });
    object.insert("expiring".to_owned(), expiring.collect());
    let flapping = stats.flapping.iter().map(
        |found| json!({ "pipeline": &*found.pipeline, "target": &*found.target, "changes": found.changes }),
    );
    object.insert("flapping".to_owned(), flapping.collect());
    line(&object)
}

/// An object a group.
pub(super) fn groups_json(stats: &ProbeStats, by: &By) -> String {
    let lines = stats.groups.iter().map(|group| {
        let mut object: Map<String, Value> = names(group, by).into_iter().collect();
        object.extend(numbers(group));
        line(&object)
    });
    lines.collect()
}

/// What a group is called, by the names of columns.
fn names(group: &GroupStats, by: &By) -> Vec<(String, Value)> {
    let pipeline = ("pipeline".to_owned(), group.pipeline.as_deref().into());
    let name = |column: String| (column, group.name.as_deref().into());
    match by {
        By::All => Vec::new(),
        By::Pipeline => vec![pipeline],
        By::Target => vec![pipeline, name("target".to_owned())],
        By::Label(label) => vec![name(format!("label.{label}"))],
    }
}

fn numbers(group: &GroupStats) -> Vec<(String, Value)> {
    let mut told = vec![("probes".to_owned(), group.probes().into())];
    told.extend(Outcome::ALL.map(|outcome| (outcome.to_string(), group.of(outcome).into())));
    told.push(("up_percent".to_owned(), group.up_percent().into()));
    told.extend(QUANTILES.map(|(name, q)| (format!("total_us_{name}"), group.total.quantile(q).into())));
    let worst = group.worst_phase();
    told.push(("worst_phase".to_owned(), worst.map(|(phase, _)| phase).into()));
    let phases = PHASES.into_iter().zip(group.phases).map(|(phase, sum)| (format!("{phase}_us"), sum.into()));
    told.push(("phases".to_owned(), Value::Object(phases.collect())));
    let failures = group.failures.iter().map(|(why, times)| (why.to_string(), (*times).into()));
    told.push(("failures".to_owned(), Value::Object(failures.collect())));
    told.push(("longest".to_owned(), extreme(group.longest.as_ref(), "total_us")));
    told.push(("latest".to_owned(), extreme(group.latest.as_ref(), "lateness_us")));
    told
}

fn extreme(found: Option<&Extreme>, column: &str) -> Value {
    let Some(Extreme { micros, started_at, pipeline, target }) = found else { return Value::Null };
    json!({
        "pipeline": &**pipeline,
        "target": &**target,
        "started_at": time(*started_at),
        (column): micros,
    })
}

/// A line a group.
pub(super) fn groups_csv(stats: &ProbeStats, by: &By) -> String {
    let mut out = String::new();
    for (at, group) in stats.groups.iter().enumerate() {
        let names = names(group, by);
        let numbers: Vec<_> = numbers(group).into_iter().filter(|(name, _)| name != "phases").collect();
        let columns: Vec<(String, Value)> = names.into_iter().chain(numbers).flat_map(flat).collect();
        if at == 0 {
            csv_line(columns.iter().map(|(name, _)| Value::from(name.as_str())), &mut out);
        }
        csv_line(columns.into_iter().map(|(_, value)| value), &mut out);
    }
    out
}

/// What is an object in JSON, as columns of plain values.
fn flat((name, value): (String, Value)) -> Vec<(String, Value)> {
    match (name.as_str(), value) {
        ("failures", Value::Object(failures)) => {
            let told: Vec<_> = failures.iter().map(|(why, times)| format!("{why}={times}")).collect();
            vec![(name, told.join("; ").into())]
        }
        ("longest" | "latest", extreme) => {
            let column = if name == "longest" { "total_us" } else { "lateness_us" };
            let of = |key: &str| extreme.get(key).cloned().unwrap_or_default();
            vec![(format!("{column}_max"), of(column)), (format!("{name}_target"), of("target"))]
        }
        (_, value) => vec![(name, value)],
    }
}

/// An object a check.
pub(super) fn checks_json(stats: &CheckStats) -> String {
    stats.checks.iter().map(|check| line(&check_columns(check).into_iter().collect())).collect()
}

/// A line a check.
pub(super) fn checks_csv(stats: &CheckStats) -> String {
    let mut out = String::new();
    for (at, check) in stats.checks.iter().enumerate() {
        let columns = check_columns(check);
        if at == 0 {
            csv_line(columns.iter().map(|(name, _)| Value::from(name.as_str())), &mut out);
        }
        csv_line(columns.into_iter().map(|(_, value)| value), &mut out);
    }
    out
}

fn check_columns(check: &CheckGroup) -> Vec<(String, Value)> {
    let mut told = vec![
        ("pipeline".to_owned(), Value::from(&*check.pipeline)),
        ("check_name".to_owned(), Value::from(&*check.check_name)),
        ("verdicts".to_owned(), check.verdicts().into()),
    ];
    let statuses = STATUSES.into_iter().zip(check.statuses);
    told.extend(statuses.map(|(status, times)| (status.to_string(), times.into())));
    told.extend(QUANTILES.map(|(name, q)| (format!("duration_us_{name}"), check.cost.quantile(q).into())));
    told
}

/// A moment as rows have it in JSON.
fn time(at: UnixNanos) -> Value {
    let at = jiff::Timestamp::from_microsecond(at.micros()).ok();
    at.map(|at| format!("{at:.6}")).into()
}

fn line(object: &Map<String, Value>) -> String {
    let mut line = Vec::new();
    write_line(object, &mut line);
    String::from_utf8_lossy(&line).into_owned()
}

/// A line by RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe before it.
fn csv_line(values: impl Iterator<Item = Value>, out: &mut String) {
    let cells = values.map(|value| match value {
        Value::Null => String::new(),
        Value::String(text) => csv_text(&text),
        other => other.to_string(),
    });
    out.push_str(&cells.collect::<Vec<_>>().join(","));
    out.push('\n');
}

fn csv_text(text: &str) -> String {
    let text = crate::model::harmless(text);
    let guarded = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text };
    if guarded.contains(['"', ',', '\'']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a9_no_cell_is_a_formula_and_each_stays_one_cell() {
        let mut out = String::new();
        let cells = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "a,b", "say \"x\"", "two\nlines", "plain"];
        csv_line(cells.into_iter().map(Value::from).chain([Value::Null, Value::from(-5)]), &mut out);
        let wanted = "\"'=cmd|' /C calc'!A0\",\"'+1\",\"'-1\",\"'@x\",\"a,b\",\"say \"\"x\"\"\",two\u{fffd}lines,plain,,-5\n";
        assert_eq!(out, wanted);
    }
}
