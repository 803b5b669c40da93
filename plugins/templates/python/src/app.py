"""The page must have a text: a check to begin with."""

import json

from componentize_py_types import Err
from wit_world.exports.checker import Status, Verdict
from wit_world.imports import report

# What stands under `config` in a pipeline file.
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "my-check",
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {
        "text": {"type": "string", "minLength": 1, "description": "The text that the page must have."},
    },
}


class Manifest:
    def describe(self):
        return [
            ("name", "my-check"),
            ("version", "0.1.0"),
            ("summary", "The page must have a text"),
            ("needs-body", "true"),
            ("config-schema", json.dumps(SCHEMA)),
        ]


class Checker:
    # The host calls `configure` once for a configuration, and then `run`.
    text = ""

    def configure(self, config):
        """An Err is shown to the person who wrote the configuration."""
        config = json.loads(config)
        for key in config:
            if key != "text":
                raise Err(f'unknown key "{key}", expected "text"')
        if "text" not in config:
            raise Err('missing key "text"')
        if not isinstance(config["text"], str):
            raise Err("text: not a string")
        if not config["text"]:
            raise Err("text: an empty text is in every page")
        Checker.text = config["text"]

    def run(self, observation):
        """An Err means: could not judge."""
        text, page = Checker.text, observation.body_text()
        occurrences = page.count(text)
        if occurrences == 0 and observation.body_truncated():
            kept = observation.body_len()
            raise Err(f'"{text}" is not in the first {kept} bytes, where the page was cut: raise body_limit')
        report.metric("occurrences", occurrences)
        if occurrences == 0:
            length = observation.body_len()
            message = f'"{text}" is not in the {length} bytes of the page, which begins "{page[:60]}"'
            return Verdict(Status.FAIL, message)
        return Verdict(Status.PASS, f'"{text}" is there')
