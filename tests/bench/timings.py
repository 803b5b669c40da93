#!/usr/bin/env python3
"""Phase timings against the truth: what a row says a phase took, and what it took on the wire.

A site is late by known amounts in one phase at a time (and in all of them): the name, the connection, the TLS
handshake, the first byte, the body. The truth is not the amount but the packets, each with the kernel's own time:
from the question to its last answer, from SYN to SYN-ACK, from there to the end of the handshake, from the request to
the first packet of the response, from there to the last. Probity probes it, `curl -w` asks it, a round each by turns,
and both are held against that, over every phase of every probe: a delay that shows in a wrong phase shows here.

    cargo build --release && tests/bench/timings.py
    tests/bench/timings.py --binary target/debug/probity --repeat 20

All of it is in a network of its own (unshare: as root, or where user name spaces are allowed, and with /dev/net/tun).
Needs curl, openssl and iproute2, and a Python with duckdb (PROBITY_PYTHON names another one). Prints a Markdown
table; exits 1 where the 95th percentile of any phase is further from the truth than the aim, or a row is missing.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import first_light
from late import site, wire

ROOT = Path(__file__).resolve().parents[2]
US, CURL = "probity", "curl"
# Of `curl -w`, all since its start.
MOMENTS = ("namelookup", "connect", "appconnect", "pretransfer", "starttransfer", "total")


def main():
    options = arguments()
    duckdb = first_light.need_duckdb()
    if not options.binary.exists():
        sys.exit(f"{options.binary} is missing: cargo build --release")
    site.enter()
    with tempfile.TemporaryDirectory(prefix="probity-timings-") as name:
        bench = Bench(options, Path(name), duckdb)
        began = time.monotonic()
        for number in range(options.rounds):
            bench.round(number)
        return bench.report(time.monotonic() - began)


def arguments():
    target_folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=target_folder / "release" / "probity")
    parser.add_argument("--repeat", type=int, default=100, help="probes of each phase and delay (100)")
    parser.add_argument("--rounds", type=int, default=10, help="in how many rounds, by turns with curl (10)")
    parser.add_argument("--delays", type=int, nargs="*", default=[0, 5, 20, 100, 500], help="in ms")
    parser.add_argument("--concurrency", type=int, default=2, help="requests at once, of each (2)")
    parser.add_argument("--aim", type=float, default=2, help="at the 95th percentile, in ms (2)")
    return parser.parse_args()


def make_cases(delays):
    yield from (site.Case(f"dns-{ms}", {"dns": ms}, named=True) for ms in delays)
    yield from (site.Case(f"connect-{ms}", {"connect": ms}) for ms in delays)
    yield from (site.Case(f"tls-{ms}", {"tls": ms}, tls="TLSv1_3") for ms in delays)
    yield from (site.Case(f"tls12-{ms}", {"tls": ms}, tls="TLSv1_2") for ms in delays)
    yield from (site.Case(f"first_byte-{ms}", {"first_byte": ms}) for ms in delays)
    yield from (site.Case(f"transfer-{ms}", {"transfer": ms}) for ms in delays)
    every = ("dns", "connect", "tls", "first_byte", "transfer")
    yield from (site.Case(f"all-{ms}", dict.fromkeys(every, ms), tls="TLSv1_3", named=True) for ms in (5, 20))


class Bench:
    """The site, the two that measure it, and what was found."""

    def __init__(self, options, folder, duckdb):
        self.options, self.folder, self.duckdb = options, folder, duckdb
        tun = site.set_up_network(folder)
        self.cases = list(make_cases(options.delays))
        self.site = site.Site(folder, tun, self.cases)
        self.capture = wire.Capture()
        # (who, case, phase) to pairs of what was measured and the truth, in seconds.
        self.pairs = collections.defaultdict(list)
        self.faults = collections.Counter()
        self.unclear = 0

    def round(self, number):
        """A share of all probes by each of both, whose turn to begin it is by the number."""
        share = self.options.repeat * (number + 1) // self.options.rounds
        numbers = range(self.options.repeat * number // self.options.rounds, share)
        turns = [(US, self.run_probity), (CURL, self.run_curl)]
        for who, run in turns if number % 2 else turns[::-1]:
            asked = [(case, n, case.url(who, n)) for n in numbers for case in self.cases]
            self.site.requests.clear()
            self.capture.take()
            measured = run(number, [url for _, _, url in asked])
            self.hold(who, asked, measured, wire.Wire(self.capture.take(), self.site.by_port, site.RELAYED))

    def run_probity(self, number, urls):
        folder = self.folder / f"round-{number}"
        folder.mkdir()
        targets = "\n".join(f'  "{url}",' for url in urls)
        # The same name server: every other round as the system's, and as one of the pipeline's own.
        own_name_server = 'dns = { servers = ["127.0.0.1"] }\n' if number % 2 else ""
        (folder / "timings.toml").write_text(
            f"[limits]\nconcurrency = {self.options.concurrency}\n"
            f'[request]\ntimeout = "30s"\nip_version = "4"\ntls = {{ ca_file = "{self.folder}/ca.pem" }}\n{own_name_server}'
            f"[[sources]]\ntargets = [\n{targets}\n]\n"
        )
        command = [self.options.binary, "run", "--once", folder / "timings.toml", "--data", folder / "data"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"probity ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        query = (
            "SELECT url, dns_us, connect_us, tls_us, first_byte_us, transfer_us, total_us "
            f"FROM '{folder}/data/results/probes/**/*.parquet' WHERE outcome = 'up'"
        )
        rows = self.duckdb.connect().execute(query).fetchall()
        micros = lambda values: (None if value is None else value / 1e6 for value in values)
        return {row[0]: dict(zip(wire.PHASES, micros(row[1:]))) for row in rows}

    def run_curl(self, number, urls):
        told = []
        running = [
            threading.Thread(target=self.run_one_curl, args=(urls[first :: self.options.concurrency], told))
            for first in range(self.options.concurrency)
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        return dict(told)

    def run_one_curl(self, urls, told):
        config = "\n".join(f'url = "{url}"\noutput = "/dev/null"' for url in urls)
        moments = " ".join(f"%{{time_{moment}}}" for moment in MOMENTS)
        command = ["curl", "-q", "-4", "-sS", "--cacert", self.folder / "ca.pem", "-H", "Connection: close"]
        command += ["-w", f"%{{url}} {moments}\\n", "-K", "-"]
        done = subprocess.run(command, input=config, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        if done.returncode != 0:
            sys.exit(f"curl ended with {done.returncode}: {done.stderr[-2000:]}")
        for line in done.stdout.splitlines():
            url, *values = line.split(" ")
            name, connect, secure, ready, first, total = map(float, values)
            told.append((url, {
                "dns": name, "connect": connect - name, "tls": secure - connect if secure else None,
                "first_byte": first - ready, "transfer": total - first, "total": total,
            }))

    def hold(self, who, asked, measured, seen):
        """Holds what was measured against the truth."""
        # Where a port was used twice in this round, nobody can tell whose packets are whose.
        conversations = {paths[0]: ports for ports, paths in self.site.requests.items() if len(paths) == 1}
        for case, number, url in asked:
            if url not in measured:
                self.faults[f"{who}: no row of a request that was well"] += 1
                continue
            path = "/" + url.split("/", 3)[3]
            if path not in conversations:
                self.unclear += 1
                continue
            truth = seen.phases(conversations[path], case.host(who, number) if case.named else None)
            for phase in wire.PHASES:
                value = measured[url][phase]
                if phase in truth and value is None:
                    self.faults[f"{who}: {phase} is absent and was not"] += 1
                elif phase in truth:
                    self.pairs[who, case.name, phase].append((value, truth[phase]))
                elif who == US and value is not None:
                    self.faults[f"{who}: {phase} is {value} and never was"] += 1

    def report(self, seconds):
        if drops := self.capture.drops():
            self.faults[f"the capture dropped {drops} packets"] = drops
        print("| phase | late by | n | truth p50 | probity p50, p95, max | curl p50, p95, max |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        missed = []
        for label, late, cases, phase in self.lines():
            pairs = {who: [pair for case in cases for pair in self.pairs[who, case, phase]] for who in (US, CURL)}
            if not pairs[US]:
                continue
            ours = errors(pairs[US])
            if ours[1] > self.options.aim:
                missed.append(f"{label} ({late}): {ours[1]:.2f} ms")
            truth = quantile(sorted(truth for _, truth in pairs[US]), 0.5) * 1000
            shown = [", ".join(f"{ms:.2f}" for ms in found) for found in (ours, errors(pairs[CURL]))]
            print(f"| {label} | {late} | {len(pairs[US])} | {truth:.2f} | {shown[0]} | {shown[1]} |")
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"\nAll in ms; how far from the truth. {self.options.binary}, {os.cpu_count()} cores, load {load}, "
              f"{self.options.concurrency} requests at once, {seconds:.0f} s.")
        print(json.dumps({"missed": missed, "faults": self.faults, "unclear": self.unclear}), file=sys.stderr)
        return 1 if missed or self.faults else 0

    def lines(self):
        """What the table has a line for: label, delay, cases, phase."""
        for family, phase in (
            ("dns", "dns"), ("connect", "connect"), ("tls", "tls"), ("tls12", "tls"), ("first_byte", "first_byte"),
            ("transfer", "transfer"),
        ):
            label = {"tls": "tls (1.3)", "tls12": "tls (1.2)"}.get(family, phase)
            yield from ((label, f"{ms}", [f"{family}-{ms}"], phase) for ms in self.options.delays)
        for phase in wire.PHASES:
            # Late in another phase: nothing of that may show in this one.
            others = [case.name for case in self.cases if not case.delays.get(phase)]
            if phase != "total":
                yield phase, "elsewhere", others, phase
        for ms in (5, 20):
            yield from ((f"{phase}, all late", f"{ms}", [f"all-{ms}"], phase) for phase in wire.PHASES)
        yield "total", "all of these", [case.name for case in self.cases], "total"


def errors(pairs):
    """Of |measured - truth| in ms: the median, the 95th percentile, the most."""
    off = sorted(abs(measured - truth) * 1000 for measured, truth in pairs)
    return (quantile(off, 0.5), quantile(off, 0.95), off[-1]) if off else (float("nan"),) * 3


def quantile(ordered, part):
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


if __name__ == "__main__":
    sys.exit(main())
