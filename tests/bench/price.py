#!/usr/bin/env python3
"""The price of one probe: CPU of the client alone, user and system, beside other clients of the same website.

    cargo build --release && tests/bench/price.py

The website is nginx on this machine. Everything is measured once a round, one after the other, and ratios are of one
round, so that a machine that is slower for a while is so for both sides. `w` is a request of wrk with
`Connection: close`, measured three times a round. The floor is hyper alone (tests/bench/floor.rs), the peers are other
clients that judge status and body too (tests/bench/peers.py). Probity is measured while it probes at a steady rate;
what it does at its end is told apart. nginx's log counts what was really asked, how many connections that took, and
whether a TLS session was resumed.

Needs nginx and wrk (installed from Debian where this runs as root), openssl, Debian's prometheus-blackbox-exporter, and
a Python with duckdb, pycurl, aiohttp, uvloop and requests (PROBITY_PYTHON names another one). Prints Markdown tables;
exits 1 where rows are lost or doubled, or where a client did not do what its line says.
"""

import argparse
import collections
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import resource
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import blackbox
import fleet
import first_light
import peers
from fleet import ROOT, Rows, Runner, cpu_seconds, millis, pipeline_text, write_targets

EVERY = 2
TLS_SOCKETS = 1_000
# Where connections are kept: the runner keeps 1,024 of them.
ORIGINS = 1_000
NAME = "price.example"
LOG = "$server_addr:$server_port $connection_requests $ssl_session_reused"
TLS_SERVER = """
  server {{
{listen}
    default_type text/html;
    ssl_certificate {folder}/site.pem; ssl_certificate_key {folder}/site.key; ssl_protocols TLSv1.2 TLSv1.3;
    {locations}
  }}
"""
FROZEN = "a check starts from its snapshot from now on"
PYTHON_PEERS = ("pycurl", "aiohttp", "requests")


@dataclass(frozen=True)
class Ours:
    """A pipeline that is measured."""

    name: str
    csv: str
    top: str = ""
    request: str = ""
    checks: int = 3
    is_reusing: bool = False


FRESH = Ours("HTTP, fresh", "plain.csv")
REUSE = Ours("HTTP, reuse", "origins.csv", request='[request]\nconnection = "reuse"', is_reusing=True)
BARE = Ours("HTTP, fresh, no checks", "plain.csv", top="default_checks = false\n", checks=0)
TLS = Ours("HTTPS", "tls.csv", request=f'[request.tls]\nca_file = "ca.pem"\nserver_name = "{NAME}"')
OURS = (FRESH, REUSE, BARE, TLS)
# A ratio of two prices of a round, and what it should not be above.
RATIOS = (
    ("HTTP, fresh / w", FRESH.name, "w", 2.0),
    ("HTTP, reuse / w", REUSE.name, "w", 1.2),
    ("HTTPS / hyper and rustls", TLS.name, "floor tls", 1.15),
    ("HTTP, fresh / pycurl", FRESH.name, "pycurl", 0.6),
    ("HTTP, fresh / aiohttp", FRESH.name, "aiohttp", 0.2),
    ("HTTP, fresh / blackbox_exporter", FRESH.name, "blackbox", 0.08),
    ("HTTP, fresh / requests", FRESH.name, "requests", None),
    ("HTTP, fresh / hyper", FRESH.name, "floor fresh", None),
    ("HTTP, reuse / hyper", REUSE.name, "floor reuse", None),
    ("HTTP, fresh, no checks / w", BARE.name, "w", None),
    ("hyper, fresh / w", "floor fresh", "w", None),
)
TITLES = {
    "w": "w: wrk, `Connection: close`",
    "wrk kept": "wrk, kept connections",
    "floor fresh": "hyper, fresh",
    "floor reuse": "hyper, kept connections",
    "floor tls": "hyper and rustls, full handshake",
    "blackbox": "blackbox_exporter",
    "requests": "requests, threads",
    "aiohttp": "aiohttp, uvloop",
    "pycurl": "pycurl, CurlMulti",
} | {case.name: f"Probity: {case.name}" for case in OURS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--seconds", type=int, default=12, help="how long Probity is measured at once (12)")
    parser.add_argument("--rate", type=int, default=5_000, help="its probes a second (5000)")
    parser.add_argument("--tls-rate", type=int, default=1_000, help="its probes a second over HTTPS (1000)")
    parser.add_argument("--no-peers", action="store_true", help="only wrk, the floor and Probity")
    parser.add_argument("--floor", type=Path, help="the program of floor.rs, instead of what cargo builds")
    options, duckdb = fleet.arguments(parser)
    first_light.need_tools()
    need_peers(options)
    options.floor = options.floor or build_floor()
    signal.signal(signal.SIGHUP, lambda *_: sys.exit("told to end"))
    with fleet.workplace("price", Site) as (folder, site):
        bench = Bench(options, duckdb, folder, site)
        bench.freeze_checks()
        for number in range(options.rounds):
            bench.round(number)
    fleet.report("price", options, sections(options, bench))
    for fault in bench.faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    return 1 if bench.faults else 0


def need_peers(options):
    if not first_light.find_tool("openssl"):
        sys.exit("missing: openssl (Debian: apt-get install openssl)")
    if options.no_peers:
        return
    if not first_light.find_tool(blackbox.EXPORTER):
        sys.exit(f"missing: {blackbox.EXPORTER} (apt-get install -y --no-install-recommends {blackbox.EXPORTER})")
    missing = [name for name in (*PYTHON_PEERS, "uvloop") if not importlib.util.find_spec(name)]
    if missing:
        other = os.environ.get("PROBITY_PYTHON")
        if other and other != sys.executable:
            os.execv(other, [other, *sys.argv])
        sys.exit(f"missing: pip install {' '.join(missing)}, or --no-peers")


def build_floor():
    command = ["cargo", "bench", "--bench", "floor", "--no-run", "--message-format=json"]
    told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if told.returncode:
        sys.exit("the floor is not built: cargo bench --bench floor --no-run")
    messages = (json.loads(line) for line in told.stdout.splitlines())
    found = [one["executable"] for one in messages if one.get("executable") and one["target"]["name"] == "floor"]
    return Path(found[-1])


class Site(fleet.Site):
    """The website of the other benchmarks, and a part of it with a certificate."""

    def __init__(self, folder):
        self.folder = folder
        # One call, so that no two parts have the same socket.
        both = first_light.make_targets(fleet.SOCKETS + TLS_SOCKETS)
        self.sockets, self.tls_sockets = both[: fleet.SOCKETS], both[fleet.SOCKETS :]
        make_certificate(folder)
        # A client that keeps its connections keeps them.
        locations = f"keepalive_requests 1000000000; {first_light.LOCATIONS}"
        listen = "\n".join(f"    listen {address}:{port} ssl;" for address, port in self.tls_sockets)
        tls = TLS_SERVER.format(folder=folder, listen=listen, locations=locations)
        self.nginx = first_light.start_nginx(folder, self.sockets, LOG, locations, tls)
        self.processes = fleet.with_children(self.nginx.pid)

    def asked(self, mark):
        """What it was asked since a mark, and the next mark."""
        end, asked = self.mark(), Asked()
        with (self.folder / "access.log").open() as log:
            log.seek(mark)
            for line in log:
                socket, nth, resumed = line.split()
                asked.by_socket[socket] += 1
                asked.connections += nth == "1"
                asked.resumed += resumed == "r"
        asked.requests = asked.by_socket.total()
        return asked, end


@dataclass
class Asked:
    """What nginx's log says."""

    by_socket: collections.Counter = None
    requests: int = 0
    connections: int = 0
    resumed: int = 0

    def __post_init__(self):
        self.by_socket = collections.Counter()


def make_certificate(folder):
    """An authority, and a certificate of it for the website: ECDSA with P-256."""
    (folder / "site.ext").write_text(f"subjectAltName = DNS:{NAME}\nextendedKeyUsage = serverAuth\n")
    (folder / "ca.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n[ca]\nbasicConstraints = critical, CA:TRUE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "ca.cnf"]
    for command in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=price CA",
         "-extensions", "ca"],
        ["req", *key, "-keyout", "site.key", "-out", "site.csr", "-subj", f"/CN={NAME}"],
        ["x509", "-req", "-in", "site.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
         "-extfile", "site.ext", "-out", "site.pem"],
    ):
        told = subprocess.run([first_light.find_tool("openssl"), *command], cwd=folder, capture_output=True, text=True)
        if told.returncode:
            sys.exit(f"openssl {command[0]}: {told.stderr}")


@contextlib.contextmanager
def group(command):
    """A client in a process group of its own, all of which ends with the block."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, process_group=0)
    try:
        yield process
    finally:
        # The group is there as long as anything in it is.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def output_of(command):
    with group(command) as process:
        output, _ = process.communicate(timeout=600)
    if process.returncode:
        sys.exit(f"{command[0]} ends with {process.returncode}")
    return output


class Bench:
    """What was measured, by client: microseconds of CPU, one a round."""

    def __init__(self, options, duckdb, folder, site):
        self.options, self.duckdb, self.folder, self.site = options, duckdb, folder, site
        self.prices, self.facts = collections.defaultdict(list), collections.defaultdict(list)
        self.faults, self.of_wrk, self.rows = [], [], 0
        self.mark = 0
        sockets = {"plain": site.sockets, "tls": site.tls_sockets}
        for name, pairs in sockets.items():
            (folder / f"{name}.txt").write_text("".join(f"{address}:{port}\n" for address, port in pairs))
        count, tls_count = options.rate * EVERY, options.tls_rate * EVERY
        write_targets(folder / "plain.csv", map(site.url, range(count)))
        write_targets(folder / "origins.csv", (f"{site.url(n % ORIGINS)}?{n}" for n in range(count)))
        tls = (f"https://{address}:{port}/" for address, port in site.tls_sockets)
        tls = [f"{url}?{turn}" for turn in range(-(-tls_count // TLS_SOCKETS)) for url in tls_urls(site)]
        write_targets(folder / "tls.csv", tls[:tls_count])

    def freeze_checks(self):
        """One run that is not measured: snapshots of the checks are made once for a data folder."""
        with Runner(self.options.binary, self.folder, self.text(FRESH), more=["--log", "debug"]) as runner:
            for plugin in ("status", "latency", "body"):
                runner.wait_for(FROZEN, plugin=plugin)
            self.stop(FRESH, runner)
        _, self.mark = self.site.asked(self.mark)

    def text(self, case):
        return case.top + pipeline_text(case.csv, f"{EVERY}s", case.checks or 1, case.request)

    def stop(self, case, runner):
        if status := runner.stop():
            self.fault(case.name, f"exit code {status}")

    def fault(self, name, text):
        self.faults.append(f"{name}: {text}")
        print(self.faults[-1], file=sys.stderr)

    def round(self, number):
        steps = [
            self.wrk, lambda: self.floor("fresh", 30_000), lambda: self.ours(FRESH),
            lambda: self.peer("pycurl", 20_000), lambda: self.peer("blackbox", 4_000),
            lambda: self.ours(REUSE), lambda: self.floor("reuse", 60_000), self.wrk_kept,
            self.wrk, lambda: self.ours(BARE), lambda: self.peer("aiohttp", 8_000),
            lambda: self.peer("requests", 2_000), lambda: self.floor("tls", 4_000), lambda: self.ours(TLS), self.wrk,
        ]
        # Every other round backwards, so that nothing always follows the same.
        for step in steps[:: -1 if number % 2 else 1]:
            step()
        cpu, requests = map(sum, zip(*self.of_wrk))
        self.of_wrk.clear()
        self.price("w", cpu, requests)

    def price(self, name, cpu, requests):
        self.prices[name].append(cpu / requests * 1e6)
        print(f"{name}: {self.prices[name][-1]:.1f} us, {requests:,}", file=sys.stderr)

    def saw(self, name, said, is_fresh=True, unfinished=0):
        """What nginx saw of a client: as many requests as it says, but for those that it did not wait for."""
        asked, self.mark = self.site.asked(self.mark)
        if not 0 <= asked.requests - said <= unfinished:
            self.fault(name, f"{said:,} requests, and {asked.requests:,} in nginx's log")
        if is_fresh and asked.connections != asked.requests:
            self.fault(name, f"{asked.requests:,} requests by {asked.connections:,} connections")
        if not is_fresh and asked.connections > asked.requests / 10:
            self.fault(name, f"{asked.requests:,} requests by {asked.connections:,} connections, which it should keep")
        if asked.resumed:
            self.fault(name, f"{asked.resumed:,} sessions resumed")
        return asked

    def wrk(self):
        self.of_wrk.append(self.by_wrk("wrk", 3, ["Connection: close"], True))

    def wrk_kept(self):
        self.price("wrk kept", *self.by_wrk("wrk kept", 3, [], False))

    def by_wrk(self, name, seconds, headers, is_fresh):
        before = of_children()
        output = output_of(first_light.wrk_command(self.site.sockets[0], seconds, headers))
        cpu, told = of_children() - before, first_light.wrk_told(output)
        if told["errors"] != "none":
            self.fault(name, told["errors"])
        # At its end it leaves what its 64 connections wait for.
        self.saw(name, told["requests"], is_fresh, 64)
        return cpu, told["requests"]

    def floor(self, mode, requests):
        targets = self.folder / ("tls.txt" if mode == "tls" else "plain.txt")
        command = [self.options.floor, mode, "--targets", targets, "--requests", requests, "--concurrency", 64]
        told = json.loads(output_of([*command, "--ca", self.folder / "ca.pem", "--name", NAME]))
        self.saw(f"floor {mode}", requests, mode != "reuse")
        self.price(f"floor {mode}", told["cpu"], told["requests"])

    def peer(self, name, requests):
        if self.options.no_peers:
            return
        command = [sys.executable, peers.__file__, name, "--targets", self.folder / "plain.txt"]
        told = json.loads(output_of([*command, "--requests", requests]))
        self.saw(name, requests)
        self.price(name, told["cpu"], told["requests"])

    def ours(self, case):
        before = of_children()
        with Runner(self.options.binary, self.folder, self.text(case)) as runner:
            runner.wait_for("probing")
            # Past the ramp, and the first connections.
            runner.watch(EVERY + 2)
            served, children = self.site.cpu(), reaped(runner.process.pid)
            samples = runner.watch(self.options.seconds)
            served, children = self.site.cpu() - served, reaped(runner.process.pid) - children
            self.stop(case, runner)
        rows, verdicts = Rows(self.duckdb, runner), verdicts_of(self.duckdb, runner)
        asked = self.saw(case.name, rows.all, not case.is_reusing)
        lost, doubled = rows.against(asked.by_socket)
        if lost or doubled:
            self.fault(case.name, f"{lost} rows lost, {doubled} doubled")
        if rows.outcomes != {"up": rows.all}:
            self.fault(case.name, f"not all up: {rows.outcomes}")
        if verdicts != rows.all * case.checks:
            self.fault(case.name, f"{verdicts:,} verdicts of {rows.all:,} probes")
        began, ended = samples[0]["wall"], samples[-1]["wall"]
        probes = rows.started(began, ended)
        if not probes:
            sys.exit(f"{case.name}: no probes in {ended - began:.0f} s")
        self.rows += rows.all
        self.price(case.name, samples[-1]["cpu"] - samples[0]["cpu"] + children, probes)
        # After the last sample: what was still running, and the journal becomes Parquet.
        last = of_children() - before - samples[-1]["cpu"] - reaped_by(samples)
        lateness, missed = rows.lateness(began, ended)
        self.facts[case.name].append({
            "rate": probes / (ended - began), "p99": lateness[1], "missed": missed,
            "served": served / probes * 1e6, "end": last / rows.all * 1e6,
        })
