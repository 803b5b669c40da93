//! Exit codes: a public contract.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Success,
    /// Something is down or unknown (`run --once`, `probe`), or would be judged otherwise (`replay`), or as no
    /// test says (`test`), or files are damaged (`verify`) or days cannot be compacted (`compact`).
    Negative,
    /// The command line is wrong.
    Usage,
    /// It failed while running.
    Failed,
    /// Another runner of the same name holds the data folder.
    Locked,
    /// The configuration is wrong.
    Config,
    /// Interrupted twice: what was done is sealed.
    Interrupted,
    /// Terminated twice: what was done is sealed.
    Terminated,
}

impl Exit {
    /// Every way to end.
    pub const ALL: [Self; 8] = [
        Self::Success,
        Self::Negative,
        Self::Usage,
        Self::Failed,
        Self::Locked,
        Self::Config,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Failed => 3,
            // EX_TEMPFAIL and EX_CONFIG of sysexits.h.
            Self::Locked => 75,
            Self::Config => 78,
            // 128 + SIGINT, 128 + SIGTERM.
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
