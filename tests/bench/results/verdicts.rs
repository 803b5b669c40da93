//! What the checks say of an exchange.

use std::sync::Arc;
use std::time::Duration;

use probity::model::{CheckStatus, Exchange, Verdict};

use super::chance::Chance;
use super::sites::{Check, Judge, Site};
use super::troubles::Weather;

/// How old the feed of the API may be, and how old at the very most, in seconds.
const STALE: (f64, f64) = (900.0, 3_600.0);
/// How long a response may take, in seconds.
const SLOW: f64 = 1.5;

/// A verdict of each check; none where there is no whole response.
pub(crate) fn verdicts(
    site: &Site,
    exchange: &Exchange,
    at: i64,
    weather: &Weather,
    chance: &mut Chance,
) -> Vec<Verdict> {
    if exchange.failure.is_some() {
        return Vec::new();
    }
    let checks = site.pipeline.checks.iter();
    checks.map(|check| verdict(check, site, exchange, at, weather, chance)).collect()
}

fn verdict(
    check: &Check,
    site: &Site,
    exchange: &Exchange,
    at: i64,
    weather: &Weather,
    chance: &mut Chance,
) -> Verdict {
    let status = exchange.head.as_ref().map_or(0, |head| head.status);
    let said = match check.judge {
        Judge::Status => said_of_status(status),
        Judge::Latency => said_of_latency(exchange),
        Judge::Price => said_of_price(site, status, weather.wrong_prices.contains(&at), chance),
        Judge::Fresh => said_of_age(site, status, at, weather),
        Judge::Title => said_of_title(site, status),
        Judge::Text => said_of_text(status),
    };
    let Said { status, message, metrics, annotations } = said;
    let median = match check.judge {
        Judge::Status => 11.0,
        Judge::Latency => 12.0,
        Judge::Fresh | Judge::Text => 38.0,
        Judge::Price => 74.0,
        Judge::Title => 160.0,
    };
    Verdict {
        check_name: Arc::clone(&check.name),
        plugin: Arc::clone(&check.plugin),
        status,
        severity: check.severity,
        message,
        duration: Duration::from_nanos((chance.log_normal(median, 0.35) * 1e3) as u64),
        metrics,
        annotations,
    }
}

/// What a check says.
struct Said {
    status: CheckStatus,
    message: String,
    metrics: Vec<(String, f64)>,
    annotations: Vec<(String, String)>,
}

impl Said {
    fn new(status: CheckStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), metrics: Vec::new(), annotations: Vec::new() }
    }

    fn metric(mut self, name: &str, value: f64) -> Self {
        self.metrics.push((name.to_owned(), value));
        self
    }
}

fn said_of_status(status: u16) -> Said {
    match status {
        200 => Said::new(CheckStatus::Pass, "status 200"),
        _ => Said::new(CheckStatus::Fail, format!("status {status}, wanted 200 to 299")),
    }
}

fn said_of_latency(exchange: &Exchange) -> Said {
    let took = exchange.phases.total.unwrap_or_default().as_secs_f64();
    let said = if took > SLOW {
        Said::new(CheckStatus::Fail, format!("took {took:.3} s, more than {SLOW} s"))
    } else {
        Said::new(CheckStatus::Pass, "fast enough")
    };
    said.metric("latency_seconds", took)
}

fn said_of_price(site: &Site, status: u16, wrong: bool, chance: &mut Chance) -> Said {
    if status != 200 {
        return Said::new(CheckStatus::Fail, "there is no price on the page");
    }
    if chance.happens(0.0002) {
        return Said::new(CheckStatus::Error, "the check used more CPU time than 50 ms");
    }
    if wrong && site.troubles.wrong_prices {
        let excerpt = "<span class=\"price\" data-currency=\"GBP\">0.00</span> ".repeat(12);
        let message = format!("price 0.00 GBP, wanted more than 0; the page around it: {excerpt}");
        return Said::new(CheckStatus::Fail, message).metric("price_gbp", 0.0);
    }
    let price = (site.price * 100.0).round() / 100.0;
    Said::new(CheckStatus::Pass, format!("price {price:.2} GBP"))
        .metric("price_gbp", price)
        .metric("stock_items", chance.below(60) as f64)
}

/// The feed is written anew every five minutes, but for the hours in which it stands still.
fn said_of_age(site: &Site, status: u16, at: i64, weather: &Weather) -> Said {
    if status != 200 {
        return Said::new(CheckStatus::Fail, "the body is not JSON");
    }
    let stale = weather.stale.contains(&at) && site.target.label("tier") != Some("bronze");
    let since = if stale { at - weather.stale.start } else { (at + site.phase).rem_euclid(300_000_000) };
    let age = (since / 1_000) as f64 / 1e3;
    let said = if age > STALE.1 {
        Said::new(CheckStatus::Fail, format!("age {age:.0} s, wanted at most {} s", STALE.1))
    } else if age > STALE.0 {
        Said::new(CheckStatus::Warn, format!("age {age:.0} s, wanted at most {} s", STALE.0))
    } else {
        Said::new(CheckStatus::Pass, "fresh")
    };
    said.metric("age_seconds", age)
}

fn said_of_title(site: &Site, status: u16) -> Said {
    let title = if status == 200 { site.target.name.to_string() } else { format!("Error {status}") };
    let mut said = match status {
        200 => Said::new(CheckStatus::Pass, "title found"),
        _ => Said::new(CheckStatus::Fail, format!("title \"{title}\", wanted one without \"Error\"")),
    };
    said.annotations.push(("title".to_owned(), title));
    said
}

fn said_of_text(status: u16) -> Said {
    match status {
        200 => Said::new(CheckStatus::Pass, "the text is there"),
        _ => Said::new(CheckStatus::Fail, "the text \"Welcome\" is not on the page"),
    }
}
