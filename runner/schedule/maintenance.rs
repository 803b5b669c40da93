//! Windows in which targets may be wrong on purpose.

use std::sync::{Arc, Mutex, PoisonError};

use super::civil_text::MomentText;
use super::config::{MaintenanceText, Teller, weekly};
use super::window::{Days, Window};
use super::zone::Zone;
use crate::clock::UnixNanos;
use crate::config::{Code, Diagnostics, Document, Located};
use crate::model::Target;

/// The `[[maintenance]]` windows of a pipeline. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Maintenance(Arc<[Entry]>);

/// One of them.
#[derive(Debug)]
struct Entry {
    when: When,
    targets: Option<Vec<String>>,
    labels: Vec<(String, String)>,
    reason: Option<String>,
}

#[derive(Debug)]
enum When {
    /// From, up to, not including, to, in Unix nanoseconds.
    Once {
        from: i64,
        to: i64,
    },
    Weekly(Weekly),
}

/// A window that comes every week, with what is known about now: calendars are slow, and a probe asks
/// each time.
#[derive(Debug)]
struct Weekly {
    window: Window,
    known: Mutex<Known>,
}

/// Whether the window is open, from a moment up to, not including, another, in Unix seconds.
#[derive(Debug, Clone, Copy)]
struct Known {
    from: i64,
    to: i64,
    is_open: bool,
}

impl Maintenance {
    /// The windows of a file, checked; all that is wrong is told.
    pub fn of(
        texts: &[Located<MaintenanceText>],
        document: &Document,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let mut teller = Teller { document, diagnostics, is_wrong: false };
        let entries: Vec<_> = texts.iter().filter_map(|text| entry(text, &mut teller)).collect();
        (!teller.is_wrong).then(|| Self(entries.into()))
    }

    /// Whether a target is in maintenance at a moment.
    pub fn covers(&self, wall: UnixNanos, target: &Target) -> bool {
        self.open(wall, target).is_some()
    }

    /// What the maintenance that a target is in at a moment is for, where its window says so.
    pub fn reason(&self, wall: UnixNanos, target: &Target) -> Option<&str> {
        self.open(wall, target)?.reason.as_deref()
    }

    fn open(&self, wall: UnixNanos, target: &Target) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is_for(target) && entry.when.is_open(wall))
    }
}

impl Entry {
    fn is_for(&self, target: &Target) -> bool {
        let is_named =
            self.targets.as_ref().is_none_or(|names| names.iter().any(|name| *name == *target.name));
        is_named && self.labels.iter().all(|(name, value)| target.label(name) == Some(value))
    }
}

impl When {
    fn is_open(&self, wall: UnixNanos) -> bool {
        match self {
            Self::Once { from, to } => (*from..*to).contains(&wall.0),
            Self::Weekly(weekly) => weekly.is_open(wall.seconds()),
        }
    }
}

impl Weekly {
    fn is_open(&self, unix_s: i64) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !(known.from..known.to).contains(&unix_s) {
            let (is_open, to) = self.window.state(unix_s);
            *known = Known { from: unix_s, to, is_open };
        }
        known.is_open
    }
}

fn entry(text: &Located<MaintenanceText>, teller: &mut Teller<'_>) -> Option<Entry> {
    let MaintenanceText { from, to, days, timezone, targets, labels, reason } = &text.value;
    let zone = timezone.as_ref().map(|name| teller.zone(name));
    let is_clock = |moment: &Option<Located<MomentText>>| {
        moment.as_ref().is_none_or(|moment| matches!(moment.value, MomentText::Clock(_)))
    };
    let when = match (from, to) {
        (None, None) if days.is_none() => {
            let hint = "give \"from\" and \"to\", or \"days\"".to_owned();
            teller.refuse(Code::MissingKey, text, "the window says no time", Some(hint));
            None
        }
        _ if is_clock(from) && is_clock(to) => {
            let clock = |moment: &Option<Located<MomentText>>| match moment {
                Some(Located { value: MomentText::Clock(clock), span }) => {
                    Some(Located { value: clock.0, span: span.clone() })
                }
                _ => None,
            };
            let days = days.as_ref().map_or(Days::ALL, |days| days.value.0);
            let zone = zone.unwrap_or_else(Zone::utc);
            let window = weekly(days, clock(from).as_ref(), clock(to).as_ref(), zone, teller)?;
            let known = Mutex::new(Known { from: 0, to: 0, is_open: false });
            Some(When::Weekly(Weekly { window, known }))
        }
        (Some(from), Some(to)) => {
            if let Some(days) = days {
                let hint = "leave \"days\" out, or write times of day".to_owned();
                teller.refuse(Code::Conflict, days, "\"days\" and dates exclude each other", Some(hint));
            }
            once(from, to, zone.as_ref(), teller)
        }
        _ => {
            let hint = "a window of dates has a \"from\" and a \"to\"".to_owned();
            teller.refuse(Code::MissingKey, text, "the window has one end only", Some(hint));
            None
        }
    };
    if let Some(targets) = targets.as_ref().filter(|targets| targets.value.is_empty()) {
        let hint = "leave it out if all are meant".to_owned();
        teller.refuse(Code::BadValue, targets, "\"targets\" names no target", Some(hint));
    }
    Some(Entry {
        when: when?,
        targets: targets.as_ref().map(|names| names.value.iter().map(|name| name.value.clone()).collect()),
        labels: labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        reason: reason.clone(),
    })
}

fn once(
    from: &Located<MomentText>,
    to: &Located<MomentText>,
    zone: Option<&Zone>,
    teller: &mut Teller<'_>,
) -> Option<When> {
    let (begin, end) = (moment(from, false, zone, teller), moment(to, true, zone, teller));
    let (begin, end) = (begin?, end?);
    if begin >= end {
        teller.refuse(Code::BadValue, to, "the window ends before it begins", None);
        return None;
    }
    Some(When::Once { from: begin, to: end })
}

/// A moment in Unix nanoseconds.
fn moment(
    text: &Located<MomentText>,
    late: bool,
    zone: Option<&Zone>,
    teller: &mut Teller<'_>,
) -> Option<i64> {
    let seconds = match (text.value, zone) {
        (MomentText::Exact(moment), _) => Some(moment.as_second()),
        (MomentText::Local(civil), Some(zone)) => zone.moment(civil, late),
        (MomentText::Local(_), None) => {
            let hint = "add timezone = \"Europe/London\", or an offset: 2026-12-01T22:00:00Z".to_owned();
            teller.refuse(Code::MissingKey, text, "a time without an offset needs a time zone", Some(hint));
            return None;
        }
        (MomentText::Clock(_), _) => {
            let hint = "write both ends as dates, or both as times of day".to_owned();
            let message = "a time of day and a date do not make a window";
            teller.refuse(Code::Conflict, text, message, Some(hint));
            return None;
        }
    };
    let nanos = seconds.and_then(|seconds| seconds.checked_mul(1_000_000_000));
    if nanos.is_none() {
        teller.refuse(Code::BadValue, text, "the date is out of range", None);
    }
    nanos
}
