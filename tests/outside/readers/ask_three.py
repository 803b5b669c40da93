"""Asks the twelve questions of `examples/ask-the-parquet` in DuckDB, Polars and pandas, each by its shipped file.

Prints JSON: for each tool a list of {"question", "columns", "rows"}, and what pandas calls the types of the columns.
Times are texts, absent values null.
"""

import json
import os
import re
import sys
from pathlib import Path

import duckdb
import pandas

EXAMPLE = Path(__file__).parents[3] / "examples" / "ask-the-parquet"
sys.path.insert(0, str(EXAMPLE))

import questions_pandas  # noqa: E402
import questions_polars  # noqa: E402


def main(data):
    # The SQL is for the folder that `results` lies in.
    os.chdir(data)
    answers = {"duckdb": ask_duckdb(), "polars": ask_polars(), "pandas": ask_pandas(), "pandas_types": pandas_types()}
    json.dump(answers, sys.stdout)


def ask_duckdb():
    connection = duckdb.connect()
    before, *rest = re.split(r"^-- (\d+\. .*)$", (EXAMPLE / "questions.sql").read_text(), flags=re.MULTILINE)
    connection.execute(before)
    questions = zip(rest[::2], rest[1::2])
    return [answer(question, connection.execute(query).df()) for question, query in questions]


def ask_polars():
    probes, checks = questions_polars.tables("results")
    ask = lambda question: question(probes, checks).collect().to_pandas()
    return [answer(question.__doc__, ask(question)) for question in questions_polars.QUESTIONS]


def ask_pandas():
    probes, checks = questions_pandas.tables("results")
    ask = lambda question: question(probes, checks)
    return [answer(question.__doc__, ask(question)) for question in questions_pandas.QUESTIONS]


def pandas_types():
    whole = {table: questions_pandas.read("results", table, columns=None) for table in ("probes", "checks")}
    return {table: {name: str(dtype) for name, dtype in frame.dtypes.items()} for table, frame in whole.items()}


def answer(question, frame):
    rows = [[plain(value) for value in row] for row in frame.itertuples(index=False)]
    return {"question": question, "columns": list(frame.columns), "rows": rows}


def plain(value):
    if pandas.isna(value):
        return None
    if isinstance(value, pandas.Timestamp):
        return value.tz_convert("UTC").isoformat(timespec="microseconds")
    return value if isinstance(value, str) else float(value)


main(sys.argv[1])
