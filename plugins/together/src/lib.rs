//! Several bundled checks in one sandbox, called one after the other. The runner's own: no pipeline file names it.

use std::fmt;

use probity_check::{Check, JsonSchema, Manifest, Observation, Verdict, parse_config, schemars};

#[path = "../../body/src/lib.rs"]
pub mod body;
#[path = "../../header/src/lib.rs"]
pub mod header;
#[path = "../../latency/src/lib.rs"]
pub mod latency;
#[path = "../../status/src/lib.rs"]
pub mod status;

/// The fact that tells which check a call is for, by its number from 0.
const MEMBER: &str = "probity.member";

/// The checks, in the order of their numbers.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The checks.
    checks: Vec<Part>,
}

/// One check.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Part {
    /// Its name.
    plugin: String,
    /// Its configuration, as JSON text: each reads its own.
    config: String,
}

type Judge = Box<dyn Fn(&dyn Observation) -> Result<Verdict, String>>;

/// The checks, configured.
pub struct Together(Vec<Judge>);

impl fmt::Debug for Together {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Together").field(&self.0.len()).finish()
    }
}

impl Check for Together {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: true,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let judge = |Part { plugin, config }: Part| match plugin.as_str() {
            "status" => configured::<status::Status>(&config),
            "latency" => configured::<latency::Latency>(&config),
            "header" => configured::<header::Header>(&config),
            "body" => configured::<body::Body>(&config),
            other => Err(format!("\"{other}\" is no check that can be called together with others")),
        };
        config.checks.into_iter().map(judge).collect::<Result<_, _>>().map(Together)
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        let member = seen.fact(MEMBER).ok_or("nobody said which check is meant")?;
        let judge = member.parse().ok().and_then(|member: usize| self.0.get(member));
        judge.ok_or("there is no check of this number")?(seen)
    }
}

fn configured<Part: Check>(config: &str) -> Result<Judge, String> {
    let check = Part::configure(parse_config(config)?)?;
    Ok(Box::new(move |seen| check.run(seen)))
}

probity_check::export!(Together);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use probity_check::{Status, TestObservation};

    use super::*;

    fn part(plugin: &str, config: &str) -> Part {
        Part { plugin: plugin.to_owned(), config: config.to_owned() }
    }

    #[test]
    fn each_call_is_for_one_of_them() {
        let checks = vec![part("status", "{}"), part("status", r#"{"expect": 404}"#)];
        let together = Together::configure(Config { checks }).unwrap();
        let judged = |member: &str| together.run(&TestObservation::new().status(404).fact(MEMBER, member));
        assert_eq!(judged("0").unwrap().status, Status::Fail);
        assert_eq!(judged("1").unwrap().status, Status::Pass);
        assert!(judged("2").is_err());
        assert!(together.run(&TestObservation::new().status(404)).is_err());
    }

    #[test]
    fn a_configuration_is_refused_in_the_check_s_own_words() {
        let refused = |plugin: &str, config: &str| {
            Together::configure(Config { checks: vec![part(plugin, config)] }).unwrap_err()
        };
        assert_eq!(
            refused("status", r#"{"expct": 404}"#),
            configured::<status::Status>(r#"{"expct": 404}"#).err().unwrap()
        );
        assert!(refused("cel", "{}").contains("no check"));
    }
}
