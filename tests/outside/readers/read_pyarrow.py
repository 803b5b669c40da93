"""Reads a results folder as a person would with pyarrow (and so pandas): the bare folder as a dataset, and
every file by itself with page checksums and statistics looked at.

Prints JSON of the same form as read_duckdb.py, with Arrow's types.
"""

import glob
import json
import sys
from datetime import datetime, timedelta, timezone

import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.parquet


def main(results):
    tables = {}
    for table in ("probes", "checks"):
        folder = f"{results}/{table}"
        whole = pyarrow.dataset.dataset(folder, format="parquet").to_table()
        tables[table] = {
            "columns": {field.name: str(field.type) for field in whole.schema},
            "globs": {folder: summary(table, whole)},
        }
        files = sorted(glob.glob(f"{folder}/**/*.parquet", recursive=True))
        each = pyarrow.concat_tables(pyarrow.parquet.read_table(file, partitioning=None) for file in files)
        tables[table]["globs"][f"{folder}/**/*.parquet"] = summary(table, each)
        for file in files:
            metadata = pyarrow.parquet.ParquetFile(file).metadata
            assert metadata.num_rows > 0, f"an empty file: {file}"
            assert metadata.metadata, f"no footer metadata: {file}"
    json.dump(tables, sys.stdout)


def summary(table, rows):
    rows.validate(full=True)
    keys = ["run_id", "seq"] + (["check_name"] if table == "checks" else [])
    answer = {"rows": rows.num_rows, "distinct": rows.group_by(keys).aggregate([]).num_rows}
    if table == "probes":
        counted = rows.group_by("outcome").aggregate([("outcome", "count")]).to_pylist()
        answer["outcomes"] = {row["outcome"]: row["outcome_count"] for row in counted}
        compute = pyarrow.compute
        yesterday = pyarrow.scalar(datetime.now(timezone.utc) - timedelta(days=1), rows.schema.field("started_at").type)
        second = pyarrow.scalar(timedelta(seconds=1))
        recent = compute.and_(
            compute.greater(rows["started_at"], yesterday),
            compute.greater(rows["started_at"], compute.subtract(rows["scheduled_at"], second)),
        )
        answer["recent"] = compute.sum(recent).as_py()
    return answer


main(sys.argv[1])
