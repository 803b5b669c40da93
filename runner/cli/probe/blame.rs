//! Who or what is to blame: one step of the attempt, and whose it is.

use crate::model::{ErrorGroup, ErrorKind, Exchange, Failure, Outcome, ProbeResult, Verdict};

/// A phase of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Dns,
    Connect,
    Tls,
    FirstByte,
    Transfer,
}

impl Phase {
    /// In their order.
    pub(super) const ALL: [Self; 5] = [Self::Dns, Self::Connect, Self::Tls, Self::FirstByte, Self::Transfer];

    /// The name that columns have for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::FirstByte => "first_byte",
            Self::Transfer => "transfer",
        }
    }
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The target's.
    Target,
    /// The runner's own, or that of a check.
    Runner,
    /// It lies between the runner and the target: it says nothing of the target.
    Between,
}

impl Whose {
    /// The name, as JSON has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Runner => "runner",
            Self::Between => "between",
        }
    }

    /// What it means.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Target => "theirs: the target is wrong",
            Self::Runner => "ours: this says nothing of the target",
            Self::Between => "between us and them: this says nothing of the target",
        }
    }
}

/// What an outcome other than `up` comes from.
#[derive(Debug, Clone)]
pub(super) struct Blame {
    /// Whose fault it is.
    pub(super) whose: Whose,
    /// The phase in which it failed; none where a check decided, or no phase.
    pub(super) phase: Option<Phase>,
    /// The check that decided.
    pub(super) check: Option<String>,
    /// What happened, in a line.
    pub(super) what: String,
}

impl Blame {
    /// What the row's outcome comes from; none if it is up.
    pub(super) fn of(row: &ProbeResult) -> Option<Self> {
        if row.outcome == Outcome::Up {
            return None;
        }
        if let Some(verdict) = row.verdicts.iter().find(|verdict| verdict.outcome() == row.outcome) {
            return Some(Self::of_check(verdict));
        }
        let Failure { kind, message } = row.exchange.failure.as_ref()?;
        Some(Self {
            whose: whose(*kind),
            phase: phase_of(*kind, &row.exchange),
            check: None,
            what: format!("{kind}: {message}"),
        })
    }

    fn of_check(verdict: &Verdict) -> Self {
        let whose = if verdict.outcome() == Outcome::Unknown { Whose::Runner } else { Whose::Target };
        let Verdict { check_name, status, message, .. } = verdict;
        let what = format!("check \"{check_name}\" says {status}: {message}");
        Self { whose, phase: None, check: Some(check_name.to_string()), what }
    }

    /// Whether the request was sent before it.
    pub(super) fn is_after_sending(&self) -> bool {
        self.check.is_some() || matches!(self.phase, Some(Phase::FirstByte | Phase::Transfer))
    }
}

fn whose(kind: ErrorKind) -> Whose {
    match (kind.outcome(), kind.group()) {
        (Outcome::Down, _) => Whose::Target,
        (_, ErrorGroup::Local) => Whose::Runner,
        _ if kind == ErrorKind::ConnectDenied => Whose::Runner,
        _ => Whose::Between,
    }
}

/// The phase in which a failure of this kind came.
fn phase_of(kind: ErrorKind, exchange: &Exchange) -> Option<Phase> {
    match kind {
        ErrorKind::ConnectRefused
        | ErrorKind::ConnectTimeout
        | ErrorKind::ConnectReset
        | ErrorKind::NetworkUnreachable
        | ErrorKind::ConnectDenied
        | ErrorKind::ConnectFailed
        | ErrorKind::ProxyRefused
        | ErrorKind::ProxyAuth
        | ErrorKind::ProxyMalformed
        | ErrorKind::ProxyTimeout => Some(Phase::Connect),
        ErrorKind::TlsTimeout => Some(Phase::Tls),
        ErrorKind::RedirectLimit | ErrorKind::RedirectInvalid | ErrorKind::RedirectDowngrade => {
            Some(Phase::FirstByte)
        }
        ErrorKind::BodyIncomplete
        | ErrorKind::BodyEncoding
        | ErrorKind::DecompressBomb
        | ErrorKind::BodyTooLarge => Some(Phase::Transfer),
        _ => match kind.group() {
            ErrorGroup::Dns => Some(Phase::Dns),
            ErrorGroup::Tls => Some(Phase::Tls),
            ErrorGroup::Local => None,
            _ if kind == ErrorKind::OAuth => None,
            _ => {
                let has_head = match exchange.hops.last() {
                    Some(hop) => hop.status.is_some(),
                    None => exchange.head.is_some(),
                };
                Some(if has_head { Phase::Transfer } else { Phase::FirstByte })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_whose_the_outcome_says() {
        for kind in ErrorKind::ALL {
            assert_eq!(whose(*kind) == Whose::Target, kind.outcome() == Outcome::Down, "{kind}");
        }
        assert_eq!(whose(ErrorKind::LocalFds), Whose::Runner);
        assert_eq!(whose(ErrorKind::DnsServfail), Whose::Between);
    }

    #[test]
    fn a_failure_has_its_phase() {
        let cases = [
            (ErrorKind::DnsNxdomain, Some(Phase::Dns)),
            (ErrorKind::ConnectRefused, Some(Phase::Connect)),
            (ErrorKind::ProxyAuth, Some(Phase::Connect)),
            (ErrorKind::TlsExpired, Some(Phase::Tls)),
            (ErrorKind::TlsTimeout, Some(Phase::Tls)),
            (ErrorKind::Timeout, Some(Phase::FirstByte)),
            (ErrorKind::Reset, Some(Phase::FirstByte)),
            (ErrorKind::BodyIncomplete, Some(Phase::Transfer)),
            (ErrorKind::LocalFds, None),
        ];
        for (kind, phase) in cases {
            assert_eq!(phase_of(kind, &Exchange::default()), phase, "{kind}");
        }
    }
}
