"""Twelve questions to the results, for pandas: python questions_pandas.py [results]

The same questions as in questions.sql, with the same answers. SCHEMA.md tells what each column means. pandas holds
what it reads in memory: the columns are named, and rows are left out where they are read.
"""

import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

UP = ["up", "degraded"]
TARGET = ["pipeline", "target"]
ATTEMPT = ["run_id", "seq"]
CHECK = ["check_name", "plugin"]
PHASES = ["dns", "connect", "tls", "first_byte", "transfer"]

PROBES = [
    *ATTEMPT, *TARGET, "date", "started_at", "labels", "outcome", "error_kind", "failed_check", "in_maintenance",
    "missed", "lateness_us", "total_us", *(f"{phase}_us" for phase in PHASES),
    "cert_subject", "cert_issuer", "cert_not_after", "cert_chain_not_after",
]  # fmt: skip
CHECKS = [*ATTEMPT, *CHECK, "target", "started_at", "status", "message", "duration_us", "metrics"]


def read(results, table, columns, filters=None):
    """A table's columns: files of older versions, which lack the newest ones, are read with the rest. Arrow's types
    are kept: absent stays absent, and whole numbers stay whole."""
    newest = max(Path(results, table).rglob("*.parquet"))
    return pd.read_parquet(
        Path(results, table),
        columns=columns,
        filters=filters,
        schema=pa.parquet.read_schema(newest).append(pa.field("date", pa.date32())),
        dtype_backend="pyarrow",
    )


def tables(results):
    """The attempts that count (a retried probe has several), and what the checks said of them."""
    probes = read(results, "probes", PROBES, filters=[("is_final", "=", True)])
    checks = read(results, "checks", CHECKS).merge(probes[ATTEMPT], on=ATTEMPT)
    return probes, checks


def entry(maps, key):
    """An entry of a column of maps: absent where there is none of this name."""
    found = pa.compute.map_lookup(pa.array(maps), key, "first")
    return pd.Series(found, index=maps.index, dtype=pd.ArrowDtype(found.type))


def hour(frame):
    return frame["started_at"].dt.floor("h").rename("hour")


def answered(probes):
    return probes[probes["outcome"].isin(UP)]


def milliseconds(lengths):
    return (lengths / 1000).round(1)


def up_percent(outcomes):
    return 100 * outcomes.isin(UP).sum() / outcomes.isin([*UP, "down"]).sum()


def uptime(probes, checks):
    """1. uptime: which targets were up least?"""
    by_target = probes[~probes["in_maintenance"]].groupby(TARGET)["outcome"]
    answer = by_target.agg(
        probes="size",
        up_percent=lambda outcomes: round(up_percent(outcomes), 2),
        unknown=lambda outcomes: (outcomes == "unknown").sum(),
    )
    return answer.reset_index().sort_values(["up_percent", "target"]).head(20)


def percentiles(probes, checks):
    """2. percentiles: how fast were responses, hour by hour?"""
    up = answered(probes)
    total = up.groupby(hour(up))["total_us"]
    quantiles = {f"p{share * 100:.0f}_ms": milliseconds(total.quantile(share)) for share in (0.50, 0.95, 0.99)}
    return pd.DataFrame({"probes": total.size(), **quantiles}).reset_index().sort_values("hour")


def slow_phase(probes, checks):
    """3. slow phase: where does the time go, region by region?"""
    up = answered(probes)
    by_region = up.groupby(entry(up["labels"], "region").rename("region"), dropna=False)
    means = pd.DataFrame({f"{phase}_ms": milliseconds(by_region[f"{phase}_us"].mean()) for phase in PHASES})
    slowest = means.astype("float64").idxmax(axis=1).str.removesuffix("_ms")
    return means.assign(slowest=slowest).pipe(lambda answer: answer.assign(probes=by_region.size())).reset_index()[
        ["region", "probes", *means.columns, "slowest"]
    ]


def certificates(probes, checks):
    """4. certificates: which end within 30 days, and how many targets show them?"""
    now = probes["started_at"].max()
    seen = probes.assign(ends=probes[["cert_not_after", "cert_chain_not_after"]].min(axis=1))
    ending = seen[seen["ends"] < now + timedelta(days=30)]
    answer = ending.groupby(["cert_subject", "cert_issuer", "ends"])["target"].nunique().rename("targets").reset_index()
    answer.insert(3, "days_left", ((answer["ends"] - now) / timedelta(days=1)).round(1))
    return answer.sort_values(["ends", "cert_subject"])


def failures(probes, checks):
    """5. failures: of what kind, how many, since when?"""
    failed = probes[probes["outcome"].isin(["down", "unknown"])]
    failure = failed["error_kind"].fillna("check " + failed["failed_check"]).rename("failure")
    answer = failed.groupby([failure, "outcome"]).agg(
        probes=("seq", "size"),
        targets=("target", "nunique"),
        first=("started_at", "min"),
        last=("started_at", "max"),
    )
    return answer.reset_index().sort_values(["probes", "failure"], ascending=[False, True])


def flapping(probes, checks):
    """6. flapping: which targets went down again and again?"""
    known = probes[probes["outcome"] != "unknown"].sort_values("started_at")
    down = known["outcome"] == "down"
    was_down = down.groupby([known[column] for column in TARGET]).shift()
    turns = pd.DataFrame({"target": known["target"], "down": down, "went_down": (down & ~was_down).fillna(False)})
    answer = turns.groupby("target").agg(times_down=("went_down", "sum"), down_percent=("down", "mean")).reset_index()
    answer["down_percent"] = (100 * answer["down_percent"]).round(1)
    often = answer[answer["times_down"] >= 5]
    return often.sort_values(["times_down", "target"], ascending=[False, True]).head(20)


def outages(probes, checks):
    """7. outages: who was down for three probes in a row or more, from when to when?"""
    ordered = probes.sort_values("started_at")
    down = ordered["outcome"] == "down"
    # Probes of one stretch share the number of probes that were not down before them.
    stretch = (~down).groupby([ordered[column] for column in TARGET]).cumsum().rename("stretch")
    answer = (
        ordered[down]
        .groupby([*TARGET, stretch[down]])
        .agg(
            began=("started_at", "min"),
            last_seen_down=("started_at", "max"),
            probes=("seq", "size"),
            failure=("error_kind", "min"),
        )
        .reset_index()
    )
    answer = answer[answer["probes"] >= 3]
    answer["minutes"] = ((answer["last_seen_down"] - answer["began"]) / timedelta(minutes=1)).round(1)
    answer["failure"] = answer["failure"].fillna("a check failed")
    answer = answer[["target", "began", "last_seen_down", "probes", "minutes", "failure"]]
    return answer.sort_values(["minutes", "target", "began"], ascending=[False, True, True]).head(20)


def check_failures(probes, checks):
    """8. checks: which fail, how often, and what do they say?"""
    failed = checks[checks["status"] == "fail"].groupby(CHECK)
    counts = checks.groupby(CHECK)["status"].value_counts().unstack(fill_value=0)
    answer = pd.DataFrame({"verdicts": checks.groupby(CHECK).size()})
    for name, status in [("failed", "fail"), ("warned", "warn"), ("could_not_judge", "error")]:
        answer[name] = counts.get(status, 0)
    answer["targets_failed"] = failed["target"].nunique().reindex(answer.index, fill_value=0)
    answer["for_example"] = failed["message"].min().str.slice(0, 60).reindex(answer.index)
    return answer.reset_index().sort_values(["failed", "check_name"], ascending=[False, True])


def two_days(probes, checks):
    """9. two days: is today worse than yesterday?"""
    today = probes["started_at"].max().date()
    columns = {}
    for name, date in [("yesterday", today - timedelta(days=1)), ("today", today)]:
        # `date` is the folder's name: as a filter of `read` it opens the files of that day and no others.
        day = probes[probes["date"] == date]
        columns[f"up_{name}"] = day.groupby("pipeline")["outcome"].agg(up_percent).round(3)
        columns[f"p95_{name}"] = milliseconds(answered(day).groupby("pipeline")["total_us"].quantile(0.95))
    answer = pd.DataFrame(columns).rename_axis("pipeline").reset_index().sort_values("pipeline")
    return answer[["pipeline", "up_yesterday", "up_today", "p95_yesterday", "p95_today"]]


def metric(probes, checks):
    """10. metric: how old was the feed, hour by hour, as the check `fresh` measured it?"""
    fresh = checks[checks["check_name"] == "fresh"]
    age = entry(fresh["metrics"], "age_seconds").dropna()
    answer = age.groupby(hour(fresh)).agg(samples="size", average_seconds="mean", oldest_seconds="max")
    return answer.round({"average_seconds": 1}).reset_index().sort_values("hour")


def lateness(probes, checks):
    """11. lateness: did the runner keep up?"""
    by_hour = probes.groupby(hour(probes))
    late = by_hour["lateness_us"]
    return pd.DataFrame(
        {
            "probes": by_hour.size(),
            "p99_late_ms": milliseconds(late.quantile(0.99)),
            "worst_late_ms": late.max() / 1000,
            "missed": by_hour["missed"].sum(),
        }
    ).reset_index().sort_values("hour")  # fmt: skip


def cost(probes, checks):
    """12. cost: which checks take the runner's time?"""
    duration = checks.groupby(CHECK)["duration_us"]
    answer = pd.DataFrame(
        {
            "calls": duration.size(),
            "p50_us": duration.quantile(0.50).round(),
            "p99_us": duration.quantile(0.99).round(),
            "seconds": (duration.sum() / 1e6).round(1),
            "percent": (100 * duration.sum() / duration.sum().sum()).round(1),
        }
    )
    return answer.reset_index().sort_values(["seconds", "check_name"], ascending=[False, True])


QUESTIONS = [
    uptime, percentiles, slow_phase, certificates, failures, flapping,
    outages, check_failures, two_days, metric, lateness, cost,
]  # fmt: skip

if __name__ == "__main__":
    pd.set_option("display.width", 160, "display.max_columns", None, "display.max_colwidth", 60)
    probes, checks = tables(sys.argv[1] if len(sys.argv) > 1 else "results")
    for question in QUESTIONS:
        print(question.__doc__)
        print(question(probes, checks).to_string(index=False), end="\n\n")
