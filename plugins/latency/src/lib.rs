//! Judges how long a phase of the attempt took: longer than `max` fails, longer than `warn` warns.
//! Equal to the limit passes.

use probity_check::{Check, JsonSchema, Length, Manifest, Observation, Phase, Verdict, metric, schemars};
use serde::{Deserialize, Serialize};

/// A phase of the attempt must not take longer than `max`, and should not take longer than `warn`. Equal
/// to the limit passes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("anyOf" = [{ "required": ["max"] }, { "required": ["warn"] }]))]
pub struct Config {
    /// Longer than this fails.
    max: Option<Length>,
    /// Longer than this warns; shorter than `max`.
    warn: Option<Length>,
    /// What is timed.
    phase: TimedPhase,
}

/// The phases, by their names in a pipeline file.
#[derive(Debug, Default, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "phase", inline)]
enum TimedPhase {
    Dns,
    Connect,
    Tls,
    FirstByte,
    Transfer,
    #[default]
    Total,
}

impl From<TimedPhase> for Phase {
    fn from(phase: TimedPhase) -> Phase {
        match phase {
            TimedPhase::Dns => Phase::Dns,
            TimedPhase::Connect => Phase::Connect,
            TimedPhase::Tls => Phase::Tls,
            TimedPhase::FirstByte => Phase::FirstByte,
            TimedPhase::Transfer => Phase::Transfer,
            TimedPhase::Total => Phase::Total,
        }
    }
}

/// The check, configured.
#[derive(Debug)]
pub struct Latency {
    max: Option<Length>,
    warn: Option<Length>,
    phase: Phase,
}

impl Check for Latency {
    const MANIFEST: Manifest = Manifest {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: env!("CARGO_PKG_DESCRIPTION"),
        needs_body: false,
    };
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let Config { max, warn, phase } = config;
        match (max, warn) {
            (None, None) => return Err("nothing to judge: set \"max\", \"warn\" or both".to_owned()),
            (Some(max), Some(warn)) if warn >= max => {
                return Err(format!("warn: {warn} must be shorter than max, which is {max}"));
            }
            _ => {}
        }
        Ok(Latency { max, warn, phase: phase.into() })
    }

    fn run(&self, seen: &dyn Observation) -> Result<Verdict, String> {
        let name = self.phase.name();
        let Some(took) = seen.timing(self.phase) else {
            // A plain or reused connection has no handshake: there is nothing to be slow.
            return match self.phase {
                Phase::Total | Phase::FirstByte => Err(format!("{name} was not measured")),
                _ => Ok(Verdict::pass(format!("{name} did not happen"))),
            };
        };
        metric("latency_seconds", took.as_secs_f64());
        let took = Length(took);
        if let Some(max) = self.max.filter(|max| took > *max) {
            return Ok(Verdict::fail(format!("{name} took {took}, longer than max {max}")));
        }
        if let Some(warn) = self.warn.filter(|warn| took > *warn) {
            return Ok(Verdict::warn(format!("{name} took {took}, longer than warn {warn}")));
        }
        Ok(Verdict::pass(format!("{name} took {took}")))
    }
}

#[cfg(not(feature = "member"))]
probity_check::export!(Latency, schema = "schema.json");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use probity_check::{Status, TestObservation, report};

    use super::*;

    #[test]
    fn cases() {
        probity_check::cases::run::<Latency>(include_str!("../cases.toml")).unwrap();
    }

    #[test]
    fn a_nanosecond_over_the_limit_fails_and_the_metric_is_kept() {
        let limit = Duration::from_millis(800);
        let check = Latency { max: Some(Length(limit)), warn: None, phase: Phase::Total };
        let judge = |took| check.run(&TestObservation::new().timing(Phase::Total, took)).unwrap().status;
        assert_eq!(judge(limit), Status::Pass);
        assert_eq!(judge(limit + Duration::from_nanos(1)), Status::Fail);
        let metrics = report::take().metrics;
        assert_eq!(metrics[0], ("latency_seconds".to_owned(), 0.8));
        assert_eq!(metrics.len(), 2, "{metrics:?}");
    }

    #[test]
    fn every_phase_of_the_kit_has_a_name_here() {
        for phase in Phase::ALL {
            let json = format!(r#"{{"phase":"{}","max":"1s"}}"#, phase.name());
            let config = probity_check::parse_config::<Config>(&json).unwrap();
            assert_eq!(Phase::from(config.phase), phase);
        }
    }
}
