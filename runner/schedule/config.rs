//! The table of a pipeline file that says when targets are due.

use std::sync::Arc;

use super::timing::{EVERY_MAX, EVERY_MIN, Pace, Rules, Timing};
use crate::config::{Code, Diagnostic, Diagnostics, Document, Duration, Located, config_table};

config_table! {
    /// When targets are due.
    pub struct ScheduleText, "[schedule]" {
        /// How often each target is probed; at least 100 ms, at most 366 days. Each target keeps a
        /// phase of its own within the interval, so that the load is even.
        every: Located<Duration> = r#""60s""#,
        /// How much later than its tick a probe may be due: a length between nothing and this, by the
        /// target and the tick, is added. Ticks themselves do not move. Less than `every`.
        jitter: Located<Duration> = r#""0s""#,
        /// How often a target is probed while its last probe was `down` or `unknown`, in place of its
        /// own interval; at least 100 ms, at most 366 days.
        every_on_failure: Option<Located<Duration>>,
        /// A probe that could not start this long after it was due is skipped and counted. Nothing is
        /// skipped where it is left out.
        expires: Option<Located<Duration>>,
    }
}

impl ScheduleText {
    /// What the table says, checked; all that is wrong is told.
    pub fn timing(&self, document: &Document, diagnostics: &mut Diagnostics) -> Option<Timing> {
        let mut wrong = false;
        let mut refuse = |value: &Located<Duration>, message: &str| {
            diagnostics.add(Diagnostic::error(Code::BadValue, value.place(document), message));
            wrong = true;
        };
        let allowed = EVERY_MIN..=EVERY_MAX;
        for every in [Some(&self.every), self.every_on_failure.as_ref()].into_iter().flatten() {
            if !allowed.contains(&every.value) {
                refuse(every, "an interval is at least 100ms and at most 366d");
            }
        }
        if self.jitter.value >= self.every.value && !self.jitter.value.is_zero() {
            refuse(&self.jitter, "\"jitter\" is less than the interval");
        }
        let rules = Rules {
            jitter: self.jitter.value,
            every_on_failure: self.every_on_failure.as_ref().map(|every| every.value),
        };
        (!wrong).then(|| Timing { pace: Pace::Every(self.every.value), rules: Arc::new(rules) })
    }
}
