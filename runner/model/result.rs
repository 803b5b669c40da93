//! The row: one attempt, whole.

use std::sync::Arc;
use std::time::Duration;

use super::{Exchange, Outcome, Target, UnixNanos, Verdict};

/// One attempt with all that is known of it: a row of `probes`, and one of `checks` for each verdict.
#[derive(Debug, Clone)]
pub struct ProbeResult {
    /// Numbers the rows of a run, over all pipelines, from 1.
    pub seq: i64,
    /// Numbers the probes of a run, over all pipelines, from 1.
    pub probe_seq: i64,
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// The pipeline's generation, 16 hex digits.
    pub generation: Arc<str>,
    /// What was probed.
    pub target: Arc<Target>,
    /// When the probe was due.
    pub scheduled_at: UnixNanos,
    /// When this attempt began.
    pub started_at: UnixNanos,
    /// From due to the first attempt's begin, by the monotonic clock.
    pub lateness: Duration,
    /// Ticks of this target that were missed before this probe.
    pub missed: u32,
    /// Which attempt of the probe, from 1.
    pub attempt: u32,
    /// Whether this attempt decides the probe.
    pub is_final: bool,
    /// Whether the target was in a maintenance window when the probe was due.
    pub in_maintenance: bool,
    /// Whether the runner's own I/O threads were held up meanwhile: its delays are in the phases.
    pub runner_overloaded: bool,
    /// The method of the first request.
    pub method: http::Method,
    /// The sum of the attempt.
    pub outcome: Outcome,
    /// What happened on the wire.
    pub exchange: Arc<Exchange>,
    /// What the checks said, in the order of the pipeline file.
    pub verdicts: Vec<Verdict>,
}

/// The outcome of an attempt: the failure's and every verdict's, the greatest decides. A check that
/// was called despite a failure (`on_error = true`) answers for it, so the failure itself counts
/// only where no check did.
pub fn judge(exchange: &Exchange, verdicts: &[Verdict]) -> Outcome {
    let judged = verdicts.iter().map(Verdict::outcome).max();
    let failed = exchange.failure.as_ref().map(|failure| failure.kind.outcome());
    judged.or(failed).unwrap_or(Outcome::Up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CheckStatus, ErrorKind, Failure, Severity};

    fn verdict(status: CheckStatus, severity: Severity) -> Verdict {
        Verdict {
            check_name: "c".into(),
            plugin: "p".into(),
            status,
            severity,
            message: String::new(),
            duration: Duration::ZERO,
            metrics: Vec::new(),
            annotations: Vec::new(),
        }
    }

    #[test]
    fn precedence_is_down_unknown_degraded_up() {
        use CheckStatus::{Error, Fail, Pass, Warn};
        let cases = [
            (vec![], Outcome::Up),
            (vec![Pass], Outcome::Up),
            (vec![Pass, Warn], Outcome::Degraded),
            (vec![Warn, Error], Outcome::Unknown),
            (vec![Error, Fail, Warn], Outcome::Down),
        ];
        for (statuses, expected) in cases {
            let verdicts: Vec<_> = statuses.iter().map(|status| verdict(*status, Severity::Fail)).collect();
            assert_eq!(judge(&Exchange::default(), &verdicts), expected, "{statuses:?}");
        }
    }

    #[test]
    fn a_fail_of_severity_warn_only_degrades() {
        let verdicts = [verdict(CheckStatus::Fail, Severity::Warn)];
        assert_eq!(judge(&Exchange::default(), &verdicts), Outcome::Degraded);
    }

    #[test]
    fn a_failure_decides_where_no_check_was_called() {
        let failure = Some(Failure::new(ErrorKind::DnsServfail, "x"));
        let exchange = Exchange { failure, ..Exchange::default() };
        assert_eq!(judge(&exchange, &[]), Outcome::Unknown);
        assert_eq!(judge(&exchange, &[verdict(CheckStatus::Pass, Severity::Fail)]), Outcome::Up);
    }
}
