//! The tables of a pipeline file that say where targets come from.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::dynamic::{HttpSdText, ListingText, StdinText};
use crate::config::{Context, FromValue, Located, config_table, config_variants};

config_variants! {
    /// Where targets come from.
    pub enum SourceText, "[[sources]]", default Some("list"), {
        /// Targets listed in the pipeline file.
        List(ListText) = "list",
        /// Targets read from a file.
        File(FileText) = "file",
        /// Targets read from files in Prometheus' format.
        FileSd(FileSdText) = "file_sd",
        /// Targets fetched over HTTP in Prometheus' format.
        HttpSd(HttpSdText) = "http_sd",
        /// Targets taken from a JSON document or a feed that is fetched over HTTP.
        Listing(ListingText) = "listing",
        /// Targets that come down a pipe.
        Stdin(StdinText) = "stdin",
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

config_table! {
    /// Targets read from files in the format of Prometheus' file service discovery: a JSON array of groups,
    /// `[{ "targets": ["shop.example:8080", "https://shop.example/health"], "labels": { "team": "core" } }]`.
    /// YAML is not read.
    ///
    /// A target that is a whole URL is taken as it is. One that is `host`, `host:port` or `host/path` gets
    /// `__scheme__` (`http` where the group has no such label), and unless it has a path, `__metrics_path__` (`/`)
    /// and a parameter `x` for each `__param_x`, in the order of their names. All labels of the group become
    /// labels of its targets, except for those that begin with `__`. A target's name is its URL: one that stands
    /// twice is probed once, with the labels of the first. A group without targets, and a file of `[]`, is no error.
    pub struct FileSdText, "[[sources]] type = \"file_sd\"" {
        /// The files, relative to the pipeline file, each ending in `.json`. The last part of a path may hold
        /// `*`, which stands for any characters: `"targets/*.json"`; it matches no file whose name begins with a
        /// dot. A file that is named must exist; a pattern may match none, which is warned of.
        files: Located<Vec<Located<String>>>,
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
