#!/usr/bin/env python3
"""The price of one probe: CPU of the client alone, user and system, beside other clients of the same website.

    cargo build --release && tests/bench/price.py

The website is nginx on this machine. Everything is measured once a round, one after the other, and ratios are of one
round, so that a machine that is slower for a while is so for both sides. `w` is a request of wrk with
`Connection: close`, measured three times a round. The floor is hyper alone (tests/bench/floor.rs): as fast as it can,
and at the rates of Probity, which costs more, since threads and caches go cold between the requests. The peers are other
clients, as fast as they can, that judge status and body too (tests/bench/peers.py). Probity is measured while it probes at a steady rate;
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
import tomllib
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import blackbox
import fleet
import first_light
import peers
from fleet import ROOT, Rows, Runner, millis, pipeline_text, write_targets
from sustained import cores_busy

EVERY = 2
TLS_SOCKETS = 1_000
# Where connections are kept: the runner keeps 1,024 of them, and two for an origin where its probes overlap.
ORIGINS = 500
# The part of its probes that has to go by kept connections, for that to be what is measured.
KEPT = 0.9
# A run that begins or ends fewer of its probes than this is of a machine that is too busy. Its price tells nothing:
# what its probes cost is then paid after the last sample.
HELD = 0.97
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
# How long the floor is measured at a rate.
PACED_SECONDS = 5
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
    ("HTTP, fresh / hyper at its rate", FRESH.name, "paced fresh", None),
    ("HTTPS / hyper and rustls at its rate", TLS.name, "paced tls", None),
    ("HTTP, reuse / hyper", REUSE.name, "floor reuse", None),
    ("HTTP, fresh, no checks / w", BARE.name, "w", None),
    ("hyper, fresh / w", "floor fresh", "w", None),
    ("hyper, fresh, at a rate / w", "paced fresh", "w", None),
)
TITLES = {
    "w": "w: wrk, `Connection: close`",
    "wrk kept": "wrk, kept connections",
    "floor fresh": "hyper, fresh",
    "floor reuse": "hyper, kept connections",
    "floor tls": "hyper and rustls, full handshake",
    "paced fresh": "hyper, fresh, at the rate of Probity",
    "paced tls": "hyper and rustls, full handshake, at the rate of Probity",
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
    options.rate_of = lambda case: options.tls_rate if case is TLS else options.rate
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

    def asked(self, mark):
        """What it was asked since a mark, and the next mark."""
        end, asked = self.mark(), Asked(collections.Counter())
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

    by_socket: collections.Counter
    requests: int = 0
    connections: int = 0
    resumed: int = 0


def make_certificate(folder):
    """An authority, and a certificate of it for the website: ECDSA with P-256."""
    (folder / "site.ext").write_text(f"subjectAltName = DNS:{NAME}\nextendedKeyUsage = serverAuth\n")
    ca = "[req]\ndistinguished_name = name\n[name]\n[ca]\nbasicConstraints = critical, CA:TRUE\n"
    (folder / "ca.cnf").write_text(ca)
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
        # Whether the rate was held, by pipeline, one a round.
        self.held = collections.defaultdict(list)
        # The part of its rate that the floor made, where it had one; one a round.
        self.paces = collections.defaultdict(list)
        self.mark = 0
        sockets = {"plain": site.sockets, "tls": site.tls_sockets}
        for name, pairs in sockets.items():
            (folder / f"{name}.txt").write_text("".join(f"{address}:{port}\n" for address, port in pairs))
        count, tls_count = options.rate * EVERY, options.tls_rate * EVERY
        write_targets(folder / "plain.csv", map(site.url, range(count)))
        write_targets(folder / "origins.csv", (f"{site.url(n % ORIGINS)}?{n}" for n in range(count)))
        tls = ((*site.tls_sockets[n % TLS_SOCKETS], n) for n in range(tls_count))
        write_targets(folder / "tls.csv", (f"https://{address}:{port}/?{n}" for address, port, n in tls))

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
            self.wrk, lambda: self.floor("fresh", 30_000), lambda: self.paced("fresh", FRESH), lambda: self.ours(FRESH),
            lambda: self.peer("pycurl", 20_000), lambda: self.peer("blackbox", 4_000),
            lambda: self.ours(REUSE), lambda: self.floor("reuse", 60_000), self.wrk_kept,
            self.wrk, lambda: self.ours(BARE), lambda: self.peer("aiohttp", 8_000),
            lambda: self.peer("requests", 2_000), lambda: self.floor("tls", 4_000), lambda: self.paced("tls", TLS),
            lambda: self.ours(TLS), self.wrk,
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

    def paced(self, mode, case):
        rate = self.options.rate_of(case)
        took = self.floor(mode, PACED_SECONDS * rate, "paced", ["--rate", rate])
        # Below its rate, late requests are made in a row, which is cheaper.
        self.paces[f"paced {mode}"].append(PACED_SECONDS / took)

    def floor(self, mode, requests, kind="floor", more=()):
        targets = self.folder / ("tls.txt" if mode == "tls" else "plain.txt")
        command = [self.options.floor, mode, "--targets", targets, "--requests", requests, "--concurrency", 64]
        told = json.loads(output_of([*command, "--ca", self.folder / "ca.pem", "--name", NAME, *more]))
        self.saw(f"{kind} {mode}", requests, mode != "reuse")
        self.price(f"{kind} {mode}", told["cpu"], told["requests"])
        return told["took"]

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
            served, children, busy = self.site.cpu(), reaped(runner.process.pid), cores_busy()
            samples = runner.watch(self.options.seconds)
            served, children = self.site.cpu() - served, reaped(runner.process.pid) - children
            busy = cores_busy() - busy
            known = samples[-1]["cpu"] + reaped(runner.process.pid)
            self.stop(case, runner)
        # After the last sample: what was still running, and the journal becomes Parquet.
        whole = of_children() - before
        rows = Rows(self.duckdb, runner)
        checks = f"read_parquet('{runner.data}/results/checks/*/*.parquet')"
        [(verdicts,)] = rows.query(f"SELECT count(*) FROM {checks} WHERE run_id IN (SELECT run_id FROM {rows.table})")
        [(connections, failed)] = rows.query(f"""
            SELECT count(*) FILTER (NOT connection_reused), count(error_kind) FROM {rows.table}""")
        asked = self.saw(case.name, rows.all, not case.is_reusing)
        lost, doubled = rows.against(asked.by_socket)
        if lost or doubled:
            self.fault(case.name, f"{lost} rows lost, {doubled} doubled")
        if connections != asked.connections:
            self.fault(case.name, f"{connections:,} connections in rows, {asked.connections:,} in nginx's log")
        if failed:
            self.fault(case.name, f"{failed:,} probes failed: {rows.outcomes}")
        if verdicts != rows.all * case.checks:
            self.fault(case.name, f"{verdicts:,} verdicts of {rows.all:,} probes")
        began, ended = samples[0]["wall"], samples[-1]["wall"]
        probes = rows.started(began, ended)
        if not probes:
            sys.exit(f"{case.name}: no probes in {ended - began:.0f} s")
        within = lambda moment: f"({moment} >= {began} AND {moment} < {ended})"
        [(kept, down, finished)] = rows.query(f"""
            SELECT count(*) FILTER (connection_reused AND {within("epoch(started_at)")}),
                count(*) FILTER (outcome <> 'up' AND {within("epoch(started_at)")}),
                count(*) FILTER ({within("epoch(started_at) + total_us / 1e6")})
            FROM {rows.table}""")
        if case.is_reusing and kept < KEPT * probes:
            self.fault(case.name, f"{kept:,} of {probes:,} probes by kept connections: is the machine too busy?")
        self.rows += rows.all
        cpu = samples[-1]["cpu"] - samples[0]["cpu"] + children
        self.price(case.name, cpu, probes)
        lateness, missed = rows.lateness(began, ended)
        least = HELD * self.options.rate_of(case) * (ended - began)
        is_held = min(probes, finished) >= least and not down
        if not is_held:
            print(f"{case.name}: starved: {probes:,} begun, {finished:,} ended, {down:,} not up", file=sys.stderr)
        self.held[case.name].append(is_held)
        self.facts[case.name].append({
            "rate": probes / (ended - began), "p99": lateness[1], "missed": missed,
            "served": served / probes * 1e6, "end": (whole - known) / rows.all * 1e6, "kept": kept / probes,
            "whole": whole / rows.all * 1e6,
            "down": down, "others": (busy - cpu - served) / (ended - began),
        })


def of_children():
    """CPU of all children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def reaped(pid):
    """CPU of a process's children that have ended: plugins are compiled in such."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / first_light.TICKS


def sections(options, bench):
    prices = {name: bench.prices[name] for name in TITLES if name in bench.prices}
    measured = [(TITLES[name], "", spread(values, ".1f"), None) for name, values in prices.items()]
    ratios = []
    for title, ours, theirs, aim in RATIOS:
        if theirs in prices:
            values = [one / other for one, other in zip(prices[ours], prices[theirs])]
            # A round that was starved counts as one that misses the aim, whatever its price seems to be.
            held = bench.held.get(ours, repeat(True))
            judged = [value if well else float("inf") for value, well in zip(values, held)]
            met = None if aim is None else statistics.median(judged) <= aim
            ratios.append((title, f"≤ {aim}" if aim else "", spread(values, ".3f"), met))
    three = [one - other for one, other in zip(prices[FRESH.name], prices[BARE.name])]
    measured.append(("three checks: the difference", "", spread(three, ".1f"), None))
    runs = []
    for case in OURS:
        taken, held = bench.facts[case.name], bench.held[case.name]
        facts = {key: statistics.median(run[key] for run in taken) for key in taken[0]}
        value = f"held in {sum(held)} of {len(held)} rounds; {told(facts)}"
        runs.append((case.name, f"{options.rate_of(case):,}/s", value, all(held)))
    for name, paces in bench.paces.items():
        runs.append((TITLES[name], "100 %", f"its rate held to {min(paces):.0%} or better", min(paces) >= HELD))
    runs.append(("rows, each once in nginx's log", "all", f"{bench.rows:,}", not bench.faults))
    runs.append(("versions", "", versions(options), None))
    of = f"minimum, median and maximum of {options.rounds} rounds"
    return [
        (f"CPU of the client, user and system, us a request or probe; {of}", measured),
        (f"Ratios of one round; {of}; aims are for the median, starved rounds miss", ratios),
        (f"Probity while it was measured, {options.seconds} s a round, three bundled checks, Parquet; medians", runs),
    ]


def spread(values, form):
    low, middle, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return f"{low}, **{middle}**, {high}"


def told(facts):
    return (
        f"{facts['rate']:,.0f}/s, {facts['kept']:.0%} by kept connections, p99 lateness {millis(facts['p99'])}, "
        f"missed {facts['missed']:,.0f}, not up {facts['down']:,.0f}; nginx {facts['served']:.0f} us, "
        f"others {facts['others']:.1f} cores; not in the price: {facts['end']:.1f} us to Parquet at the end; "
        f"{facts['whole']:.1f} us a row of the whole run, start and end included"
    )


def versions(options):
    first_line = lambda *command: subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout.splitlines()[0]
    number = lambda text: re.search(r"\d+(\.\d+)+", text).group(0)
    tools = {name: number(first_line(first_light.find_tool(name), "-v")) for name in ("nginx", "wrk")}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    tools |= {one["name"]: one["version"] for one in lock if one["name"] in ("hyper", "rustls")}
    if not options.no_peers:
        import pycurl

        tools |= {name: importlib.metadata.version(name) for name in (*PYTHON_PEERS, "uvloop")}
        tools |= {"libcurl": pycurl.version_info()[1], "Python": sys.version.split()[0]}
        tools["blackbox_exporter"] = blackbox.version(first_light.find_tool(blackbox.EXPORTER))
    return ", ".join(f"{name} {version}" for name, version in tools.items())


if __name__ == "__main__":
    sys.exit(main())
