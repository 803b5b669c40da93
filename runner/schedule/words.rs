//! A schedule in words, for people.

use std::fmt;

use super::timing::{Pace, Timing};
use super::window::{DAY_S, Days, Window};
use crate::config::format_duration;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// As in `every 30s, jitter 2s, active mon-fri 08:00 to 18:00 Europe/London`.
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pace {
            Pace::Every(every) => write!(f, "every {}", format_duration(*every))?,
            Pace::Cron { cron, spread } => {
                let (expression, zone) = cron.words();
                write!(f, "cron \"{expression}\" {zone}")?;
                if !spread.is_zero() {
                    write!(f, ", spread over {}", format_duration(*spread))?;
                }
            }
        }
        if !self.rules.jitter.is_zero() {
            write!(f, ", jitter {}", format_duration(self.rules.jitter))?;
        }
        if let Some(every) = self.rules.every_on_failure {
            write!(f, ", every {} while it fails", format_duration(every))?;
        }
        for (index, window) in self.rules.active.iter().enumerate() {
            f.write_str(if index == 0 { ", active " } else { " and " })?;
            write_window(window, f)?;
        }
        Ok(())
    }
}

fn write_window(window: &Window, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write_days(window.days, f)?;
    if (window.from_s, window.to_s) != (0, DAY_S) {
        // An end on the next day is a time of day as well; midnight is the end of this one.
        let to_s = if window.to_s > DAY_S { window.to_s - DAY_S } else { window.to_s };
        write!(f, " {} to {}", clock(window.from_s), clock(to_s))?;
    }
    write!(f, " {}", window.zone.name)
}

/// Three days or more in a row are a range.
fn write_days(days: Days, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if days == Days::ALL {
        return f.write_str("every day");
    }
    let is_in = |day: usize| day < 7 && days.0 & (1 << day) != 0;
    let (mut day, mut separator) = (0, "");
    while day < 7 {
        let length = (day..7).take_while(|day| is_in(*day)).count();
        match length {
            0 => {}
            1 => write!(f, "{separator}{}", DAYS[day])?,
            2 => write!(f, "{separator}{},{}", DAYS[day], DAYS[day + 1])?,
            _ => write!(f, "{separator}{}-{}", DAYS[day], DAYS[day + length - 1])?,
        }
        if length > 0 {
            separator = ",";
        }
        day += length.max(1);
    }
    Ok(())
}

fn clock(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if rest == 0 { format!("{hours:02}:{minutes:02}") } else { format!("{hours:02}:{minutes:02}:{rest:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shown(Days);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_days(self.0, f)
        }
    }

    #[test]
    fn days_in_words() {
        let cases = [
            (0b111_1111, "every day"),
            (0b001_1111, "mon-fri"),
            (0b110_0000, "sat,sun"),
            (0b110_0001, "mon,sat,sun"),
            (0b101_0111, "mon-wed,fri,sun"),
            (0b000_0010, "tue"),
        ];
        for (days, expected) in cases {
            assert_eq!(Shown(Days(days)).to_string(), expected);
        }
        assert_eq!(
            (clock(28_800), clock(86_400), clock(61)),
            ("08:00".into(), "24:00".into(), "00:01:01".into())
        );
    }
}
