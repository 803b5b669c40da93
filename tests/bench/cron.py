#!/usr/bin/env python3
"""Compares the times of cron expressions with those of cronsim, which follows Debian's cron (Vixie's).

All time zones that differ between 1990 and 2040, three days around every change of their clocks, every
expression of cron_expressions.txt. Where both differ, and the expression has a star in minute or hour or the
clock moved by more than three hours, the clock itself decides, minute by minute:

    pip install cronsim
    cargo test --bench cron --no-run     # or cargo bench; then hand the printed path over
    python3 tests/bench/cron.py --binary target/debug/deps/cron-…

--every N takes only every Nth change of a zone; --golden FILE writes a sample of what both agree on, which
`cargo test` reads (tests/inside/cron_sample.txt). Exit code 1 if there is a difference that cron(8) does
not explain.
"""

import argparse
import collections
import os
import subprocess
import sys
import threading
import zoneinfo
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cronsim import CronSim

HERE = Path(__file__).resolve().parent
BEGIN = int(datetime(1990, 1, 1, tzinfo=timezone.utc).timestamp())
END = int(datetime(2041, 1, 1, tzinfo=timezone.utc).timestamp())
# What lies before will hardly be changed by an update of the time zone data: only that goes into the sample.
SETTLED = int(datetime(2025, 1, 1, tzinfo=timezone.utc).timestamp())
HALF = 36 * 3600
LARGEST_CHANGE = 3 * 3600


def offset(zone, at):
    return int(datetime.fromtimestamp(at, zone).utcoffset().total_seconds())


def changes(zone):
    """The moments at which the offset changes, as (moment, before, after)."""
    found = []
    step = 24 * 3600
    at, before = BEGIN, offset(zone, BEGIN)
    while at < END:
        after = offset(zone, at + step)
        if after != before:
            low, high = at, at + step
            while high - low > 1:
                middle = (low + high) // 2
                if offset(zone, middle) == before:
                    low = middle
                else:
                    high = middle
            found.append((high, before, offset(zone, high)))
            # No zone changes its offset twice within a day.
            before = found[-1][2]
            at = high
            continue
        at += step
    return found


def distinct_zones():
    seen = {}
    for name in sorted(zoneinfo.available_timezones()):
        if name in ("localtime", "Factory") or name.startswith(("posix/", "right/")):
            continue
        key = (offset(zoneinfo.ZoneInfo(name), BEGIN), tuple(changes(zoneinfo.ZoneInfo(name))))
        seen.setdefault(key, name)
    return [(name, key[1]) for key, name in seen.items()]


def expected(expression, zone, begin, end):
    times = []
    for time in CronSim(expression, datetime.fromtimestamp(begin, zone)):
        at = int(time.timestamp())
        if at > end:
            break
        times.append(at)
    return times


def by_the_minute(expression, zone, begin, end):
    """Every minute at which the clock shows a time that fits: what crontab(5) says of jobs with a star, and
    cron(8) of clock changes beyond three hours."""
    times = []
    for at in range(begin - begin % 60 + 60, end + 1, 60):
        civil = datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)
        if next(CronSim(expression, civil - timedelta(seconds=1))) == civil:
            times.append(at)
    return times


def is_plain(expression, change):
    """Whether the time on the clock is all that counts."""
    has_star = "*" in "".join(expression.split()[:2])
    return has_star or abs(change[2] - change[1]) > LARGEST_CHANGE


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--golden")
    parser.add_argument("--show", type=int, default=20)
    options = parser.parse_args()
    lines = (HERE / "cron_expressions.txt").read_text().splitlines()
    expressions = [line for line in lines if line and not line.startswith("#")]
    zones = distinct_zones()
    cases = []
    for name, moments in zones:
        for index, change in enumerate(moments):
            if index % options.every == 0 and HALF < change[0] < END - HALF:
                cases.append((name, change))
    print(f"{len(zones)} zones, {len(cases)} changes of a clock, {len(expressions)} expressions", flush=True)

    process = subprocess.Popen([options.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask():
        for name, change in cases:
            for expression in expressions:
                process.stdin.write(f"{expression}\t{name}\t{change[0] - HALF}\t{change[0] + HALF}\n")
        process.stdin.close()

    threading.Thread(target=ask, daemon=True).start()
    counts = collections.Counter()
    golden = []
    for number, (name, change) in enumerate(cases):
        zone = zoneinfo.ZoneInfo(name)
        begin, end = change[0] - HALF, change[0] + HALF
        for expression in expressions:
            ours = [int(at) for at in process.stdout.readline().split()]
            theirs = expected(expression, zone, begin, end)
            counts["cases"] += 1
            counts["times"] += len(theirs)
            if ours == theirs:
                counts["equal"] += 1
                if options.golden and counts["cases"] % 4 == 0 and len(ours) <= 40 and end < SETTLED:
                    golden.append((name, expression, begin, end, ours))
                continue
            kind = "different"
            if is_plain(expression, change) and ours == by_the_minute(expression, zone, begin, end):
                is_correction = abs(change[2] - change[1]) > LARGEST_CHANGE
                kind = "a correction for cron(8)" if is_correction else "cronsim leaves out what the clock shows"
            counts[kind] += 1
            if counts[kind] <= options.show:
                only_ours = [utc(at) for at in ours if at not in theirs][:3]
                only_theirs = [utc(at) for at in theirs if at not in ours][:3]
                print(f"{kind}: {expression} in {name} at {utc(change[0])} ({change[1]} to {change[2]} s)")
                print(f"  only ours: {only_ours}; only cronsim: {only_theirs}", flush=True)
    print(dict(counts))
    if options.golden:
        write_golden(options.golden, golden)
    sys.exit(1 if counts["different"] else 0)


def write_golden(path, rows):
    with open(path, "w") as file:
        file.write("# What cronsim and we agree on, a sample: zone, expression, from, to, times (seconds from `from`).\n")
        file.write("# Written by tests/bench/cron.py --golden.\n")
        for name, expression, begin, end, times in rows:
            steps = " ".join(str(at - begin) for at in times)
            file.write(f"{name}\t{expression}\t{begin}\t{end}\t{steps}\n")


def utc(at):
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()
