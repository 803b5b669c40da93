//! The tables of a pipeline file that say where targets come from.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::{Context, FromValue, Located, config_table, config_variants};

config_variants! {
    /// Where targets come from.
    pub enum SourceText, "[[sources]]", default Some("list"), {
        /// Targets listed in the pipeline file.
        List(ListText) = "list",
        /// Targets read from a file.
        File(FileText) = "file",
    }
}

config_table! {
    /// Targets listed in the pipeline file itself. `type = "list"` may be left out.
    pub struct ListText, "[[sources]] type = \"list\"" {
        /// The targets: URLs, or tables with `url`, `name`, `every` and `labels`. A URL without a
        /// scheme means `http://`.
        targets: Located<Vec<Located<TargetEntry>>>,
    }
}

config_table! {
    /// Targets read from a file: `.csv` with a header (`url`, and if wished `name`, `every`,
    /// `labels.team` and other labels), `.json` (a list of URLs or of tables), `.jsonl` (one of
    /// these a line), `.txt` (one URL a line).
    pub struct FileText, "[[sources]] type = \"file\"" {
        /// The file, relative to the pipeline file.
        path: Located<String>,
    }
}

/// A target as it stands in a list: a URL, or a table.
#[derive(Debug, Clone)]
pub enum TargetEntry {
    /// Only a URL.
    Url(String),
    /// A URL with more.
    Table(TargetTable),
}

config_table! {
    /// A target with more than a URL.
    pub struct TargetTable, "a target of [[sources]]" {
        /// The URL, `http` or `https`, without user name and password; at most 8,192 bytes.
        url: Located<String>,
        /// The target's name in rows and messages; its URL where it is left out. At most
        /// 256 characters; a name stands once in a pipeline.
        name: Option<String>,
        /// An interval of its own, such as `"10s"`; at least 100 ms, at most 366 days.
        every: Option<Located<String>>,
        /// Labels, for queries: at most 64, names of letters, digits and `_`, values of at most 1,024
        /// characters.
        labels: BTreeMap<String, String>,
    }
}

impl FromValue for TargetEntry {
    fn type_text() -> String {
        "URL or table".to_owned()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [{ "type": "string" }, TargetTable::schema()] })
    }

    fn tables(out: &mut Vec<crate::config::TableDoc>) {
        TargetTable::tables(out);
    }

    fn from_value(value: &Spanned<DeValue<'_>>, context: &mut Context<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) => Some(Self::Url(text.to_string())),
            DeValue::Table(_) => TargetTable::from_value(value, context).map(Self::Table),
            _ => {
                context.wrong_type(value, "a URL, or a table with one,");
                None
            }
        }
    }
}
