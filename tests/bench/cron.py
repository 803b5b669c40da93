#!/usr/bin/env python3
"""Compares the times of cron expressions with those of cronsim, which follows Debian's cron (Vixie's).

All time zones that differ between 1990 and 2040, three days around every change of their clocks, every
expression of cron_expressions.txt:

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


def is_correction(change):
    return abs(change[2] - change[1]) > LARGEST_CHANGE


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
    shown = 0
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
                if options.golden and number % 97 == 0 and end < 1735689600:
                    golden.append((name, expression, begin, end, ours))
                continue
            kind = "beyond three hours" if is_correction(change) else "different"
            counts[kind] += 1
            if shown < options.show or kind == "different" and counts[kind] <= options.show:
                shown += 1
                only_ours = [utc(at) for at in ours if at not in theirs]
                only_theirs = [utc(at) for at in theirs if at not in ours]
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
            if len(times) <= 80:
                steps = " ".join(str(at - begin) for at in times)
                file.write(f"{name}\t{expression}\t{begin}\t{end}\t{steps}\n")


def utc(at):
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()
