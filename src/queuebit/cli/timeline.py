"""When each job was in which stage, drawn as bars."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text


@dataclass(frozen=True, slots=True)
class Look:
    """How a stage is drawn."""

    mark: str
    style: str


QUEUED, PREPARE, WAIT, QUANTUM, FINISH = "queued", "prepare", "wait", "quantum", "finish"
LOOKS = {
    QUEUED: Look("·", "dim"),
    PREPARE: Look("▒", "blue"),
    WAIT: Look("-", "dim"),
    QUANTUM: Look("█", "magenta"),
    FINISH: Look("▓", "green"),
}


@dataclass(frozen=True, slots=True)
class Span:
    """A job in one stage, from `start` to `end` in seconds since the epoch."""

    stage: str
    start: float
    end: float


def spans(metrics: dict[str, Any], now: float) -> list[Span]:
    """Stages of a job so far, in order, from its metrics; the last one goes on until `now`."""
    own = metrics["queuebit"]["stages"]
    stamps = {
        QUEUED: metrics["timestamps"]["created"],
        PREPARE: own["prepare_started"],
        WAIT: own["ready"],
        QUANTUM: own["quantum_started"],
        FINISH: own["quantum_ended"],
        None: own["finished"],
    }
    known = [(stage, _epoch(stamp)) for stage, stamp in stamps.items() if stamp]
    if known[-1][0] is not None:
        known.append((None, max(now, known[-1][1])))
    return [
        Span(stage, start, end)
        for (stage, start), (_, end) in itertools.pairwise(known)
        if stage is not None
    ]


def stage_now(metrics: dict[str, Any]) -> str | None:
    """Which stage a job is in; None when it has ended."""
    if metrics["timestamps"]["finished"]:
        return None
    return spans(metrics, 0)[-1].stage


def bar(job: Sequence[Span], start: float, end: float, width: int) -> Text:
    """Draw `job` in `width` columns that stand for `start` to `end`.

    A column shows the stage that fills most of it; a stage on the QPU shows however short it is.
    """
    column_s = max(end - start, 1e-9) / width
    columns: list[str | None] = [None] * width
    for column in range(width):
        left = start + column * column_s
        overlaps = [(min(s.end, left + column_s) - max(s.start, left), s.stage) for s in job]
        most, stage = max(overlaps, default=(0.0, ""))
        if most > 0:
            columns[column] = stage
    for span in job:
        if span.stage == QUANTUM and QUANTUM not in columns:
            middle = (span.start + span.end) / 2 - start
            columns[min(width - 1, max(0, int(middle / column_s)))] = QUANTUM
    text = Text()
    for found in columns:
        look = LOOKS[found] if found else Look(" ", "")
        text.append(look.mark, look.style)
    return text


def legend() -> Text:
    """Which mark stands for which stage."""
    text = Text()
    for stage, look in LOOKS.items():
        text.append(f"{look.mark * 2} ", look.style)
        text.append(f"{stage}   ")
    return text


def total_s(jobs: Iterable[Sequence[Span]], stage: str) -> float:
    """Seconds that `jobs` spent in `stage`, added up."""
    return sum(span.end - span.start for job in jobs for span in job if span.stage == stage)


def _epoch(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
