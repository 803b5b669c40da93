//! What the configuration may ask for, and what becomes of it.

use std::fmt::Write as _;

use probity_check::{JsonSchema, OneOrMany, Pattern, Status, schemars};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::content::Rules;

/// Tells when the body, or a part of it, is not what it was before. Works without any key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// What a change is.
    on_change: OnChange,
    /// What the content is compared with.
    baseline: Baseline,
    /// Only what stands behind the first match of this expression is compared.
    after: Option<Pattern>,
    /// Only what stands before the first match of this expression (behind that of `after`) is compared.
    until: Option<Pattern>,
    /// Expressions whose matches are left out, in their order.
    ignore: OneOrMany<Pattern>,
    /// ASCII letters are the same in both cases.
    ignore_case: bool,
    /// Every run of white space is the same as one space; none matters at the ends.
    ignore_whitespace: bool,
    /// A change of at most this share of the lines passes: `0.05` is one line of twenty.
    #[schemars(extend("minimum" = 0, "exclusiveMaximum" = 1))]
    tolerance: f64,
    /// Another number forgets the baseline: how a change is accepted where `baseline` is `"first"`.
    revision: u64,
    /// Compares responses of any status; otherwise only those of 2xx.
    any_status: bool,
}

/// What a change is.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum OnChange {
    Warn,
    Fail,
}

/// What the content is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Baseline {
    /// What was seen last: a change is told once.
    Last,
    /// What was seen first: a change is told until it is back.
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
