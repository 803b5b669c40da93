#!/usr/bin/env python3
"""Where the CPU of a probe goes, by part: schedule, dial, TLS, HTTP, checks, row, Parquet.

    cargo build --release && tests/bench/parts.py
    tests/bench/parts.py --rate 2000 --write

A run of three bundled checks is sampled by perf with its stacks, once the checks start from their snapshots; a sample
belongs to the first part of PARTS that any of its frames names. What the kernel did for a part counts there, and is told
beside it: over loopback that is the other side's half of TCP as well, which runs in whoever sends.

Needs nginx, perf (Debian: linux-perf) that may sample a process, and a Python with duckdb (PROBITY_PYTHON names another
one). Prints a Markdown table; exits 1 where rows are lost or doubled.
"""

import argparse
import collections
import re
import shutil
import subprocess
import sys

import fleet
from fleet import Rows, Runner, pipeline_text, workplace, write_targets

EVERY = 2
# Of a thread, where one is named, and of a frame.
PARTS = [
    ("sink: a batch, its journal frame", "sink-write", ""),
    ("sink: sorted Parquet", "sink-(convert|sync)", ""),
    ("checks: the instance, made and cleared away", "check-", r"instantiate|drop_in_place<wasmtime|deallocate|pagemap"),
    ("checks: waiting, waking", "check-", r"futex|nanosleep"),
    ("checks: calls and their host calls", "check-", ""),
    ("dial: socket, connect", "io", r"dial::|TcpStream::connect|sys_socket|sys_connect"),
    ("HTTP: close", "io", r"sys_close|drop_in_place<hyper_util::rt::tokio::TokioIo"),
    # hyper-rustls is in the way of every connection.
    ("TLS", "io", r"(?<!hyper_)rustls|ring_core|HandshakeRecorder|add_shown"),
    ("HTTP: request, response, body", "io", r"hyper|http1|httparse|fetch::(link|exchange|body|wire)"),
    ("fetch besides", "io", r"fetch::"),
    ("schedule: whose turn, what landed", "io", r"Roster|Schedule|run::line|flight|JoinSet"),
    ("row, hand-overs", "io", r"deliver|judged_row|Probe|oneshot|CheckPool|mpsc|pool::Shared"),
    ("runtime: tasks, timers, waiting, waking", "io", ""),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=5_000, help="probes a second (5000)")
    parser.add_argument("--seconds", type=int, default=10, help="how long it is sampled (10)")
    options, duckdb = fleet.arguments(parser)
    if not shutil.which("perf"):
        sys.exit("missing: perf (Debian: apt-get install linux-perf)")
    with workplace("parts") as (folder, site):
        count = options.rate * EVERY
        write_targets(folder / "fleet.csv", (site.url(n) for n in range(count)))
        mark = site.mark()
        text = pipeline_text("fleet.csv", f"{EVERY}s", 3)
        with Runner(options.binary, folder, text, more=["--log", "debug"]) as runner:
            runner.wait_for("bundled checks share a sandbox from now on")
            runner.wait_for("a check starts from its snapshot from now on", plugin="body")
            runner.watch(fleet.SETTLED * EVERY)
            record = ["perf", "record", "-F", "199", "--call-graph", "dwarf,12288", "-o", folder / "perf.data"]
            plain = runner.watch(options.seconds)
            sampling = [*record, "-p", str(runner.process.pid), "--", "sleep", str(options.seconds)]
            subprocess.run(sampling, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            runner.stop()
        rows, (asked, _) = Rows(duckdb, runner), site.asked(mark)
        lost, doubled = rows.against(asked)
        begun = rows.started(plain[0]["wall"], plain[-1]["wall"])
        price = (plain[-1]["cpu"] - plain[0]["cpu"]) / begun * 1e6
        shares, kernel, samples = parts(folder / "perf.data")
    table = [
        (name, "", f"{shares[name]:.1%} ({price * shares[name]:.1f} us), the kernel {price * kernel[name]:.1f} us", None)
        for name, _, _ in PARTS
        if shares[name]
    ]
    table.append(("all, without perf beside it", "", f"{price:.0f} us, the kernel {sum(kernel.values()):.0%}", None))
    table.append(("rows lost, rows doubled", "0, 0", f"{lost}, {doubled}", not (lost or doubled)))
    title = (
        f"CPU of a probe by part, {begun / (plain[-1]['wall'] - plain[0]['wall']):,.0f} probes a second, three bundled "
        f"checks, fresh connections, {samples:,} samples"
    )
    fleet.report("parts", options, [(title, table)])
    return 1 if lost or doubled else 0


def parts(data):
    """The share of each part, and of the kernel in it."""
    script = ["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"]
    told = subprocess.run(script, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    shares, kernel, samples = collections.Counter(), collections.Counter(), 0
    for stack in told.split("\n\n"):
        thread, *frames = stack.strip("\n").split("\n")
        if not frames:
            continue
        samples += 1
        part = next((name for name, who, what in PARTS if belongs(thread, frames, who, what)), PARTS[-1][0])
        shares[part] += 1
        kernel[part] += "[kernel" in frames[0]
    share = lambda counts: collections.Counter({name: count / samples for name, count in counts.items()})
    return share(shares), share(kernel), samples


def belongs(thread, frames, who, what):
    return re.match(who, thread.strip()) and any(re.search(what, frame) for frame in frames)


if __name__ == "__main__":
    sys.exit(main())
