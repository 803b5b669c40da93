"""FIGURES.md: what the benchmarks last measured, a section a benchmark."""

import os
import platform
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "FIGURES.md"
TITLE = "# Figures\n\nWritten by the benchmarks beside this file, each its own section, with `--write`.\n"


def machine():
    """What it was measured on, in a line."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return f"{os.cpu_count()} cores ({names[0] if names else platform.machine()}), Linux {platform.release()}"


def write_section(name, markdown):
    """Writes a section in place of the one of that name, or at the end."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{markdown.strip()}\n{end}"
    text = PAGE.read_text() if PAGE.exists() else TITLE
    found = re.search(re.escape(begin) + ".*?" + re.escape(end), text, re.S)
    PAGE.write_text(text[: found.start()] + section + text[found.end() :] if found else f"{text}\n{section}\n")
