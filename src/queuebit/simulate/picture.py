"""Pictures: who had the lanes and the QPU when, and how long jobs waited. Needs matplotlib."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queuebit.core.model import Job, Mode, Workload, WorkloadState
from queuebit.errors import QueuebitError
from queuebit.simulate.simulation import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

# Okabe and Ito's palette: told apart with any kind of colour vision.
PREPARE, READY, QUANTUM, FINISH = "#56B4E9", "#D9D9D9", "#CC79A7", "#009E73"
OF_JOBS, OF_BATCHES, OF_SESSIONS = "#E69F00", "#0072B2", "#D55E00"
CALIBRATION = "#555555"
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

COLUMNS = 1_500  # what is closer together than a column is drawn as one bar
EDGED_MAX = 100  # bars of one colour in a row
POINTS = 200  # of a curve over time
WIDTH_INCHES = 9.0
ROW_INCHES = 0.24
HOUR_S, MINUTE_S = 3_600, 60

Bar = tuple[float, float]
"""Where a bar starts and how long it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a Gantt chart: bars in seconds, by colour."""

    label: str
    bars: dict[str, list[Bar]]


def draw_gantt(histories: Sequence[tuple[str, History]], file: Path) -> None:
    """Draw who had which lane and the QPU, one simulation below the other, on one scale."""
    rows = [gantt_rows(history) for _, history in histories]
    end_s = max(
        (start + length for each in rows for row in each for bars in row.bars.values()
         for start, length in bars),
        default=0.0,
    )  # fmt: skip
    figure = _figure(sum(len(each) for each in rows) * ROW_INCHES + 0.7 * len(rows) + 0.8)
    ratios = [len(each) + 1 for each in rows]
    charts: Any = figure.subplots(len(rows), sharex=True, squeeze=False, height_ratios=ratios)
    scale, unit = _scale(end_s)
    for chart, (name, _), each in zip(charts[:, 0], histories, rows, strict=True):
        _draw_rows(chart, name, _merged(each, end_s / COLUMNS), scale)
    charts[-1, 0].set_xlabel(unit)
    charts[-1, 0].set_xlim(0, end_s / scale or 1)
    _draw_gantt_legend(figure, {colour for each in rows for row in each for colour in row.bars})
    _save(figure, file)


def gantt_rows(history: History) -> list[Row]:
    """Lanes and QPU of every backend that ran a job."""
    rows: list[Row] = []
    sessions = [w for w in history.workloads.values() if w.mode is Mode.SESSION]
    colours = {w.id: _workload_colour(w) for w in history.workloads.values()}
    names = [name for machine in history.trace.machines for name in machine.names]
    for name in names:
        ran = [j for j in history.jobs.values() if j.backend == name and j.started_at is not None]
        if not ran:
            continue
        prefix = f"{name} " if len(names) > 1 else ""
        ran.sort(key=lambda job: (job.started_at or 0, job.seq))
        rows += [
            Row(f"{prefix}lane {number}", _stages(jobs))
            for number, jobs in enumerate(lanes_of(ran), 1)
        ]
        qpu: dict[str, list[Bar]] = {}
        for job in sorted(ran, key=lambda job: job.quantum_started_at or 0):
            colour = colours.get(job.workload_id or "", OF_JOBS)
            _add(qpu, colour, job.quantum_started_at, _left_qpu_at(job))
        for run in history.calibrations:
            if run.backend == name:
                _add(qpu, CALIBRATION, run.started_at, run.ended_at)
        rows.append(Row(f"{prefix}QPU", qpu))
        active: dict[str, list[Bar]] = {}
        for session in sessions:
            if session.backend == name:
                for start, end in _active(session):
                    _add(active, OF_SESSIONS, start, end)
        if active:
            rows.append(Row(f"{prefix}session", active))
    return rows


def lanes_of(jobs: Iterable[Job]) -> list[list[Job]]:
    """Which job was in which lane; `jobs` in order of their start.

    The lowest free lane is taken.
    """
    lanes: list[list[Job]] = []
    free: list[int] = []
    busy: list[tuple[int, int]] = []  # until when, which lane
    for job in jobs:
        assert job.started_at is not None
        while busy and busy[0][0] <= job.started_at:
            heappush(free, heappop(busy)[1])
        if not free:
            heappush(free, len(lanes))
            lanes.append([])
        lane = heappop(free)
        lanes[lane].append(job)
        if job.ended_at is not None:
            heappush(busy, (job.ended_at, lane))
    return lanes


def draw_waits(histories: Sequence[tuple[str, History]], file: Path) -> None:
    """Draw the distribution of waits, and the mean wait by the time of submission."""
    figure = _figure(3.6)
    shares, times = figure.subplots(1, 2)
    longest_s = latest_s = 0.0
    curves = [_waits(history) for _, history in histories]
    for waits in curves:
        longest_s = max([longest_s, *(wait for _, wait in waits)])
        latest_s = max([latest_s, *(at for at, _ in waits)])
    (wait_scale, wait_unit), (time_scale, time_unit) = _scale(longest_s), _scale(latest_s)
    for number, ((name, _), waits) in enumerate(zip(histories, curves, strict=True)):
        colour = CURVES[number % len(CURVES)]
        ordered = sorted(wait for _, wait in waits)
        steps = range(0, len(ordered), max(1, len(ordered) // COLUMNS))
        points = [*((ordered[n], (n + 1) / len(ordered)) for n in steps)]
        points += [(ordered[-1], 1.0)] if ordered else []
        shares.step([x / wait_scale for x, _ in points], [y for _, y in points], colour,
                    where="post", label=name)  # fmt: skip
        binned = _means(waits, latest_s / POINTS or 1)
        times.plot([x / time_scale for x, _ in binned], [y / wait_scale for _, y in binned],
                   color=colour)  # fmt: skip
    shares.set(xlabel=f"wait, {wait_unit}", ylabel="share of jobs", ylim=(0, 1.02))
    shares.legend(loc="lower right", frameon=False, fontsize=8)
    times.set(xlabel=f"submitted, {time_unit}", ylabel=f"mean wait, {wait_unit}", ylim=(0, None))
    for chart in (shares, times):
        chart.grid(alpha=0.3)
        chart.spines[["top", "right"]].set_visible(False)
    _save(figure, file)


def assert_drawable(file: Path) -> None:
    """QueuebitError if `file` has no suffix of a picture, or matplotlib is missing."""
    if file.suffix.lower() not in SUFFIXES:
        raise QueuebitError(f"{file} is not a picture: its name ends in {', '.join(SUFFIXES)}")
    try:
        import matplotlib as mpl  # noqa: F401, PLC0415 - an optional extra
    except ImportError:
        raise QueuebitError("pictures need matplotlib: pip install 'queuebit[simulate]'") from None


def _figure(height_inches: float) -> "Figure":
    # Without pyplot, which would look for a display and keep every figure.
    from matplotlib.figure import Figure  # noqa: PLC0415 - an optional extra

    return Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def _save(figure: "Figure", file: Path) -> None:
    """Save, byte for byte the same each time."""
    from matplotlib import rc_context  # noqa: PLC0415 - an optional extra

    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "queuebit", "svg.fonttype": "none"}):
        try:
            figure.savefig(file, dpi=120, metadata=metadata[file.suffix.lower()])
        except OSError as error:
            raise QueuebitError(f"{file} cannot be written: {error.strerror}") from None


def _draw_rows(chart: "Axes", name: str, rows: Sequence[Row], scale: float) -> None:
    for number, row in enumerate(rows):
        for colour, bars in row.bars.items():
            scaled = [(start / scale, length / scale) for start, length in bars]
            # A white edge tells neighbours of one colour apart; many bars would be all edge.
            edge = 0.6 if len(bars) <= EDGED_MAX else 0
            chart.broken_barh(
                scaled, (number - 0.4, 0.8), facecolors=colour, edgecolors="white", linewidth=edge
            )
    chart.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8)
    chart.set_ylim(len(rows) - 0.4, -0.6)
    chart.set_title(name, loc="left", fontsize=10)
    chart.spines[["top", "right"]].set_visible(False)
    chart.tick_params(axis="y", length=0)
    chart.grid(axis="x", alpha=0.3)
    chart.set_axisbelow(True)


def _draw_gantt_legend(figure: "Figure", colours: Collection[str]) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415 - an optional extra

    meanings = {
        "lane: prepare": PREPARE,
        "waits for the QPU": READY,
        "on the QPU": QUANTUM,
        "finish": FINISH,
        "QPU: a job": OF_JOBS,
        "of a batch": OF_BATCHES,
        "of a session": OF_SESSIONS,
        "calibration": CALIBRATION,
    }
    handles = [
        Patch(color=colour, label=meaning)
        for meaning, colour in meanings.items()
        if colour in colours
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, frameon=False, fontsize=7.5,
                  columnspacing=1, handlelength=1)  # fmt: skip


def _stages(jobs: Iterable[Job]) -> dict[str, list[Bar]]:
    bars: dict[str, list[Bar]] = {}
    for job in jobs:
        stamps = [
            (PREPARE, job.started_at),
            (READY, job.ready_at),
            (QUANTUM, job.quantum_started_at),
            (FINISH, job.quantum_ended_at),
            ("", job.ended_at),
        ]
        known = [(colour, at) for colour, at in stamps if at is not None]
        for (colour, start), (_, end) in pairwise(known):
            _add(bars, colour, start, end)
    return bars


def _left_qpu_at(job: Job) -> int | None:
    return job.ended_at if job.quantum_ended_at is None else job.quantum_ended_at


def _active(workload: Workload) -> list[tuple[int, int]]:
    """When it was active."""
    windows = []
    for (state, start), (_, end) in pairwise(workload.transitions):
        if state is WorkloadState.ACTIVE:
            windows.append((start, end))
    return windows


def _add(bars: dict[str, list[Bar]], colour: str, start: int | None, end: int | None) -> None:
    if start is not None and end is not None and end > start:
        bars.setdefault(colour, []).append((start / 1_000, (end - start) / 1_000))


def _merged(rows: Iterable[Row], gap_s: float) -> list[Row]:
    """The rows, with bars of one colour joined where nobody would see the gap."""
    merged = []
    for row in rows:
        bars: dict[str, list[Bar]] = {}
        for colour, each in row.bars.items():
            joined: list[Bar] = []
            for start, length in each:
                if joined and start - sum(joined[-1]) < gap_s and length < gap_s:
                    before, _ = joined[-1]
                    joined[-1] = (before, start + length - before)
                else:
                    joined.append((start, length))
            bars[colour] = joined
        merged.append(Row(row.label, bars))
    return merged


def _waits(history: History) -> list[tuple[float, float]]:
    """When each job that started was submitted, and how long it waited, in seconds."""
    return [
        (job.created_at / 1_000, (job.started_at - job.created_at) / 1_000)
        for job in history.jobs.values()
        if job.started_at is not None
    ]


def _means(points: Iterable[tuple[float, float]], width: float) -> list[tuple[float, float]]:
    """Means of y over intervals of x."""
    bins: dict[int, list[float]] = {}
    for x, y in points:
        bins.setdefault(int(x / width), []).append(y)
    return [((number + 0.5) * width, sum(ys) / len(ys)) for number, ys in sorted(bins.items())]


def _scale(longest_s: float) -> tuple[int, str]:
    """In which unit to tell durations up to `longest_s`."""
    if longest_s > 3 * HOUR_S:
        return HOUR_S, "hours"
    return (MINUTE_S, "minutes") if longest_s > 10 * MINUTE_S else (1, "seconds")


def _workload_colour(workload: Workload) -> str:
    return OF_BATCHES if workload.mode is Mode.BATCH else OF_SESSIONS
