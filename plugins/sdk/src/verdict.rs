//! A check's judgement and the reason for it.

/// The most bytes of a message that the host keeps.
pub const MESSAGE_BYTES: usize = 1024;

/// A check's judgement. The host adds `error` for a trap, a time-out or bad output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Pass,
    /// Worth a look; the target counts as degraded.
    Warn,
    /// Wrong; the target counts as down.
    Fail,
}

impl Status {
    /// The name in the contract, in `cases.toml` and in Parquet.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }
}

/// A judgement with the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The judgement.
    pub status: Status,
    /// One line for people, at most `MESSAGE_BYTES` long.
    pub message: String,
}

impl Verdict {
    /// A verdict whose message is made one line and cut to `MESSAGE_BYTES`.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Verdict { status, message: one_line(message.into()) }
    }

    /// As it should be.
    pub fn pass(message: impl Into<String>) -> Self {
        Verdict::new(Status::Pass, message)
    }

    /// Worth a look.
    pub fn warn(message: impl Into<String>) -> Self {
        Verdict::new(Status::Warn, message)
    }

    /// Wrong.
    pub fn fail(message: impl Into<String>) -> Self {
        Verdict::new(Status::Fail, message)
    }
}

/// Collects what is wrong, so that a verdict tells all of it and not only the first.
#[derive(Debug, Default)]
pub struct Findings {
    failures: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    /// Nothing found yet.
    pub fn new() -> Self {
        Findings::default()
    }

    /// Something is wrong.
    pub fn fail(&mut self, message: impl Into<String>) {
        self.failures.push(message.into());
    }

    /// Something is worth a look.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(message.into());
    }

    /// Whether something is wrong.
    pub fn any_failure(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty() && self.warnings.is_empty()
    }

    /// The verdict: all findings joined by `; `, failures first; `passed` where there are none.
    pub fn into_verdict(self, passed: impl Into<String>) -> Verdict {
        let status = match (self.failures.is_empty(), self.warnings.is_empty()) {
            (false, _) => Status::Fail,
            (true, false) => Status::Warn,
            (true, true) => return Verdict::pass(passed),
        };
        let mut all = self.failures;
        all.extend(self.warnings);
        Verdict::new(status, all.join("; "))
    }
}

/// Control characters become spaces, and what is too long ends in an ellipsis.
fn one_line(message: String) -> String {
    let mut line = if message.contains(char::is_control) {
        message.replace(char::is_control, " ")
    } else {
        message
    };
    if line.len() > MESSAGE_BYTES {
        let ellipsis = '…';
        line.truncate(line.floor_char_boundary(MESSAGE_BYTES - ellipsis.len_utf8()));
        line.push(ellipsis);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_findings_are_told_and_a_failure_outranks_a_warning() {
        let mut findings = Findings::new();
        findings.warn("slow");
        findings.fail("wrong");
        findings.fail("bad");
        assert_eq!(findings.into_verdict("fine"), Verdict::fail("wrong; bad; slow"));
        let mut findings = Findings::new();
        findings.warn("slow");
        assert_eq!(findings.into_verdict("fine"), Verdict::warn("slow"));
        assert_eq!(Findings::new().into_verdict("fine"), Verdict::pass("fine"));
    }

    #[test]
    fn a_message_is_one_line_and_bounded_between_characters() {
        assert_eq!(Verdict::pass("a\r\nb").message, "a  b");
        let long = Verdict::fail("é".repeat(MESSAGE_BYTES)).message;
        assert!(long.len() <= MESSAGE_BYTES && long.ends_with("é…"), "{}", long.len());
        let exact = "x".repeat(MESSAGE_BYTES);
        assert_eq!(Verdict::fail(exact.clone()).message, exact);
    }
}
