"""Four pictures of the results: python charts.py [results] [charts.png]    (Polars and matplotlib)

How fast, where the time goes, who was down when, and a number that a check measured.
"""

import sys

import matplotlib
import polars as pl
from polars import col

from questions_polars import PHASES, UP, quantile, tables

matplotlib.use("agg")
from matplotlib import dates, pyplot  # noqa: E402

COLOURS = {"up": "#9fd19f", "degraded": "#f0c75e", "unknown": "#b8b8b8", "down": "#c8403a"}
PHASE_COLOURS = ["#4c72b0", "#55a868", "#8172b3", "#dd8452", "#937860"]
BELOW = {"frameon": False, "ncols": 5, "loc": "upper center", "bbox_to_anchor": (0.5, -0.12)}
# Points of a line at most.
POINTS = 60


def bucket(probes):
    """Times, cut into as many pieces as a line has points."""
    first, last = probes.select(first=col("started_at").min(), last=col("started_at").max()).collect().row(0)
    seconds = max(1, round((last - first).total_seconds() / POINTS))
    return col("started_at").dt.truncate(f"{seconds}s").alias("time")


def speed(axes, probes, checks):
    shares = (0.50, 0.95, 0.99)
    lines = [(quantile("total_us", share) / 1000).alias(f"p{share * 100:.0f}") for share in shares]
    answer = probes.filter(UP).group_by(bucket(probes)).agg(lines).sort("time").collect()
    for line, shade in zip(answer.columns[1:], ("#1f4e79", "#5b9bd5", "#bdd7ee")):
        axes.plot(answer["time"], answer[line], label=line, color=shade)
    axes.set(title="How fast are responses?", ylabel="ms", ylim=0)
    axes.legend(frameon=False)


def phases(axes, probes, checks):
    label = most_used_label(probes)
    means = [(col(f"{phase}_us").mean() / 1000).fill_null(0).alias(phase) for phase in PHASES]
    by_label = probes.filter(UP).group_by(label=col("labels").map.get(label).fill_null("none")).agg(means)
    answer = by_label.sort("label").collect()
    left = pl.zeros(answer.height, eager=True)
    for phase, colour in zip(PHASES, PHASE_COLOURS):
        axes.barh(answer["label"], answer[phase], left=left, label=phase, color=colour)
        left = left + answer[phase]
    axes.set(title=f"Where does the time go, by {label}?", xlabel="ms, on average")
    axes.invert_yaxis()
    axes.legend(**BELOW)


def most_used_label(probes):
    labels = probes.select(col("labels").map.keys().explode().alias("label")).drop_nulls()
    counted = labels.group_by("label").len().sort("len", "label", descending=[True, False]).collect()
    return counted["label"].first() if counted.height else "label"


def outages(axes, probes, checks):
    """The twelve worst targets, a line each."""
    worst = probes.group_by("target").agg(bad=(~UP).sum()).sort("bad", "target", descending=[True, False]).head(12)
    names = worst.collect()["target"].to_list()
    seen = probes.filter(col("target").is_in(names)).select("target", "started_at", "outcome").collect()
    for outcome, colour in COLOURS.items():
        of = seen.filter(col("outcome") == outcome)
        lines = [names.index(name) for name in of["target"]]
        axes.scatter(of["started_at"], lines, marker="|", s=60, color=colour, label=outcome)
    axes.set(title="Who was down, and when?", yticks=range(len(names)), yticklabels=names)
    axes.invert_yaxis()
    axes.legend(**BELOW)


def metric(axes, probes, checks):
    """The number that was measured most often, apart from the latency, which the first picture shows."""
    told = checks.select("started_at", col("metrics").map.entries()).explode("metrics").unnest("metrics").drop_nulls()
    told = told.filter(col("key") != "latency_seconds")
    counted = told.group_by("key").len().sort("len", "key", descending=[True, False]).collect()
    if counted.height == 0:
        axes.set(title="No check has measured anything")
        return
    name = counted["key"].first()
    points = told.filter(col("key") == name).group_by(bucket(probes)).agg(col("value").mean(), col("value").max().alias("most"))
    answer = points.sort("time").collect()
    axes.plot(answer["time"], answer["most"], label="highest", color="#f4b183")
    axes.plot(answer["time"], answer["value"], label="average", color="#c55a11")
    axes.set(title=f"What did the checks measure? {name}", ylim=0)
    axes.legend(frameon=False)


def main(results="results", picture="charts.png"):
    probes, checks = tables(results)
    figure, grid = pyplot.subplots(2, 2, figsize=(13, 8), layout="constrained")
    for axes, draw in zip(grid.flat, (speed, phases, outages, metric)):
        draw(axes, probes, checks)
        axes.spines[["top", "right"]].set_visible(False)
        if draw is not phases:
            axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(dates.AutoDateLocator()))
    figure.savefig(picture, dpi=72)


if __name__ == "__main__":
    main(*sys.argv[1:])
