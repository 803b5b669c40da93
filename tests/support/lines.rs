//! A line of JSON held against the row of the Parquet that it tells of.

use serde_json::Value;

use super::{CHECKS, Kind, PROBES, Row, Rows};

/// What differs between a line, its verdicts included, and the rows that were kept; none if nothing does.
pub(crate) fn unlike(line: &Row, row: &Row, verdicts: &[&Row]) -> Option<String> {
    let mut line = line.clone();
    let Some(Value::Array(checks)) = line.remove("checks") else {
        return Some("the line has no verdicts".to_owned());
    };
    if let Some(difference) = unlike_columns(&line, row, PROBES) {
        return Some(difference);
    }
    if checks.len() != verdicts.len() || row["checks_total"].as_i64().unwrap_or(0) != checks.len() as i64 {
        return Some(format!("{} verdicts in JSON, {} in Parquet", checks.len(), verdicts.len()));
    }
    checks.iter().find_map(|check| {
        let check = check.as_object()?;
        match verdicts.iter().find(|verdict| verdict["check_name"] == check["check_name"]) {
            Some(verdict) => unlike_columns(check, verdict, CHECKS),
            None => Some(format!("the verdict of {} is in JSON only", check["check_name"])),
        }
    })
}

/// The same for one table: only columns of the contract, with the values of the row; where a column is left
/// out, its value is null or the row's key says it already.
fn unlike_columns(line: &Row, row: &Row, columns: &[(&str, Kind)]) -> Option<String> {
    for (name, value) in line {
        let Some((_, kind)) = columns.iter().find(|(column, _)| column == name) else {
            return Some(format!("\"{name}\" is no column of the contract"));
        };
        let said = match (kind, value) {
            (Kind::Time, Value::String(text)) => {
                let moment: jiff::Timestamp = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
                Value::from(moment.as_microsecond())
            }
            _ => value.clone(),
        };
        let stored = row.get(name).unwrap_or(&Value::Null);
        // serde_json reads a float to within its last digit.
        let same = if *kind == Kind::NumberMap { nearly(&said, stored) } else { said == *stored };
        if !same {
            return Some(format!("{name}: {said} in JSON, {stored} in Parquet"));
        }
    }
    let kept = |(name, value): (&String, &Value)| {
        let told = line.contains_key(name) || value.is_null() || columns == CHECKS;
        (!told).then(|| format!("\"{name}\" is in the Parquet only: {value}"))
    };
    row.iter().find_map(kept)
}

/// Whether two maps have the same names with nearly the same numbers.
fn nearly(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return one == other };
    let near = |(name, value): (&String, &Value)| {
        let (a, b) = (value.as_f64(), other.get(name).and_then(Value::as_f64));
        a.zip(b).is_some_and(|(a, b)| (a - b).abs() <= a.abs() * 1e-12)
    };
    one.len() == other.len() && one.iter().all(near)
}

impl Rows {
    /// Asserts that a line of JSON says what the rows say, verdicts included.
    #[track_caller]
    pub(crate) fn expect_told(&self, line: &Row) {
        let row = self.the_row(line["target"].as_str().expect("target is there"));
        let verdicts: Vec<_> = self
            .checks
            .iter()
            .filter(|verdict| verdict["run_id"] == row["run_id"] && verdict["seq"] == row["seq"])
            .collect();
        assert_eq!(unlike(line, row, &verdicts), None, "{line:?}");
        assert!(line.contains_key("run_id") && line.contains_key("seq"), "{line:?}");
    }
}
