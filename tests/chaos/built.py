"""What the commands of this folder run: the tests and the program, freshly built, and the readers' Python."""

import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def executables():
    """The tests and the program, freshly built."""
    command = ["cargo", "test", "--locked", "--test", "outside", "--no-run", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    found = {message["target"]["name"]: message["executable"] for message in messages if message.get("executable")}
    return pathlib.Path(found["outside"]), pathlib.Path(found["probity"])


def python(target):
    named = os.environ.get("PROBITY_PYTHON")
    return named or str(target / "readers/bin/python")
