//! The page must have a text: a check to begin with.

use probity_check::{Check, JsonSchema, Manifest, Observation, Verdict, metric, schemars};

/// What stands under `config` in a pipeline file. Its comments become the descriptions of its schema.
#[derive(serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The text that the page must have.
    text: String,
}

/// The check, configured.
struct Text {
    text: String,
}

impl Check for Text {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: true,
    };
    type Config = Config;

    /// Called once for a configuration. The error is shown to the person who wrote it.
    fn configure(Config { text }: Config) -> Result<Self, String> {
        if text.is_empty() {
            return Err("text: an empty text is in every page".to_owned());
        }
        Ok(Text { text })
    }

    /// Called for every response. The error means: could not judge.
    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        let Text { text } = self;
        let page = seen.body_text();
        let occurrences = page.matches(text.as_str()).count();
        if occurrences == 0 && seen.body_truncated() {
            let kept = seen.body_len();
            return Err(format!(
                "\"{text}\" is not in the first {kept} bytes, where the page was cut: raise body_limit"
            ));
        }
        metric("occurrences", occurrences as f64);
        if occurrences == 0 {
            let begin: String = page.chars().take(60).collect();
            let length = seen.body_len();
            return Ok(Verdict::fail(format!(
                "\"{text}\" is not in the {length} bytes of the page, which begins \"{begin}\""
            )));
        }
        Ok(Verdict::pass(format!("\"{text}\" is there")))
    }
}

probity_check::export!(Text);

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        probity_check::cases::run::<super::Text>(include_str!("../cases.toml")).unwrap();
    }
}
