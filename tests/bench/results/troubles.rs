//! What goes wrong, where and when: outages, flapping, a region that cannot be reached, hours in which the runner
//! itself has too much to do.

use std::ops::Range;

use probity::model::ErrorKind;

use super::Plan;
use super::chance::Chance;

/// One way to fail.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// There is no whole response.
    Kind(ErrorKind),
    /// There is one that nobody wants.
    Status(u16),
}

/// How outages show.
const OUTAGES: [(f64, Fault); 7] = [
    (0.25, Fault::Kind(ErrorKind::ConnectRefused)),
    (0.20, Fault::Status(503)),
    (0.15, Fault::Kind(ErrorKind::Timeout)),
    (0.12, Fault::Kind(ErrorKind::ConnectTimeout)),
    (0.12, Fault::Status(500)),
    (0.10, Fault::Kind(ErrorKind::DnsNxdomain)),
    (0.06, Fault::Kind(ErrorKind::TlsName)),
];

/// How single probes fail.
const HICCUPS: [(f64, Fault); 6] = [
    (0.30, Fault::Kind(ErrorKind::Timeout)),
    (0.25, Fault::Kind(ErrorKind::Reset)),
    (0.15, Fault::Status(502)),
    (0.15, Fault::Kind(ErrorKind::DnsServfail)),
    (0.10, Fault::Kind(ErrorKind::ConnectionClosed)),
    (0.05, Fault::Kind(ErrorKind::BodyIncomplete)),
];

/// What one site suffers from.
pub(crate) struct Troubles {
    outages: Vec<(Range<i64>, Fault)>,
    flaps: Option<Flaps>,
    /// The probability that a single probe fails.
    hiccups: f64,
    /// Whether its prices are wrong while they are wrong anywhere.
    pub(crate) wrong_prices: bool,
}

/// Up for a while, down for a while, all day.
struct Flaps {
    period: i64,
    down: i64,
    fault: Fault,
}

impl Troubles {
    /// Of one site. Most have hardly any.
    pub(crate) fn of(plan: &Plan, chance: &mut Chance) -> Self {
        let mut outages = Vec::new();
        if chance.happens(0.04) {
            let begin = plan.from + (chance.unit() * plan.micros() as f64) as i64;
            let minutes = chance.log_normal(25.0, 0.9).min(600.0);
            outages.push((begin..begin + (minutes * 6e7) as i64, *chance.weighted(&OUTAGES)));
        }
        let flaps = chance.happens(0.008).then(|| {
            let period = (chance.between(20.0, 90.0) * 6e7) as i64;
            let down = (period as f64 * chance.between(0.15, 0.5)) as i64;
            Flaps { period, down, fault: *chance.weighted(&OUTAGES) }
        });
        let hiccups = chance.log_normal(0.0004, 1.0).min(0.02);
        Self { outages, flaps, hiccups, wrong_prices: chance.happens(0.05) }
    }

    /// What goes wrong with one attempt, if anything.
    pub(crate) fn fault(&self, at: i64, chance: &mut Chance) -> Option<Fault> {
        if let Some((_, fault)) = self.outages.iter().find(|(when, _)| when.contains(&at)) {
            return Some(*fault);
        }
        if let Some(Flaps { period, down, fault }) = self.flaps
            && at.rem_euclid(period) < down
        {
            return Some(fault);
        }
        chance.happens(self.hiccups).then(|| *chance.weighted(&HICCUPS))
    }
}

/// What all suffer from, or many.
pub(crate) struct Weather {
    /// A region's networks are cut.
    pub(crate) cut_off: (&'static str, Range<i64>),
    /// The runner has too much to do.
    pub(crate) overload: Range<i64>,
    /// The feed that the API tells of stands still.
    pub(crate) stale: Range<i64>,
    /// A release of the shop shows wrong prices.
    pub(crate) wrong_prices: Range<i64>,
    /// The team whose servers are slow, and since when.
    pub(crate) slow_team: (&'static str, Range<i64>),
}

impl Weather {
    /// At fixed parts of the plan's hours.
    pub(crate) fn of(plan: &Plan) -> Self {
        let part = |from: f64, minutes: f64| {
            let begin = plan.from + (plan.micros() as f64 * from) as i64;
            begin..begin + (minutes * 6e7) as i64
        };
        Self {
            cut_off: ("ap-south", part(0.61, 40.0)),
            overload: part(0.30, 12.0),
            stale: part(0.42, 150.0),
            wrong_prices: part(0.75, 65.0),
            slow_team: ("search", part(0.80, 120.0)),
        }
    }

    /// How much slower servers are than at their best: most in the evening.
    pub(crate) fn load(at: i64) -> f64 {
        let hour = at.rem_euclid(86_400_000_000) as f64 / 3.6e9;
        1.25 + 0.25 * (std::f64::consts::TAU * (hour - 14.0) / 24.0).sin()
    }
}
