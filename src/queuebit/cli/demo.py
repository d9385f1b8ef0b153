"""`queuebit demo`: the batch guide's partitioned batch, beside the same jobs one by one."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from queuebit import testing
from queuebit.account import quiet_client
from queuebit.cli.connection import Login
from queuebit.cli.lanes import Lanes
from queuebit.cli.output import console as standard_output
from queuebit.cli.timeline import FINISH, PREPARE, QUANTUM, bar, legend, total_s
from queuebit.config import BACKENDS
from queuebit.errors import QueuebitError

if TYPE_CHECKING:
    from queuebit.cli.race import Race

# A simulation is over much sooner than the real QPU would be; then only the client's own work
# would show. So the QPU takes its real time here, on a clock on which two minutes take two seconds.
BACKEND = BACKENDS[0].model_copy(update={"timing": "real"})
SPEED = 60
BAR_COLUMNS = 60
TERMINATED = 143  # exit code of a shell's command that SIGTERM ended


def demo(
    *,
    jobs: Annotated[int, typer.Option(min=1, max=20, help="Jobs of the batch.")] = 5,
    circuits: Annotated[int, typer.Option(min=1, max=300, help="Circuits of a job.")] = 100,
    workers: Annotated[
        int, typer.Option(min=0, help="Worker processes; 0: by the processors.")
    ] = 0,
) -> None:
    """Run the batch guide's example on a service of its own, and show what a batch gains.

    Nothing is kept, and ~/.qiskit is left alone.
    """
    console = standard_output()
    with _terminable(), quiet_client():
        console.print("Starting a service with a temporary data folder ...")
        with testing.service(workers=workers, backends=[BACKEND], speed=SPEED) as running:
            console.print(f"It is at {running.url}. Connecting qiskit-ibm-runtime ...")
            races = _races(running, console, jobs=jobs, circuits=circuits)
    _report(races, console)


def _races(running: testing.Running, console: Console, *, jobs: int, circuits: int) -> list["Race"]:
    """Run the jobs as a batch, then one by one."""
    # They take seconds to import, which no other command should cost.
    from qiskit_ibm_runtime.exceptions import IBMError  # noqa: PLC0415

    from queuebit.cli import race  # noqa: PLC0415

    backend = running.connect().backend(BACKEND.name)
    console.print(
        f"Transpiling {jobs * circuits} circuits, random_circuit({race.QUBITS}, {race.DEPTH}), "
        f"for {BACKEND.name} ..."
    )
    parts = race.partitioned_circuits(backend, jobs=jobs, circuits=circuits)
    login = Login(url=running.url, token=running.key, instance=running.instance)
    job_s = "jobs" if jobs > 1 else "job"
    try:
        race.warm_up(backend, parts)
        with Lanes(login, console, f"{jobs} {job_s} in a batch", BACKEND.lanes) as lanes:
            batch = race.in_a_batch(backend, parts, lanes)
        title = f"{jobs} {job_s} one by one, in job mode"
        with Lanes(login, console, title, BACKEND.lanes) as lanes:
            alone = race.one_by_one(backend, parts, lanes)
    except IBMError as error:
        raise QueuebitError(f"a job of the demo failed: {error}") from error
    return [batch, alone]


def _report(races: list["Race"], console: Console) -> None:
    """Print both timelines on one scale, and what the batch gained."""
    longest_s = max(race.jobs[-1][-1].end - race.jobs[0][0].start for race in races)
    for race in races:
        start = race.jobs[0][0].start
        console.print(Text(f"\n{race.title}: {race.wall_s:.1f} s", "bold"))
        for number, job in enumerate(race.jobs, 1):
            drawn = bar(job, start, start + longest_s, BAR_COLUMNS)
            console.print(Text(f"  job {number:<3}").append(drawn))
        console.print(
            f"  stages, added up: prepare {total_s(race.jobs, PREPARE) / SPEED:.1f} s, "
            f"quantum {total_s(race.jobs, QUANTUM) / SPEED:.1f} s, "
            f"finish {total_s(race.jobs, FINISH) / SPEED:.1f} s"
        )
        console.print(f"  QPU time charged: {race.usage_s:.0f} s, as a real QPU would have taken")
    console.print(legend())
    batch, alone = races
    console.print(
        Text(
            f"\nThe batch took {batch.wall_s:.1f} s instead of {alone.wall_s:.1f} s: "
            f"{alone.wall_s / batch.wall_s:.2f} times as fast.",
            "bold",
        )
    )
    console.print(
        f"The QPU took as long as the real one would, on a clock {SPEED} times as fast. "
        f"This machine has {os.cpu_count()} processors; client and service share them."
    )


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end everything as orderly as Ctrl-C."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(TERMINATED)  # unlike typer.Exit, no `except Exception` swallows it

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
