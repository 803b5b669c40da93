#!/usr/bin/env python3
"""What a probe costs as there are more targets, more checks and longer bodies: CPU a probe.

    cargo build --release && tests/bench/growth.py

The rate is the same whatever the number of targets: their interval is longer. Only a part of a million is probed
within a run. CPU is taken between two moments after the targets are loaded, so that loading does not count. The cases
run in turn, several rounds of them, and each is held against the case of 10,000 targets (or one check, or the shortest
body) of its own round, so that a machine that is slower for a while is so for both.

Needs nginx (installed from Debian where this runs as root), and a Python with duckdb (PROBITY_PYTHON names
another one). Prints Markdown tables; exits 1 where rows are lost or doubled.
"""

import argparse
import statistics
import sys
from dataclasses import dataclass

import fleet
from fleet import Rows, Runner, mebi, millis, pipeline_text, workplace, write_targets

FLAT = 0.15
TARGETS = (1_000, 10_000, 100_000, 1_000_000)
BODIES = (1 << 10, 100 << 10, 1 << 20)


@dataclass(frozen=True)
class Case:
    """One way to run."""

    group: str
    name: str
    targets: int
    checks: int
    # Bytes; 0 is the website's small page.
    body: int
    rate: int


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=2_500, help="probes a second (2500)")
    parser.add_argument("--body-rate", type=int, default=250, help="probes a second of the bodies' cases (250)")
    parser.add_argument("--seconds", type=int, default=20, help="how long each run is measured (20)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each case (3)")
    parser.add_argument("--only", choices=["targets", "checks", "bodies"], action="append", help="a part of it (all)")
    options, duckdb = fleet.arguments(parser)
    cases = [case for case in all_cases(options) if not options.only or case.group in options.only]
    measured, faults = {case: [] for case in cases}, 0
    with workplace("growth") as (folder, site):
        for number in range(options.rounds):
            # Every other round backwards, so that no case always follows the same one.
            for case in cases[:: -1 if number % 2 else 1]:
                run = measure(options, duckdb, folder, site, case, f"data-{number}-{cases.index(case)}")
                print(f"{case.name}: {run['cpu_us']:.0f} us a probe", file=sys.stderr)
                measured[case].append(run)
                faults += run["faults"]
    sections = [section(group, options, measured) for group in dict.fromkeys(case.group for case in cases)]
    fleet.report("growth", options, sections)
    return 1 if faults else 0


def all_cases(options):
    targets = [Case("targets", f"{count:,} targets", count, 1, 0, options.rate) for count in TARGETS]
    checks = [Case("checks", f"{count} check(s)", 10_000, count, 0, options.rate) for count in fleet.CHECKS]
    # Few targets, so that all of them are probed within a run.
    bodies = [Case("bodies", f"{size >> 10:,} KiB", 1_000, 3, size, options.body_rate) for size in BODIES]
    return targets + checks + bodies


def measure(options, duckdb, folder, site, case, data):
    path = site.file(case.body) if case.body else "/"
    write_targets(folder / "fleet.csv", (site.url(n, path) for n in range(case.targets)))
    every_ms = max(100, round(1000 * case.targets / case.rate))
    # Bodies are looked through to their end: nothing of them is cut.
    request = '[request]\nbody_limit = "2MiB"' if case.body else ""
    text = pipeline_text("fleet.csv", f"{every_ms}ms", case.checks, request)
    mark = site.mark()
    with Runner(options.binary, folder, text, data) as runner:
        runner.wait_for("probing")
        # The schedule of a million is filled after that; checks become snapshots after a hundred calls; and a
        # thousand targets start within a second, which is far above the rate where bodies are long.
        runner.watch(5 + min(10, fleet.SETTLED * every_ms / 1000))
        served = site.cpu()
        samples = runner.watch(options.seconds)
        served = site.cpu() - served
        runner.stop()
    rows, (asked, _) = Rows(duckdb, runner), site.asked(mark)
    lost, doubled = rows.against(asked)
    began, ended = samples[0]["wall"], samples[-1]["wall"]
    probes = max(rows.started(began, ended), 1)
    lateness, missed = rows.lateness(began, ended)
    if lost or doubled or rows.reasons or missed:
        told = f"lost {lost}, doubled {doubled}, missed {missed}, not up {rows.reasons or 0}"
        print(f"{case.name}: {told}", file=sys.stderr)
    return {
        "cpu_us": (samples[-1]["cpu"] - samples[0]["cpu"]) / probes * 1e6, "served_us": served / probes * 1e6,
        "rate": probes / (ended - began), "p99": lateness[1], "rss": samples[-1]["rss_kib"],
        "faults": lost + doubled,
    }


def section(group, options, measured):
    cases = [case for case in measured if case.group == group]
    base = next((case for case in cases if case.targets == 10_000), cases[0])
    lines = []
    for case in cases:
        runs = measured[case]
        ratios = [run["cpu_us"] / other["cpu_us"] for run, other in zip(runs, measured[base])]
        middle = lambda key: statistics.median(run[key] for run in runs)
        value = (
            f"{spread([run['cpu_us'] for run in runs], '.0f')} us; {spread(ratios, '.2f')} of {base.name}; "
            f"{middle('rate'):,.0f}/s, p99 lateness {millis(middle('p99'))}, {mebi(middle('rss'))}, "
            f"nginx {middle('served_us'):.0f} us"
        )
        is_held = group == "targets" and case is not base
        # Being cheaper than the base is no growth.
        met = statistics.median(ratios) <= 1 + FLAT if is_held else None
        lines.append((case.name, f"≤ {1 + FLAT:.2f} of it" if is_held else "", value, met))
    what = {
        "targets": f"CPU a probe by targets: {options.rate:,} probes/s, 1 check",
        "checks": f"CPU a probe by checks: {options.rate:,} probes/s, 10,000 targets",
        "bodies": f"CPU a probe by bodies: {options.body_rate:,} probes/s, 3 checks",
    }[group]
    return f"{what}. Minimum, median and maximum of {options.rounds} runs of {options.seconds} s", lines


def spread(values, form):
    return ", ".join(format(value, form) for value in (min(values), statistics.median(values), max(values)))


if __name__ == "__main__":
    sys.exit(main())
