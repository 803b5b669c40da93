//! Generated files are fresh. `PROBITY_BLESS=1 cargo test --test inside generated` writes them anew.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;

use probity::check::CasesText;
use probity::cli::Exit;
use probity::config::{Code, FromValue as _, json_schema, json_schema_with_elsewhere, markdown};
use probity::model::{ErrorKind, Outcome};
use probity::pipeline::{PipelineText, RunnerText};

use crate::schema_page;
use crate::tree::root;

#[track_caller]
pub(crate) fn is_fresh(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os("PROBITY_BLESS").is_some() {
        fs::write(&file, text).unwrap();
        return;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == text,
        "{path} is stale; write it anew: PROBITY_BLESS=1 cargo test --test inside generated"
    );
}

const INTRODUCTION: &str = "\
# The pipeline file

Every table and key of a pipeline file, made from the code's own declarations. A pipeline is one TOML file; its
name is the file's, without `.toml`: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`. A folder of pipelines is read
without its subfolders; hidden files, what editors leave behind and `probity.toml` are passed over.

- A **duration** is a string with units: `\"500ms\"`, `\"10s\"`, `\"1m30s\"`, `\"1h\"`, `\"1d\"`.
- A **size** is a string with a unit: `\"512B\"`, `\"64KiB\"`, `\"1MiB\"`, `\"1.5GiB\"`, `\"10MB\"`.
- Inputs (target lists, plugins, certificates) are relative to the pipeline file, outputs to the data folder
  (`--data`).
- A value may **stand elsewhere**: `{ env = \"SHOP_TOKEN\" }` is a variable of the environment, with
  `default = \"…\"` if it may be missing; `{ file = \"/run/secrets/shop\" }` is a file of one line, relative to the
  pipeline file, and read again when it changes. Wherever a string may stand, also below `config`. Such a value is
  shown nowhere: `<secret>` stands for it in messages, logs, rows and records. There is no `${…}`: a `$` is a `$`.
- A folder of pipelines may have a file of the runner's own, in it or beside it: `probity.toml`.
- Every problem has a code; `probity explain P0206` tells what it means, with an example and what to do.
- `probity sample pipeline` prints an annotated pipeline, `probity sample source`, `sink` and `check` its parts.
- Editors that know JSON Schema: put `#:schema schema.json` on the first line; `probity sample schema` prints it.
";

#[test]
fn the_reference_is_fresh() {
    let mut tables = Vec::new();
    PipelineText::tables(&mut tables);
    RunnerText::tables(&mut tables);
    let mut known = HashSet::new();
    // One table stands under several keys.
    tables.retain(|table| known.insert(table.title));
    let mut page = markdown(INTRODUCTION, &tables);
    page.push_str(
        "\n## Outcomes and error kinds\n\nThe outcome of an attempt is the greatest of what its failure and its \
         checks say: `down`, then `unknown`, then `degraded`, then `up`. A failure says:\n\n\
         | error kind | outcome | meaning |\n| --- | --- | --- |\n",
    );
    for kind in ErrorKind::ALL {
        let _ = writeln!(page, "| `{kind}` | `{}` | {} |", kind.outcome(), kind.meaning());
    }
    page.push_str("\n## Codes of problems\n\n| code | meaning |\n| --- | --- |\n");
    for code in Code::ALL {
        let _ = writeln!(page, "| `{code}` | {} |", code.meaning());
    }
    is_fresh("pipelines/REFERENCE.md", &page);
}

const CASES: &str = "\
# cases.toml

Every table and key of a `cases.toml`, made from the code's own declarations. [README.md](README.md#casestoml) shows
how it is used. Unknown keys are errors.

- A **duration** is a string with units: `\"500us\"`, `\"80ms\"`, `\"1.5s\"`.
- A **size** is a string with a unit: `\"64KiB\"`, `\"8MiB\"`.
- **Error kinds** are listed in [the reference of pipelines](../pipelines/REFERENCE.md#outcomes-and-error-kinds),
  **facts** in [the contract](../wit/README.md#facts).
- Editors that know JSON Schema: put `#:schema` with the path of [cases.schema.json](cases.schema.json) on the first
  line.
";

#[test]
fn the_reference_of_cases_is_fresh() {
    let mut tables = Vec::new();
    CasesText::tables(&mut tables);
    let mut known = HashSet::new();
    // One table stands under several keys.
    tables.retain(|table| known.insert(table.title));
    is_fresh("plugins/CASES.md", &markdown(CASES, &tables));
    is_fresh(
        "plugins/cases.schema.json",
        &json_schema("Cases of a check of Probity", &CasesText::table_doc()),
    );
}

#[test]
fn the_schema_is_fresh() {
    is_fresh(
        "pipelines/schema.json",
        &json_schema_with_elsewhere("A pipeline of Probity", &PipelineText::table_doc()),
    );
}

#[test]
fn the_page_of_columns_is_fresh() {
    is_fresh("examples/ask-the-parquet/SCHEMA.md", &schema_page::page());
}

#[test]
fn every_default_can_be_read() {
    let mut tables = Vec::new();
    PipelineText::tables(&mut tables);
    CasesText::tables(&mut tables);
    RunnerText::tables(&mut tables);
    for table in tables {
        for field in table.fields {
            let Some(default) = field.default else { continue };
            let read = toml::from_str::<toml::Table>(&format!("value = {default}"));
            assert!(read.is_ok(), "{}: the default of {} is not TOML", table.title, field.name);
        }
    }
    // Every default of every table that may be left out is taken here.
    assert!(PipelineText::absent().is_some());
}

#[test]
fn the_exit_codes_are_these() {
    let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
    assert_eq!(codes, [0, 1, 2, 3, 75, 78, 130, 143]);
}

#[test]
fn the_outcomes_are_these() {
    assert_eq!(Outcome::ALL.map(Outcome::as_str), ["up", "degraded", "unknown", "down", "skipped"]);
}
