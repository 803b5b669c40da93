#!/usr/bin/env python3
"""The authors' path in four languages, as an author walks it: the examples are built from source, hold their cases,
and judge a small shop through a real pipeline, whose verdicts are read back from Parquet; and what `plugin new`
makes is built, tested and run as it is.

    tests/authors/path.py --binary target/debug/probity --tools target/authors [--lang rust …]

Needs DuckDB for Python, npm, and what `plugin build` needs for Rust. The other tools are installed into --tools.
"""

import argparse
import pathlib
import shutil
import sys

import duckdb
from toolbox import EXAMPLES, LANGUAGES, Shop, Timed, install, run

# A page of the shop: the outcome, and the check's status, message, total and number of items.
CARTS = {
    "cart": ("up", "pass", "3 items, 9.60 GBP", 9.6, 3.0),
    "wrong-total": ("down", "fail", "the total is 8.05 GBP, but 2 items cost 8.50 GBP", 8.05, 2.0),
    "euro": ("down", "fail", "the currency is EUR, not GBP", None, 2.0),
    "empty": ("degraded", "warn", "the cart is empty", 0.0, 0.0),
    "sold-out": ("down", "fail", 'no <script id="cart"> in a page of 109 bytes', None, None),
    "long": ("unknown", "error", "the page was cut at 1024 bytes, before its cart: raise body_limit", None, None),
}


class Author:
    """A language, walked from its source to its verdicts."""

    def __init__(self, options, environment, language):
        self.binary, self.environment, self.language = options.binary.resolve(), environment, language
        self.work = options.tools.resolve() / "work" / language
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)

    def probity(self, *arguments, code=0):
        return run([self.binary, *arguments], cwd=self.work, env=self.environment, code=code)

    def step(self, name, *arguments, code=0):
        with Timed() as timed:
            done = self.probity(*arguments, code=code)
        print(f"{self.language:11} {name:8} {timed}", flush=True)
        return done

    def example(self, shop):
        """Builds the cart check from its sources and has it judge the shop."""
        folder = EXAMPLES / LANGUAGES[self.language]
        component = self.work / "cart.wasm"
        self.step("build", "plugin", "build", folder, "--out", component)
        self.step("test", "plugin", "test", folder, "--plugin", component)
        text = (folder / "pipeline.toml").read_text()
        (self.work / "pipeline.toml").write_text(text.replace("http://127.0.0.1:8000", shop.origin))
        self.step("run", "run", "--once", "pipeline.toml", code=1)
        expect_carts(self.work / "results")

    def new(self, shop):
        """Makes a new check, builds it, tests it and runs it, with no word changed but the page's address."""
        self.probity("plugin", "new", "first", "--lang", self.language)
        self.step("new", "plugin", "build", "first")
        self.probity("plugin", "test", "first")
        pipeline = self.work / "first/pipeline.toml"
        text = pipeline.read_text()
        pipeline.write_text(text.replace("https://example.com/", f"{shop.origin}/").replace("Example Domain", "sells"))
        self.probity("run", "--once", "first/pipeline.toml", "--data", "first")
        found = verdicts(self.work / "first/results", "first")
        expected = {f"{shop.origin}/": ("up", "pass", '"sells" is there', {"occurrences": 2.0})}
        if found != expected:
            sys.exit(f"{self.language}: the new check said {found}, not {expected}")


def verdicts(results, check):
    """What a check said, by target: outcome, status, message, metrics."""
    rows = duckdb.sql(f"""
        SELECT target, outcome, status, message, metrics
        FROM '{results}/checks/*/*.parquet' JOIN '{results}/probes/*/*.parquet' USING (run_id, seq, target)
        WHERE check_name = '{check}'""").fetchall()
    return {target: (outcome, status, message, dict(metrics)) for target, outcome, status, message, metrics in rows}


def expect_carts(results):
    found = verdicts(results, "cart")
    for page, (outcome, status, message, total_gbp, items) in CARTS.items():
        said = found.pop(page)
        metrics = said[3]
        if said[:3] != (outcome, status, message) or (metrics.get("total_gbp"), metrics.get("items")) != (total_gbp, items):
            sys.exit(f"{page}: {said}, not {(outcome, status, message, total_gbp, items)}")
    if found:
        sys.exit(f"verdicts on pages that are not there: {found}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True)
    parser.add_argument("--tools", type=pathlib.Path, required=True)
    parser.add_argument("--lang", nargs="*", choices=LANGUAGES, default=list(LANGUAGES))
    options = parser.parse_args()
    with Timed() as timed:
        environment = install(options.tools)
    print(f"{'tools':20} {timed}", flush=True)
    shop = Shop(EXAMPLES / "shop")
    front = options.tools / "front"
    front.mkdir(exist_ok=True)
    (front / "index.html").write_text("<title>A shop that sells</title><h1>It sells</h1>\n")
    for language in options.lang:
        author = Author(options, environment, language)
        author.example(shop)
        author.new(Shop(front))
    print(f"{len(options.lang)} languages: all verdicts are right")


if __name__ == "__main__":
    main()
