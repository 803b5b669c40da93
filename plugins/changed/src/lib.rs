//! Tells when the body, or a part of it, is not what it was before: a change nobody announced, or a
//! defacement.
//!
//! The body is reduced by rules, and its digest is remembered with hashes of its lines, so that a
//! change can be told as a share. The first response is the baseline and passes.

mod config;
mod content;
mod memory;

use std::fmt::Write as _;

use probity_check::{Check, Manifest, Observation, Status, Verdict, annotate, excerpt, metric, state};

use config::{Baseline, Changed, Config};
use content::Content;
use memory::{KEY, Remembered};

/// The most characters of an expression and of the body's begin in a message.
const SHOWN_CHARS: usize = 80;

impl Check for Changed {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: true,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        Changed::from_config(config)
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        let Some(status) = seen.status().filter(|_| seen.error().is_none()) else {
            let kind = seen.error().unwrap_or_else(|| "no error kind".to_owned());
            return Ok(Verdict::fail(format!("no response ({kind})")));
        };
        // An error page is no change of the content, and must not become what is compared with.
        if !self.any_status && !(200..300).contains(&status) {
            return Err(format!("status {status} is not compared; any_status = true compares it"));
        }
        let body = seen.body();
        let content = match self.rules.reduce(&body) {
            Ok(content) => content,
            // What marks the part has gone: the page is another one.
            Err(missing) => {
                let instead = begin(&body, seen.body_truncated());
                return Ok(Verdict::new(self.on_change, format!("{missing}; {instead}")));
            }
        };
        let remembered = state::get(KEY)
            .and_then(|bytes| Remembered::decode(&bytes))
            .filter(|remembered| remembered.rules_digest == self.rules_digest);
        match remembered {
            None => {
                let message = format!("first seen: {}", described(&content));
                self.remember(seen, content)?;
                Ok(Verdict::pass(message))
            }
            Some(remembered) if remembered.content.digest == content.digest => {
                metric("changed_lines", 0.0);
                metric("unchanged_seconds", seconds_between(remembered.since_ns, seen.started_at_ns()));
                Ok(Verdict::pass(format!("unchanged: {}", described(&content))))
            }
            Some(remembered) => self.judge_change(seen, &remembered.content, content),
        }
    }
}

probity_check::export!(Changed, schema = "schema.json");

impl Changed {
    /// Tells how much has changed, and remembers the new content where it is the next baseline.
    fn judge_change(&self, seen: &dyn Observation, old: &Content, new: Content) -> Result<Verdict, String> {
        annotate("old_sha256", &hex(&old.digest));
        annotate("new_sha256", &hex(&new.digest));
        let difference = old.difference(&new);
        let mut status = self.on_change;
        let mut message = match difference {
            Some(difference) => {
                let share = difference.share();
                metric("changed_lines", f64::from(u32::try_from(difference.changed).unwrap_or(u32::MAX)));
                metric("changed_share", share);
                let mut message = format!(
                    "changed: {} of {} lines differ ({:.1} %)",
                    difference.changed,
                    difference.total,
                    share * 100.0
                );
                // In another order all lines are the same, and the content is not.
                if difference.changed == 0 {
                    "changed: the same lines in another order".clone_into(&mut message);
                }
                if self.tolerance > 0.0 && share <= self.tolerance {
                    status = Status::Pass;
                    message.push_str(", within tolerance");
                }
                message
            }
            None => "changed".to_owned(),
        };
        let since = match self.baseline {
            Baseline::Last => "before",
            Baseline::First => "at first",
        };
        let _ = write!(message, "; {}, {since} {}", described(&new), short(&old.digest));
        if seen.body_truncated() {
            message.push_str(" (body cut there by body_limit)");
        }
        if self.baseline == Baseline::Last {
            self.remember(seen, new)?;
        }
        Ok(Verdict::new(status, message))
    }

    fn remember(&self, seen: &dyn Observation, content: Content) -> Result<(), String> {
        let remembered =
            Remembered { rules_digest: self.rules_digest, since_ns: seen.started_at_ns(), content };
        state::set(KEY, &remembered.encode())
    }
}

/// A content in a message: `sha256 9f86d081884c…`, whose rest is in the annotations of a change.
fn described(content: &Content) -> String {
    format!("sha256 {}", short(&content.digest))
}

fn short(digest: &[u8; 32]) -> String {
    format!("{}…", hex(&digest[..6]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What the body is, for a message.
fn begin(body: &[u8], truncated: bool) -> String {
    let bytes = body.len();
    let cut = if truncated { " (cut there by body_limit, there was more)" } else { "" };
    match bytes {
        0 => format!("body is empty{cut}"),
        _ => format!("body of {bytes} bytes{cut} begins {}", excerpt(body, SHOWN_CHARS)),
    }
}

/// Seconds from one time to another, both in nanoseconds; 0 where the clock was set back.
#[allow(clippy::cast_precision_loss, reason = "whole seconds, for people")]
fn seconds_between(since_ns: u64, now_ns: u64) -> f64 {
    (now_ns.saturating_sub(since_ns) / 1_000_000_000) as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use probity_check::{TestObservation, parse_config};

    use super::*;

    #[test]
    fn cases() {
        probity_check::cases::run::<Changed>(include_str!("../cases.toml")).unwrap();
    }

    fn judge(config: &str, body: &str, at_seconds: u64) -> (Status, String) {
        let check = Changed::configure(parse_config(config).unwrap()).unwrap();
        let seen = TestObservation::new().status(200).body(body).started_at_ns(at_seconds * 1_000_000_000);
        let verdict = check.run(&seen).unwrap();
        (verdict.status, verdict.message)
    }

    #[test]
    fn other_rules_and_another_revision_begin_anew() {
        state::forget();
        let is_first = |config: &str| judge(config, "a", 0).1.starts_with("first seen");
        assert!(is_first("{}"));
        assert!(!is_first("{}"));
        // How a change is judged does not change the content.
        assert!(!is_first(r#"{"on_change":"fail","baseline":"first","tolerance":0.5,"any_status":true}"#));
        for other in [
            r#"{"revision":2}"#,
            r#"{"ignore":"x"}"#,
            r#"{"ignore":["x","y"]}"#,
            r#"{"ignore":"x 6:ignore"}"#,
            r#"{"until":"$"}"#,
            r#"{"after":"^"}"#,
            r#"{"ignore_case":true}"#,
            r#"{"ignore_whitespace":false}"#,
        ] {
            assert!(is_first(other), "{other}");
            assert!(!is_first(other), "{other}");
        }
    }

    #[test]
    fn a_state_that_cannot_be_read_is_none() {
        state::forget();
        state::set(KEY, b"something else").unwrap();
        assert!(judge("{}", "a", 0).1.starts_with("first seen"));
        assert!(judge("{}", "a", 0).1.starts_with("unchanged"));
    }

    #[test]
    fn the_time_without_change_is_counted_from_the_baseline() {
        state::forget();
        let metrics = |body: &str, at| {
            judge("{}", body, at);
            probity_check::report::take().metrics.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(metrics("a", 100), [] as [f64; 0]);
        assert_eq!(metrics("a", 160), [0.0, 60.0]);
        assert_eq!(metrics("b", 170), [1.0, 1.0]);
        assert_eq!(metrics("b", 171), [0.0, 1.0]);
        assert_eq!(metrics("b", 90), [0.0, 0.0]);
    }
}
