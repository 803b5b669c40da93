//! What the configuration may ask for, and what becomes of it.

use probity_check::schema::each_text;
use probity_check::{JsonSchema, OneOrMany, Pattern, schemars};
use serde::Deserialize;

use crate::selector::Selector;
use crate::watch::{TextRule, Watch};

/// The most assertions: each costs time for every element of a page.
const MAX_WATCHES: usize = 64;

/// An HTML page: its title, which elements are there and how many, their text, mixed content. At least one
/// assertion is needed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct Config {
    /// What the page's title must be.
    title: Option<TextRule>,
    /// Selectors that must each match an element.
    present: OneOrMany<Selector>,
    /// Selectors that must match no element.
    absent: OneOrMany<Selector>,
    /// What the text of an element must be; where several match, of one of them.
    text: Vec<ElementText>,
    /// How many elements must match.
    count: Vec<ElementCount>,
    /// What it is where a page by `https://` loads something by `http://`. Not judged by default.
    mixed_content: Option<Severity>,
}

/// What the text of one of the elements that match must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("minProperties" = 2))]
struct ElementText {
    /// The elements.
    select: Selector,
    /// The whole text, its white space folded.
    equals: Option<String>,
    /// Texts that must all be in it.
    #[serde(default)]
    #[schemars(transform = each_text("minLength", 1))]
    contains: OneOrMany<String>,
    /// Regular expressions that must all match in it.
    #[serde(default)]
    matches: OneOrMany<Pattern>,
}

/// How many elements must match.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("minProperties" = 2))]
struct ElementCount {
    /// The elements.
    select: Selector,
    /// Fewer fail.
    min: Option<u64>,
    /// More fail.
    max: Option<u64>,
    /// The name of a metric that tells how many there are.
    #[schemars(length(min = 1))]
    metric: Option<String>,
}

/// What a finding is.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Severity {
    Warn,
    Fail,
}

/// The check, configured.
#[derive(Debug)]
pub(crate) struct Html {
    pub(crate) watches: Vec<Watch>,
    /// Why each is watched.
    pub(crate) purposes: Vec<Purpose>,
    pub(crate) mixed_content: Option<Severity>,
}

/// Why elements are watched.
#[derive(Debug)]
pub(crate) enum Purpose {
    Present,
    Absent,
    Text,
    Count { min: Option<u64>, max: Option<u64>, metric: Option<String> },
}

impl Html {
    /// Checks the configuration. The error names the key.
    pub(crate) fn from_config(config: Config) -> Result<Self, String> {
        let Config {
            title,
            present: OneOrMany(present),
            absent: OneOrMany(absent),
            text,
            count,
            mixed_content,
        } = config;
        let mut all: Vec<(Watch, Purpose)> = Vec::new();
        if let Some(rule) = title {
            let text = Some(rule.check().map_err(|reason| format!("title: {reason}"))?);
            all.push((Watch { selector: Selector::parse("title")?, text, is_title: true }, Purpose::Text));
        }
        let plain = |selector| Watch { selector, text: None, is_title: false };
        all.extend(present.into_iter().map(|selector| (plain(selector), Purpose::Present)));
        all.extend(absent.into_iter().map(|selector| (plain(selector), Purpose::Absent)));
        for (index, ElementText { select: selector, equals, contains, matches }) in
            text.into_iter().enumerate()
        {
            let rule = TextRule::checked(equals, contains, matches)
                .map_err(|reason| format!("text[{index}]: {reason}"))?;
            all.push((Watch { selector, text: Some(rule), is_title: false }, Purpose::Text));
        }
        for (index, ElementCount { select, min, max, metric }) in count.into_iter().enumerate() {
            if min.is_none() && max.is_none() && metric.is_none() {
                return Err(format!("count[{index}]: nothing to judge: set \"min\", \"max\" or \"metric\""));
            }
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                return Err(format!("count[{index}]: min {min} must not be greater than max {max}"));
            }
            if metric.as_ref().is_some_and(String::is_empty) {
                return Err(format!("count[{index}].metric: must not be empty"));
            }
            all.push((plain(select), Purpose::Count { min, max, metric }));
        }
        if all.is_empty() && mixed_content.is_none() {
            return Err("nothing to judge: set \"title\", \"present\", \"absent\", \"text\", \"count\" or \"mixed_content\"".to_owned());
        }
        if all.len() > MAX_WATCHES {
            return Err(format!("{} assertions are more than {MAX_WATCHES}", all.len()));
        }
        let (watches, purposes) = all.into_iter().unzip();
        Ok(Html { watches, purposes, mixed_content })
    }
}
