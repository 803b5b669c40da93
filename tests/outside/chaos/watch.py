"""Reads results folders again and again with DuckDB, Polars and pyarrow, as people do while a runner writes and dies.

    watch.py FOLDER...

Every pass reads all columns of all rows, by the globs and the bare folder that each tool is given. What cannot be read,
what is no Parquet file, and a key that comes twice are told at once, a JSON object a line: {"fault": …}. A line on
stdin asks for something: `dump PATH` writes what DuckDB and pyarrow read of every row to PATH.duckdb and PATH.pyarrow
(a JSON object a row, times in microseconds) and says {"dumped": PATH}; the end of stdin ends it, after one more pass,
with {"passes": …, "reads": …}.
"""

import glob
import json
import os
import queue
import sys
import threading
import time

# Readers are guests here: they leave the processor to whom they watch.
os.environ["POLARS_MAX_THREADS"] = "1"
os.nice(10)

import duckdb
import polars
import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet

pyarrow.set_cpu_count(1)
pyarrow.set_io_thread_count(1)
TABLES = ("probes", "checks")
KEYS = {"probes": ["run_id", "seq"], "checks": ["run_id", "seq", "check_name"]}
connection = duckdb.connect()
connection.execute("SET threads = 1")
connection.execute("SET TimeZone = 'UTC'")


def say(**what):
    print(json.dumps(what), flush=True)


def files_of(folder):
    return [os.path.join(above, name) for above, _, names in os.walk(folder) for name in names]


def forms(folder, table):
    """The ways in which people name the files of a table."""
    return [f"{folder}/{table}/*/*.parquet", f"{folder}/{table}/**/*.parquet", f"{folder}/**/{table}-*.parquet"]


def columns_of(source):
    described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{source}')").fetchall()
    return [(row[0], row[1]) for row in described if row[0] != "date"]


def by_duckdb(folder, table):
    for source in forms(folder, table):
        everything = ", ".join(f'"{name}"' for name, _ in columns_of(source))
        keys = ", ".join(KEYS[table])
        asked = f"SELECT count(*), count(DISTINCT ({keys})), sum(hash({everything}) % 1000003)"
        rows, distinct, _ = connection.execute(f"{asked} FROM read_parquet('{source}')").fetchall()[0]
        yield f"duckdb {source}", rows, distinct


def by_polars(folder, table):
    for source in [*forms(folder, table)[:2], f"{folder}/{table}"]:
        frame = polars.scan_parquet(source, hive_partitioning=False).collect()
        yield f"polars {source}", frame.height, frame.select(KEYS[table]).unique().height


def by_pyarrow(folder, table):
    whole = pyarrow.dataset.dataset(f"{folder}/{table}", format="parquet").to_table(use_threads=False)
    each = [pyarrow.parquet.read_table(path, partitioning=None, use_threads=False) for path in glob.glob(forms(folder, table)[0])]
    for way, rows in ((f"pyarrow {folder}/{table}", whole), ("pyarrow, file by file", pyarrow.concat_tables(each))):
        rows.validate(full=True)
        yield way, rows.num_rows, rows.group_by(KEYS[table], use_threads=False).aggregate([]).num_rows


def look(folder):
    """One pass over one folder: how many times something was read."""
    for path in files_of(folder):
        if not path.endswith(".parquet"):
            say(fault=f"a foreign file: {path}")
    reads = 0
    for table in TABLES:
        # What is there once stays, so a glob that matched goes on to match.
        if not glob.glob(forms(folder, table)[0]):
            continue
        least = 0
        for reader in (by_duckdb, by_polars, by_pyarrow):
            try:
                for way, rows, distinct in reader(folder, table):
                    reads += 1
                    if rows != distinct:
                        say(fault=f"{way}: {rows} rows, {distinct} keys")
                    if rows < least:
                        say(fault=f"{way}: {rows} rows, {least} before")
                    least = rows
            except Exception as error:
                say(fault=f"{reader.__name__} {folder}/{table}: {type(error).__name__}: {error}")
    return reads


def dump(folders, path):
    with open(f"{path}.duckdb", "w") as out:
        for folder, table in each_table(folders):
            source = forms(folder, table)[0]
            columns = columns_of(source)
            value = lambda name, kind: f'epoch_us("{name}")' if kind.startswith("TIMESTAMP") else f'"{name}"'
            asked = ", ".join(value(name, kind) for name, kind in columns)
            cursor = connection.execute(f"SELECT {asked} FROM read_parquet('{source}')")
            names = [name for name, _ in columns]
            for row in cursor.fetchall():
                out.write(json.dumps({"table": table, "row": dict(zip(names, row))}) + "\n")
    with open(f"{path}.pyarrow", "w") as out:
        for folder, table in each_table(folders):
            rows = pyarrow.dataset.dataset(f"{folder}/{table}", format="parquet").to_table(use_threads=False)
            for index, field in enumerate(rows.schema):
                if pyarrow.types.is_timestamp(field.type):
                    rows = rows.set_column(index, field.name, rows[field.name].cast(pyarrow.int64()))
            for row in rows.to_pylist(maps_as_pydicts="strict"):
                out.write(json.dumps({"table": table, "row": row}) + "\n")
    say(dumped=path)


def each_table(folders):
    pairs = [(folder, table) for folder in folders for table in TABLES]
    return [(folder, table) for folder, table in pairs if glob.glob(forms(folder, table)[0])]


def main(folders):
    asked = queue.Queue()

    def listen():
        for line in sys.stdin:
            asked.put(line.strip())
        asked.put(None)

    threading.Thread(target=listen, daemon=True).start()
    passes, reads = 0, 0
    say(ready=True)
    while True:
        try:
            line = asked.get_nowait()
        except queue.Empty:
            line = ""
        if line is not None and line.startswith("dump "):
            dump(folders, line.removeprefix("dump "))
            continue
        began = time.monotonic()
        reads += sum(look(folder) for folder in folders)
        passes += 1
        if line is None:
            return say(passes=passes, reads=reads)
        # Half of the time at most, and not again at once where there is little to read.
        time.sleep(max(0.05, min(1.0, time.monotonic() - began)))


main(sys.argv[1:])
