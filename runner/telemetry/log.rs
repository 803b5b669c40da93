//! The log: standard error, lines for people or JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing::level_filters::LevelFilter;

/// How the log is written.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// The least level that is shown.
    pub level: LevelFilter,
    /// JSON lines instead of text.
    pub json: bool,
}

/// Starts the log for the process. Called once, by the program; a second call changes nothing.
pub fn start(options: LogOptions) {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // A log that nobody reads any more must not end what it tells of: by default, a failed write is told
    // by a print that panics.
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(options.level)
        .with_target(false)
        .log_internal_errors(false);
    // A log that was started before (by a test) stays.
    let _ = if options.json {
        builder.json().with_ansi(false).try_init()
    } else {
        builder.with_ansi(colour).try_init()
    };
}
