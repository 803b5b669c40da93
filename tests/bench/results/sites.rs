//! The websites that are probed: who they are, where they stand, how fast they are, what judges them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::HeaderName;
use probity::model::{Labels, Severity, Target};

use super::Plan;
use super::chance::Chance;
use super::troubles::Troubles;

/// Where a site stands. The lengths are medians in milliseconds, as seen from the runner.
pub(crate) struct Region {
    pub(crate) name: &'static str,
    pub(crate) dns: f64,
    pub(crate) round_trip: f64,
    pub(crate) tls: f64,
}

/// Two of them are slow in one phase: resolving in ap-south, handshakes in sa-east.
pub(crate) const REGIONS: [(f64, Region); 6] = [
    (0.34, Region { name: "eu-west", dns: 3.0, round_trip: 12.0, tls: 18.0 }),
    (0.12, Region { name: "eu-north", dns: 4.0, round_trip: 27.0, tls: 36.0 }),
    (0.24, Region { name: "us-east", dns: 4.0, round_trip: 84.0, tls: 105.0 }),
    (0.12, Region { name: "us-west", dns: 5.0, round_trip: 138.0, tls: 160.0 }),
    (0.12, Region { name: "ap-south", dns: 310.0, round_trip: 128.0, tls: 150.0 }),
    (0.06, Region { name: "sa-east", dns: 6.0, round_trip: 190.0, tls: 540.0 }),
];

const TEAMS: [&str; 5] = ["checkout", "search", "content", "platform", "growth"];
const TIERS: [(f64, &str); 3] = [(0.2, "gold"), (0.5, "silver"), (0.3, "bronze")];
const ISSUERS: [&str; 3] =
    ["C=US, O=Let's Encrypt, CN=R11", "C=US, O=Let's Encrypt, CN=E6", "O=Example Trust, CN=G3"];
const WORDS: [&str; 12] = [
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "indigo", "juniper", "kestrel",
    "lagoon",
];

/// In seconds.
const DAY: i64 = 86_400;

/// What a check looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judge {
    Status,
    Latency,
    Price,
    Fresh,
    Title,
    Text,
}

/// A check of a pipeline.
pub(crate) struct Check {
    pub(crate) name: Arc<str>,
    pub(crate) plugin: Arc<str>,
    pub(crate) judge: Judge,
    pub(crate) severity: Severity,
}

/// A pipeline: its sites are probed alike.
pub(crate) struct Pipeline {
    pub(crate) name: Arc<str>,
    pub(crate) generation: Arc<str>,
    /// How often, as a multiple of the most frequent one's interval.
    pub(crate) pace: f64,
    /// Attempts of a probe at most.
    pub(crate) attempts: u32,
    pub(crate) checks: Vec<Check>,
    pub(crate) kept_headers: Arc<[HeaderName]>,
    /// Hours of the day in which its sites are in maintenance.
    pub(crate) maintenance: std::ops::Range<i64>,
}

/// The certificate of a site, or of several.
pub(crate) struct Certificate {
    pub(crate) sha256: String,
    pub(crate) subject: String,
    pub(crate) issuer: &'static str,
    pub(crate) names: String,
    /// Seconds since the Unix epoch.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) chain_not_after: i64,
}

/// One site.
pub(crate) struct Site {
    pub(crate) target: Arc<Target>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) region: &'static Region,
    /// Microseconds between its probes, and from the begin to the first one.
    pub(crate) every: i64,
    pub(crate) phase: i64,
    pub(crate) address: SocketAddr,
    pub(crate) addresses: u32,
    /// The median of what the server itself takes for the first byte, milliseconds.
    pub(crate) thinks: f64,
    /// The median of its page, bytes after decoding.
    pub(crate) page: f64,
    /// Whether each answer differs from the one before.
    pub(crate) lively: bool,
    pub(crate) http2: bool,
    pub(crate) certificate: Option<Arc<Certificate>>,
    pub(crate) redirects: u32,
    pub(crate) price: f64,
    pub(crate) troubles: Troubles,
}

/// All sites of a plan.
pub(crate) fn sites(plan: &Plan) -> Vec<Site> {
    let pipelines = pipelines();
    let chosen: Vec<Arc<Pipeline>> = (0..plan.targets)
        .map(|number| Arc::clone(Chance::of(plan.seed, 1, number).weighted(&pipelines)))
        .collect();
    // So many probes are wanted in all; each pipeline has its share of them.
    let turns: f64 = chosen.iter().map(|pipeline| 1.0 / pipeline.pace).sum();
    let shortest = plan.micros() as f64 * turns / plan.probes as f64;
    let mut shared = Vec::new();
    let made = chosen.into_iter().enumerate().map(|(number, pipeline)| {
        let every = (shortest * pipeline.pace) as i64;
        site(plan, number as u64, pipeline, every, &mut shared)
    });
    made.collect()
}

fn pipelines() -> [(f64, Arc<Pipeline>); 4] {
    let check = |name: &str, plugin: &str, judge, severity| Check {
        name: name.into(),
        plugin: plugin.into(),
        judge,
        severity,
    };
    let status = || check("status", "status", Judge::Status, Severity::Fail);
    let latency = || check("latency", "latency", Judge::Latency, Severity::Warn);
    let price = check("price", "./checks/price.wasm", Judge::Price, Severity::Fail);
    let fresh = check("fresh", "json", Judge::Fresh, Severity::Fail);
    let title = check("title", "html", Judge::Title, Severity::Warn);
    let text = check("text", "body", Judge::Text, Severity::Fail);
    let pipeline = |name: &str, pace, attempts, checks, headers: &[&'static str]| Pipeline {
        name: name.into(),
        generation: format!("{:016x}", Chance::of(name.len() as u64, 2, 0).bits()).into(),
        pace,
        attempts,
        checks,
        kept_headers: headers.iter().map(|name| HeaderName::from_static(name)).collect(),
        maintenance: 0..0,
    };
    let partners = pipeline("partners", 4.0, 1, vec![status(), text], &[]);
    [
        (0.20, pipeline("shop", 1.0, 2, vec![status(), latency(), price], &["server", "x-cache"]).into()),
        (0.35, pipeline("api", 2.0, 2, vec![status(), latency(), fresh], &["server"]).into()),
        (0.35, pipeline("pages", 4.0, 1, vec![status(), title], &[]).into()),
        (0.10, Pipeline { maintenance: 2..3, ..partners }.into()),
    ]
}

fn site(
    plan: &Plan,
    number: u64,
    pipeline: Arc<Pipeline>,
    every: i64,
    shared: &mut Vec<Arc<Certificate>>,
) -> Site {
    let mut chance = Chance::of(plan.seed, 3, number);
    let region = chance.weighted(&REGIONS);
    let host = format!("{}-{number:05}.{}.example", chance.pick(&WORDS), region.name);
    let secure = chance.happens(0.95);
    let path = match &*pipeline.name {
        "shop" => format!("/product/{}", 1_000 + number),
        "api" => "/v1/health".to_owned(),
        _ => "/".to_owned(),
    };
    let scheme = if secure { "https" } else { "http" };
    let labels: Labels =
        [("region", region.name), ("team", *chance.pick(&TEAMS)), ("tier", *chance.weighted(&TIERS))]
            .map(|(key, value)| (key.into(), value.into()))
            .into();
    let target = Target {
        name: host.as_str().into(),
        url: format!("{scheme}://{host}{path}").into(),
        labels,
        every: None,
    };
    let port = if secure { 443 } else { 80 };
    // 198.18.0.0/15 is for benchmarks (RFC 2544).
    let address = Ipv4Addr::from_bits(0xc612_0000 | (number as u32 % 0x1_ffff));
    let certificate = secure.then(|| certificate(plan, number, &host, &mut chance, shared));
    Site {
        target: target.into(),
        phase: (chance.unit() * every as f64) as i64,
        every,
        address: SocketAddr::new(IpAddr::V4(address), port),
        addresses: 1 + chance.below(4) as u32,
        thinks: chance.log_normal(60.0, 0.7),
        page: chance.log_normal(18_000.0, 1.0),
        lively: chance.happens(0.4),
        http2: secure && chance.happens(0.6),
        certificate,
        redirects: if chance.happens(0.08) { 1 + chance.below(2) as u32 } else { 0 },
        price: chance.log_normal(25.0, 0.8),
        troubles: Troubles::of(plan, &mut chance),
        region,
        pipeline,
    }
}

/// One in three sites has the certificate of another one, as behind a load balancer.
fn certificate(
    plan: &Plan,
    number: u64,
    host: &str,
    chance: &mut Chance,
    shared: &mut Vec<Arc<Certificate>>,
) -> Arc<Certificate> {
    if !shared.is_empty() && chance.happens(0.33) {
        return Arc::clone(chance.pick(shared));
    }
    let begin = plan.from / 1_000_000;
    // Most are renewed a month before their end; some are forgotten, and a few of those end in these hours.
    let left = match chance.unit() {
        unit if unit < 0.004 => chance.below((plan.micros() / 1_000_000) as u64) as i64,
        unit if unit < 0.03 => chance.below(14 * DAY as u64) as i64,
        _ => 30 * DAY + chance.below(60 * DAY as u64) as i64,
    };
    let not_after = begin + left;
    let mut sha256 = Chance::of(plan.seed, 4, number);
    let made = Arc::new(Certificate {
        sha256: format!("{:032x}{:032x}", sha256.wide(), sha256.wide()),
        subject: format!("CN={host}"),
        issuer: chance.pick::<&str>(&ISSUERS),
        names: format!("{host},www.{host}"),
        not_before: not_after - 90 * DAY,
        not_after,
        chain_not_after: not_after.min(begin + 400 * DAY),
    });
    shared.push(Arc::clone(&made));
    made
}
