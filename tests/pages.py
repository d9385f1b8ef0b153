"""The pages of the documentation, read as their readers do."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TICKED = re.compile(r"`([^`]+)`")


def page(name):
    return (ROOT / name).read_text("utf-8")


def section(name, heading):
    """The text under one heading of a page, up to the next."""
    after = re.split(rf"^#+ {re.escape(heading)}$", page(name), maxsplit=1, flags=re.MULTILINE)
    assert len(after) == 2, f"{name} has no heading {heading!r}"
    return re.split(r"^#+ ", after[1], maxsplit=1, flags=re.MULTILINE)[0]


def table(text):
    """The rows of the tables in `text`, as dicts by the names of their columns."""
    rows, columns = [], None
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if columns is None:
            columns = cells
        elif not set(line) <= set("|-"):
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def code(text, *languages):
    return [body for language, body in FENCE.findall(text) if language in languages]
