#!/usr/bin/env python3
"""Reloads under load: a thousand of them at 2,000 probes a second, and what they cost.

One pipeline changes with every reload: the URL of each of its targets, and the check that judges them, carry
the number of the reload, and the website answers with the number that it was asked for. So a row that mixes two
generations is down, and a URL that stands beside two generations shows too. A second pipeline never changes. The
website's access log is the witness for lost and doubled rows.

    cargo build --release && tests/bench/reloads.py
    tests/bench/reloads.py --reloads 50 --rate 100 --binary target/debug/probity

Needs nginx (installed from Debian where this runs as root), and a Python with duckdb (PROBITY_PYTHON names
another one). Prints a Markdown table; exits 1 where anything is lost, doubled, mixed, late or grows.
"""

import argparse
import collections
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import first_light

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = 30
SITE = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  log_format what '$scheme://$server_addr:$server_port$request_uri';
  access_log {folder}/access.log what buffer=256k flush=1s;
  server {{
{listen}
    default_type text/plain;
    location / {{ return 200 'generation $arg_g is here'; }}
  }}
}}
"""


def main():
    options = arguments()
    first_light.raise_file_limit()
    if not first_light.find_tool("nginx"):
        first_light.need_tools()
    duckdb = first_light.need_duckdb()
    with tempfile.TemporaryDirectory(prefix="probity-reloads-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bench = Bench(options, folder)
        try:
            bench.run()
            asked = bench.asked()
        finally:
            bench.nginx.terminate()
            bench.nginx.wait()
        rows = Rows(duckdb, folder, options.every_ms)
        return report(options, bench, asked, rows)


def arguments():
    target_folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=target_folder / "release" / "probity")
    parser.add_argument("--reloads", type=int, default=1000, help="by events (1000)")
    parser.add_argument("--blind", type=int, default=30, help="where the system gives no events (30)")
    parser.add_argument("--rate", type=int, default=2000, help="probes a second (2000)")
    parser.add_argument("--every-ms", type=int, default=1000, help="the interval of each target (1000)")
    parser.add_argument("--flat", type=float, default=5, help="growth of memory that is no growth, percent (5)")
    return parser.parse_args()


class Bench:
    """The website, the runner, and the reloads."""

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.targets = first_light.make_targets(ADDRESSES * first_light.PORTS)[:: first_light.PORTS]
        self.nginx = self.start_site()
        self.trees = [folder / "tree-0", folder / "tree-1"]
        self.generation = 0
        self.reloads = []
        self.samples = []
        self.seconds = []
        self.blind_seconds = []

    def start_site(self):
        listen = "\n".join(f"    listen {address}:{port};" for address, port in self.targets)
        (self.folder / "nginx.conf").write_text(SITE.format(folder=self.folder, listen=listen))
        command = [first_light.find_tool("nginx"), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]
        nginx = subprocess.Popen(command, stderr=(self.folder / "nginx.stderr").open("wb"))
        wait_for(lambda: (self.folder / "nginx.pid").exists(), "nginx")
        return nginx

    def pipeline(self, name, generation):
        """A pipeline of half of the load; `generation` stands in every URL and in the check."""
        count = self.options.rate * self.options.every_ms // 1000 // 2
        query = f"?g={generation}"
        urls = (
            f'  {{ url = "http://{address}:{port}/{name}/{n}{query}", name = "{n}" }},'
            for n, (address, port) in zip(range(count), cycle(self.targets))
        )
        return "\n".join([
            "default_checks = false",
            f'[schedule]\nevery = "{self.options.every_ms}ms"',
            "[request]\ntimeout = \"10s\"",
            f'[[checks]]\nplugin = "body"\nconfig = {{ contains = ["generation {generation} is here"] }}',
            "[[sources]]\ntargets = [", *urls, "]\n",
        ])

    def write(self, tree, generation):
        tree.mkdir(exist_ok=True)
        still = tree / "still.toml"
        if not still.exists():
            still.write_text(self.pipeline("still", "never"))
        new = tree / "new"
        new.write_text(self.pipeline("moving", generation))
        new.rename(tree / "moving.toml")

    def run(self):
        self.write(self.trees[0], 0)
        # Two links in a row: no event is heard of the folder in which the second one is switched.
        hop = self.folder / "hop"
        hop.mkdir()
        (hop / "now").symlink_to(self.trees[0])
        pipelines = self.folder / "pipelines"
        pipelines.symlink_to(hop / "now")
        command = [
            str(self.options.binary), "run", str(pipelines), "--data", str(self.folder / "data"), "--log-json",
        ]
        stdout = (self.folder / "stdout").open("wb")
        self.process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self.read_log, daemon=True).start()
        wait_for(lambda: self.began, "probity")
        # Past the ramp.
        time.sleep(2 + self.options.rate * self.options.every_ms / 1e6)
        watching = threading.Thread(target=self.sample, daemon=True)
        watching.start()
        for _ in range(self.options.reloads):
            self.seconds.append(self.reload(lambda generation: self.write(self.trees[0], generation)))
        for _ in range(self.options.blind):
            self.blind_seconds.append(self.reload(self.switch))
        self.stopping = True
        watching.join()
        self.process.send_signal(signal.SIGTERM)
        self.exit = self.process.wait(60)

    def switch(self, generation):
        """The folder itself is a link that is switched: nothing in it tells of that."""
        tree = self.trees[generation % 2]
        # Long before, so that only the switch is a change.
        self.write(tree, generation)
        time.sleep(0.3)
        link = self.folder / "hop" / "new"
        link.symlink_to(tree)
        at = time.time()
        link.rename(self.folder / "hop" / "now")
        return at

    def reload(self, write):
        """Saves another generation, and waits until it runs: seconds from the save."""
        self.generation += 1
        known = len(self.reloads)
        saved = time.time()
        saved = write(self.generation) or saved
        wait_for(lambda: len(self.reloads) > known, f"reload {self.generation}", self.process)
        return self.reloads[-1] - saved

    began = stopping = False

    def read_log(self):
        with (self.folder / "stderr").open("w") as kept:
            for line in self.process.stderr:
                kept.write(line)
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                fields = entry.get("fields", {})
                self.began |= fields.get("message") == "probing"
                if fields.get("message") == "reloaded" and fields.get("changed"):
                    self.reloads.append(time.time())

    def sample(self):
        while not self.stopping and self.process.poll() is None:
            sampled = first_light.sample(self.process.pid, 0)
            sampled["fds"] = len(os.listdir(f"/proc/{self.process.pid}/fd"))
            self.samples.append(sampled)
            time.sleep(0.25)

    def asked(self):
        """What the website was asked, by URL; its log is flushed every second."""
        path = self.folder / "access.log"
        last = -1
        while (lines := first_light.count_lines(path)) != last:
            last = lines
            time.sleep(2)
        with path.open() as log:
            return collections.Counter(line.rstrip("\n") for line in log)


class Rows:
    """What the files have."""

    def __init__(self, duckdb, folder, every_ms):
        connection = duckdb.connect()
        files = f"'{folder}/data/results/probes/**/*.parquet'"
        ask = lambda query: connection.execute(query).fetchall()
        self.by_url = collections.Counter(dict(ask(f"SELECT url, count(*) FROM {files} GROUP BY url")))
        self.all = sum(self.by_url.values())
        self.outcomes = dict(ask(f"SELECT outcome, count(*) FROM {files} GROUP BY ALL"))
        self.keys = ask(f"SELECT count(DISTINCT (run_id, seq)) FROM {files}")[0][0]
        self.mixed = ask(f"""
            SELECT count(*) FROM (SELECT regexp_extract(url, 'g=(.*)', 1) AS g FROM {files}
            WHERE pipeline = 'moving' GROUP BY g HAVING count(DISTINCT generation) <> 1)""")[0][0]
        self.missed = ask(f"SELECT sum(missed) FROM {files}")[0][0]
        # The first two rows of a target are of its ramp.
        self.phase_off_us = ask(f"""
            WITH numbered AS (SELECT pipeline, target, epoch_us(scheduled_at) % {every_ms * 1000} AS phase,
                row_number() OVER (PARTITION BY pipeline, target ORDER BY scheduled_at) AS n FROM {files}),
            off AS (SELECT phase - median(phase) OVER (PARTITION BY pipeline, target) AS off
                FROM numbered WHERE n > 2),
            least AS (SELECT least(abs(off), {every_ms * 1000} - abs(off)) AS off FROM off)
            SELECT quantile_cont(off, 0.999), max(off) FROM least""")[0]
        lateness = "quantile_cont(lateness_us, 0.5), quantile_cont(lateness_us, 0.99), max(lateness_us)"
        self.lateness_us = ask(f"SELECT {lateness} FROM {files}")[0]


def report(options, bench, asked, rows):
    lost = sum((asked - rows.by_url).values())
    doubled = sum((rows.by_url - asked).values()) + rows.all - rows.keys
    growth = {key: grown(bench.samples, key) for key in ("rss_kib", "fds", "threads")}
    wrong = {outcome: count for outcome, count in rows.outcomes.items() if outcome != "up"}
    seconds = lambda values: (
        f"{statistics.median(values):.3f} s, {quantile(values, 0.99):.3f} s, {max(values):.3f} s" if values else "-"
    )
    lines = [
        ("reloads, changed generations", f"{options.reloads} + {options.blind}, {len(bench.reloads)}"),
        ("rows, requests, lost, doubled", f"{rows.all}, {sum(asked.values())}, {lost}, {doubled}"),
        ("generations mixed; rows that are not up", f"{rows.mixed}; {wrong or 0}"),
        ("from save to running, by events: p50, p99, max", seconds(bench.seconds)),
        ("the same where events are blind", seconds(bench.blind_seconds)),
        ("phase off its place: p99.9, max", f"{rows.phase_off_us[0]:.0f} us, {rows.phase_off_us[1]:.0f} us"),
        ("lateness: p50, p99, max", ", ".join(f"{value / 1000:.1f} ms" for value in rows.lateness_us)),
        ("missed ticks", rows.missed),
        *((f"{key}: in the second fifth, in the last", f"{a:.0f}, {b:.0f} ({part:+.1f} %)")
          for key, (a, b, part) in growth.items()),
        ("exit code", bench.exit),
    ]
    print("| figure | measured |\n| --- | --- |")
    for name, value in lines:
        print(f"| {name} | {value} |")
    faults = [
        lost and "rows are lost", doubled and "rows are doubled", rows.mixed and "generations are mixed",
        wrong and "rows are not up", bench.exit and "the exit code is not 0",
        rows.phase_off_us[0] > 1000 and "phases are off",
        len(bench.reloads) != options.reloads + options.blind and "reloads are missing",
        *(f"{key} grows" for key, (_, _, part) in growth.items() if part > options.flat),
    ]
    faults = [fault for fault in faults if fault]
    if faults:
        print("FAILED: " + ", ".join(faults), file=sys.stderr)
        print((bench.folder / "stderr").read_text()[-3000:], file=sys.stderr)
    return 1 if faults else 0


def grown(samples, key):
    fifth = max(len(samples) // 5, 1)
    values = [sampled[key] for sampled in samples]
    before, after = statistics.median(values[fifth : 2 * fifth]), statistics.median(values[-fifth:])
    return before, after, 100 * (after - before) / before


def quantile(values, part):
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


def cycle(values):
    while True:
        yield from values


def wait_for(condition, what, process=None):
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline or (process and process.poll() is not None):
            sys.exit(f"{what} does not come")
        time.sleep(0.002)


if __name__ == "__main__":
    sys.exit(main())
