//! What the configuration may ask for, and what becomes of it.

use std::fmt::Write as _;

use probity_check::{OneOrMany, Pattern, Status};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::content::Rules;

/// The configuration. Without any key, the whole body is compared but for its white space.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// What a change is: `warn` or `fail`.
    on_change: OnChange,
    /// What a body is compared with.
    baseline: Baseline,
    /// What stands before the part that is compared; it ends with the first match.
    after: Option<Pattern>,
    /// What stands behind that part; it begins with the first match there.
    until: Option<Pattern>,
    /// Expressions whose matches are left out.
    ignore: OneOrMany<Pattern>,
    /// Compares ASCII letters without their case.
    ignore_case: bool,
    /// Compares every run of white space as one space.
    ignore_whitespace: bool,
    /// The greatest share of lines that may differ, from 0 to 1.
    tolerance: f64,
    /// Compares with a baseline of its own: another number forgets what was seen before.
    revision: u64,
    /// Compares responses of any status, not of 2xx alone.
    any_status: bool,
}

/// What a change is.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnChange {
    Warn,
    Fail,
}

/// What a body is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Baseline {
    /// The content seen last.
    Last,
    /// The content seen first.
    First,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            on_change: OnChange::Warn,
            baseline: Baseline::Last,
            after: None,
            until: None,
            ignore: OneOrMany::default(),
            ignore_case: false,
            ignore_whitespace: true,
            tolerance: 0.0,
            revision: 0,
            any_status: false,
        }
    }
}

/// The check, configured.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) on_change: Status,
    pub(crate) baseline: Baseline,
    pub(crate) rules: Rules,
    /// Of the rules and the revision: content that was reduced by others cannot be compared.
    pub(crate) rules_digest: [u8; 32],
    /// From 0 to below 1.
    pub(crate) tolerance: f64,
    pub(crate) any_status: bool,
}

impl Changed {
    /// Checks the configuration. The error names the key.
    pub(crate) fn from_config(config: Config) -> Result<Self, String> {
        let Config {
            on_change,
            baseline,
            after,
            until,
            ignore: OneOrMany(ignore),
            ignore_case,
            ignore_whitespace,
            tolerance,
            revision,
            any_status,
        } = config;
        for (key, pattern) in [("after", &after), ("until", &until)] {
            if pattern.as_ref().is_some_and(|pattern| pattern.as_str().is_empty()) {
                return Err(format!("{key}: an empty expression matches everywhere"));
            }
        }
        if let Some(index) = ignore.iter().position(|pattern| pattern.as_str().is_empty()) {
            return Err(format!("ignore[{index}]: an empty expression leaves nothing out"));
        }
        if !(0.0..1.0).contains(&tolerance) {
            return Err(format!("tolerance: {tolerance} is not a share from 0 to below 1"));
        }
        let rules = Rules { after, until, ignore, ignore_case, ignore_whitespace };
        // One search builds what an expression builds lazily. The runner keeps a picture of the
        // check taken after this, so that no attempt pays for it.
        for pattern in rules.patterns() {
            pattern.find(b"\n");
        }
        Ok(Changed {
            on_change: match on_change {
                OnChange::Warn => Status::Warn,
                OnChange::Fail => Status::Fail,
            },
            baseline,
            rules_digest: digest(&rules, revision),
            rules,
            tolerance,
            any_status,
        })
    }
}

/// Tells one set of rules from another.
fn digest(rules: &Rules, revision: u64) -> [u8; 32] {
    let Rules { after, until, ignore, ignore_case, ignore_whitespace } = rules;
    let mut text = format!("{revision} {ignore_case} {ignore_whitespace}");
    for (key, pattern) in [("after", after), ("until", until)]
        .into_iter()
        .filter_map(|(key, pattern)| pattern.as_ref().map(|pattern| (key, pattern)))
        .chain(ignore.iter().map(|pattern| ("ignore", pattern)))
    {
        // With its length, so that no expression can look like two.
        let _ = write!(text, " {key} {}:{pattern}", pattern.as_str().len());
    }
    Sha256::digest(text).into()
}
