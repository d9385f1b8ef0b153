"""How commands print: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_COLUMNS = 240  # width where no terminal sets one: a pipe wants whole lines

_DEL = 0x7F  # the only character that a terminal obeys and JSON writes as it is

_COLOURS = {
    "Running": "cyan",
    "Completed": "green",
    "Failed": "red",
    "Cancelled": "yellow",
    "active": "cyan",
    "good": "green",
    "look": "yellow",
    "broken": "red",
    "online": "green",
    "offline": "red",
    "paused": "yellow",
    "in_progress": "cyan",
    "completed": "green",
    "failed": "red",
    "canceled": "yellow",
}


def console() -> Console:
    """Standard output as it is now."""
    return Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)


def print_json(data: Any) -> None:
    """Print `data` as indented JSON, without colours."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    sys.stdout.write("\n".join(map(printable, text.split("\n"))) + "\n")


def printable(text: str) -> str:
    r"""`text` with characters that command a terminal, or that it shows nothing for, as \u001b.

    Tags, names and reasons are other people's text. In JSON it stays the same text.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if ord(character) != _DEL else "\\u007f"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print `rows` under `columns`, or `empty` if there are none."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if table.row_count:
        console().print(table)
    else:
        console().print(empty)


def print_fields(fields: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, one pair in a line; a None is left out."""
    console().print(fields_table(fields))


def fields_table(fields: Iterable[tuple[str, Any]]) -> Table:
    """Lay out names and values, one pair in a line; a None is left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in fields:
        if value is not None:
            table.add_row(Text(name, style="bold"), _cell(value))
    return table


def _cell(value: Any) -> Text:
    text = "" if value is None else printable(str(value))
    return Text(text, style=_COLOURS.get(text, ""))


def local_time(stamp: str | None) -> str | None:
    """`stamp` of the API, in UTC, as this machine's time of day."""
    if not stamp:
        return None
    try:
        instant = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds(value: float | None) -> str | None:
    """`value` with its unit, without digits that nobody reads."""
    return None if value is None else f"{value:.1f} s" if value % 1 else f"{value:.0f} s"
