#!/usr/bin/env python3
"""Counts the instructions of the probe path by callgrind, and holds them against tests/bench/instructions.json.

The real program, built as for tests, runs `run --once` on two target lists against a canned server in a process of its
own. Of each function of PATHS, with all it calls, the difference of the two runs, divided by the difference of the
targets, is what one more target costs. These functions are chosen because they cost the same again, to some per mille:
whole threads do not, nor does the making of a batch, since how many rows come together depends on the time that
valgrind takes. One probe at a time, on one I/O thread, for the same reason. Counts do not depend on how busy the
machine is; they depend on the compiler, so that with another rustc it is only told. valgrind fixes the CPU's features,
so that another CPU changes nothing. Needs valgrind and cc. Linux on x86-64 only.

Three bundled checks are counted in a run of their own, by the call: what they do is code that the program makes, which
is counted with the function that calls it. A first run compiles and freezes them into the data folder. It does so under
valgrind too, so that the code is for the CPU that valgrind shows, and in the program itself, since valgrind does not
follow into the process that plugins are otherwise compiled in: HIDE keeps the program from finding itself.

Not counted: the one sandbox that bundled checks share (these begin from a snapshot each), the journal, HTTPS, redirects, retries, the kernel. The baseline is of the dev profile, and says nothing
about optimised code.

    tests/bench/instructions.py [--binary PATH] [--bless] [--profile] [--self-test]

Ends with 1 if a path costs over 10 % more than its baseline.
"""

import argparse
import contextlib
import ctypes
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASELINE = Path(__file__).with_suffix(".json")
HIDE = Path(__file__).with_name("hide_exe.c")
# So many that what differs from run to run, by the threads, is little beside them.
FEW, MANY = 50, 450
TOLERANCE = 0.10
BODY = b"x" * 2048
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: 2048\r\n\r\n" + BODY
PATHS = {
    "a target, read and built": "probity::reload::load::Loader::load",
    "a turn of the schedule": "probity::pipeline::run::run::{{closure}}",
    "a probe, to its row at the sink": "probity::pipeline::run::run::{{closure}}::{{closure}}",
    "of it, the exchange": "probity::fetch::Fetcher::fetch::{{closure}}",
    "a row, sorted and taken out": "probity::sink::parquet::sort::Sorted::next_rows",
    "a row as Parquet": "probity::sink::parquet::encode::encode",
}
CHECKS, CHECKS_PATH = "probity::check::set::CheckSet::judge", "three frozen checks"
# Frozen from the start. The limits are of time, which is long under valgrind.
CHECKS_CONFIG = "[request]\ntimeout = \"1m\"\n\n" + "".join(
    f'[[checks]]\nplugin = "{plugin}"\nisolation = "snapshot"\nlimits = {{ time = "10s" }}\n{config}\n'
    for plugin, config in [
        ("status", ""), ("latency", 'config = { max = "50s" }\n'), ("body", 'config = { contains = "xxx" }\n')])


def answer(connection):
    # Whoever has all may be gone.
    with connection, contextlib.suppress(OSError):
        seen = b""
        while b"\r\n\r\n" not in seen:
            some = connection.recv(4096)
            if not some:
                return
            seen += some
        connection.sendall(ANSWER)
        connection.recv(1)


def serve():
    """The canned server, in this process: the program that is counted is another."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def accept():
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def refuse_auxv():
    """Valgrind hides the vDSO, but old versions pass on prctl(PR_GET_AUXV), which tells where it was: rustix would
    read there and fault. With the call refused (EINVAL, as on older kernels), /proc/self/auxv is read, which valgrind
    fakes."""
    def instruction(code, yes, no, value):
        return struct.pack("HBBI", code, yes, no, value)

    program = b"".join([
        instruction(0x20, 0, 0, 0),  # the call's number
        instruction(0x15, 0, 3, 157),  # prctl, or allow
        instruction(0x20, 0, 0, 16),  # its first argument
        instruction(0x15, 0, 1, 0x41555856),  # PR_GET_AUXV, or allow
        instruction(0x06, 0, 0, 0x00050000 | 22),  # EINVAL
        instruction(0x06, 0, 0, 0x7FFF0000),  # allow
    ])

    class Filter(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

    text = ctypes.create_string_buffer(program)
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, by_filter = 38, 22, 2
    filtered = Filter(6, ctypes.addressof(text))
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, by_filter, ctypes.byref(filtered), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def counted(binary, here, port, targets, checks="", data=None, preload=None, tool="callgrind"):
    """Runs the program on so many targets, and returns callgrind's file."""
    here.mkdir()
    urls = "".join(f' "http://127.0.0.1:{port}/p{number:04}",\n' for number in range(targets))
    (here / "paths.toml").write_text(
        f"default_checks = false\n\n[limits]\nconcurrency = 1\n\n[[sources]]\ntargets = [\n{urls}]\n\n{checks}"
        '[[sinks]]\ntype = "parquet"\npath = "out"\n')
    out = here / "callgrind"
    ran = subprocess.run(
        ["valgrind", "--quiet", f"--tool={tool}", *([f"--callgrind-out-file={out}"] if tool == "callgrind" else []),
         binary, "run", "--once", "--log", "warn", "--data", data or here, here / "paths.toml"],
        preexec_fn=refuse_auxv, cwd=here, capture_output=True, text=True, timeout=600, check=False,
        env=os.environ | {"TOKIO_WORKER_THREADS": "1"} | ({"LD_PRELOAD": str(preload)} if preload else {}))
    if ran.returncode != 0 or f"{targets} up" not in ran.stdout + ran.stderr:
        sys.exit(f"{targets} targets ended with {ran.returncode}:\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}")
    return out


def functions(out, inclusive):
    told = subprocess.run(
        ["callgrind_annotate", "--threshold=100", f"--inclusive={inclusive}", "--show-percs=no", out],
        # Not where the sources are: it would list them too.
        cwd=out.parent, capture_output=True, text=True, check=True).stdout
    costs = {}
    for line in told.splitlines():
        if found := re.match(r"\s*([\d,]+)\s+\S*?:(.+?)(?: \[.*)?$", line):
            costs[found[2]] = costs.get(found[2], 0) + int(found[1].replace(",", ""))
    return costs


def calls(out, function):
    """How often a function was called."""
    names, number, called = {}, 0, ""
    for line in out.read_text().splitlines():
        if line.startswith(("fn=", "cfn=")):
            key, _, name = line.partition("=")[2].partition(" ")
            name = names.setdefault(key, name)
            if line[0] == "c":
                called = name
        elif line.startswith("calls=") and called == function:
            number += int(line[6:].split()[0])
    return number


def measure_checks(binary, port, folder):
    preload, data = folder / "hide_exe.so", folder / "data"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o", preload, HIDE, "-ldl"], check=True)
    counted(binary, folder / "compile", port, 1, CHECKS_CONFIG, data, preload, tool="none")
    out = counted(binary, folder / "checks", port, FEW, CHECKS_CONFIG, data, preload)
    if calls(out, CHECKS) != FEW:
        sys.exit(f"{CHECKS} was called {calls(out, CHECKS)} times for {FEW} targets: was it renamed, or inlined?")
    return round(functions(out, "yes")[CHECKS] / FEW)


def measure(binary, port, profile):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ran = [counted(binary, folder / f"{targets}", port, targets) for targets in (FEW, MANY)]
        costs = {inclusive: [functions(out, inclusive) for out in ran] for inclusive in ("yes", "no")}
        checks = measure_checks(binary, port, folder)
    few, many = costs["yes"]
    # A gate must not pass by a changed name.
    for function in PATHS.values():
        if function not in few or function not in many:
            sys.exit(f"no function {function} was called: was it renamed, or inlined?")
    if profile:
        for inclusive, title in (("yes", "inclusive"), ("no", "self")):
            few, many = costs[inclusive]
            each = {function: (cost - few.get(function, 0)) / (MANY - FEW) for function, cost in many.items()}
            print(f"\n| instructions of a target and its probe, {title} | function |\n| ---: | --- |")
            for function in sorted(each, key=each.get, reverse=True)[:15]:
                print(f"| {each[function]:.0f} | `{function[:110]}` |")
        print()
    few, many = costs["yes"]
    found = {path: round((many[name] - few[name]) / (MANY - FEW)) for path, name in PATHS.items()}
    return found | {CHECKS_PATH: checks}


def build():
    subprocess.run(["cargo", "build", "--locked", "--bin", "probity"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "probity"


def judge(found, baseline, rustc):
    """Prints what was counted beside its baseline; 1 if a path has grown."""
    print("| path | instructions | baseline | ratio |\n| --- | ---: | ---: | ---: |")
    grown, fallen = [], []
    for path, count in found.items():
        before = baseline["paths"].get(path)
        if not before:
            print(f"| {path} | {count:,} | none | |")
            grown.append(path)
            continue
        print(f"| {path} | {count:,} | {before:,} | {count / before:.3f} |")
        if count > before * (1 + TOLERANCE):
            grown.append(path)
        elif count < before * (1 - TOLERANCE):
            fallen.append(path)
    if fallen:
        print(f"fallen by over 10 %, so that the baseline is to be renewed (--bless): {', '.join(fallen)}")
    if grown:
        print(f"grown by over 10 %, or without a baseline: {', '.join(grown)}")
        if rustc == baseline["rustc"]:
            return 1
        print(f"only told, because the baseline is of another compiler: {baseline['rustc']}, not {rustc}")
    return 0


def self_test():
    """The gate can fail, and only where it should."""
    baseline = {"rustc": "one", "paths": {"a": 1_000, "b": 500}}
    expected = [
        ({"a": 1_000, "b": 500}, "one", 0), ({"a": 1_099, "b": 451}, "one", 0), ({"a": 1_101, "b": 500}, "one", 1),
        ({"a": 1_000, "b": 400}, "one", 0), ({"a": 1_000, "c": 1}, "one", 1), ({"a": 2_000, "b": 500}, "other", 0),
    ]
    for found, rustc, ends in expected:
        if judge(found, baseline, rustc) != ends:
            sys.exit(f"{found} by {rustc} should end with {ends}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="count this program, a dev build, instead of building one")
    parser.add_argument("--bless", action="store_true", help="write what was counted as the baseline")
    parser.add_argument("--profile", action="store_true", help="the functions that cost most")
    parser.add_argument("--self-test", action="store_true", help="only try whether made-up figures fail as they should")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    for needed, package in (("valgrind", "valgrind"), ("cc", "gcc")):
        if not shutil.which(needed):
            sys.exit(f"{needed} is missing (apt-get install {package})")
    binary = (arguments.binary or build()).resolve()
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = measure(binary, serve(), arguments.profile)
    if arguments.bless:
        BASELINE.write_text(json.dumps({"rustc": rustc, "paths": found}, indent=2) + "\n")
    return judge(found, json.loads(BASELINE.read_text()), rustc)


if __name__ == "__main__":
    sys.exit(main())
