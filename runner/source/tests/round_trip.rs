//! What other programs write as CSV and JSON is read back as it was.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A target as another program has it.
#[derive(Debug, Clone)]
struct Row {
    name: String,
    path: String,
    seconds: Option<u64>,
    labels: BTreeMap<String, String>,
}

/// Text without control characters, and without spaces at the ends, which are trimmed.
fn words() -> impl Strategy<Value = String> {
    "[!-~äß漢🦀\"',;]([ -~äß漢🦀\"',;]{0,20}[!-~äß漢🦀\"',;])?"
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let labels = prop::collection::btree_map("[a-c]", words(), 0..3);
    let row = (words(), "[a-z0-9/._~-]{0,20}", prop::option::of(1_u64..100_000), labels);
    let row = row.prop_map(|(name, path, seconds, labels)| Row { name, path, seconds, labels });
    prop::collection::vec(row, 1..20).prop_map(|mut rows| {
        // Names are identities.
        for (number, row) in rows.iter_mut().enumerate() {
            row.name = format!("{number} {}", row.name);
        }
        rows
    })
}

fn url(row: &Row) -> String {
    format!("https://example.com/{}", row.path)
}

fn check(rows: &[Row], loaded: &Loaded) {
    assert_eq!(shown(&loaded.problems), Vec::<String>::new());
    assert_eq!(loaded.targets.len(), rows.len());
    for (row, target) in rows.iter().zip(&loaded.targets) {
        assert_eq!(target.name.as_ref(), row.name);
        assert_eq!(target.url.as_ref(), ::url::Url::parse(&url(row)).unwrap().as_str());
        assert_eq!(target.every, row.seconds.map(Duration::from_secs));
        let labels: BTreeMap<_, _> =
            target.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(labels, row.labels);
    }
}

fn as_json(row: &Row) -> serde_json::Value {
    serde_json::json!({
        "url": url(row),
        "name": row.name,
        "every": row.seconds.map(|seconds| format!("{seconds}s")),
        "labels": row.labels,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn csv_is_read_as_it_was_written(rows in rows(), crlf in any::<bool>()) {
        let end = if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') };
        let mut writer = ::csv::WriterBuilder::new().terminator(end).from_writer(Vec::new());
        writer.write_record(["labels.a", "url", "labels.b", "name", "every", "labels.c"]).unwrap();
        for row in &rows {
            let label = |name: &str| row.labels.get(name).cloned().unwrap_or_default();
            let every = row.seconds.map(|seconds| format!("{seconds}s")).unwrap_or_default();
            writer.write_record([label("a"), url(row), label("b"), row.name.clone(), every, label("c")]).unwrap();
        }
        check(&rows, &load_file("a.csv", writer.into_inner().unwrap()));
    }

    #[test]
    fn json_is_read_as_it_was_written(rows in rows(), pretty in any::<bool>()) {
        let items: Vec<_> = rows.iter().map(as_json).collect();
        let text = if pretty { serde_json::to_string_pretty(&items) } else { serde_json::to_string(&items) };
        check(&rows, &load_file("a.json", text.unwrap()));
        let lines: Vec<_> = items.iter().map(ToString::to_string).collect();
        check(&rows, &load_file("a.jsonl", lines.join("\n")));
    }
}
