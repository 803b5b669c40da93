#!/usr/bin/env python3
"""A rate of probes held for minutes: three bundled checks, a connection of its own for each probe, Parquet.

    cargo build --release && tests/bench/sustained.py
    tests/bench/sustained.py --search          # first looks, in short runs, for the highest rate that is held
    tests/bench/sustained.py --soak            # ten million probes at 7,000 a second: does anything grow?

The website is nginx on the same cores, so that both share them; its share is told. Its access log is the second
witness for lost and doubled rows. Ten thousand sockets are probed at an interval that makes the rate.

Needs nginx (installed from Debian where this runs as root), and a Python with duckdb (PROBITY_PYTHON names
another one). Prints a Markdown table; exits 1 where rows are lost or doubled.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import fleet
from fleet import Rows, Runner, mebi, millis, pipeline_text, workplace, write_targets

AIM = 8_000
# The search stops where two rates are so close.
STEP = 500
# Probes of a soak, and their rate: one that leaves the machine some air.
SOAK, SOAK_RATE = 10_000_000, 7_000
# What memory, open files and threads may be away from level, from the second fifth of a soak to its last.
LEVEL = 0.02
LEVELS = (("rss_kib", "resident memory"), ("fds", "open files"), ("threads", "threads"))
# A run that begins fewer of its probes than this does not hold its rate.
HELD = 0.99
# Growth of the resident memory from the second fifth of a run to the last that counts as none.
FLAT = 0.05


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=AIM, help=f"probes a second, or where the search begins ({AIM})")
    parser.add_argument("--seconds", type=int, default=300, help="how long it is held (300)")
    parser.add_argument("--search", action="store_true", help="look for the highest rate that is held, and hold that")
    parser.add_argument("--search-seconds", type=int, default=20, help="how long a run of the search is (20)")
    parser.add_argument("--soak", action="store_true", help=f"{SOAK:,} probes at {SOAK_RATE:,} a second, whatever else is said")
    parser.add_argument("--checks", type=int, choices=fleet.CHECKS, default=3, help="bundled checks (3)")
    options, duckdb = fleet.arguments(parser)
    if options.soak:
        if options.search:
            parser.error("--soak has a rate of its own: leave --search away")
        options.rate, options.seconds = SOAK_RATE, SOAK / SOAK_RATE
    with workplace("sustained") as (folder, site):
        bench = Bench(options, duckdb, folder, site)
        rate = bench.search() if options.search else options.rate
        run = bench.run(rate, options.seconds)
    fleet.report("soak" if options.soak else "sustained", options, [section(options, run, bench.tried)])
    return 1 if bench.faults else 0


class Bench:
    """The website and the runs."""

    def __init__(self, options, duckdb, folder, site):
        self.options, self.duckdb, self.folder, self.site = options, duckdb, folder, site
        self.faults, self.tried = 0, []
        write_targets(folder / "fleet.csv", (site.url(n) for n in range(fleet.SOCKETS)))

    def search(self):
        """The highest rate held in short runs, to five hundred a second."""
        low, high, rate = 0, None, self.options.rate
        while high is None or high - low > STEP:
            run = self.run(rate, self.options.search_seconds)
            self.tried.append((rate, run["held"]))
            print(f"{rate:,}/s: {run['done']:,.0f}/s", "held" if run["held"] else "not held", file=sys.stderr)
            low, high = (rate, high) if run["held"] else (low, rate)
            rate = low + 4 * STEP if high is None else (low + high) // 2
        return low or STEP

    def run(self, rate, seconds):
        # The interval in whole milliseconds is what there is: the rate is what it makes.
        every_ms = max(100, round(1000 * fleet.SOCKETS / rate))
        rate = 1000 * fleet.SOCKETS / every_ms
        mark = self.site.mark()
        text = pipeline_text("fleet.csv", f"{every_ms}ms", self.options.checks)
        name = f"data-{len(self.tried)}"
        with Runner(self.options.binary, self.folder, text, name) as runner:
            runner.wait_for("probing")
            # Past the first of everything as well.
            runner.watch(fleet.SETTLED * every_ms / 1000 + 3)
            served, busy = self.site.cpu(), cores_busy()
            samples = runner.watch(seconds)
            span = samples[-1]["at"] - samples[0]["at"]
            served, busy = (self.site.cpu() - served) / span, (cores_busy() - busy) / span
            stopping = time.monotonic()
            status = runner.stop()
            stopping = time.monotonic() - stopping
        rows, (asked, _) = Rows(self.duckdb, runner), self.site.asked(mark)
        lost, doubled = rows.against(asked)
        self.faults += lost + doubled
        began, ended = samples[0]["wall"], samples[-1]["wall"]
        done = rows.started(began, ended) / (ended - began)
        lateness, missed = rows.lateness(began, ended)
        return {
            "rate": rate, "every_ms": every_ms, "span": span,
            "done": done, "held": done >= HELD * rate,
            "lateness": lateness, "missed": missed, "lost": lost, "doubled": doubled, "rows": rows.all,
            "asked": sum(asked.values()), "outcomes": {**rows.outcomes, **rows.reasons},
            "samples": samples, "served": served, "busy": busy,
            "share": (samples[-1]["cpu"] - samples[0]["cpu"]) / span, "exit": status, "stopping": stopping,
        }


def cores_busy():
    """Seconds that all cores of this machine have been at work, for whomever."""
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / fleet.first_light.TICKS


def section(options, run, tried):
    samples = run["samples"]
    aim = SOAK_RATE if options.soak else AIM
    before, after = (fifth(samples, "rss_kib", at) for at in (1, 4))
    growth = after / before - 1
    minute = slope(samples[len(samples) // 5 :], "rss_kib") * 60
    start, end = samples[0], samples[-1]
    lines = [
        ("probes a second", f"≥ {aim:,}", f"{run['done']:,.0f} of {run['rate']:,.0f} for {run['span']:.0f} s",
         run["held"] and run["rate"] >= aim * HELD),
        ("rows, requests in nginx's log, rows lost, rows doubled", "0, 0",
         f"{run['rows']:,}, {run['asked']:,}, {run['lost']}, {run['doubled']}", not (run["lost"] or run["doubled"])),
        ("outcomes", "", ", ".join(f"{name} {count:,}" for name, count in sorted(run["outcomes"].items())), None),
        ("lateness p50, p99, max", "", ", ".join(map(millis, run["lateness"])), None),
        ("missed ticks", "0", f"{run['missed']:,}", run["missed"] == 0),
        ("resident memory, second fifth and last", f"grows < {FLAT:.0%}",
         f"{mebi(before)}, {mebi(after)} ({growth:+.1%})", growth < FLAT),
        *(level(samples, key, title) for key, title in LEVELS if options.soak),
        ("its slope in the last four fifths; peak", "",
         f"{minute / 1024:+.2f} MiB a minute; {mebi(end['peak_kib'])}", None),
        ("open files, threads: at the start, at the end", "",
         f"{start['fds']}, {start['threads']}; {end['fds']}, {end['threads']}", None),
        ("CPU, of one core: probity, nginx, all else on the machine", "",
         f"{run['share']:.0%}, {run['served']:.0%}, {run['busy'] - run['share'] - run['served']:.0%}", None),
        ("CPU a probe, a request of nginx", "",
         f"{run['share'] / run['done'] * 1e6:.0f} us, {run['served'] / run['done'] * 1e6:.0f} us", None),
        ("exit code, time to stop", "0", f"{run['exit']}, {run['stopping']:.1f} s", run["exit"] == 0),
    ]
    if tried:
        told = ", ".join(f"{rate:,} {'held' if held else 'not'}" for rate, held in tried)
        lines.insert(1, (f"search, {options.search_seconds} s each", "", told, None))
    title = (
        f"{fleet.SOCKETS:,} targets every {run['every_ms'] / 1000:g} s for {run['span']:.0f} s, {options.checks} "
        "bundled checks, fresh connections, nginx on the same cores"
    )
    return title, lines


def level(samples, key, title):
    """A line that says whether something stays level: its trend over the last four fifths, beside its mean."""
    late = samples[len(samples) // 5 :]
    values = [one[key] for one in late]
    trend = slope(late, key) * (late[-1]["at"] - late[0]["at"]) / statistics.mean(values)
    span = f"{min(values):,} to {max(values):,}{' KiB' if key == 'rss_kib' else ''}"
    return f"{title}, trend over the last four fifths", f"± {LEVEL:.0%}", f"{trend:+.2%} ({span})", abs(trend) <= LEVEL


def fifth(samples, key, number):
    """The median in one fifth of a run."""
    size = max(len(samples) // 5, 1)
    return statistics.median(one[key] for one in samples[number * size : (number + 1) * size] or samples[-1:])


def slope(samples, key):
    """By how much something grows in a second."""
    return statistics.linear_regression([one["at"] for one in samples], [one[key] for one in samples]).slope


if __name__ == "__main__":
    sys.exit(main())
