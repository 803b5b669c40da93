"""Runs the SQL in a file as it stands, in DuckDB, and prints the rows as JSON."""

import json
import sys
from pathlib import Path

import duckdb

rows = duckdb.connect().execute(Path(sys.argv[1]).read_text()).fetchall()
json.dump([[str(value) for value in row] for row in rows], sys.stdout)
