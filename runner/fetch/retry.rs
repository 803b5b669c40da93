//! Whether an attempt that failed is followed by another one, and when.
//!
//! Pauses grow twofold from `backoff` up to `backoff_max`, and each is drawn evenly from nothing to that
//! ("full jitter"), so that targets that failed together do not come back together. Pure: chance goes in.
//! Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

use std::time::Duration;

use super::config::{RetryOnText, RetryText};
use crate::config::{Code, Diagnostic, Diagnostics, Document, Place};
use crate::model::{ErrorGroup, Exchange, Outcome};

/// The most attempts of a probe.
const MOST_ATTEMPTS: u64 = 64;
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// When a probe gets another attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    attempts: u32,
    backoff: Duration,
    backoff_max: Duration,
    on: Vec<RetryOnText>,
}

impl RetryText {
    /// The rule that the table says; none where it is wrong, which is told.
    pub fn checked(&self, document: &Document, diagnostics: &mut Diagnostics) -> Option<Retry> {
        let mut is_right = true;
        let mut wrong = |place: Place, message: &str| {
            diagnostics.add(Diagnostic::error(Code::BadValue, place, message));
            is_right = false;
        };
        if !(1..=MOST_ATTEMPTS).contains(&self.attempts.value) {
            wrong(self.attempts.place(document), "a probe has at least 1 attempt and at most 64");
        }
        if self.backoff.value > LONGEST_PAUSE {
            wrong(self.backoff.place(document), "a pause between attempts is at most 1h");
        }
        if self.backoff_max.value > LONGEST_PAUSE {
            wrong(self.backoff_max.place(document), "a pause between attempts is at most 1h");
        }
        is_right.then(|| Retry {
            attempts: self.attempts.value as u32,
            backoff: self.backoff.value,
            backoff_max: self.backoff_max.value,
            on: self.on.clone(),
        })
    }
}

impl Retry {
    /// The most attempts of a probe, the first one included.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The longest that a probe can take: each attempt its `timeout`, and the longest pauses between.
    pub fn longest(&self, timeout: Duration) -> Duration {
        let pauses = (1..self.attempts).map(|attempt| self.longest_pause(attempt));
        pauses.fold(timeout.saturating_mul(self.attempts), Duration::saturating_add)
    }

    /// The pause after an attempt (from 1) that came to `outcome`, if another one follows. `chance` is
    /// between 0 and 1.
    pub fn pause(
        &self,
        attempt: u32,
        exchange: &Exchange,
        outcome: Outcome,
        chance: f64,
    ) -> Option<Duration> {
        let again = attempt < self.attempts && self.is_for(exchange, outcome);
        again.then(|| self.longest_pause(attempt).mul_f64(chance.clamp(0.0, 1.0)))
    }

    /// The longest pause after an attempt, from 1.
    fn longest_pause(&self, attempt: u32) -> Duration {
        let factor = 2_u32.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.backoff.saturating_mul(factor).min(self.backoff_max)
    }

    fn is_for(&self, exchange: &Exchange, outcome: Outcome) -> bool {
        if !matches!(outcome, Outcome::Down | Outcome::Unknown) {
            return false;
        }
        let wants = |wanted| self.on.contains(&wanted);
        if let Some(failure) = &exchange.failure {
            return match failure.kind.group() {
                ErrorGroup::Dns => wants(RetryOnText::Dns),
                ErrorGroup::Connect => wants(RetryOnText::Connect),
                ErrorGroup::Tls => wants(RetryOnText::Tls),
                ErrorGroup::Timeout => wants(RetryOnText::Timeout),
                ErrorGroup::Http => wants(RetryOnText::Http),
                ErrorGroup::Local => wants(RetryOnText::Local),
            };
        }
        let is_5xx = exchange.head.as_ref().is_some_and(|head| (500..600).contains(&head.status));
        wants(RetryOnText::Check) || (is_5xx && wants(RetryOnText::ServerError))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ErrorKind, Failure};

    fn retry(attempts: u32, backoff: Duration, on: &[RetryOnText]) -> Retry {
        Retry { attempts, backoff, backoff_max: Duration::from_secs(30), on: on.to_vec() }
    }

    fn failed(kind: ErrorKind) -> Exchange {
        Exchange { failure: Some(Failure::new(kind, "x")), ..Exchange::default() }
    }

    #[test]
    fn only_failures_of_the_named_kinds_are_tried_again() {
        let rule = retry(3, Duration::from_secs(1), &[RetryOnText::Connect, RetryOnText::Check]);
        let pause = |exchange: &Exchange, outcome| rule.pause(1, exchange, outcome, 1.0).is_some();
        assert!(pause(&failed(ErrorKind::ConnectRefused), Outcome::Down));
        assert!(!pause(&failed(ErrorKind::DnsNxdomain), Outcome::Down));
        assert!(pause(&Exchange::default(), Outcome::Down), "a check failed");
        assert!(!pause(&Exchange::default(), Outcome::Degraded));
        assert!(!pause(&failed(ErrorKind::ConnectRefused), Outcome::Up), "a check wanted it so");
        assert!(rule.pause(3, &failed(ErrorKind::ConnectRefused), Outcome::Down, 1.0).is_none());
    }

    // T14: no overflow at attempt 64, a bound that never falls, pauses of any length from nothing on.
    proptest! {
        #[test]
        fn t14_pauses_are_capped_and_their_bound_never_falls(
            attempts in 2_u32..=64,
            backoff_ns in prop_oneof![Just(0), Just(1), 0_u64..3_600_000_000_000],
            chance in 0.0_f64..=1.0,
        ) {
            let rule = retry(attempts, Duration::from_nanos(backoff_ns), &[RetryOnText::Timeout]);
            let exchange = failed(ErrorKind::Timeout);
            let mut bound = Duration::ZERO;
            for attempt in 1..attempts {
                let longest = rule.longest_pause(attempt);
                prop_assert!(longest >= bound && longest <= rule.backoff_max);
                bound = longest;
                let pause = rule.pause(attempt, &exchange, Outcome::Down, chance).unwrap();
                prop_assert!(pause <= longest);
            }
            prop_assert!(rule.longest(Duration::from_secs(10)) >= Duration::from_secs(10) * attempts);
        }
    }
}
