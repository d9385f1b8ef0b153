"""Reports as a table for people and as JSON for programs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from queuebit.simulate.report import BATCH, JOB, MODES, SESSION, Busy, Group, Report, Spread

ROWS_MAX = 12  # of instances and of backends; JSON has all

MINUTE_S, HOUR_S = 60, 3_600

PLURALS = {JOB: "job mode", BATCH: "batches", SESSION: "sessions"}

Row = tuple[str, list[str]]
"""A label, and what each report says."""


def as_json(report: Report) -> dict[str, Any]:
    """Every number of a report; seconds, and shares from 0 to 1."""
    return asdict(report)


def make_table(reports: Sequence[Report]) -> Table:
    """The reports side by side, one column each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for report in reports:
        table.add_column(Text(report.name), justify="right")
    for title, rows in _sections(reports):
        if title:
            table.add_row()
            table.add_row(Text(title, "bold"))
        for label, values in rows:
            table.add_row(Text(label), *map(Text, values))
    return table


def _sections(reports: Sequence[Report]) -> Iterator[tuple[str, list[Row]]]:
    modes = [mode for mode in MODES if any(mode in report.by_mode for report in reports)]
    yield "", _totals(reports)
    yield "wait", _spread([report.all.wait_s for report in reports])
    for mode in modes:
        groups = [report.by_mode.get(mode, Group()) for report in reports]
        rows = _spread([group.wait_s for group in groups])
        yield f"wait, {PLURALS[mode]}", [row for row in rows if row[0] in ("mean", "95%")]
    yield "submission to end", _spread([report.turnaround_s for report in reports])
    yield from _backends(reports)
    usage = [("all", [duration(report.all.usage_s) for report in reports])]
    for mode in modes:
        groups = [report.by_mode.get(mode, Group()) for report in reports]
        usage.append((PLURALS[mode], [duration(group.usage_s) for group in groups]))
    yield "usage", usage
    yield from _instances(reports)


def _totals(reports: Sequence[Report]) -> list[Row]:
    counts = {
        "jobs": [report.all.jobs for report in reports],
        "completed": [report.completed for report in reports],
        "failed": [report.failed for report in reports],
        "cancelled": [report.cancelled for report in reports],
        "refused": [report.refused for report in reports],
        "unfinished": [report.unfinished for report in reports],
    }
    shown = {label: each for label, each in counts.items() if label == "jobs" or any(each)}
    return [
        ("makespan", [duration(report.makespan_s) for report in reports]),
        *((label, [str(count) for count in each]) for label, each in shown.items()),
    ]


def _spread(spreads: Sequence[Spread]) -> list[Row]:
    return [
        ("mean", [duration(spread.mean) for spread in spreads]),
        ("median", [duration(spread.median) for spread in spreads]),
        ("95%", [duration(spread.p95) for spread in spreads]),
        ("max", [duration(spread.max) for spread in spreads]),
    ]


def _backends(reports: Sequence[Report]) -> Iterator[tuple[str, list[Row]]]:
    names, more = _shown(report.by_backend for report in reports)
    rows: list[Row] = []
    for name in names:
        each = [report.by_backend.get(name, Busy()) for report in reports]
        rows.append((f"{name} QPU", [_percent(busy.qpu) for busy in each]))
        if any(busy.calibrating for busy in each):
            rows.append((f"{name} calibrations", [_percent(busy.calibrating) for busy in each]))
        rows.append((f"{name} lanes", [_percent(busy.lanes) for busy in each]))
    yield f"busy{more}", rows


def _instances(reports: Sequence[Report]) -> Iterator[tuple[str, list[Row]]]:
    names, more = _shown(report.by_instance for report in reports)
    groups = {name: [report.by_instance.get(name, Group()) for report in reports] for name in names}
    yield (
        f"usage of instances{more}",
        [(name, [duration(group.usage_s) for group in each]) for name, each in groups.items()],
    )
    yield (
        f"mean wait of instances{more}",
        [(name, [duration(group.wait_s.mean) for group in each]) for name, each in groups.items()],
    )


def _shown(groups: Iterable[dict[str, Any]]) -> tuple[list[str], str]:
    """The names in all reports, as many as are shown, and how many there are."""
    names = list(dict.fromkeys(name for each in groups for name in each))
    more = f" (the first {ROWS_MAX} of {len(names)})" if len(names) > ROWS_MAX else ""
    return names[:ROWS_MAX], more


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def duration(seconds: float | None) -> str:
    """Seconds as people write them: 12.3 s, 4 min 05 s, 7 h 08 min."""
    if seconds is None:
        return "-"
    if round(seconds, 1) < MINUTE_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S:02} s"
    minutes = round(seconds / MINUTE_S)
    return f"{minutes // MINUTE_S} h {minutes % MINUTE_S:02} min"
