//! The tables of a pipeline file that say where results go.

use crate::config::{ByteSize, Duration, Located, config_enum, config_table, config_variants};

config_variants! {
    /// Where results go, besides Parquet under `results/`.
    pub enum SinkText, "[[sinks]]", default None, {
        /// Parquet files.
        Parquet(ParquetText) = "parquet",
        /// Lines on standard output.
        Stdout(StdoutText) = "stdout",
    }
}

config_table! {
    /// Parquet files; a sink of this type replaces the default one.
    pub struct ParquetText, "[[sinks]] type = \"parquet\"" {
        /// The folder, relative to the data folder (`--data`).
        path: Located<String> = r#""results""#,
        /// When a file is closed and published.
        rotate: RotateText,
        /// When the journal is forced to the disk. What was written survives a kill of the runner in
        /// every mode; only a loss of power tells them apart.
        fsync: FsyncText = r#""1s""#,
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
