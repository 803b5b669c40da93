"""Reads a results folder as a person would in DuckDB, by each of the globs that people type.

Prints JSON: for each table its columns with DuckDB's types, and for each glob the rows, the distinct keys,
the outcomes, and a checksum over all columns of all rows (a count alone does not open every page).
"""

import json
import sys

import duckdb


def main(results):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    tables = {}
    for table in ("probes", "checks"):
        globs = [f"{results}/{table}/*/*.parquet", f"{results}/{table}/**/*.parquet", f"{results}/**/{table}-*.parquet"]
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{globs[0]}')").fetchall()
        # `date=…` is a folder, not a column of the files.
        columns = {row[0]: row[1] for row in described if row[0] != "date"}
        tables[table] = {"columns": columns, "globs": {glob: read(connection, table, glob, columns) for glob in globs}}
    json.dump(tables, sys.stdout)


def read(connection, table, glob, columns):
    everything = ", ".join(f'"{name}"' for name in columns)
    key = "(run_id, seq, check_name)" if table == "checks" else "(run_id, seq)"
    # One statement, so that all of it is said of the same files while a runner goes on writing.
    wanted = {
        "rows": "count(*)",
        "distinct": f"count(DISTINCT {key})",
        "checksum": f"sum(hash({everything}) % 1000003)::BIGINT",
    }
    if table == "probes":
        wanted["outcomes"] = "histogram(outcome)"
        # Timestamps are timestamps: arithmetic works without a cast.
        on_time = "started_at > now() - INTERVAL 1 DAY AND started_at > scheduled_at - INTERVAL 1 SECOND"
        wanted["recent"] = f"count(*) FILTER ({on_time})"
    row = connection.execute(f"SELECT {', '.join(wanted.values())} FROM read_parquet('{glob}')").fetchall()[0]
    return dict(zip(wanted, row))


main(sys.argv[1])
