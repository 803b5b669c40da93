"""Asks other tools: python tried.py [results] TOOL, where TOOL is spark, clickhouse or datafusion.

Each is asked for uptime, an entry of a map, and the hours of one day. The SQL is nearly the same; what differs is how a
folder of files becomes a table. Install pyspark (and a Java runtime), chdb or datafusion first.
"""

import sys
from pathlib import Path

QUESTIONS = {
    "uptime: which targets were up least?": """
        SELECT target, count(*) AS probes, 100.0 * count(*) FILTER (WHERE outcome IN ('up', 'degraded')) / count(*) AS up_percent
        FROM {probes} WHERE is_final AND outcome <> 'unknown' AND NOT in_maintenance
        GROUP BY target ORDER BY up_percent, target LIMIT 5""",
    "an entry of a map: how long does the first byte take, region by region?": """
        SELECT labels['region'] AS region, count(*) AS probes, avg(first_byte_us) / 1000 AS first_byte_ms
        FROM {probes} WHERE is_final AND outcome IN ('up', 'degraded') GROUP BY labels['region'] ORDER BY region""",
    "a day by the hour: only its files are opened": """
        SELECT date_trunc('hour', started_at) AS hour, count(*) AS probes
        FROM {probes} WHERE is_final AND date = '{day}' GROUP BY date_trunc('hour', started_at) ORDER BY hour LIMIT 5""",
}


def spark(results, ask):
    from pyspark.sql import SparkSession

    session = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").config("spark.ui.enabled", "false")
    session = session.master("local[*]").getOrCreate()
    # Without mergeSchema, Spark takes the columns of one file.
    session.read.option("mergeSchema", "true").parquet(f"{results}/probes").createOrReplaceTempView("probes")
    ask(lambda query: session.sql(query).show(truncate=False), "probes")


def clickhouse(results, ask):
    import chdb

    # ClickHouse guesses the columns by one file, unless told to look at all.
    settings = "SETTINGS schema_inference_mode = 'union', session_timezone = 'UTC'"
    show = lambda query: print(chdb.query(f"{query} {settings}", "PrettyCompactMonoBlock"))
    ask(show, f"file('{results}/probes/**/*.parquet', Parquet)")


def datafusion(results, ask):
    from datafusion import SessionContext

    context = SessionContext()
    # It looks at all files for the columns; the folder's `date` has to be named.
    table = f"CREATE EXTERNAL TABLE probes STORED AS PARQUET PARTITIONED BY (date) LOCATION '{results}/probes/'"
    context.sql(table)
    ask(lambda query: print(context.sql(query)), "probes")


def main(tool, results="results"):
    results = Path(results).resolve()
    newest = max((results / "probes").glob("date=*"))

    def ask(show, probes):
        for question, query in QUESTIONS.items():
            print(question)
            show(query.format(probes=probes, day=newest.name.removeprefix("date=")))

    {"spark": spark, "clickhouse": clickhouse, "datafusion": datafusion}[tool](results, ask)


if __name__ == "__main__":
    main(*reversed(sys.argv[1:]))
