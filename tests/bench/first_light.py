#!/usr/bin/env python3
"""First light, measured: 10,000 distinct targets every 10 s for 60 s, on this machine alone.

The targets are addresses of 127.0.0.0/8 times ports, served by Debian's nginx, whose access log is the
second witness: it counts what was really asked, so lost and doubled rows show. The same nginx is then
asked by `wrk -H 'Connection: close'`, which gives the price of a bare request on the same machine in the
same run. Everything lives in a temporary folder, listens on loopback, and ends with this script.

    cargo build --release && tests/bench/first_light.py

Needs nginx and wrk (installed from Debian where this runs as root), and a Python with duckdb
(PROBITY_PYTHON names another one). Prints a Markdown table; exits 1 where rows are lost or doubled.
"""

import argparse
import collections
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORTS = 40
TICKS = os.sysconf("SC_CLK_TCK")
# About what a small page weighs.
PAGE = "<!doctype html><title>up</title>" + "<p>all is well here, thank you for asking</p>" * 20

NGINX = """
daemon off;
worker_processes 2;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections {connections}; }}
http {{
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  log_format who '{log}';
  access_log {folder}/access.log who buffer=256k flush=1s;
  server {{
{listen}
    default_type text/html;
    {locations}
  }}
{servers}
}}
"""

# The first word is the target: address and port.
LOG = "$server_addr:$server_port $status $http_user_agent"
LOCATIONS = f"location / {{ return 200 '{PAGE}'; }}"


def main():
    options = arguments()
    raise_file_limit()
    need_tools()
    duckdb = need_duckdb()
    if not options.binary.exists():
        sys.exit(f"{options.binary} is missing: cargo build --release")
    with tempfile.TemporaryDirectory(prefix="probity-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        targets = make_targets(options.targets)
        nginx = start_nginx(folder, targets)
        try:
            run = run_probity(options, folder, targets)
            asked = requests_by_target(folder, run["requests_before"])
            rows = read_rows(duckdb, folder)
            baseline = run_wrk(options, targets)
        finally:
            nginx.terminate()
            nginx.wait()
        report(options, run, asked, rows, baseline)
        if options.keep:
            shutil.copytree(folder, options.keep, dirs_exist_ok=True)
    return judge(asked, rows)


def arguments():
    target_folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=target_folder / "release" / "probity")
    parser.add_argument("--targets", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--every", type=int, default=10, help="seconds between two probes of a target (10)")
    parser.add_argument("--seconds", type=int, default=60, help="how long it runs (60)")
    parser.add_argument("--wrk-seconds", type=int, default=10, help="how long wrk runs (10)")
    parser.add_argument("--pipeline", type=Path, help="more pipeline text (checks, request), appended")
    parser.add_argument("--keep", type=Path, help="copy the folder with all results here")
    return parser.parse_args()


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def need_tools():
    missing = [tool for tool in ("nginx", "wrk") if not find_tool(tool)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"missing: {', '.join(missing)} (Debian: apt-get install {' '.join(missing)})")
    quiet = {"stdout": sys.stderr, "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
    subprocess.run(["apt-get", "update", "-qq"], check=True, **quiet)
    subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing], check=True, **quiet)


def find_tool(tool):
    return shutil.which(tool) or shutil.which(tool, path="/usr/sbin:/sbin")


def need_duckdb():
    try:
        import duckdb
    except ImportError:
        other = os.environ.get("PROBITY_PYTHON")
        if other and other != sys.executable:
            os.execv(other, [other, *sys.argv])
        sys.exit("missing: duckdb (pip install duckdb, or PROBITY_PYTHON=/path/to/a/python/that/has/it)")
    return duckdb


def make_targets(count):
    """Distinct (address, port) pairs: PORTS free ports on as many addresses as it takes."""
    held = [socket.socket() for _ in range(PORTS)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    addresses = -(-count // PORTS)
    pairs = [(f"127.0.{n // 250}.{n % 250 + 1}", port) for n in range(addresses) for port in ports]
    return pairs[:count]


def start_nginx(folder, targets, log=LOG, locations=LOCATIONS, servers=""):
    listen = "\n".join(f"    listen {address}:{port};" for address, port in targets)
    connections = len(targets) + 8192
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = NGINX.format(
        folder=folder, listen=listen, log=log, locations=locations, servers=servers,
        connections=min(connections, most - 64), files=most,
    )
    (folder / "nginx.conf").write_text(text)
    command = [find_tool("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    nginx = subprocess.Popen(command, stderr=(folder / "nginx.stderr").open("wb"))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(targets[-1], timeout=1).close()
            return nginx
        except OSError:
            if nginx.poll() is not None:
                break
            time.sleep(0.05)
    nginx.terminate()
    nginx.wait()
    sys.exit("nginx does not start: " + (folder / "nginx.stderr").read_text()[-2000:])


def run_probity(options, folder, targets):
    lines = ["url", *(f"http://{address}:{port}/" for address, port in targets)]
    (folder / "fleet.csv").write_text("\n".join(lines) + "\n")
    pipeline = f'[schedule]\nevery = "{options.every}s"\n[[sources]]\ntype = "file"\npath = "fleet.csv"\n'
    if options.pipeline:
        pipeline += options.pipeline.read_text()
    (folder / "fleet.toml").write_text(pipeline)
    requests_before = count_lines(folder / "access.log")
    command = [str(options.binary), "run", str(folder / "fleet.toml"), "--data", str(folder / "data")]
    began = time.monotonic()
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
    samples = []
    while time.monotonic() < began + options.seconds:
        time.sleep(1)
        if process.poll() is not None:
            sys.exit("probity ended early: " + (folder / "stderr").read_text()[-4000:])
        samples.append(sample(process.pid, began))
    process.send_signal(signal.SIGTERM)
    stopping = time.monotonic()
    _, status, usage = os.wait4(process.pid, 0)
    return {
        "exit": os.waitstatus_to_exitcode(status),
        "stop_seconds": time.monotonic() - stopping,
        "cpu": usage.ru_utime + usage.ru_stime,
        "user": usage.ru_utime,
        "system": usage.ru_stime,
        "switches": usage.ru_nvcsw + usage.ru_nivcsw,
        "samples": samples,
        "requests_before": requests_before,
        "stderr": (folder / "stderr").read_text(),
    }


def sample(pid, began):
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return {
        "at": time.monotonic() - began,
        "wall": time.time(),
        "cpu": (int(fields[11]) + int(fields[12])) / TICKS,
        "rss_kib": int(status["VmRSS"].split()[0]),
        "peak_kib": int(status["VmHWM"].split()[0]),
        "threads": int(status["Threads"]),
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
    }


def count_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def requests_by_target(folder, before):
    """What nginx was asked, by target; its log is flushed every second."""
    path = folder / "access.log"
    settled, last = 0, -1
    while settled < 3:
        time.sleep(0.7)
        lines = count_lines(path)
        settled, last = (settled + 1, last) if lines == last else (0, lines)
    asked = collections.Counter()
    with path.open() as log:
        for number, line in enumerate(log):
            if number >= before:
                asked[line.split(" ", 1)[0]] += 1
    return asked


def read_rows(duckdb, folder):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    probes = f"read_parquet('{folder}/data/results/probes/*/*.parquet')"
    checks = f"read_parquet('{folder}/data/results/checks/*/*.parquet')"
    ask = lambda query: connection.execute(query).fetchall()
    rows, ids, lateness, total, missed, outcomes = ask(f"""
        SELECT count(*), count(DISTINCT (run_id, seq)), quantile_cont(lateness_us, [0.5, 0.99, 1.0]),
               quantile_cont(total_us, [0.5, 0.99, 1.0]), sum(missed)::BIGINT, histogram(outcome)
        FROM {probes}""")[0]
    a_second = f"SELECT count(*) AS begun FROM {probes} GROUP BY date_trunc('second', started_at)"
    files = list((folder / "data/results").rglob("*.parquet"))
    return {
        "rows": rows,
        "ids": ids,
        "lateness": lateness,
        "total": total,
        "missed": missed or 0,
        "outcomes": outcomes,
        "by_target": dict(ask(f"SELECT regexp_extract(url, '//([^/]+)', 1), count(*) FROM {probes} GROUP BY 1")),
        "started": [row[0] for row in ask(f"SELECT epoch(started_at) FROM {probes} ORDER BY 1")],
        "most_a_second": ask(f"SELECT max(begun) FROM ({a_second})")[0][0],
        "verdicts": ask(f"SELECT count(*) FROM {checks}")[0][0],
        "kinds": ask(f"SELECT error_kind, count(*) FROM {probes} WHERE error_kind IS NOT NULL GROUP BY 1"),
        "bytes": sum(path.stat().st_size for path in files),
        "files": len(files),
    }


def run_wrk(options, targets):
    process = subprocess.Popen(wrk_command(targets[0], options.wrk_seconds), stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    told = wrk_told(output)
    return told | {
        "cpu": usage.ru_utime + usage.ru_stime,
        "per_second": told["requests"] / options.wrk_seconds,
    }


def wrk_command(target, seconds, headers=("Connection: close",)):
    address, port = target
    command = [find_tool("wrk"), "-t2", "-c64", f"-d{seconds}s", "-H", "User-Agent: wrk"]
    command += [part for header in headers for part in ("-H", header)]
    return [*command, f"http://{address}:{port}/"]


def wrk_told(output):
    errors = re.search(r"Socket errors: (.*)|(Non-2xx.*)", output)
    return {
        "requests": int(re.search(r"(\d+) requests in", output).group(1)),
        "errors": errors.group(0) if errors else "none",
    }


def differences(asked, rows):
    """Rows that are missing, and rows that are too many, target by target, by nginx's log."""
    targets = set(asked) | set(rows["by_target"])
    gaps = [asked[target] - rows["by_target"].get(target, 0) for target in targets]
    return sum(gap for gap in gaps if gap > 0), sum(-gap for gap in gaps if gap < 0)


def steady(run, rows, options):
    """CPU per probe once all targets have had their first probe: between two samples."""
    samples = run["samples"]
    first = next((one for one in samples if one["at"] >= options.every + 2), samples[0])
    last = samples[-1]
    probes = sum(1 for started in rows["started"] if first["wall"] <= started < last["wall"])
    return (last["cpu"] - first["cpu"]) / probes if probes else float("nan"), probes


def report(options, run, asked, rows, baseline):
    lost, doubled = differences(asked, rows)
    micros = lambda seconds: f"{seconds * 1e6:,.0f} us"
    millis = lambda us: f"{us / 1000:,.1f} ms"
    per_probe = run["cpu"] / max(rows["rows"], 1)
    steady_per_probe, steady_probes = steady(run, rows, options)
    per_request = baseline["cpu"] / max(baseline["requests"], 1)
    peak = max(one["peak_kib"] for one in run["samples"])
    resident = run["samples"][-1]["rss_kib"]
    table = [
        ("targets, every, for", f"{options.targets:,}, {options.every} s, {options.seconds} s"),
        ("rows in Parquet", f"{rows['rows']:,} in {rows['files']} files, {rows['bytes'] / 1e6:.1f} MB"),
        ("verdicts", f"{rows['verdicts']:,}"),
        ("requests in nginx's log", f"{sum(asked.values()):,}"),
        ("rows lost, too many, ids doubled", f"{lost}, {doubled}, {rows['rows'] - rows['ids']}"),
        ("outcomes", ", ".join(f"{name} {count:,}" for name, count in sorted(rows["outcomes"].items()))),
        ("error kinds", ", ".join(f"{name} {count:,}" for name, count in rows["kinds"]) or "none"),
        ("missed ticks", f"{rows['missed']:,}"),
        ("lateness p50, p99, max", ", ".join(map(millis, rows["lateness"]))),
        ("whole attempt p50, p99, max", ", ".join(map(millis, rows["total"]))),
        ("most probes begun in a second", f"{rows['most_a_second']:,}"),
        ("resident memory at the end, peak", f"{resident / 1024:.1f} MiB, {peak / 1024:.1f} MiB"),
        ("threads", f"{run['samples'][-1]['threads']}"),
        ("CPU, user + system", f"{run['user']:.2f} s + {run['system']:.2f} s"),
        ("CPU a probe, start and stop included", micros(per_probe)),
        (f"CPU a probe, steady ({steady_probes:,} probes)", micros(steady_per_probe)),
        ("wrk, CPU a request", f"{micros(per_request)} ({baseline['requests']:,} requests, errors: {baseline['errors']})"),
        ("ratio to wrk, all and steady", f"{per_probe / per_request:.2f}, {steady_per_probe / per_request:.2f}"),
        ("exit code, time to stop", f"{run['exit']}, {run['stop_seconds']:.2f} s"),
    ]
    print("| measured | value |\n| --- | --- |")
    for name, value in table:
        print(f"| {name} | {value} |")
    print(f"\n{os.cpu_count()} cores; {options.binary}")
    if run["exit"] != 0:
        print(run["stderr"][-4000:], file=sys.stderr)
    print(json.dumps({"gaps": differences(asked, rows), "lateness_us": rows["lateness"]}), file=sys.stderr)


def judge(asked, rows):
    lost, doubled = differences(asked, rows)
    return 1 if lost or doubled or rows["rows"] != rows["ids"] else 0


if __name__ == "__main__":
    sys.exit(main())
