//! The tables of a pipeline file that say what judges a response.

use crate::config::{ByteSize, Duration, Located, config_enum, config_table};

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
        config: Option<Located<serde_json::Value>>,
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
