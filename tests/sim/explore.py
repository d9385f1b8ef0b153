"""Every order in which things can happen in a small world, up to a number of events.

One backend with two lanes and a calibration; a batch of two jobs, a session of two, and one job
alone; every timer. It starts from nothing, and also when all has been submitted. Two states are the
same if nothing that is still to come can tell them apart: times count from now, numbers in order of
arrival by their order.

    scripts/explore [DEPTH]
"""

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from types import MethodType, NoneType
from typing import Any

from tests.sim.disk import check_change
from tests.sim.watch import visible

from queuebit.core import invariants
from queuebit.core.events import (
    BackendStatusSet,
    CalibrationEnded,
    Event,
    JobCancelRequested,
    JobSubmitted,
    Restarted,
    RunCalibration,
    RunStage,
    StageEnded,
    StageFailed,
    Step,
    Tick,
    WorkloadCancelRequested,
    WorkloadCloseRequested,
    WorkloadOpened,
)
from queuebit.core.model import (
    FINAL,
    Backend,
    BackendState,
    BackendStatus,
    Calibration,
    Job,
    Mode,
    Reason,
    Record,
    Stage,
    Workload,
    WorkloadState,
)
from queuebit.core.scheduler import Scheduler
from queuebit.core.usage import workload_usage_ms

BACKEND = Backend(
    name="q", lanes=2, calibrations=(Calibration(kind="monitor", every_ms=9, lasts_ms=1),)
)
WORKLOADS = {"B": Mode.BATCH, "S": Mode.SESSION}
JOBS = {"b1": "B", "b2": "B", "s1": "S", "s2": "S", "j": None}
TTLS_MS = {"max_ttl_ms": 7, "interactive_ttl_ms": 3, "active_ttl_ms": 6, "unused_ttl_ms": 5}
LIMIT_MS = 2  # of the job alone
LONG_AGO_MS = 10  # longer than any timer: what is older is as old as that
LATE_MS = 4  # how late the driver is at times: more than one timer may have ended by then
REASON = Reason(message="broken", code=1208)

SHARED = {str, int, bool, float, NoneType, tuple, Job, Workload, BackendState, Backend}
"""What never changes."""

# What nothing that is still to come depends on; a field that is not named here counts.
HISTORY = {
    Job: {"instance", "backend", "created_at", "started_at"} | {"ended_at", "reason", "run"},
    Workload: {"instance", "backend", "created_at", "closed_at", "last_job_started_at"}
    | {"last_job_completed_at", "jobs_ms", "transitions", "state_reason"},
    BackendState: {"run", "calibrating_since", "calibrated_at", "drawn", "drift", "status_reason"},
}


@dataclass(frozen=True, slots=True)
class Node:
    """A state of the world, and one way to it."""

    scheduler: Scheduler
    now: int
    saved: dict[str, Record]
    tasks: frozenset[RunStage | RunCalibration]
    """What is under way outside of the scheduler."""
    way: "Way | None" = None


@dataclass(frozen=True, slots=True)
class Way:
    """How a state was reached: its last event, when that was, and the way there."""

    event: Event
    at: int
    before: "Way | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What there is to find after so many events."""

    depth: int
    states: int
    """Not seen with fewer events."""
    transitions: int
    seconds: float


def explore(depth: int) -> Iterator[Level]:
    """Check every state that `depth` events can lead to; raises with the way to a wrong one."""
    began = time.monotonic()
    nodes = [first(), *(full(order) for order in ("BSj", "SjB", "jBS"))]
    seen = {hash(key(node)) for node in nodes}
    for level in range(1, depth + 1):
        found = []
        transitions = 0
        while nodes:
            node = nodes.pop()
            for event, at in possible(node):
                transitions += 1
                new = after(node, event, at)
                mark = hash(key(new))
                if mark not in seen:
                    seen.add(mark)
                    _check(new)
                    found.append(new)
        nodes = found
        seconds = time.monotonic() - began
        yield Level(depth=level, states=len(nodes), transitions=transitions, seconds=seconds)


def first() -> Node:
    """The world before anything happens."""
    return after(Node(Scheduler([BACKEND]), 0, {}, frozenset()), Restarted(), 0)


def full(order: str) -> Node:
    """The world when everything has been submitted; `order` tells in which order things came."""
    node = first()
    homes = {"B": ("B", "b1", "b2"), "S": ("S", "s1", "s2"), "j": ("j",)}
    for name in [name for one in order for name in homes[one]]:
        (event,) = (event for event in _of_users(node) if _makes(event) == name)
        node = after(node, event, 0)
        _check(node)
    return node


def _makes(event: Event) -> str | None:
    """The id of what an event makes; None if it makes nothing."""
    match event:
        case JobSubmitted(job_id=made) | WorkloadOpened(workload_id=made):
            return made
        case _:
            return None


def possible(node: Node) -> Iterator[tuple[Event, int]]:
    """All that can happen next, and when."""
    now = node.now
    for event in (*_of_users(node), *_of_workers(node), *_of_administrators(node), Restarted()):
        yield event, now
    due = node.scheduler.next_deadline()
    if due is not None:
        if due - 1 > now:
            yield Tick(), due - 1
        yield Tick(), due
        yield Restarted(now), due  # it was away until then
        yield Tick(), due + LATE_MS


def _of_users(node: Node) -> Iterator[Event]:
    for workload_id, mode in WORKLOADS.items():
        workload = node.saved.get(workload_id)
        if workload is None:
            yield WorkloadOpened(
                workload_id=workload_id, instance="i", backend="q", mode=mode, **TTLS_MS
            )
        elif isinstance(workload, Workload) and workload.state is not WorkloadState.CLOSED:
            yield WorkloadCloseRequested(workload_id=workload_id)
            yield WorkloadCancelRequested(workload_id=workload_id)
    for job_id, home in JOBS.items():
        if job_id in node.scheduler.jobs:
            yield JobCancelRequested(job_id=job_id)
        elif job_id not in node.saved and (
            home is None or (home in node.scheduler.workloads and _is_next(job_id, node))
        ):
            yield JobSubmitted(
                job_id=job_id,
                instance="i",
                backend="q",
                workload_id=home,
                limit_ms=LIMIT_MS if home is None else None,
            )


def _is_next(job_id: str, node: Node) -> bool:
    """The second job of a workload is as good as the first: only one order is of interest."""
    return job_id[-1] == "1" or f"{job_id[0]}1" in node.saved


def _of_workers(node: Node) -> Iterator[Event]:
    for task in sorted(node.tasks, key=repr):
        if isinstance(task, RunCalibration):
            yield CalibrationEnded(backend=task.backend, run=task.run)
            continue
        job_id, run, stage = task.job_id, task.run, task.stage
        estimated_ms = LIMIT_MS + 1 if stage is Stage.PREPARE else None
        yield StageEnded(job_id=job_id, run=run, stage=stage, estimated_ms=estimated_ms, usage_ms=1)
        yield StageFailed(job_id=job_id, run=run, stage=stage, reason=REASON)


def _of_administrators(node: Node) -> Iterator[Event]:
    is_online = node.scheduler.index.states["q"].status is BackendStatus.ONLINE
    status = BackendStatus.PAUSED if is_online else BackendStatus.ONLINE
    yield BackendStatusSet(backend="q", status=status, reason="because")


def after(node: Node, event: Event, at: int) -> Node:
    """The world after an event; all that can be said of one step is checked."""
    way = Way(event, at, node.way)
    try:
        if isinstance(event, Restarted):
            scheduler, tasks = _reloaded(node), frozenset[RunStage | RunCalibration]()
        else:
            scheduler, tasks = _copied(node.scheduler), node.tasks
        step = scheduler.handle(event, at)
        for record in step.changed.values():
            check_change(node.saved.get(record.id), record)
        saved = node.saved | step.changed
        tasks = _tasks(tasks, event, step, saved)
        if event == Restarted() and node.way is not None:
            assert visible(saved, at) == visible(node.saved, at), "a restart can be seen"
        if isinstance(event, Restarted):
            assert _used_ms(saved, at) <= _used_ms(node.saved, event.last_at or at)
    except AssertionError as error:
        _tell(error, way)
        raise
    return Node(scheduler, at, saved, tasks, way)


def _used_ms(saved: Mapping[str, Record], now: int) -> int:
    """What the session has used: it is charged for no time in which there was no service."""
    session = saved.get("S")
    return workload_usage_ms(session, now) if isinstance(session, Workload) else 0


def _check(node: Node) -> None:
    """All that can be said of one state."""
    try:
        invariants.check(node.scheduler, node.now)
        assert node.scheduler.handle(Tick(), node.now) == Step(), "a move was left"
        for workload in node.saved.values():
            if isinstance(workload, Workload):
                jobs = [job for job in node.saved.values() if isinstance(job, Job)]
                own = [job for job in jobs if job.workload_id == workload.id]
                final = [job for job in own if job.status in FINAL]
                assert workload.jobs_ms == sum(job.usage_ms for job in final)
    except AssertionError as error:
        _tell(error, node.way)
        raise


def _tasks(
    before: frozenset[RunStage | RunCalibration],
    event: Event,
    step: Step,
    saved: dict[str, Record],
) -> frozenset[RunStage | RunCalibration]:
    """What is under way after a step: what the records say, and nothing is begun twice."""
    tasks = set(before)
    if isinstance(event, StageEnded | StageFailed):
        tasks.discard(RunStage(event.job_id, event.run, event.stage))
    elif isinstance(event, CalibrationEnded):
        tasks = {task for task in tasks if not isinstance(task, RunCalibration)}
    for command in step.commands:
        if isinstance(command, RunStage | RunCalibration):
            assert command not in tasks, "the same stage of the same run twice"
            tasks.add(command)
        else:
            tasks = {task for task in tasks if getattr(task, "job_id", None) != command.job_id}
    told = {
        RunStage(job.id, job.run, job.stage)
        for job in saved.values()
        if isinstance(job, Job) and job.stage not in (None, Stage.READY)
    }
    assert {task for task in tasks if isinstance(task, RunStage)} == told
    state = saved.get("q")
    calibrates = isinstance(state, BackendState) and state.calibrating is not None
    assert sum(isinstance(task, RunCalibration) for task in tasks) == calibrates
    return frozenset(tasks)


def _reloaded(node: Node) -> Scheduler:
    """A scheduler from what the store would load."""
    live = [
        record
        for record in node.saved.values()
        if not (isinstance(record, Job) and record.status in FINAL)
        and not (isinstance(record, Workload) and record.state is WorkloadState.CLOSED)
    ]
    seqs = [record.seq for record in node.saved.values() if not isinstance(record, BackendState)]
    return Scheduler([BACKEND], live, max(seqs, default=0))


def _copied(thing: Any, known: dict[int, Any] | None = None) -> Any:
    """One like it, with all that is out of date in its lines; what never changes is shared.

    As `copy.deepcopy`, but ten times as fast, for it knows what never changes.
    """
    if isinstance(thing, Enum):
        return thing
    known = {} if known is None else known
    if id(thing) in known:
        return known[id(thing)]
    if isinstance(thing, MethodType):
        return MethodType(thing.__func__, _copied(thing.__self__, known))
    if isinstance(thing, dict):
        return type(thing)(
            (name, one if type(one) in SHARED else _copied(one, known))
            for name, one in thing.items()
        )
    if isinstance(thing, list | set):
        return type(thing)(one if type(one) in SHARED else _copied(one, known) for one in thing)
    made = known[id(thing)] = object.__new__(type(thing))
    for name in getattr(thing, "__slots__", None) or vars(thing):
        one = getattr(thing, name)
        copy = one if type(one) in SHARED else _copied(one, known)
        object.__setattr__(made, name, copy)
    return made


# -- when two states are the same


def key(node: Node) -> tuple[Any, ...]:
    """Equal for two states that nothing still to come can tell apart."""
    index = node.scheduler.index
    live: list[Record] = [*index.jobs.values(), *index.workloads.values(), *index.states.values()]
    seqs = sorted(record.seq for record in live if not isinstance(record, BackendState))
    pictures = sorted(_picture(record, node.now, seqs) for record in live)
    return (*pictures, *sorted(node.saved))


def _picture(record: Record, now: int, seqs: list[int]) -> tuple[str, ...]:
    values = []
    for field in fields(record):
        if field.name in HISTORY[type(record)]:
            continue
        value = getattr(record, field.name)
        if value is not None:
            if field.name.endswith(("_at", "_since")):
                value = _ago(record, field.name, value - now)
            elif field.name == "scheduled":
                value = [(kind, at - now) for kind, at in value]
            elif field.name in ("seq", "drain_seq"):
                value = sum(seq <= value for seq in seqs)
            elif field.name == "active_ms":
                value = min(value, LONG_AGO_MS)
        values.append(str(value))
    return tuple(values)


def _ago(record: Record, name: str, ago_ms: int) -> int | None:
    """How long ago an instant was; None if that does not count any more."""
    match name, record:
        case "ready_at", Job():
            counts = record.stage is Stage.READY
        case "quantum_started_at", Job():
            counts = record.stage is Stage.QUANTUM and record.limit_ms is not None
        case "activated_at", Workload():
            counts = record.state is WorkloadState.ACTIVE
        case _:
            counts = True
    return max(ago_ms, -LONG_AGO_MS) if counts else None


def _tell(error: BaseException, way: Way | None) -> None:
    if way is not None:
        _tell(error, way.before)
        error.add_note(f"at {way.at}: {way.event}")


def main() -> None:
    depth = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    states = transitions = 0
    print("depth     states transitions    seconds")
    for level in explore(depth):
        states += level.states
        transitions += level.transitions
        numbers = f"{level.states:10,} {level.transitions:11,} {level.seconds:10.1f}"
        print(f"{level.depth:5} {numbers}", flush=True)
    print(f"in all {states:8,} {transitions:11,}")


if __name__ == "__main__":
    main()
