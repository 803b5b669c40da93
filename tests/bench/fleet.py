"""What the benchmarks of scale share: a website with many sockets, a runner of one pipeline, and its rows.

A website is nginx on as many loopback sockets as there are targets, at most 10,000; more targets than that are
distinct paths on them. Its access log has a line a request, with the socket and the time, and nothing else, so that
the second witness costs little. Everything started here is ended by the context that started it.
"""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import first_light

ROOT = Path(__file__).resolve().parents[2]
# Addresses times ports that are listened on. Fresh connections to so many of them never run out of local ports.
SOCKETS = 10_000
LOG = "$server_addr:$server_port $msec"
# Intervals until every target is on its own ticks: the ramp takes one at most, and the tick after a turn of the ramp
# is half an interval away or more.
SETTLED = 1.5
# Every bundled check that looks at another part of the exchange: code, time, text.
CHECKS = {
    1: [],
    3: [("latency", "latency", '{ max = "2s" }'), ("body", "body", '{ contains = "all is well" }')],
    10: [
        *((f"status-{n}", "status", "{}") for n in range(3)),
        *((f"latency-{n}", "latency", f'{{ max = "{n + 2}s" }}') for n in range(3)),
        *((f"body-{word}", "body", f'{{ contains = "{word}" }}') for word in ("all", "is", "well", "here")),
    ],
}


def arguments(parser):
    """The options that all benchmarks of scale have."""
    target_folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--binary", type=Path, default=target_folder / "release" / "probity")
    parser.add_argument("--write", action="store_true", help="write the section of tests/bench/FIGURES.md too")
    options = parser.parse_args()
    first_light.raise_file_limit()
    if not first_light.find_tool("nginx"):
        first_light.need_tools()
    if not options.binary.exists():
        sys.exit(f"{options.binary} is missing: cargo build --release")
    return options, first_light.need_duckdb()


@contextlib.contextmanager
def workplace(name, make_site=None):
    """A temporary folder with a website; a request to end ends both in order."""
    for told in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(told, lambda *_: sys.exit("told to end"))
    with tempfile.TemporaryDirectory(prefix=f"probity-{name}-") as place:
        folder = Path(place)
        # nginx's workers are another user.
        folder.chmod(0o755)
        with contextlib.closing((make_site or Site)(folder)) as site:
            yield folder, site


class Site:
    """The website, and what it was asked."""

    def __init__(self, folder):
        self.folder = folder
        self.sockets = first_light.make_targets(SOCKETS)
        (folder / "files").mkdir()
        locations = f"{first_light.LOCATIONS} location /files/ {{ root {folder}; }}"
        self.nginx = first_light.start_nginx(folder, self.sockets, LOG, locations)

    def file(self, size):
        """The path of a file of so many bytes, at whose end is what the checks look for."""
        path, end = self.folder / "files" / str(size), b"<p>all is well here</p>\n"
        line = b"<p>thank you for asking, and good night</p>\n"
        path.write_bytes((line * (size // len(line) + 1))[: size - len(end)] + end)
        path.chmod(0o644)
        return f"/files/{size}"

    def url(self, number, path="/"):
        """A target's URL: a socket by its number, and what no other target on that socket has."""
        address, port = self.sockets[number % SOCKETS]
        return f"http://{address}:{port}{path}" + (f"?{number}" if number >= SOCKETS else "")

    def cpu(self):
        # Its workers may come after its sockets.
        return sum(map(cpu_seconds, with_children(self.nginx.pid)))

    def lines(self, offset=0):
        """How many requests the log has after an offset, at this moment, and where it ends."""
        path = self.folder / "access.log"
        if not path.exists():
            return 0, 0
        with path.open("rb") as log:
            log.seek(offset)
            new = log.read()
        return new.count(b"\n"), offset + len(new)

    def mark(self):
        """Where the log ends, once it has ended: nginx writes it every second."""
        path, last = self.folder / "access.log", -1
        while (size := path.stat().st_size if path.exists() else 0) != last:
            last = size
            time.sleep(2.2)
        return last

    def asked(self, mark):
        """Requests by socket since a mark, and when the first one was answered."""
        self.mark()
        asked, first = collections.Counter(), float("inf")
        with (self.folder / "access.log").open() as log:
            log.seek(mark)
            for line in log:
                socket, at = line.split(" ", 1)
                # start_nginx connects without asking anything: such a connection has no line.
                asked[socket] += 1
                first = min(first, float(at))
        return asked, first

    def close(self):
        self.nginx.terminate()
        self.nginx.wait()


def with_children(pid):
    """A process and what it has started, by number."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def cpu_seconds(pid):
    """CPU that a process has taken, by its own clock: to the nanosecond, where /proc has hundredths."""
    # clock_getcpuclockid(3) of the system: the number of the process, inverted, above the kind of clock.
    return time.clock_gettime((~pid << 3) | 2)


def pipeline_text(csv, every, checks=3, request=""):
    text = f'[schedule]\nevery = "{every}"\n[[sources]]\ntype = "file"\npath = "{csv}"\n{request}\n'
    for name, plugin, config in CHECKS[checks]:
        text += f'[[checks]]\nname = "{name}"\nplugin = "{plugin}"\nconfig = {config}\n'
    return text


def write_targets(path, urls):
    """A list, there at once and whole: as whoever saves while it is read should."""
    new = path.with_suffix(".new")
    with new.open("w") as file:
        file.write("url\n")
        file.writelines(f"{url}\n" for url in urls)
    new.rename(path)


class Runner:
    """One run of the program over one pipeline, sampled."""

    def __init__(self, binary, folder, pipeline, data="data", more=()):
        """`pipeline` is its text; `folder` has its list; `more` are arguments."""
        (folder / "fleet.toml").write_text(pipeline)
        self.folder, self.data = folder, folder / data
        self.log = folder / "stderr"
        command = [str(binary), "run", str(folder / "fleet.toml"), "--data", str(self.data), "--log-json", *more]
        with (folder / "stdout").open("wb") as stdout, self.log.open("wb") as stderr:
            self.began, self.wall = time.monotonic(), time.time()
            self.process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        self.samples = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def sample(self):
        self.must_run()
        taken = first_light.sample(self.process.pid, self.began) | {"cpu": cpu_seconds(self.process.pid)}
        self.samples.append(taken)
        return taken

    def must_run(self):
        if self.process.poll() is not None:
            sys.exit("probity ended early: " + self.log.read_text()[-4000:])

    def watch(self, seconds, step=1.0):
        """Samples for so long: the first one at once, the last one at the end."""
        end = time.monotonic() + seconds
        taken = [self.sample()]
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(step, left))
            taken.append(self.sample())
        return taken

    def told(self, message, **fields):
        """When the log first told this (seconds since 1970), and with what; none if it has not."""
        for line in self.log.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            found = entry["fields"]
            if found.get("message") == message and all(found.get(key) == fields[key] for key in fields):
                at = datetime.fromisoformat(entry["timestamp"].replace("Z", "+00:00")).timestamp()
                return at, found
        return None

    def wait_for(self, message, timeout=120, **fields):
        end = time.monotonic() + timeout
        while not (told := self.told(message, **fields)):
            self.must_run()
            if time.monotonic() > end:
                sys.exit(f"probity never says {message!r} {fields or ''}: " + self.log.read_text()[-4000:])
            time.sleep(0.02)
        return told

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(120)
        if status != 0:
            print(f"probity ends with {status}: " + self.log.read_text()[-4000:], file=sys.stderr)
        return status


class Rows:
    """What the files of a run have."""

    def __init__(self, duckdb, runner):
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        self.query = lambda text: connection.execute(text).fetchall()
        # Of this run alone: another one may have written to the same folder before.
        self.table = f"""(SELECT * FROM read_parquet('{runner.data}/results/probes/*/*.parquet')
            WHERE epoch(started_at) >= {runner.wall})"""
        self.all, self.ids, self.first_started, self.first_finished = self.query(f"""
            SELECT count(*), count(DISTINCT (run_id, seq)), epoch(min(started_at)),
                min(epoch(started_at) + total_us / 1e6) FROM {self.table}""")[0]
        self.outcomes = dict(self.query(f"SELECT outcome, count(*) FROM {self.table} GROUP BY ALL"))
        why = "outcome || ': ' || coalesce(error_kind, failed_check, 'no reason')"
        self.reasons = dict(self.query(f"SELECT {why}, count(*) FROM {self.table} WHERE outcome <> 'up' GROUP BY ALL"))
        by_socket = f"SELECT regexp_extract(url, '//([^/]+)', 1), count(*) FROM {self.table} GROUP BY 1"
        self.by_socket = collections.Counter(dict(self.query(by_socket)))

    def started(self, begin, end):
        """How many probes began between two moments (seconds since 1970)."""
        began = f"epoch(started_at) >= {begin} AND epoch(started_at) < {end}"
        return self.query(f"SELECT count(*) FROM {self.table} WHERE {began}")[0][0]

    def lateness(self, begin, end):
        """Of the probes that began between two moments: p50, p99 and max in microseconds, and ticks missed.

        Not of those that were due then: where a rate is not held, they have not begun at the end.
        """
        p50_p99_max, missed = self.query(f"""
            SELECT quantile_cont(lateness_us, [0.5, 0.99, 1.0]), sum(missed)::BIGINT FROM {self.table}
            WHERE epoch(started_at) >= {begin} AND epoch(started_at) < {end}""")[0]
        return p50_p99_max or [float("nan")] * 3, missed or 0

    def generations(self):
        """When the first probe of each generation began."""
        return self.query(f"SELECT generation, epoch(min(started_at)) FROM {self.table} GROUP BY 1 ORDER BY 2")

    def against(self, asked):
        """Rows lost and rows too many, socket by socket, by the website's log."""
        lost = sum((asked - self.by_socket).values())
        return lost, sum((self.by_socket - asked).values()) + self.all - self.ids


def report(name, options, sections):
    """Prints tables of (figure, aim, measured, met) and writes them where that is asked for."""
    import figures

    parts = []
    for title, rows in sections:
        head = "| figure | aim | measured | |\n| --- | --- | --- | --- |"
        lines = [f"| {figure} | {aim or ''} | {value} | {verdict(met)} |" for figure, aim, value, met in rows]
        parts.append("\n".join([title, "", head, *lines]))
    text = "\n\n".join([*parts, figures.machine()])
    print(text)
    if options.write:
        figures.write_section(name, text)


def verdict(met):
    return {None: "", True: "met", False: "**missed**"}[met]


def millis(us):
    return f"{us / 1000:,.1f} ms"


def mebi(kib):
    return f"{kib / 1024:,.1f} MiB"
