#!/usr/bin/env python3
"""A million targets, ten thousand targets, and how soon the first result is there.

    cargo build --release && tests/bench/scale.py
    tests/bench/scale.py --only first --binary target/debug/probity

`first`: from the start of the process to its first result with 10, 10,000 and 1,000,000 targets, in an empty data
folder and in one that a run has used. `tens`: 10,000 targets every 10 s. `million`: 1,000,000 targets from a CSV
every 60 s; where two cores, shared with the website, do not hold that rate, at longer intervals until one is held.
Its memory a target is over that of ten targets at rest: once at rest as well (nothing probed but the first ones),
once under load. Then 1,000 targets are removed and 1,000 are added by one edit.

Needs nginx (installed from Debian where this runs as root), and a Python with duckdb (PROBITY_PYTHON names
another one). Prints Markdown tables; exits 1 where rows are lost or doubled.
"""

import argparse
import sys
import time

import fleet
from fleet import Rows, Runner, mebi, millis, pipeline_text, workplace, write_targets

MILLION = 1_000_000
# A run whose rate is further from what was asked does not hold it.
HELD = 0.99
CHURN = 1_000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["first", "tens", "million"], action="append", help="a part of it (all)")
    parser.add_argument("--targets", type=int, default=MILLION, help="how many a million is (1000000)")
    parser.add_argument("--every", default="60,120,180", help="seconds, tried in order until one is held (60,120,180)")
    parser.add_argument("--seconds", type=int, default=180, help="how long the million run after their ramp (180)")
    parser.add_argument("--tens-seconds", type=int, default=60, help="how long the ten thousand run after theirs (60)")
    parser.add_argument("--starts", type=int, default=3, help="starts of each kind (3)")
    parser.add_argument("--checks", type=int, choices=fleet.CHECKS, default=1, help="bundled checks (1)")
    options, duckdb = fleet.arguments(parser)
    parts = {"first": first, "tens": tens, "million": million}
    wanted = options.only or list(parts)
    sections = []
    with workplace("scale") as (folder, site):
        bench = Bench(options, duckdb, folder, site)
        for name in wanted:
            sections += parts[name](bench)
    fleet.report("scale", options, sections)
    return 1 if bench.faults else 0


class Bench:
    """What all parts have."""

    def __init__(self, options, duckdb, folder, site):
        self.options, self.duckdb, self.folder, self.site = options, duckdb, folder, site
        self.faults = self.runs = 0

    def targets(self, count, begin=0):
        write_targets(self.folder / "fleet.csv", (self.site.url(n) for n in range(begin, begin + count)))

    def start(self, every, data=None):
        self.runs += 1
        text = pipeline_text("fleet.csv", every, self.options.checks)
        return Runner(self.options.binary, self.folder, text, data or f"data-{self.runs}")

    def rows(self, runner, mark):
        """Reads the rows of a run that has ended, and holds them against the website's log."""
        rows, (asked, _) = Rows(self.duckdb, runner), self.site.asked(mark)
        lost, doubled = rows.against(asked)
        self.faults += lost + doubled
        kept = f"{rows.all:,}, {sum(asked.values()):,}, {lost}, {doubled}"
        return rows, ("rows, requests in nginx's log, rows lost, rows doubled", "0, 0", kept, not (lost or doubled))


def first(bench):
    """From the start of the process to the first result."""
    lines = []
    for count, aim in ((10, 0.3), (10_000, 1), (bench.options.targets, 10)):
        bench.targets(count)
        for kind in ("in an empty folder", "again"):
            times = []
            for n in range(bench.options.starts):
                # The first of two starts leaves what the second one finds.
                times.append(first_result(bench, f"first-{count}-{n}"))
            best, middle, worst = (sorted(times)[at] for at in (0, len(times) // 2, -1))
            phases = ", ".join(f"{name} {seconds:.2f}" for name, seconds in middle[1].items() if seconds is not None)
            took = f"{middle[0]:.2f} s ({best[0]:.2f} to {worst[0]:.2f}): {phases}"
            lines.append((f"{count:,} targets, {kind}", f"{aim} s", took, middle[0] <= aim))
    title = (
        f"Start to first result: the median of {bench.options.starts} starts, the extremes, and at which second of the "
        "median one each phase ended"
    )
    return [(title, lines)]


def first_result(bench, data):
    mark = bench.site.mark()
    with bench.start("24h", data) as runner:
        probing, _ = runner.wait_for("probing")
        # The website's log is written every second: what is in it has been answered.
        while not bench.site.lines(mark)[0]:
            runner.must_run()
            time.sleep(0.02)
        read = runner.told("pipelines are read")
        runner.stop()
    rows, (asked, answered) = Rows(bench.duckdb, runner), bench.site.asked(mark)
    bench.faults += sum(rows.against(asked))
    phases = {
        "files read": read and read[0] - runner.wall,
        "ready": probing - runner.wall,
        "first probe": rows.first_started - runner.wall,
        "answered": answered - runner.wall,
    }
    return rows.first_finished - runner.wall, phases


def tens(bench):
    """Ten thousand targets every 10 s."""
    bench.targets(10_000)
    mark = bench.site.mark()
    with bench.start("10s") as runner:
        runner.wait_for("probing")
        runner.watch(fleet.SETTLED * 10 + 1)
        served = bench.site.cpu()
        samples = runner.watch(bench.options.tens_seconds)
        served = bench.site.cpu() - served
        runner.stop()
    rows, kept = bench.rows(runner, mark)
    span = samples[-1]["at"] - samples[0]["at"]
    began, ended = samples[0]["wall"], samples[-1]["wall"]
    lateness, missed = rows.lateness(began, ended)
    share = (samples[-1]["cpu"] - samples[0]["cpu"]) / span
    peak = max(one["peak_kib"] for one in samples)
    lines = [
        ("probes a second", "1,000", f"{rows.started(began, ended) / span:,.0f}", None),
        ("lateness p50, p99, max", "p99 < 5 ms", ", ".join(map(millis, lateness)), lateness[1] < 5_000),
        ("missed ticks", "0", f"{missed:,}", missed == 0),
        ("CPU, of one core", "< 15 %", f"{share:.1%} (nginx {served / span:.1%})", share < 0.15),
        ("resident memory, peak", "< 80 MiB", mebi(peak), peak < 80 * 1024),
        kept,
    ]
    title = f"10,000 targets every 10 s for {bench.options.tens_seconds} s after the ramp, {checks(bench)}"
    return [(title, lines)]


def checks(bench):
    return f"{bench.options.checks} bundled check{'s' if bench.options.checks > 1 else ''}"


def million(bench):
    count = bench.options.targets
    section, base = at_rest(bench, count)
    sections = [section]
    for every in map(int, bench.options.every.split(",")):
        section, held = at_pace(bench, count, every, base)
        sections.append(section)
        if held:
            break
    return sections


def at_rest(bench, count):
    """Memory where hardly anything is probed: the table, and what ten targets take (KiB)."""
    resident, peak, loaded = {}, {}, None
    for targets in (10, count):
        bench.targets(targets)
        mark = bench.site.mark()
        with bench.start("24h") as runner:
            probing, _ = runner.wait_for("probing")
            loaded = probing - runner.wall
            samples = runner.watch(5, 0.25)
            runner.stop()
        bench.rows(runner, mark)
        resident[targets], peak[targets] = samples[-1]["rss_kib"], samples[-1]["peak_kib"]
    each = (resident[count] - resident[10]) * 1024 / (count - 10)
    file = (bench.folder / "fleet.csv").stat().st_size / count
    lines = [
        ("files read and checked", "", f"{loaded:.2f} s, a URL of {file:.0f} bytes a target", None),
        ("resident at rest", "", f"{mebi(resident[count])}; {mebi(resident[10])} with 10 targets", None),
        ("peak of the start", "", mebi(peak[count]), None),
        ("resident bytes a target", "≤ 500", f"{each:.0f}", each <= 500),
    ]
    return (f"{count:,} targets at rest (every 24 h)", lines), resident[10]


def at_pace(bench, count, every, base):
    """A million targets at one interval: the table, and whether the rate was held."""
    rate = count / every
    bench.targets(count)
    mark = bench.site.mark()
    with bench.start(f"{every}s") as runner:
        probing, _ = runner.wait_for("probing")
        # The rate is the full one from the start, so that a rate far too high shows before its first round ends.
        runner.watch(15)
        before, offset = bench.site.lines(mark)[1], time.monotonic()
        ramp = runner.watch(min(15, every))
        early = bench.site.lines(before)[0] / (time.monotonic() - offset)
        is_far = early < 0.9 * rate
        edit = None
        if not is_far:
            ramp += runner.watch(max(0, probing + fleet.SETTLED * every + 2 - time.time()))
            served = bench.site.cpu()
            samples = runner.watch(bench.options.seconds)
            served = (bench.site.cpu() - served) / (samples[-1]["at"] - samples[0]["at"])
            edit = change(bench, runner, count)
        runner.stop()
    rows, kept = bench.rows(runner, mark)
    title = f"{count:,} targets every {every} s ({rate:,.0f} probes/s), {checks(bench)}"
    if not is_far:
        lines, is_held = paced(bench, runner, rows, rate, base, samples, served, edit)
        return (title, [*lines, kept]), is_held
    began, ended = ramp[0]["wall"], ramp[-1]["wall"]
    lateness, _ = rows.lateness(began, ended)
    share = (ramp[-1]["cpu"] - ramp[0]["cpu"]) / (ended - began)
    done = rows.started(began, ended) / (ended - began)
    lines = [
        ("probes a second, 15 s after the start", f"{rate:,.0f}", f"{done:,.0f}", False),
        ("lateness p50, p99, max", "p99 < 100 ms", ", ".join(map(millis, lateness)), lateness[1] < 100_000),
        ("CPU, of one core", "", f"{share:.0%}", None),
        kept,
    ]
    return (title + ": not held", lines), False


def change(bench, runner, count):
    """Removes targets and adds as many by one edit: when it was saved and when it was told."""
    resident = runner.sample()["rss_kib"]
    bench.targets(count, CHURN)
    saved = (bench.folder / "fleet.csv").stat().st_ctime
    samples = []
    while not (told := runner.told("a pipeline goes on as another generation")):
        samples += runner.watch(0.25, 0.25)
        if time.time() > saved + 120:
            print("the edit has no effect: " + runner.log.read_text()[-2000:], file=sys.stderr)
            return None
    samples += runner.watch(20, 0.25)
    return {"saved": saved, "told": told, "resident": resident, "samples": samples}


def paced(bench, runner, rows, rate, base, samples, served, edit):
    """The table of a rate that was held or nearly, and whether it was."""
    span = samples[-1]["at"] - samples[0]["at"]
    began, ended = samples[0]["wall"], samples[-1]["wall"]
    done = rows.started(began, ended) / span
    lateness, missed = rows.lateness(began, ended)
    share = (samples[-1]["cpu"] - samples[0]["cpu"]) / span
    is_held = done >= HELD * rate
    resident = samples[-1]["rss_kib"]
    each = (resident - base) * 1024 / bench.options.targets
    lines = [
        ("probes a second", f"{rate:,.0f}", f"{done:,.0f} for {span:.0f} s", is_held),
        ("lateness p50, p99, max", "p99 < 100 ms", ", ".join(map(millis, lateness)), lateness[1] < 100_000),
        ("missed ticks", "0", f"{missed:,}", missed == 0),
        ("CPU, of one core", "", f"{share:.0%} (nginx {served:.0%})", None),
        ("resident", "", mebi(resident), None),
        # What is in flight counts too: the base is of ten targets at rest.
        ("resident bytes a target, all that probing takes included", "≤ 500", f"{each:.0f}", each <= 500),
    ]
    churn = f"{CHURN:,} removed and {CHURN:,} added by one edit"
    if not edit:
        return [*lines, (churn, "", "without effect", False)], is_held
    saved, (told, fields) = edit["saved"], edit["told"]
    generations = rows.generations()
    effect = generations[1][1] - saved if len(generations) > 1 else float("nan")
    around, missed = rows.lateness(saved, told + 10)
    peak, after = max(one["rss_kib"] for one in edit["samples"]), edit["samples"][-1]["rss_kib"]
    is_whole = fields["added"] == fields["removed"] == CHURN
    return lines + [
        (churn, "", f"{fields['removed']:,}, {fields['added']:,}", is_whole),
        ("from the edit to its effect (first probe, log)", "", f"{effect:.2f} s, {told - saved:.2f} s", None),
        ("lateness from the edit to 10 s after its effect: p50, p99, max", "p99 < 100 ms",
         ", ".join(map(millis, around)), around[1] < 100_000),
        ("missed ticks meanwhile", "0", f"{missed:,}", missed == 0),
        ("resident before, highest, 20 s after", "", ", ".join(map(mebi, (edit["resident"], peak, after))), None),
    ], is_held


if __name__ == "__main__":
    sys.exit(main())
