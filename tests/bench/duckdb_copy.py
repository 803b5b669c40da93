#!/usr/bin/env python3
"""Our files beside those that DuckDB's own COPY makes of the same rows: bytes, and the times of the twelve questions.

    cargo bench --bench results -- --out /tmp/day            # 5 million probes, once
    target/readers/bin/python tests/bench/duckdb_copy.py /tmp/day

Two layouts are made of ours: `files`, where each of our files becomes one of DuckDB's with the same rows in the same order,
and `one`, where each table becomes one file, sorted as ours are. Both with ZSTD of the level and row groups of the size
that ours have; all else is DuckDB's choice, and so are the encodings. The questions are those of
examples/ask-the-parquet/questions.sql, asked by DuckDB of each in turn: a time is the median of the rounds.

Exits 1 if an aim is missed: our bytes at most 1.1 times those of `files`, and each question at most 1.2 times as long.
"""

import argparse
import os
import re
import shutil
import statistics
import sys
import time
from pathlib import Path

import duckdb

QUESTIONS = Path(__file__).parents[2] / "examples" / "ask-the-parquet" / "questions.sql"
BYTES, TIME = 1.1, 1.2
# As in runner/sink/parquet/encode.rs.
OPTIONS = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 131072"
TABLES = ("probes", "checks")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path, help="where `results` lies")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--cpu", action="store_true", help="CPU seconds: where the machine has other things to do")
    arguments.add_argument("--question", type=int, help="only this one")
    asked = arguments.parse_args()
    ours = asked.folder.resolve()
    layouts = {"ours": ours, "files": ours / "duckdb-files", "one": ours / "duckdb-one"}
    copy_files(ours, layouts["files"])
    copy_one(ours, layouts["one"])
    print(f"DuckDB {duckdb.__version__}, {asked.threads} threads, {asked.rounds} rounds; {OPTIONS}\n")
    missed = compare_bytes(layouts) + compare_times(layouts, asked)
    print("\n" + ("\n".join(f"missed: {aim}" for aim in missed) or "every aim is met"))
    sys.exit(bool(missed))


def files(folder, table):
    return sorted((folder / "results" / table).rglob("*.parquet"))


def copy_files(ours, folder):
    """Each file by itself."""
    if folder.exists():
        return
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    connection = duckdb.connect()
    for source in (source for table in TABLES for source in files(ours, table)):
        place = unfinished / source.relative_to(ours)
        place.parent.mkdir(parents=True, exist_ok=True)
        read = f"read_parquet('{source}', hive_partitioning = false)"
        connection.execute(f"COPY (FROM {read}) TO '{place}' ({OPTIONS})")
    unfinished.rename(folder)


def copy_one(ours, folder):
    """One file a table."""
    if folder.exists():
        return
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    connection = duckdb.connect()
    connection.execute(f"SET temp_directory = '{ours}/duckdb-temporary'")
    for table in TABLES:
        # The questions want a date.
        place = unfinished / "results" / table / f"{table}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        read = f"read_parquet('{ours}/results/{table}/**/*.parquet', hive_partitioning = true)"
        connection.execute(f"COPY (FROM {read} ORDER BY target, started_at, seq) TO '{place}' ({OPTIONS})")
    shutil.rmtree(ours / "duckdb-temporary", ignore_errors=True)
    unfinished.rename(folder)


def compare_bytes(layouts):
    print(f"{'bytes':<18}{'ours':>14}{'files':>14}{'one':>14}{'ours/files':>12}{'ours/one':>10}")
    sums = dict.fromkeys(layouts, 0)
    for table in TABLES:
        sizes = {name: sum(file.stat().st_size for file in files(folder, table)) for name, folder in layouts.items()}
        for name, size in sizes.items():
            sums[name] += size
        print_bytes(f"{table}, {len(files(layouts['ours'], table))} files", sizes)
    print_bytes("both", sums)
    ratio = sums["ours"] / sums["files"]
    return [f"bytes: {ratio:.2f} times those of DuckDB, aim {BYTES}"] if ratio > BYTES else []


def print_bytes(what, sizes):
    ratios = [sizes["ours"] / sizes["files"], sizes["ours"] / sizes["one"]]
    print(f"{what:<18}" + "".join(f"{size:>14,}" for size in sizes.values()) + f"{ratios[0]:>12.3f}{ratios[1]:>10.3f}")


def compare_times(layouts, asked):
    before, *rest = re.split(r"^-- (\d+\. \w.*?):.*$", QUESTIONS.read_text(), flags=re.MULTILINE)
    questions = dict(zip(rest[::2], rest[1::2]))
    if asked.question:
        questions = {name: query for name, query in questions.items() if name.startswith(f"{asked.question}. ")}
    clock = time.process_time if asked.cpu else time.perf_counter
    connections = {name: opened(folder, before, asked.threads) for name, folder in layouts.items()}
    print(f"\n{'CPU seconds' if asked.cpu else 'seconds':<18}{'ours':>14}{'files':>14}{'one':>14}{'ours/files':>12}{'ours/one':>10}")
    missed = []
    for question, query in questions.items():
        times = {name: [] for name in layouts}
        for turn in range(asked.rounds + 1):
            for name in rotated(list(layouts), turn):
                # The first round brings the files into memory.
                took = timed(connections[name], layouts[name], query, clock)
                if turn > 0:
                    times[name].append(took)
        medians = {name: statistics.median(of) for name, of in times.items()}
        ratio = medians["ours"] / medians["files"]
        numbers = "".join(f"{median:>14.3f}" for median in medians.values())
        print(f"{question:<18}{numbers}{ratio:>12.2f}{medians['ours'] / medians['one']:>10.2f}", flush=True)
        if ratio > TIME:
            missed.append(f"question {question}: {ratio:.2f} times as long as on DuckDB's files, aim {TIME}")
    return missed


def rotated(names, turn):
    """Each in turn is the first."""
    return names[turn % len(names) :] + names[: turn % len(names)]


def opened(folder, before, threads):
    # The views name the files relative to the folder that `results` lies in.
    os.chdir(folder)
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    connection.execute(before)
    return connection


def timed(connection, folder, query, clock):
    os.chdir(folder)
    begin = clock()
    connection.execute(query).fetchall()
    return clock() - begin


main()
