//! The tables of a pipeline file that say what judges a response.

use super::limits::Limits;
use crate::config::{
    ByteSize, Code, Diagnostic, Diagnostics, Document, Duration, JsonTable, Located, config_enum,
    config_table,
};

/// The shortest and the longest time of a call.
const TIME: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(10)];
/// The least and the most memory of a call, in bytes.
const MEMORY_BYTES: [u64; 2] = [1 << 20, 256 << 20];

config_table! {
    /// A check that judges every response. The bundled `status` check (2xx) runs as well, unless the
    /// file names a `status` check itself or says `default_checks = false`.
    pub struct CheckText, "[[checks]]" {
        /// A bundled check's name, or the path of a WebAssembly component, relative to the pipeline
        /// file, that ends in `.wasm`.
        plugin: Located<String>,
        /// The check's name in rows; the plugin's name where it is left out. Two checks of one
        /// plugin need a name each.
        name: Option<Located<String>>,
        /// The plugin's own configuration; each plugin's page lists its keys.
        config: Option<Located<JsonTable>>,
        /// What a `fail` means: the target is down (`fail`), or only degraded (`warn`).
        severity: SeverityText = r#""fail""#,
        /// Whether the check is called when there is no whole response, and answers for it.
        on_error: bool = "false",
        /// Whether a call's sandbox is fresh, and how it becomes ready.
        isolation: IsolationText = r#""auto""#,
        /// Limits of one call.
        limits: CheckLimitsText,
    }
}

config_enum! {
    /// What a `fail` means.
    pub enum SeverityText {
        /// The target is down.
        Fail = "fail",
        /// The target is degraded.
        Warn = "warn",
    }
}

config_enum! {
    /// Whether a call's sandbox is fresh, and how it becomes ready.
    pub enum IsolationText {
        /// Fresh for every call. A check that is called often is frozen once, after it took its
        /// configuration, and calls begin from that snapshot; one that cannot be frozen is configured
        /// for every call.
        Auto = "auto",
        /// Fresh for every call, from a snapshot that is made before the pipeline starts. A plugin that
        /// cannot be frozen is refused.
        Snapshot = "snapshot",
        /// Fresh for every call, and configured for every call.
        Configure = "configure",
        /// The same for all calls of the check on one thread: what a call leaves in its memory, the next
        /// one finds, also that of another target. After an error, a fresh one.
        Reuse = "reuse",
    }
}

config_table! {
    /// Limits of one call of a check.
    pub struct CheckLimitsText, "[checks.limits]" {
        /// CPU time of one call; at least 1 ms, at most 10 s.
        time: Located<Duration> = r#""50ms""#,
        /// Memory of one call; at least 1 MiB, at most 256 MiB.
        memory: Located<ByteSize> = r#""64MiB""#,
    }
}

/// The limits of a call that a file gives; none where they are out of range, which is told.
pub fn checked_limits(
    time: &Located<Duration>,
    memory: &Located<ByteSize>,
    document: &Document,
    diagnostics: &mut Diagnostics,
) -> Option<Limits> {
    let is_time = (TIME[0]..=TIME[1]).contains(&time.value);
    if !is_time {
        let message = "the time of a call is at least 1ms and at most 10s";
        diagnostics.add(Diagnostic::error(Code::BadValue, time.place(document), message));
    }
    let ByteSize(bytes) = memory.value;
    let is_memory = (MEMORY_BYTES[0]..=MEMORY_BYTES[1]).contains(&bytes);
    if !is_memory {
        let message = "the memory of a call is at least 1MiB and at most 256MiB";
        diagnostics.add(Diagnostic::error(Code::BadValue, memory.place(document), message));
    }
    let memory_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    (is_time && is_memory).then_some(Limits { time: time.value, memory_bytes })
}
