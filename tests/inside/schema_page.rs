//! The page that tells an analyst of the columns, made from the program's own list of them.

use std::fmt::Write as _;

use arrow::datatypes::DataType;
use probity::sink::parquet::{Column, SCHEMA_VERSION, Table};

use crate::contract::Kind;

const INTRODUCTION: &str = "\
# The columns

Made from the program's own list; the files carry it too, as `unit` and `doc` in the metadata of each field.

```
results/probes/date=2026-09-01/probes-20260901T05Z-main-<run_id>-000042.parquet    a row an attempt
results/checks/date=2026-09-01/checks-20260901T05Z-main-<run_id>-000042.parquet    a row a verdict of a check
```

- **A file is whole and never changes.** It appears when it is closed: each hour by default, and at the end of a run. Nothing
  else lies below `results/`, so that any glob will do. A file is sorted by `target`, then `started_at`; the hour in its
  name is that of its first row.
- **`date`** is the UTC day of `started_at`. It is the folder's name, not a column of the files: tools that know hive
  partitions add it, and a filter on it opens that day's files only.
- **Join** `checks` to `probes` by `(run_id, seq)`, which is the key of `probes`. The attempts of one probe share
  `(run_id, probe_seq)`; the last one decides and alone has `is_final`. Ask for `is_final` unless you ask about
  attempts. A target is known by `(pipeline, target)`.
- **Null means that it did not happen** or cannot be known; it is never 0 and never an empty text. An attempt that could not
  resolve the name has no `connect_us`; a target without labels has an empty map.
- **`outcome`**: `up`; `degraded` (a check warned); `down` (the target is wrong); `unknown` (we cannot tell: our own fault or
  limit, or something between us and the target); `skipped`. What each `error_kind` means stands in
  [the reference](../../pipelines/REFERENCE.md#outcomes-and-error-kinds).
- **Lengths** end in `_us` and are whole microseconds; sizes end in `_bytes`. Times are moments in UTC.
- **The phases** in the words of others: `dns` is blackbox_exporter's `resolve`, `first_byte` its `processing`;
  `connect`, `tls` and `transfer` are the same.

## Versions

";

const VERSIONS: &str = "\
Columns are only ever added, at the end; no name, type or meaning changes. So files of any versions can be read
together, and what an older version did not know is null. [README.md](README.md#files-of-several-versions) shows how in
each tool. A change that cannot be made so would go to other folders. The version of a file stands in its footer as
`probity.schema_version`, beside `probity.version`, `probity.segment`, `probity.runner` and `probity.run_id`.

";

const TYPES: &str = "\
## Types

| here | DuckDB | Polars | pandas, `dtype_backend=\"pyarrow\"` | Spark |
| --- | --- | --- | --- | --- |
";

/// Every type, with the name that the page has for it.
const KINDS: [(Kind, &str); 7] = [
    (Kind::Time, "time"),
    (Kind::Int64, "integer"),
    (Kind::Int32, "small integer"),
    (Kind::Bool, "yes or no"),
    (Kind::Text, "text"),
    (Kind::TextMap, "texts by name"),
    (Kind::NumberMap, "numbers by name"),
];

/// The page.
pub(crate) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let _ = write!(page, "This is version {SCHEMA_VERSION}. {VERSIONS}{TYPES}");
    for (kind, name) in KINDS {
        let closed = |word: &str| {
            if word.starts_with("map<") && !word.ends_with('>') {
                format!("{word}>[pyarrow]")
            } else {
                word.to_owned()
            }
        };
        let words = [kind.duckdb(), kind.polars(), kind.pandas(), kind.spark()].map(closed);
        let _ = writeln!(page, "| {name} | {} |", words.map(|word| format!("`{word}`")).join(" | "));
    }
    for (table, title) in [(Table::Probes, "a row an attempt"), (Table::Checks, "a row a verdict")] {
        let _ = write!(
            page,
            "\n## {}: {title}\n\n| column | type | unit or values | meaning |\n| --- | --- | --- | --- |\n",
            table.name()
        );
        for Column { name, data_type, unit, doc, .. } in table.columns() {
            let _ = writeln!(page, "| `{name}` | {} | {unit} | {doc} |", name_of(&data_type()));
        }
    }
    page
}

fn name_of(data_type: &DataType) -> &'static str {
    let kind = match data_type {
        DataType::Timestamp(..) => Kind::Time,
        DataType::Int64 => Kind::Int64,
        DataType::Int32 => Kind::Int32,
        DataType::Boolean => Kind::Bool,
        DataType::Utf8 => Kind::Text,
        DataType::Map(entries, _) if entries.to_string().contains("Float64") => Kind::NumberMap,
        DataType::Map(..) => Kind::TextMap,
        other => panic!("{other} is not a type of the contract"),
    };
    KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| *name)
}
