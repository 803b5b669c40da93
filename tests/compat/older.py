"""Makes results of a version before 0.1.0 out of those of 0.1.0: the same rows a day earlier, without the last columns.

    python tests/compat/older.py      (pyarrow; from tests/compat/results/0.1.0 to tests/compat/results/older)

There was no such version: this is what reading an older one together with a newer one will be like.
"""

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

RESULTS = Path(__file__).parent / "results"
# Columns that came later, from the end.
LATER = {"probes": ["checks_total", "checks_failed"], "checks": ["annotations"]}

RUN = "01990f0a-0000-7000-8000-000000000001"
OLDER_RUN = "01990f0a-0000-7000-8000-000000000000"


def main():
    for table, later in LATER.items():
        for source in (RESULTS / "0.1.0" / table).rglob("*.parquet"):
            rows = pa.parquet.ParquetFile(source).read()
            assert rows.column_names[-len(later) :] == later, rows.column_names
            rows = a_day_earlier(rows.drop_columns(later))
            place = str(source.relative_to(RESULTS / "0.1.0"))
            for new, old in [("2026-08-31", "2026-08-30"), ("20260831T", "20260830T"), (RUN, OLDER_RUN)]:
                place = place.replace(new, old)
            place = RESULTS / "older" / place
            place.parent.mkdir(parents=True, exist_ok=True)
            pa.parquet.write_table(rows, place, version="1.0", compression="zstd")


def a_day_earlier(rows):
    for name in ("started_at", "scheduled_at"):
        if name in rows.column_names:
            at = rows.column_names.index(name)
            earlier = pa.compute.subtract(rows[name], timedelta(days=1))
            rows = rows.set_column(at, rows.schema.field(at), earlier.cast(rows.schema.field(at).type))
    run_ids = pa.array([OLDER_RUN] * rows.num_rows)
    at = rows.column_names.index("run_id")
    return rows.set_column(at, rows.schema.field(at), run_ids)


main()
