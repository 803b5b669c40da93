//! The tables of a pipeline file that say when targets are due, and when something is wrong on purpose.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::civil_text::{ClockText, DaysText, MomentText};
use super::cron::Cron;
use super::fires::next_inside;
use super::timing::{EVERY_MAX, EVERY_MIN, Pace, Rules, SPREAD_MAX, Timing};
use super::window::{DAY_S, Days, Spans, Window};
use super::zone::Zone;
use crate::config::{Code, Diagnostic, Diagnostics, Document, Duration, Located, config_table};

config_table! {
    /// When targets are due: in an interval, or at the times of a cron expression.
    ///
    /// ```toml
    /// [schedule]
    /// cron = "*/5 8-18 * * MON-FRI"     # every five minutes of a working day
    /// timezone = "Europe/London"
    /// ```
    ///
    /// ```toml
    /// [schedule]
    /// every = "30s"
    /// every_on_failure = "5s"           # look closer while something is wrong
    /// jitter = "2s"
    /// active = [{ days = "mon-fri", from = "08:00", to = "18:00", timezone = "Europe/London" }]
    /// ```
    pub struct ScheduleText, "[schedule]" {
        /// How often each target is probed; at least 100 ms, at most 366 days. Each target keeps a
        /// phase of its own within the interval, so that the load is even. Not together with `cron`. A
        /// target with an interval of its own keeps to that.
        every: Located<Duration> = r#""60s""#,
        /// A cron expression in place of `every`: minute, hour, day of the month, month, day of the week;
        /// with six fields the first one is the second. Lists (`1,15`), ranges (`8-18`), steps (`*/5`),
        /// names (`MON`, `JAN`), `L` (last day of the month, `5L` the last Friday), `15W` (the nearest
        /// weekday), `FRI#2` (the second Friday), `?` as `*`; or `@hourly`, `@daily`, `@weekly`, `@monthly`,
        /// `@yearly`. Where both days are restricted, one of them is enough. When a clock is changed, the
        /// rules of cron(8) count: a fixed time that is skipped runs once right afterwards, one that comes
        /// twice runs once; with `*` in minute or hour it keeps its real pace.
        cron: Option<Located<String>>,
        /// The IANA time zone of `cron`, and of `active` where a window names none, such as
        /// `"Europe/London"`; `"UTC"` where it is left out.
        timezone: Option<Located<String>>,
        /// Targets of one cron time do not start at once: each has a place of its own within this long
        /// after it, but within half of the time until the next. From that place its lateness counts. At
        /// most 1 h; `"0s"` starts them all at once.
        spread: Located<Duration> = r#""10s""#,
        /// How much later than its tick a probe may be due: a length between nothing and this, by the
        /// target and the tick, is added. Ticks themselves do not move. At most `every`; with `cron` at most
        /// half of the time until the next.
        jitter: Located<Duration> = r#""0s""#,
        /// Windows of time in which targets are probed at all; always where there are none. Outside of all
        /// windows nothing is due and nothing counts as missed. A target whose interval is longer than a
        /// window is still probed in it once, if it would have been since the last one.
        active: Vec<Located<WindowText>>,
        /// How often a target is probed while its last probe was `down` or `unknown`, in place of its
        /// own pace; at least 100 ms, at most 366 days. Afterwards it is back on its own ticks.
        every_on_failure: Option<Located<Duration>>,
        /// A probe that could not start this long after it was due is skipped and counted; at least 1 ms, at
        /// most 366 days. Nothing is skipped where it is left out.
        expires: Option<Located<Duration>>,
    }
}

config_table! {
    /// A window of time that comes every week, by the clock of its time zone. A window may go past midnight:
    /// it belongs to the day on which it begins. A begin that the clock skips is the moment after; of an
    /// hour that comes twice all belongs to it.
    pub struct WindowText, "active of [schedule]" {
        /// On which days it begins: `"mon-fri"`, `"sat,sun"`, `["mon", "wed-fri"]`; every day where it is
        /// left out.
        days: Option<DaysText>,
        /// When it begins, such as `"08:00"`; with the day where it is left out.
        from: Option<Located<ClockText>>,
        /// When it ends, such as `"18:00"`, on the next day if that is not after `from`; with the day where it
        /// is left out.
        to: Option<Located<ClockText>>,
        /// Its IANA time zone; that of `[schedule]`, else UTC, where it is left out.
        timezone: Option<Located<String>>,
    }
}

config_table! {
    /// A window in which targets may be wrong on purpose: probes still run, and their rows are marked
    /// `in_maintenance`. It comes every week (`days`, times of day) or once (dates).
    ///
    /// ```toml
    /// [[maintenance]]
    /// from = 2026-12-01T22:00:00Z
    /// to = 2026-12-02T02:00:00Z
    /// reason = "the database moves"
    ///
    /// [[maintenance]]
    /// days = "sun"
    /// from = "22:00"
    /// to = "02:00"
    /// timezone = "Europe/London"
    /// labels = { team = "core" }
    /// ```
    pub struct MaintenanceText, "[[maintenance]]" {
        /// When it begins: a time of day (`"22:00"`), or a date and time (`2026-12-01T22:00:00Z`, or without
        /// an offset beside `timezone`).
        from: Option<Located<MomentText>>,
        /// When it ends: as `from`. A time of day that is not after `from` is one of the next day.
        to: Option<Located<MomentText>>,
        /// On which days it begins, every week: as in `active`; every day where it is left out.
        days: Option<Located<DaysText>>,
        /// The IANA time zone of times without an offset; UTC for times of day where it is left out.
        timezone: Option<Located<String>>,
        /// Only targets of these names; all where it is left out.
        targets: Option<Located<Vec<Located<String>>>>,
        /// Only targets that have all of these labels.
        labels: BTreeMap<String, String>,
        /// What it is for.
        reason: Option<String>,
    }
}

/// Where problems of a file are told, and whether there were any.
pub(super) struct Teller<'a> {
    pub(super) document: &'a Document,
    pub(super) diagnostics: &'a mut Diagnostics,
    pub(super) is_wrong: bool,
}

impl Teller<'_> {
    pub(super) fn refuse<T>(
        &mut self,
        code: Code,
        value: &Located<T>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        let mut problem = Diagnostic::error(code, value.place(self.document), message);
        if let Some(hint) = hint {
            problem = problem.hint(hint);
        }
        self.diagnostics.add(problem);
        self.is_wrong = true;
    }

    fn warn<T>(&mut self, value: &Located<T>, message: &str) {
        let problem = Diagnostic::warning(Code::Suspicious, value.place(self.document), message);
        self.diagnostics.add(problem);
    }

    fn within(&mut self, value: &Located<Duration>, least: Duration, most: Duration, message: &str) {
        if !(least..=most).contains(&value.value) {
            self.refuse(Code::BadValue, value, message, None);
        }
    }

    /// The zone of a name; UTC where the name is wrong, which is told.
    pub(super) fn zone(&mut self, name: &Located<String>) -> Zone {
        Zone::named(&name.value).unwrap_or_else(|hint| {
            let message = format!("there is no time zone \"{}\"", name.value);
            self.refuse(Code::BadValue, name, message, Some(hint));
            Zone::utc()
        })
    }
}

impl ScheduleText {
    /// What the table says, checked; all that is wrong is told.
    pub fn timing(&self, document: &Document, diagnostics: &mut Diagnostics) -> Option<Timing> {
        let mut teller = Teller { document, diagnostics, is_wrong: false };
        self.check_lengths(&mut teller);
        let zone = self.timezone.as_ref().map_or_else(Zone::utc, |name| teller.zone(name));
        let active: Arc<[Window]> =
            self.active.iter().filter_map(|window| window.value.window(&zone, &mut teller)).collect();
        let pace = match &self.cron {
            None => Some(Pace::Every(self.every.value)),
            Some(cron) => self.fires(cron, zone, &active, &mut teller),
        };
        if teller.is_wrong {
            return None;
        }
        let rules = Rules {
            jitter: self.jitter.value,
            every_on_failure: self.every_on_failure.as_ref().map(|every| every.value),
            active,
        };
        Some(Timing { pace: pace?, rules: Arc::new(rules) })
    }

    fn check_lengths(&self, teller: &mut Teller<'_>) {
        let message = "an interval is at least 100ms and at most 366d";
        for every in [Some(&self.every), self.every_on_failure.as_ref()].into_iter().flatten() {
            teller.within(every, EVERY_MIN, EVERY_MAX, message);
        }
        if let Some(expires) = &self.expires {
            let message = "\"expires\" is at least 1ms and at most 366d";
            teller.within(expires, Duration::from_millis(1), EVERY_MAX, message);
        }
        teller.within(&self.spread, Duration::ZERO, SPREAD_MAX, "\"spread\" is at most 1h");
        match &self.cron {
            None if self.jitter.value > self.every.value => {
                let hint = "a probe would be due after the next one".to_owned();
                let message = "\"jitter\" is longer than the interval";
                teller.refuse(Code::BadValue, &self.jitter, message, Some(hint));
            }
            Some(cron) if self.every.span.is_some() => {
                let message = "\"cron\" and \"every\" exclude each other";
                let hint = "keep the one that is meant".to_owned();
                teller.refuse(Code::Conflict, cron, message, Some(hint));
            }
            _ => {}
        }
        if self.cron.is_none() {
            if self.spread.span.is_some() {
                teller.warn(&self.spread, "\"spread\" is for \"cron\" only: an interval spreads by itself");
            }
            if let Some(timezone) = self.timezone.as_ref().filter(|_| self.active.is_empty()) {
                teller.warn(timezone, "\"timezone\" is for \"cron\" and \"active\" only");
            }
        }
    }

    fn fires(
        &self,
        text: &Located<String>,
        zone: Zone,
        active: &Arc<[Window]>,
        teller: &mut Teller<'_>,
    ) -> Option<Pace> {
        let cron = match Cron::read(&text.value, zone) {
            Ok(cron) => cron,
            Err(problem) => {
                teller.refuse(Code::BadValue, text, problem.message, problem.hint);
                return None;
            }
        };
        // Any day will do: what never comes together does so in no year.
        let unix_ns = 1_704_067_200_000_000_000;
        if next_inside(&cron, &mut Spans::new(active), unix_ns).is_none() {
            let message = "the expression never fires inside of the \"active\" windows";
            let hint = "widen the windows, or mind that \"timezone\" may differ".to_owned();
            teller.refuse(Code::BadValue, text, message, Some(hint));
        }
        Some(Pace::Cron { cron: Arc::new(cron), spread: self.spread.value })
    }
}

impl WindowText {
    fn window(&self, zone: &Zone, teller: &mut Teller<'_>) -> Option<Window> {
        let zone = self.timezone.as_ref().map_or_else(|| zone.clone(), |name| teller.zone(name));
        let days = self.days.map_or(Days::ALL, |days| days.0);
        let clock = |text: &Option<Located<ClockText>>| {
            text.as_ref().map(|text| Located { value: text.value.0, span: text.span.clone() })
        };
        weekly(days, clock(&self.from).as_ref(), clock(&self.to).as_ref(), zone, teller)
    }
}

/// A window by its days and hours.
pub(super) fn weekly(
    days: Days,
    from: Option<&Located<i64>>,
    to: Option<&Located<i64>>,
    zone: Zone,
    teller: &mut Teller<'_>,
) -> Option<Window> {
    let from_s = from.map_or(0, |from| from.value);
    let mut to_s = to.map_or(DAY_S, |to| to.value);
    if let Some(from) = from.filter(|from| from.value >= DAY_S) {
        let hint = "write \"00:00\", and the day after".to_owned();
        teller.refuse(Code::BadValue, from, "a window does not begin at 24:00", Some(hint));
        return None;
    }
    if let Some(to) = to.filter(|to| to.value == from_s) {
        let hint = "for whole days leave \"from\" and \"to\" out".to_owned();
        teller.refuse(Code::BadValue, to, "the window ends when it begins", Some(hint));
        return None;
    }
    if to_s < from_s {
        to_s += DAY_S;
    }
    Some(Window { days, from_s, to_s, zone })
}
