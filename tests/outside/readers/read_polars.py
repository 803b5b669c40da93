"""Reads a results folder as a person would in Polars: by glob and by the bare folder.

Prints JSON of the same form as read_duckdb.py, with Polars' types.
"""

import json
import sys
from datetime import datetime, timedelta, timezone

import polars


def main(results):
    tables = {}
    for table in ("probes", "checks"):
        globs = [f"{results}/{table}/*/*.parquet", f"{results}/{table}/**/*.parquet", f"{results}/{table}"]
        tables[table] = {"globs": {}}
        for glob in globs:
            frame = polars.scan_parquet(glob, hive_partitioning=False).collect()
            tables[table]["columns"] = {name: str(kind) for name, kind in frame.schema.items()}
            tables[table]["globs"][glob] = summary(table, frame)
    json.dump(tables, sys.stdout)


def summary(table, frame):
    keys = ["run_id", "seq"] + (["check_name"] if table == "checks" else [])
    answer = {"rows": frame.height, "distinct": frame.select(keys).unique().height}
    if table == "probes":
        counted = frame.group_by("outcome").len().rows()
        answer["outcomes"] = dict(counted)
        yesterday = datetime.now(timezone.utc) - timedelta(days=1)
        column = polars.col
        second = timedelta(seconds=1)
        on_time = column("started_at") > column("scheduled_at") - second
        recent = frame.filter((column("started_at") > yesterday) & on_time)
        answer["recent"] = recent.height
    return answer


main(sys.argv[1])
