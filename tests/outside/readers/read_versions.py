"""Reads a results folder that several versions wrote, by the snippets of `examples/ask-the-parquet/README.md` as they
stand there, and once more after tomorrow's version has added a column.

Prints JSON: for each time and each tool what was read.
"""

import json
import os
import re
import sys
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.compute
import pyarrow.parquet

README = Path(__file__).parents[3] / "examples" / "ask-the-parquet" / "README.md"
LATE = "checks_total"
TOMORROW = "jitter_us"


def main(data):
    os.chdir(data)
    said = {"today": read_all()}
    add_tomorrow()
    said["tomorrow"] = read_all()
    json.dump(said, sys.stdout)


def read_all():
    _, section = README.read_text().split("\n## Files of several versions\n")
    snippets = re.findall(r"```(\w+)\n(.*?)```", section.split("\n## ")[0], flags=re.DOTALL)
    return [summary(language, snippet) for language, snippet in snippets]


def summary(language, snippet):
    if language == "sql":
        tool, probes = "duckdb", duckdb.connect().sql(snippet).to_arrow_table()
    else:
        known = {}
        exec(snippet, known)
        tool, probes = ("polars", known["probes"].collect().to_arrow()) if "pl" in known else ("pandas", known["probes"])
        probes = probes if tool == "polars" else pyarrow.Table.from_pandas(probes)
    count = lambda column: probes.num_rows - probes[column].null_count if column in probes.column_names else -1
    return {
        "tool": tool,
        "rows": probes.num_rows,
        "late": count(LATE),
        "tomorrow": count(TOMORROW),
        "total_us": pyarrow.compute.sum(probes["total_us"]).as_py(),
        "labels": sum(len(labels) for labels in probes["labels"].to_pylist()),
        "days": len(set(map(str, probes["date"].to_pylist()))),
    }


def add_tomorrow():
    """The newest file once more, a day and a column later."""
    newest = max(Path("results/probes").rglob("*.parquet"))
    rows = pyarrow.parquet.ParquetFile(newest).read()
    rows = rows.append_column(TOMORROW, pyarrow.array(range(rows.num_rows), pyarrow.int64()))
    folder = Path("results/probes/date=2099-01-01")
    folder.mkdir()
    pyarrow.parquet.write_table(rows, folder / "probes-20990101T00Z-main-x-000001.parquet")


main(sys.argv[1])
