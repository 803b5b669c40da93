//! Times of cron expressions, one case a line: expression, time zone, from, to (Unix seconds), parted by
//! tabs, from the standard input. Each is answered with a line: the times after `from` up to `to`, parted by
//! spaces. `tests/bench/cron.py` asks, and compares with another implementation.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark: it prints, and a failure ends it")]

use std::collections::HashMap;
use std::io::{BufWriter, Write as _, stdin, stdout};

use probity::clock::UnixNanos;
use probity::schedule::{ScheduleText, Timing};

#[path = "../support/timing.rs"]
mod timing;

const SECOND: i64 = 1_000_000_000;

fn main() {
    let mut out = BufWriter::new(stdout().lock());
    let mut timings: HashMap<String, Timing> = HashMap::new();
    for line in stdin().lines() {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split('\t').collect();
        let [expression, zone, from, to] = fields[..] else { continue };
        let text = format!("cron = \"{expression}\"\ntimezone = \"{zone}\"\n");
        let timing = timings.entry(text).or_insert_with_key(|text| {
            timing::with_table(text, |table: ScheduleText, document, diagnostics| {
                table.timing(document, diagnostics)
            })
            .unwrap()
        });
        let (mut at, to): (i64, i64) = (from.parse().unwrap(), to.parse().unwrap());
        while let Some(next) = timing.next_fire(UnixNanos(at * SECOND)).filter(|next| next.0 <= to * SECOND) {
            at = next.seconds();
            write!(out, "{at} ").unwrap();
        }
        writeln!(out).unwrap();
    }
    out.flush().unwrap();
}
