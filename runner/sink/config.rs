//! The tables of a pipeline file that say where results go.

use std::collections::BTreeMap;

use crate::config::{ByteSize, Duration, Hidden, Located, config_enum, config_table, config_variants};

config_variants! {
    /// Where results go, besides Parquet under `results/`.
    pub enum SinkText, "[[sinks]]", default None, {
        /// Parquet files.
        Parquet(ParquetText) = "parquet",
        /// Lines on standard output.
        Stdout(StdoutText) = "stdout",
        /// A file of JSON lines.
        Jsonl(JsonlText) = "jsonl",
    }
}

config_table! {
    /// Parquet files; a sink of this type replaces the default one.
    pub struct ParquetText, "[[sinks]] type = \"parquet\"" {
        /// The folder, relative to the data folder (`--data`). Or a bucket: `"s3://bucket/prefix"`,
        /// `"gs://bucket/prefix"`, `"az://container/prefix"` or
        /// `"abfss://container@account.dfs.core.windows.net/prefix"`; each finished file is then copied there as well.
        path: Located<String> = r#""results""#,
        /// With a bucket: the folder of this machine where files are made, and stay, relative to the data folder. Named
        /// after the bucket where it is left out: `s3-bucket-prefix`.
        local: Option<Located<String>>,
        /// With a bucket: whether a file goes from this machine once the bucket has it.
        delete_local: Located<bool> = "false",
        /// With a bucket: how it is reached, over what the environment says (`AWS_…`, `GOOGLE_…`, `AZURE_…`), by the
        /// same names: `endpoint_url`, `region`, `access_key_id`, `secret_access_key`, `allow_http`. Values are never
        /// shown.
        options: BTreeMap<String, Located<Hidden>>,
        /// When a file is closed and published.
        rotate: RotateText,
        /// When the journal is forced to the disk. What was written survives a kill of the runner in
        /// every mode; only a loss of power tells them apart.
        fsync: FsyncText = r#""1s""#,
        /// What happens once results wait for the disk, or for another sink, and the queue (4,096 rows) is full.
        on_full: OnFullText = r#""block""#,
        /// How long results are kept, at least `"1d"`: whole days that are older than this are removed. What counts is
        /// the newest day with results, not the clock. Each runner removes its own files. Without it, results are kept
        /// for ever.
        keep: Option<Located<Duration>>,
        /// With `keep`: at most this share of all bytes is removed at once, 1 to 100 percent. If more has expired, it goes
        /// in portions; and if what stays does not reach back over the time to be kept, as after a jump of the clock,
        /// nothing goes, and the log says so.
        keep_max_percent: Located<u64> = "20",
    }
}

config_enum! {
    /// What becomes of a result for which there is no room.
    pub enum OnFullText {
        /// It waits, and probing slows down: later probes begin late, which their rows tell.
        Block = "block",
        /// It is dropped and counted; probing keeps its pace.
        DropNewest = "drop_newest",
    }
}

config_table! {
    /// When a file is closed and published: at whichever comes first.
    pub struct RotateText, "[sinks.rotate]" {
        /// Age, aligned to the clock: `"1h"` closes at each full hour. At least 1 s, at most 1 day.
        every: Located<Duration> = r#""1h""#,
        /// Size of the journal that the file is made from; at least 64 KiB.
        size: Located<ByteSize> = r#""256MiB""#,
        /// Rows; at least 1.
        rows: Located<u64> = "1048576",
    }
}

config_enum! {
    /// When the journal is forced to the disk.
    pub enum FsyncText {
        /// Once a second.
        Second = "1s",
        /// After each write.
        Each = "each",
        /// Never; the operating system decides.
        Off = "off",
    }
}

config_table! {
    /// Lines on standard output, after the row is safe in the journal.
    pub struct StdoutText, "[[sinks]] type = \"stdout\"" {
        /// Aligned lines for people, or a JSON object a line for programs.
        format: StdoutFormatText = r#""line""#,
        /// What happens once the reader is 64 batches behind.
        on_full: OnFullText = r#""block""#,
    }
}

config_table! {
    /// A file of lines, a JSON object a result with the names of the Parquet columns, each after its row is safe in the
    /// journal.
    pub struct JsonlText, "[[sinks]] type = \"jsonl\"" {
        /// The file, relative to the data folder (`--data`). It may be renamed at any time: a new one is begun.
        path: Located<String> = r#""logs/results.jsonl""#,
        /// When the file is put away under a dated name, and how many of those are kept.
        rotate: LineRotateText,
        /// What happens once the file is 64 batches behind.
        on_full: OnFullText = r#""block""#,
    }
}

config_table! {
    /// When a file of lines is put away: at whichever comes first.
    pub struct LineRotateText, "[sinks.rotate] of type = \"jsonl\"" {
        /// Age, aligned to the clock: `"1d"` begins a file each day (UTC), with the day's first line. At least 1 s, at
        /// most 366 days.
        every: Located<Duration> = r#""1d""#,
        /// Size; at least 64 KiB.
        size: Located<ByteSize> = r#""256MiB""#,
        /// How many files that were put away are kept; at least 1, at most 10,000.
        keep: Located<u64> = "7",
    }
}

config_enum! {
    /// The form of a line.
    pub enum StdoutFormatText {
        /// One aligned line a result.
        Line = "line",
        /// One JSON object a result, with the names of the Parquet columns.
        Json = "json",
    }
}

config_table! {
    /// Probes that failed in every attempt (`down` or `unknown`) go to a file of their own as well, a JSON
    /// object a line with the names of the Parquet columns, to be worked off by whoever wants to.
    pub struct DeadLetterText, "[dead_letter]" {
        /// The file, relative to the data folder (`--data`); `dead-letters/<pipeline>.jsonl` where it is left
        /// out. It may be renamed at any time: a new one is begun.
        path: Option<Located<String>>,
        /// Whether the attempts before the last one stand in the line, under `history`.
        history: bool = "true",
        /// At this size the file is renamed to `<path>.1`, and the one before goes. At least 64 KiB.
        max_size: Located<ByteSize> = r#""64MiB""#,
    }
}
