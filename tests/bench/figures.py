"""FIGURES.md: what the benchmarks last measured, a section a benchmark."""

import os
import platform
import re
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "FIGURES.md"
TITLE = "# Figures\n\nWritten by the benchmarks beside this file, each its own section, with `--write`.\n"
# The order on the page, whichever benchmark ran last.
ORDER = ("price", "sustained", "soak", "scale", "growth", "parts")


def machine() -> str:
    """When and on what it was measured, in a line."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{day}, {os.cpu_count()} cores ({names[0] if names else platform.machine()}), Linux {platform.release()}"


def write_section(name: str, markdown: str) -> None:
    """Writes a section in place of the one of that name, and all sections in their order."""
    if name not in ORDER:
        raise ValueError(f"{name} is not one of {ORDER}")
    text = PAGE.read_text() if PAGE.exists() else ""
    there = dict(re.findall(r"^<!-- (\w+) -->\n(.*?)\n<!-- /\1 -->$", text, re.M | re.S))
    there[name] = markdown.strip()
    parts = [f"<!-- {one} -->\n{there[one]}\n<!-- /{one} -->\n" for one in ORDER if one in there]
    # A reader, or a kill, never sees half a page.
    new = PAGE.with_suffix(".new")
    new.write_text("\n".join([TITLE, *parts]))
    new.rename(PAGE)
