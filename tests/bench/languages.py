#!/usr/bin/env python3
"""The cart check of examples/write-a-check in four languages, measured: writes the table in plugins/README.md.

    cargo build --release
    tests/bench/languages.py --binary target/release/probity --tools target/authors

Builds each example twice: what is measured is the second time, after a change to its source, with the kit and the
C library already compiled. Needs what `plugin build` needs for Rust, and npm; the other tools go into --tools.
"""

import argparse
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "authors"))
from toolbox import EXAMPLES, LANGUAGES, ROOT, Timed, install, run  # noqa: E402

PAGE = ROOT / "plugins/README.md"
MARKS = ("<!-- made by tests/bench/languages.py -->", "<!-- end of what tests/bench/languages.py made -->")
SOURCES = {"rust": "src/lib.rs", "c": "src/check.c", "js": "src/check.js", "python": "src/app.py"}
TITLES = {
    "rust": "[Rust](../examples/write-a-check/rust/README.md)",
    "c": "[C](../examples/write-a-check/c/README.md)",
    "js": "[JavaScript](../examples/write-a-check/javascript/README.md), in QuickJS",
    "python": "[Python](../examples/write-a-check/python/README.md), in CPython",
}
CONFIG = '{"currency": "GBP"}'


def measure(binary, tools, environment, language):
    """All that the table says of a language."""
    folder = EXAMPLES / LANGUAGES[language]
    component = tools.resolve() / f"{language}.wasm"
    probity = lambda *arguments: run([binary, "plugin", *arguments], env=environment).stdout
    probity("build", folder, "--out", component)
    with Changed(folder / SOURCES[language]), Timed() as built:
        probity("build", folder, "--out", component)
    probity("build", folder, "--out", component)
    inspected = json.loads(probity("inspect", component, "--config", CONFIG, "--format", "json"))
    page = EXAMPLES / "shop/cart.html"
    timed = probity("bench", component, "--config", CONFIG, "--body", page, "--format", "json")
    calls = {row["isolation"]: row["median_us"] for row in json.loads(timed)["calls"]}
    return {**inspected, "build_seconds": built.cpu, "calls": calls}


class Changed:
    """A source with a line more, as long as it takes."""

    def __init__(self, source):
        self.source = source

    def __enter__(self):
        self.before = self.source.read_text()
        mark = "# changed\n" if self.source.suffix == ".py" else "// changed\n"
        self.source.write_text(self.before + mark)

    def __exit__(self, *_):
        self.source.write_text(self.before)


def size(count):
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} KB"


def length(seconds):
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def table(measured):
    rows = [
        "| language | build after a change, CPU | component | compiled in | memory a call begins with | a call, fresh "
        "sandbox | a call, sandbox used again |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for language, told in measured.items():
        calls = told["calls"]
        fresh = calls.get("snapshot") or calls["configure"]
        how = "from a snapshot" if "snapshot" in calls else "configured each time"
        memory = size(told["memory_bytes"]) if told.get("memory_bytes") else "unknown"
        rows.append(
            f"| {TITLES[language]} | {length(told['build_seconds'])} | {size(told['size_bytes'])} "
            f"| {length(told['compile_seconds'])} | {memory} | {length(fresh / 1e6)}, {how} "
            f"| {length(calls['reuse'] / 1e6)} |"
        )
    return "\n".join(rows)


def processor():
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def write(text):
    page = PAGE.read_text()
    begin, end = (page.index(mark) for mark in MARKS)
    PAGE.write_text(page[: begin + len(MARKS[0])] + "\n" + text + "\n" + page[end:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--tools", type=pathlib.Path, required=True)
    parser.add_argument("--print", action="store_true", help="print the table instead of writing it")
    options = parser.parse_args()
    # A run that is stopped leaves no source changed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    binary = options.binary.resolve()
    environment = install(options.tools)
    measured = {name: measure(binary, options.tools, environment, name) for name in LANGUAGES}
    version = subprocess.run([binary, "--version"], text=True, capture_output=True).stdout.strip()
    note = f"The cart check of the examples on a page of 303 bytes; {version}, {os.cpu_count()} cores, {processor()}."
    text = f"{table(measured)}\n\n{note}"
    print(text)
    if not options.print:
        write(text)


if __name__ == "__main__":
    main()
