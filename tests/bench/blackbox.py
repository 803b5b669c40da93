#!/usr/bin/env python3
"""Who reports what: Probity and blackbox_exporter, asked about the same hostile peers.

Every peer of tests/hostile/network/cases.toml is asked once by each, with the same deadline and as many at once. What
must be said of it stands in its case. Held side by side: the verdict, whether a reason is told, the facts that a
failure leaves (the certificate's end, the HTTP status), the time beyond the deadline, memory. What one of the two has
no setting for is left out of its figures, and named.

    cargo build --example hostile && cargo build && tests/bench/blackbox.py
    tests/bench/blackbox.py --write          # tests/hostile/BLACKBOX.md too

Needs Debian's prometheus-blackbox-exporter (apt-get install prometheus-blackbox-exporter), and a Python with duckdb
(PROBITY_PYTHON names another one). Exits 1 where a peer is not answered for as its case says, by Probity.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.parse
import urllib.request
from pathlib import Path

import first_light

ROOT = Path(__file__).resolve().parents[2]
EXPORTER = "prometheus-blackbox-exporter"
TIMEOUT_MS = 4_000
# Seconds that an answer of the exporter is waited for: it is late at TIMEOUT_MS.
PATIENCE = 30
# What the exporter has no setting for.
NO_COUNTERPART = {
    "max_redirects": "how many redirects are followed",
    "address_policy": "which addresses may be connected to",
    "dns": "name servers other than the system's",
    "connection": "connections kept for the next probe",
}
# Of no use to a verdict: what is kept of a response, and how much of it.
PASSED_OVER = {"response_headers", "body_limit"}
HEAD = """# Probity and blackbox_exporter, asked about the same hostile peers

Written by `tests/bench/blackbox.py --write`: every peer of [network/cases.toml](network/cases.toml), asked once by
each, {concurrency} at a time. Debian's blackbox_exporter {version}, asked as Prometheus asks it; newer versions
may do better.
"""
NOTE = """
What a case says is Probity's view. Where the exporter says success of headers beyond a limit, of odd ways to write
them, or of a redirect from https to http, that is Go's view, and both can be held. A body is read to its end by the
exporter, and to `body_limit` by Probity. A compressed body is decompressed by the exporter where its module says by
what; here it does. Of the refused certificates one is none at all: it has no end.
"""
CERTIFICATE_KINDS = {
    "tls_expired", "tls_not_yet_valid", "tls_name", "tls_self_signed", "tls_untrusted", "tls_cert",
    "tls_client_cert_required",
}


def main():
    options = arguments()
    duckdb = first_light.need_duckdb()
    exporter = first_light.find_tool(EXPORTER)
    if not exporter:
        sys.exit(f"missing: {EXPORTER} (Debian: apt-get install -y --no-install-recommends {EXPORTER})")
    for needed in (options.binary, options.hostile):
        if not needed.exists():
            sys.exit(f"{needed} is missing: cargo build --example hostile && cargo build")
    with tempfile.TemporaryDirectory(prefix="probity-blackbox-") as name:
        folder = Path(name)
        peers = subprocess.Popen([options.hostile], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            cases = read_cases(peers)
            ours = run_probity(options, folder, cases, duckdb)
            theirs = Theirs(exporter, folder, cases, options, ours["rows"])
        finally:
            peers.stdin.close()
            peers.wait()
    report = Report(options, cases, ours, theirs)
    text = report.markdown()
    print(text)
    if options.write:
        (ROOT / "tests/hostile/BLACKBOX.md").write_text(text)
    for wrong in report.wrong_of_ours:
        print(f"FAILED: {wrong}", file=sys.stderr)
    return 1 if report.wrong_of_ours else 0


def arguments():
    target_folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, default=target_folder / "debug" / "probity")
    parser.add_argument("--hostile", type=Path, default=target_folder / "debug" / "examples" / "hostile")
    parser.add_argument("--concurrency", type=int, default=8, help="peers asked at once, by each (8)")
    parser.add_argument("--write", action="store_true", help="write tests/hostile/BLACKBOX.md as well")
    return parser.parse_args()


def read_cases(peers):
    """A line a case: as many as the file has."""
    count = len(tomllib.loads((ROOT / "tests/hostile/network/cases.toml").read_text())["cases"])
    return [json.loads(peers.stdout.readline()) for _ in range(count)]


def run_probity(options, folder, cases, duckdb):
    """Rows by name, and what the process took."""
    pipelines = folder / "pipelines"
    pipelines.mkdir()
    (pipelines / "probity.toml").write_text(f"[defaults]\nconcurrency = {options.concurrency}\n")
    alike = collections.defaultdict(list)
    for case in cases:
        # Told to the exporter, which decompresses only what it is told of.
        known = tomllib.loads(case["request"]).get("response_headers")
        request = case["request"] + ("" if known else '\nresponse_headers = ["content-encoding"]')
        target = f'  {{ url = "{case["url"]}", name = "{case["name"]}" }},\n'
        alike[request, case["checks"] or ""].append(target)
    for number, ((request, checks), targets) in enumerate(alike.items()):
        (pipelines / f"p{number}.toml").write_text(
            f'[request]\ntimeout = "{TIMEOUT_MS}ms"\n{request}\n{checks}\n'
            f'[[sources]]\ntargets = [\n{"".join(targets)}]\n'
        )
    command = [options.binary, "run", "--once", pipelines, "--data", folder / "data"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(folder / "stderr").open("wb"))
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        sys.exit("probity: " + (folder / "stderr").read_text()[-3000:])
    query = f"SELECT * FROM '{folder}/data/results/probes/**/*.parquet' WHERE is_final"
    answer = duckdb.connect().execute(query)
    names = [column[0] for column in answer.description]
    rows = [dict(zip(names, row)) for row in answer.fetchall()]
    return {"rows": {row["target"]: row for row in rows}, "peak_kib": usage.ru_maxrss}


def version(exporter):
    told = subprocess.run([exporter, "--version"], capture_output=True, text=True)
    return re.search(r"version ([0-9.]+)", told.stdout + told.stderr).group(1)


def start(exporter, config, log):
    """The exporter on a free port, which its log tells."""
    command = [exporter, f"--config.file={config}", "--web.listen-address=127.0.0.1:0", "--timeout-offset=0"]
    return subprocess.Popen(command, stderr=log.open("wb"))


def listening(process, log):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"address=(127\.0\.0\.1:[1-9]\d*)", log.read_text()):
            return f"http://{found.group(1)}"
        time.sleep(0.02)
    sys.exit("the exporter does not listen: " + log.read_text()[-2000:])


class Theirs:
    """The exporter, asked once about each peer."""

    def __init__(self, exporter, folder, cases, options, rows):
        self.modules, self.missing = {}, {}
        for case in cases:
            kept = rows[case["name"]]["response_headers"] or {}
            module, missing = translate(case, kept.get("content-encoding"))
            self.modules[case["name"]] = module
            if missing:
                self.missing[case["name"]] = missing
        config = folder / "blackbox.yml"
        # JSON is YAML.
        config.write_text(json.dumps({"modules": self.modules}))
        self.version = version(exporter)
        self.process = start(exporter, config, folder / "exporter.log")
        try:
            self.url = listening(self.process, folder / "exporter.log")
            asked = [case for case in cases if case["name"] not in self.missing]
            with concurrent.futures.ThreadPoolExecutor(options.concurrency) as pool:
                answers = pool.map(self.ask, asked)
                self.answers = {case["name"]: answer for case, answer in zip(asked, answers)}
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            self.peak_kib = int(re.search(r"VmHWM:\s+(\d+)", status).group(1))
        finally:
            self.process.terminate()
            self.process.wait()

    def ask(self, case):
        url, hostname = case["url"], None
        parts = urllib.parse.urlsplit(url)
        pinned = tomllib.loads(case["request"]).get("resolve", {})
        for there in pinned.values():
            hostname, url = parts.hostname, urllib.parse.urlunsplit(parts._replace(netloc=there))
        query = {"module": case["name"], "target": url, "debug": "true"} | ({"hostname": hostname} if hostname else {})
        began = time.monotonic()
        # As Prometheus does, which says how long it waits.
        request = urllib.request.Request(
            f"{self.url}/probe?{urllib.parse.urlencode(query)}",
            headers={"X-Prometheus-Scrape-Timeout-Seconds": str(TIMEOUT_MS / 1000)},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                text = response.read().decode("utf-8", "replace")
        except TimeoutError:
            text = ""
        logs, _, rest = text.partition("Metrics that would have been returned:")
        metrics = dict(re.findall(r"^(probe_\S+) (\S+)$", rest, re.M))
        # A line that tells of a fault has its text in `err`, or says so in its message, whatever its level.
        said = re.findall(r'msg="([^"]*)"(?:.*? err=(?:"((?:[^"\\]|\\.)*)"|(\S+)))?', logs)
        reasons = [parts for parts in said if parts[1] or parts[2] or re.match("Invalid|Error|Failed|Could", parts[0])]
        waited = time.monotonic() - began
        return {
            "seconds": float(metrics.get("probe_duration_seconds", waited)),
            "waited": waited,
            "answered": bool(text),
            "up": metrics.get("probe_success") == "1",
            "status": int(float(metrics.get("probe_http_status_code", 0))) or None,
            "status_is_absent": "probe_http_status_code" not in metrics,
            "not_after": metrics.get("probe_ssl_earliest_cert_expiry"),
            "by_metric": [name for name in metrics if name.startswith("probe_failed_due") and metrics[name] == "1"],
            "logged": ": ".join(part for part in reasons[-1] if part) if reasons else None,
        }


def translate(case, coding):
    """The module of the exporter that asks as the case does; and what it has no setting for."""
    request = tomllib.loads(case["request"])
    checks = tomllib.loads(case["checks"] or "").get("checks", [])
    http, tls, missing = {"preferred_ip_protocol": "ip4", "ip_protocol_fallback": True}, {}, None
    for key, value in request.items():
        if key in NO_COUNTERPART:
            missing = NO_COUNTERPART[key]
        elif key == "tls":
            tls |= {name: value[name] for name in ("ca_file", "server_name", "insecure_skip_verify") if name in value}
            if "min_version" in value:
                tls["min_version"] = "TLS" + value["min_version"].replace(".", "")
        elif key == "fail_if_body_over":
            http["body_size_limit"] = value
        elif key == "http_version":
            http["enable_http2"] = value != "1.1"
            if value == "2" and case["url"].startswith("http:"):
                missing = "HTTP/2 without TLS"
            elif value == "2":
                http["valid_http_versions"] = ["HTTP/2.0"]
        elif key in ("method", "body", "headers", "follow_redirects"):
            http[key] = value
        elif key == "resolve":
            # Asked by its address, with the name in the parameter `hostname`; a redirect cannot be.
            if all(urllib.parse.urlsplit(case["url"]).hostname != name.split(":")[0] for name in value):
                missing = "addresses to connect to along redirects"
        elif key not in PASSED_OVER:
            missing = key
    for check in checks:
        http["valid_status_codes"] = check["config"]["expect"]
    if coding and coding != "identity":
        http["compression"] = coding
        if coding not in ("gzip", "br", "deflate"):
            missing = "codings other than one of gzip, br and deflate"
    if tls:
        http["tls_config"] = tls
    return {"prober": "http", "timeout": f"{TIMEOUT_MS}ms", "http": http}, missing


class Report:
    """Both, side by side."""

    def __init__(self, options, cases, ours, theirs):
        self.options, self.theirs, self.peak_kib = options, theirs, ours["peak_kib"]
        self.lines = [Line(case, ours["rows"].get(case["name"]), theirs.answers.get(case["name"])) for case in cases]
        self.wrong_of_ours = [wrong for line in self.lines if (wrong := line.wrong())]

    def markdown(self):
        asked = [line for line in self.lines if line.theirs]
        better = [f"- {line.name}: {line.title}; {', '.join(line.we_lose)}." for line in asked if line.we_lose]
        reasons = collections.defaultdict(list)
        for name, reason in self.theirs.missing.items():
            reasons[reason].append(name)
        unasked = [
            f"- {reason}: {len(names)} (" + ", ".join(names[:3]) + (", …" if len(names) > 3 else "") + ")."
            for reason, names in reasons.items()
        ]
        return "\n".join([
            HEAD.format(concurrency=self.options.concurrency, version=self.theirs.version),
            "| what | Probity | blackbox_exporter |\n| --- | ---: | ---: |",
            *(f"| {' | '.join(figure)} |" for figure in self.figures(asked)),
            NOTE, "## Where it does better\n", *(better or ["Nowhere in these cases."]), "",
            "## What it cannot be asked\n", *unasked, "",
            "## All cases\n", "| case | what the peer does | Probity | blackbox_exporter | it loses | Probity loses |",
            "| --- | --- | --- | --- | --- | --- |", *(line.shown() for line in self.lines), "",
        ])

    def figures(self, asked):
        """Of the cases that both are asked: what is counted, for Probity and for the exporter."""
        failed = [line for line in asked if not line.should_be_up]
        of_certificates = (line for line in failed if line.row["error_kind"] in CERTIFICATE_KINDS)
        certificates = [line for line in of_certificates if line.row["cert_sha256"]]
        with_status = [line for line in failed if line.case["expect"]["http_status"]]
        without = [line for line in failed if not line.row["http_status"] and not line.theirs["status"]]
        count = lambda lines, holds: f"{sum(1 for line in lines if holds(line))} of {len(lines)}"
        over = lambda seconds: f"{max(max(seconds) * 1000 - TIMEOUT_MS, 0):.0f} ms"
        given_up = "" if all(line.theirs["answered"] for line in asked) else f" (given up at {PATIENCE} s)"
        yield "peers that it can be asked about", f"{len(self.lines)}", f"{len(asked)}"
        yield (
            "up or not, as the case says",
            count(asked, lambda line: line.is_up == line.should_be_up),
            count(asked, lambda line: line.theirs["up"] == line.should_be_up),
        )
        yield (
            "a failure's reason is data: a kind or a check in the row, a metric",
            count(failed, lambda line: line.row["error_kind"] or line.row["failed_check"]),
            count(failed, lambda line: line.theirs["by_metric"]),
        )
        yield (
            "a failure's reason is told at all: in the row, in the log of one probe",
            count(failed, lambda line: line.row["error_message"] or line.row["failed_check"]),
            count(failed, lambda line: line.theirs["logged"]),
        )
        yield "the target's fault and our own are told apart", "`down`, `unknown`", "no: `probe_success` is 0 or 1"
        yield (
            "a refused certificate's end is known",
            count(certificates, lambda line: line.row["cert_not_after"]),
            count(certificates, lambda line: line.theirs["not_after"]),
        )
        yield (
            "the HTTP status of a response that failed is known",
            count(with_status, lambda line: line.row["http_status"]),
            count(with_status, lambda line: line.theirs["status"]),
        )
        yield (
            "a status that never came is absent, not 0",
            count(without, lambda line: line.row["http_status"] is None),
            count(without, lambda line: line.theirs["status_is_absent"]),
        )
        yield (
            f"longest beyond the deadline of {TIMEOUT_MS} ms",
            over([line.seconds for line in asked]),
            over([line.theirs["waited"] for line in asked]) + given_up,
        )
        yield (
            "most memory (VmHWM)",
            f"{self.peak_kib / 1024:.0f} MiB ({self.options.binary.parent.name} build, all {len(self.lines)})",
            f"{self.theirs.peak_kib / 1024:.0f} MiB ({len(asked)})",
        )


class Line:
    """One case: what must be said of it, and what both say."""

    def __init__(self, case, row, theirs):
        self.case, self.row, self.theirs = case, row, theirs
        self.name, self.title = case["name"], case["title"]
        self.should_be_up = case["expect"]["outcome"] == "up"
        self.is_up = bool(row) and row["outcome"] == "up"
        self.seconds = row["total_us"] / 1e6 if row else 0
        self.they_lose, self.we_lose = losses(self) if row and theirs else ([], [])

    def wrong(self):
        expect = self.case["expect"]
        kinds = expect["error_kind"] if isinstance(expect["error_kind"], list) else [expect["error_kind"]]
        said = (self.row["outcome"], self.row["error_kind"]) if self.row else None
        if said and said[0] == expect["outcome"] and said[1] in kinds:
            return None
        return f"{self.name}: {said}, not {expect['outcome']} {kinds}"

    def shown(self):
        row, theirs = self.row, self.theirs
        kind = row["error_kind"] and f"`{row['error_kind']}`"
        ours = [row["outcome"], kind, row["http_status"], f"{self.seconds * 1000:.0f} ms"]
        said = ["not asked"]
        if theirs:
            verdict = "success" if theirs["up"] else "failure" if theirs["answered"] else "no answer"
            said = [verdict, theirs["status"], f"{theirs['seconds'] * 1000:.0f} ms"]
            if theirs["logged"] and not theirs["up"]:
                said.append(f"({short(theirs['logged'])})")
        cells = [self.name, self.title, *(" ".join(str(part) for part in parts if part) for parts in (ours, said))]
        return "| " + " | ".join([*cells, ", ".join(self.they_lose), ", ".join(self.we_lose)]) + " |"


def losses(line):
    """What the exporter loses of a case, and what we lose."""
    row, theirs, they, we = line.row, line.theirs, [], []
    verdict = "an answer" if line.should_be_up else "the fault"
    if theirs["up"] != line.should_be_up:
        they.append(verdict)
    if line.is_up != line.should_be_up:
        we.append(verdict)
    for name, of_row, of_theirs in (
        ("the certificate", row["cert_not_after"], theirs["not_after"]),
        ("the status", row["http_status"], theirs["status"]),
    ):
        if of_row and not of_theirs:
            they.append(name)
        if of_theirs and not of_row:
            we.append(name)
    # What ends long before the deadline saves a place for other targets.
    late, early = TIMEOUT_MS / 1000 * 0.9, TIMEOUT_MS / 1000 / 2
    if theirs["seconds"] > late and line.seconds < early:
        they.append(f"{theirs['seconds'] - line.seconds:.1f} s")
    if line.seconds > late and theirs["seconds"] < early:
        we.append(f"{line.seconds - theirs['seconds']:.1f} s")
    return they, we


def short(text):
    """Of a log line, what fits; no address of this run, and nothing that Markdown or a terminal would obey."""
    text = re.sub(r"https?://\S+|(127\.0\.0\.\d+|\[::1\]):\d+", "…", text.replace('\\"', '"'))
    text = re.sub(r"[^\x20-\x7e…]|[`|<>*\\]", "?", text)
    return text if len(text) <= 100 else text[:99] + "…"


if __name__ == "__main__":
    sys.exit(main())
