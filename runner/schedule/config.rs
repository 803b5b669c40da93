//! The table of a pipeline file that says when targets are due.

use crate::config::{Duration, Located, config_table};

config_table! {
    /// When targets are due.
    pub struct ScheduleText, "[schedule]" {
        /// How often each target is probed; at least 100 ms, at most 366 days. Each target keeps a
        /// phase of its own within the interval, so that the load is even.
        every: Located<Duration> = r#""60s""#,
    }
}
