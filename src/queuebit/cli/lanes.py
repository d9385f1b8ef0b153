"""What the lanes do right now: redrawn in a terminal, line by line elsewhere."""

import threading
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from queuebit.cli.connection import Connection, Login, segment
from queuebit.cli.timeline import LOOKS, QUANTUM, QUEUED, bar, spans, stage_now
from queuebit.errors import QueuebitError

POLL_S = 0.25
BAR_COLUMNS = 40


class Lanes:
    """Follows the jobs that it is told of, in a thread, while the `with` block lasts."""

    def __init__(self, login: Login, console: Console, title: str, lanes: int) -> None:
        self._login = login
        self._console = console
        self._title = title
        self._names: dict[str, str] = {}  # of jobs, by id
        self._metrics: dict[str, dict[str, Any]] = {}
        self._stages: dict[str, str | None] = {}
        self._lanes: list[str | None] = [None] * lanes  # id of the job in each
        self._stop = threading.Event()
        self._began = time.time()
        # A daemon: a signal in the middle of `__enter__` leaves nobody to stop it.
        self._thread = threading.Thread(target=self._follow, name="lanes", daemon=True)
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=4)

    def add(self, job_id: str, name: str) -> None:
        """Follow a job from now on, under `name`."""
        self._names[job_id] = name

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        else:
            self._console.print(self._title)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._console.is_terminal:
            self._live.stop()

    def _follow(self) -> None:
        try:
            with Connection(self._login) as connection:
                while not self._stop.wait(POLL_S):
                    self._poll(connection)
                self._poll(connection)
        except QueuebitError as error:  # the jobs go on; only the picture ends
            self._console.print(f"the lanes cannot be shown: {error}")

    def _poll(self, connection: Connection) -> None:
        for job_id, name in list(self._names.items()):
            if job_id in self._stages and self._stages[job_id] is None:
                continue
            metrics = connection.get(f"/jobs/{segment(job_id)}/metrics")
            stage = stage_now(metrics)
            self._metrics[job_id] = metrics
            if not self._console.is_terminal and self._stages.get(job_id, "") != stage:
                elapsed_s = time.time() - self._began
                self._console.print(f"  {elapsed_s:6.1f} s  {name}  {stage or 'done'}")
            self._stages[job_id] = stage
            self._place(job_id, stage)

    def _place(self, job_id: str, stage: str | None) -> None:
        """Give the job a row while it holds a lane."""
        holds = stage not in (None, QUEUED)
        if holds and job_id not in self._lanes and None in self._lanes:
            self._lanes[self._lanes.index(None)] = job_id
        elif not holds and job_id in self._lanes:
            self._lanes[self._lanes.index(job_id)] = None

    def _picture(self) -> Group:
        now = time.time()
        table = Table.grid(padding=(0, 1))
        for width in (7, 7, 8, BAR_COLUMNS):  # fixed, so that nothing jumps
            table.add_column(width=width, no_wrap=True)
        for number, job_id in enumerate(self._lanes, 1):
            if job_id is None:
                table.add_row(f"lane {number}", Text("free", "dim"), "", "")
                continue
            stage = self._stages[job_id] or ""
            drawn = bar(spans(self._metrics[job_id], now), self._began, now, BAR_COLUMNS)
            style = LOOKS[stage].style if stage in LOOKS else ""
            table.add_row(f"lane {number}", self._names[job_id], Text(stage, style), drawn)
        stages = dict(self._stages)
        on_qpu = [self._names[job_id] for job_id, stage in stages.items() if stage == QUANTUM]
        queued = sum(stage == QUEUED for stage in stages.values())
        done = sum(stage is None for stage in stages.values())
        state = Text.assemble(
            ("QPU     ", "bold"),
            (", ".join(on_qpu) or "idle", LOOKS[QUANTUM].style),
            f"     {queued} queued, {done} done, {now - self._began:.0f} s",
        )
        return Group(Text(self._title, "bold"), table, state)
