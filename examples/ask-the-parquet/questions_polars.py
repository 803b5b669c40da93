"""Twelve questions to the results, for Polars: python questions_polars.py [results]

The same questions as in questions.sql, with the same answers. SCHEMA.md tells what each column means.
"""

import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
from polars import col

UP = col("outcome").is_in(["up", "degraded"])
DOWN = col("outcome") == "down"
HOUR = col("started_at").dt.truncate("1h").alias("hour")
TARGET = ["pipeline", "target"]
ATTEMPT = ["run_id", "seq"]
PHASES = ["dns", "connect", "tls", "first_byte", "transfer"]


def scan(results, table):
    """A table with all its columns: files of older versions, which lack the newest ones, are read with the rest."""
    newest = max(Path(results, table).rglob("*.parquet"))
    return pl.scan_parquet(
        f"{results}/{table}/**/*.parquet",
        schema=pl.read_parquet_schema(newest),
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=True,
    )


def tables(results):
    """The attempts that count (a retried probe has several), and what the checks said of them."""
    probes = scan(results, "probes").filter("is_final")
    checks = scan(results, "checks").join(probes.select(ATTEMPT), on=ATTEMPT, how="semi")
    return probes, checks


def last_seen(probes):
    """When the last attempt began: "now", so that old results can be asked as well."""
    return probes.select(col("started_at").max()).collect().item()


def milliseconds(expression):
    return (expression / 1000).round(1)


def quantile(column, share):
    return col(column).quantile(share, interpolation="linear")


def up_percent(digits):
    return (100 * UP.sum() / (UP | DOWN).sum()).round(digits)


def uptime(probes, checks):
    """1. uptime: which targets were up least?"""
    return (
        probes.filter(~col("in_maintenance"))
        .group_by(TARGET)
        .agg(probes=pl.len(), up_percent=up_percent(2), unknown=(col("outcome") == "unknown").sum())
        .sort("up_percent", "target")
        .head(20)
    )


def percentiles(probes, checks):
    """2. percentiles: how fast were responses, hour by hour?"""
    return (
        probes.filter(UP)
        .group_by(HOUR)
        .agg(
            probes=pl.len(),
            p50_ms=milliseconds(quantile("total_us", 0.50)),
            p95_ms=milliseconds(quantile("total_us", 0.95)),
            p99_ms=milliseconds(quantile("total_us", 0.99)),
        )
        .sort("hour")
    )


def slow_phase(probes, checks):
    """3. slow phase: where does the time go, region by region?"""
    means = [milliseconds(col(f"{phase}_us").mean()).alias(f"{phase}_ms") for phase in PHASES]
    longest = pl.concat_list(f"{phase}_ms" for phase in PHASES).list.arg_max()
    return (
        probes.filter(UP)
        .group_by(region=col("labels").map.get("region"))
        .agg(pl.len().alias("probes"), *means)
        .with_columns(slowest=longest.replace_strict(dict(enumerate(PHASES)), return_dtype=pl.String))
        .sort("region")
    )


def certificates(probes, checks):
    """4. certificates: which end within 30 days, and how many targets show them?"""
    now = last_seen(probes)
    ends = pl.min_horizontal("cert_not_after", "cert_chain_not_after")
    return (
        probes.filter(ends < now + timedelta(days=30))
        .group_by("cert_subject", "cert_issuer", ends.alias("ends"))
        .agg(targets=col("target").n_unique())
        .with_columns(days_left=((col("ends") - now) / timedelta(days=1)).round(1))
        .select("cert_subject", "cert_issuer", "ends", "days_left", "targets")
        .sort("ends", "cert_subject")
    )


def failures(probes, checks):
    """5. failures: of what kind, how many, since when?"""
    return (
        probes.filter(col("outcome").is_in(["down", "unknown"]))
        .group_by(pl.coalesce("error_kind", "check " + col("failed_check")).alias("failure"), "outcome")
        .agg(
            probes=pl.len(),
            targets=col("target").n_unique(),
            first=col("started_at").min(),
            last=col("started_at").max(),
        )
        .sort("probes", "failure", descending=[True, False])
    )


def flapping(probes, checks):
    """6. flapping: which targets went down again and again?"""
    went_down = DOWN & ~DOWN.shift().over(TARGET, order_by="started_at")
    return (
        probes.filter(col("outcome") != "unknown")
        .select("target", down=DOWN, went_down=went_down)
        .group_by("target")
        .agg(times_down=col("went_down").sum(), down_percent=(100 * col("down").mean()).round(1))
        .filter(col("times_down") >= 5)
        .sort("times_down", "target", descending=[True, False])
        .head(20)
    )


def outages(probes, checks):
    """7. outages: who was down for three probes in a row or more, from when to when?"""
    # Probes of one stretch share the number of probes that were not down before them.
    stretch = (~DOWN).cum_sum().over(TARGET, order_by="started_at")
    return (
        probes.select(*TARGET, "started_at", "outcome", "error_kind", stretch=stretch)
        .filter(DOWN)
        .group_by(*TARGET, "stretch")
        .agg(
            began=col("started_at").min(),
            last_seen_down=col("started_at").max(),
            probes=pl.len(),
            failure=col("error_kind").min().fill_null("a check failed"),
        )
        .filter(col("probes") >= 3)
        .with_columns(minutes=((col("last_seen_down") - col("began")) / timedelta(minutes=1)).round(1))
        .select("target", "began", "last_seen_down", "probes", "minutes", "failure")
        .sort("minutes", "target", "began", descending=[True, False, False])
        .head(20)
    )


def check_failures(probes, checks):
    """8. checks: which fail, how often, and what do they say?"""
    status = col("status")
    failed = status == "fail"
    return (
        checks.group_by("check_name", "plugin")
        .agg(
            verdicts=pl.len(),
            failed=failed.sum(),
            warned=(status == "warn").sum(),
            could_not_judge=(status == "error").sum(),
            targets_failed=col("target").filter(failed).n_unique(),
            for_example=col("message").filter(failed).min().str.slice(0, 60),
        )
        .sort("failed", "check_name", descending=[True, False])
    )


def two_days(probes, checks):
    """9. two days: is today worse than yesterday?"""
    today = last_seen(probes).date()
    yesterday = today - timedelta(days=1)
    p95 = col("total_us").filter(UP).quantile(0.95, interpolation="linear")

    def day(date, name):
        # A filter on `date`, the folder's name, opens the files of that day and no others.
        return (
            probes.filter(col("date") == date)
            .group_by("pipeline")
            .agg(up_percent(3).alias(f"up_{name}"), milliseconds(p95).alias(f"p95_{name}"))
        )

    return (
        day(yesterday, "yesterday")
        .join(day(today, "today"), on="pipeline", how="full", coalesce=True)
        .select("pipeline", "up_yesterday", "up_today", "p95_yesterday", "p95_today")
        .sort("pipeline")
    )


def metric(probes, checks):
    """10. metric: how old was the feed, hour by hour, as the check `fresh` measured it?"""
    age = col("age_seconds")
    return (
        checks.filter(col("check_name") == "fresh")
        .with_columns(age_seconds=col("metrics").map.get("age_seconds"))
        .filter(age.is_not_null())
        .group_by(HOUR)
        .agg(samples=pl.len(), average_seconds=age.mean().round(1), oldest_seconds=age.max())
        .sort("hour")
    )


def lateness(probes, checks):
    """11. lateness: did the runner keep up?"""
    return (
        probes.group_by(HOUR)
        .agg(
            probes=pl.len(),
            p99_late_ms=milliseconds(quantile("lateness_us", 0.99)),
            worst_late_ms=col("lateness_us").max() / 1000,
            missed=col("missed").sum(),
        )
        .sort("hour")
    )


def cost(probes, checks):
    """12. cost: which checks take the runner's time?"""
    duration = col("duration_us")
    return (
        checks.group_by("check_name", "plugin")
        .agg(
            calls=pl.len(),
            p50_us=quantile("duration_us", 0.50).round(),
            p99_us=quantile("duration_us", 0.99).round(),
            seconds=(duration.sum() / 1e6).round(1),
            sum=duration.sum(),
        )
        .with_columns(percent=(100 * col("sum") / col("sum").sum()).round(1))
        .drop("sum")
        .sort("seconds", "check_name", descending=[True, False])
    )


QUESTIONS = [
    uptime, percentiles, slow_phase, certificates, failures, flapping,
    outages, check_failures, two_days, metric, lateness, cost,
]  # fmt: skip

if __name__ == "__main__":
    pl.Config.set_tbl_rows(50).set_tbl_cols(-1).set_fmt_str_lengths(60)
    probes, checks = tables(sys.argv[1] if len(sys.argv) > 1 else "results")
    for question in QUESTIONS:
        print(question.__doc__)
        print(question(probes, checks).collect())
