//! The one place that prints: data to standard output, all else to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use crate::model::harmless;

/// Whether texts for people on standard error may have colours.
pub(super) fn stderr_has_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Whether texts for people on standard output may have colours.
pub(super) fn stdout_has_colour() -> bool {
    stdout_is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Whether a person sits at standard output.
pub(super) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints data to standard output. A reader that went away ends the printing, not the program.
pub(super) fn data(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints an error for people to standard error; a name in it steers no terminal.
pub(super) fn error(text: &str) {
    note(&format!("error: {}", harmless(text)));
}

/// Prints a text for people to standard error. There is nowhere to tell of a failure of this.
pub(super) fn note(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
}
