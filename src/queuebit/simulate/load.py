"""Made-up loads: jobs, batches and sessions that arrive at random, always the same for a seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from queuebit.core.events import JobSubmitted, WorkloadCloseRequested, WorkloadOpened
from queuebit.core.model import Backend, Mode
from queuebit.core.usage import overhead_ms, qpu_ms
from queuebit.simulate.lines import BACKEND, INTERACTIVE_TTL_S, MAX_TTL_S, UNUSED_TTL_S
from queuebit.simulate.trace import Entry, Machine, Trace, Work

HOUR_S = 3_600


class Load(BaseModel):
    """What arrives. A workload is here a job in job mode, a batch or a session."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hours: float = Field(default=24, gt=0)
    """For how long workloads arrive."""
    rate: float = Field(default=20, gt=0)
    """Workloads an hour, a Poisson process."""
    job: float = Field(default=0.6, ge=0)
    """Share of jobs in job mode among the workloads."""
    batch: float = Field(default=0.3, ge=0)
    """Share of batches."""
    session: float = Field(default=0.1, ge=0)
    """Share of sessions."""
    batch_jobs: float = Field(default=10, ge=1)
    """Mean number of jobs in a batch, geometric; they are submitted at once."""
    session_jobs: float = Field(default=10, ge=1)
    """Mean number of jobs in a session, geometric; each comes after the one before has ended."""
    think_s: float = Field(default=5, ge=0)
    """Mean time that a session's client thinks before its next job, exponential."""
    instances: int = Field(default=5, ge=1, le=100_000)
    """How many there are; the k-th sends a share of 1/k of what the first one sends."""
    backends: int = Field(default=1, ge=1, le=1_000)
    """How many there are; each workload goes to any of them."""
    lanes: int = Field(default=5, ge=1, le=1_000)
    circuits: float = Field(default=20, ge=1)
    """Median number of circuits in a job, log-normal."""
    spread: float = Field(default=1.0, ge=0, le=3)
    """Standard deviation of the logarithm of the number of circuits."""
    qubits: int = Field(default=50, ge=1)
    depth: int = Field(default=50, ge=1)
    shots: int = Field(default=1_000, ge=1)
    shot_us: float = Field(default=300, gt=0)
    """How long one shot takes on the QPU, repetition delay included."""
    prepare_s: float = Field(default=2, ge=0)
    """Classical time before the QPU, of any job."""
    prepare_circuit_s: float = Field(default=0.1, ge=0)
    """And for each circuit."""
    finish_s: float = Field(default=1, ge=0)
    """Classical time after the QPU, of any job."""
    finish_circuit_s: float = Field(default=0.05, ge=0)
    """And for each circuit."""

    @model_validator(mode="after")
    def _has_some_mode(self) -> Self:
        if not self.job + self.batch + self.session:
            raise ValueError("job, batch and session are all 0")
        return self


@dataclass(frozen=True, slots=True)
class _Timed:
    """An entry and when it is told, which is about when it happens."""

    at_ms: int
    entry: Entry


def generate(load: Load, rng: np.random.Generator) -> Trace:
    """Make up a trace; all that is random comes from `rng`."""
    return Trace(
        machines=tuple(
            Machine(backend=Backend(name=name, lanes=load.lanes)) for name in backend_names(load)
        ),
        entries=tuple(timed.entry for timed in sorted(_all(load, rng), key=lambda t: t.at_ms)),
    )


def backend_names(load: Load) -> list[str]:
    """`qpu`, or `qpu1`, `qpu2` and so on if there are several."""
    if load.backends == 1:
        return [BACKEND]
    return [f"{BACKEND}{number}" for number in range(1, load.backends + 1)]


def _all(load: Load, rng: np.random.Generator) -> Iterator[_Timed]:
    """Every workload's entries, workload after workload."""
    names = backend_names(load)
    instance_weights = 1 / np.arange(1, load.instances + 1)
    instance_weights /= instance_weights.sum()
    mode_weights = np.array([load.job, load.batch, load.session])
    mode_weights /= mode_weights.sum()
    count = int(rng.poisson(load.rate * load.hours))
    arrivals_ms = np.sort(rng.uniform(0, load.hours * HOUR_S * 1_000, count)).astype(int)
    instances = rng.choice(load.instances, size=count, p=instance_weights) + 1
    modes = rng.choice(3, size=count, p=mode_weights)
    backends = rng.integers(len(names), size=count)
    for number in range(count):
        about = JobSubmitted(
            job_id=f"j{number + 1}",
            instance=f"lab{instances[number]}",
            backend=names[backends[number]],
        )
        at_ms = int(arrivals_ms[number])
        if modes[number] == 0:
            yield _Timed(at_ms, Entry(event=about, delay_ms=at_ms, work=_work(load, rng)))
        elif modes[number] == 1:
            size = int(rng.geometric(1 / load.batch_jobs))
            yield from _batch(about, at_ms, [_work(load, rng) for _ in range(size)])
        else:
            size = int(rng.geometric(1 / load.session_jobs))
            thinks_ms = (rng.exponential(load.think_s, size) * 1_000).astype(int).tolist()
            yield from _session(about, at_ms, [_work(load, rng) for _ in range(size)], thinks_ms)


def _work(load: Load, rng: np.random.Generator) -> Work:
    """The stages of one job, by the service's own model of usage."""
    circuits = max(1, round(float(rng.lognormal(np.log(load.circuits), load.spread))))
    overhead = overhead_ms(circuits=circuits, qubits=load.qubits, depth=load.depth)
    usage = qpu_ms(overhead_ms=overhead, runs=[(load.shot_us / 1e6, load.shots * circuits)])
    return Work(
        prepare_ms=round(1_000 * (load.prepare_s + load.prepare_circuit_s * circuits)),
        quantum_ms=usage,
        finish_ms=round(1_000 * (load.finish_s + load.finish_circuit_s * circuits)),
        usage_ms=usage,
    )


def _batch(about: JobSubmitted, at_ms: int, works: Sequence[Work]) -> Iterator[_Timed]:
    """All jobs at once, then closed."""
    batch_id = about.job_id.replace("j", "b")
    yield _Timed(at_ms, Entry(event=_opened(about, batch_id, Mode.BATCH), delay_ms=at_ms))
    for number, work in enumerate(works, 1):
        event = replace(about, job_id=f"{batch_id}.{number}", workload_id=batch_id)
        yield _Timed(at_ms, Entry(event=event, delay_ms=at_ms, work=work))
    closed = WorkloadCloseRequested(workload_id=batch_id)
    yield _Timed(at_ms, Entry(event=closed, delay_ms=at_ms))


def _session(
    about: JobSubmitted, at_ms: int, works: Sequence[Work], thinks_ms: Sequence[int]
) -> Iterator[_Timed]:
    """One job after the other, then closed."""
    session_id = about.job_id.replace("j", "s")
    yield _Timed(at_ms, Entry(event=_opened(about, session_id, Mode.SESSION), delay_ms=at_ms))
    after: tuple[str, ...] = ()
    delay_ms = at_ms
    for number, (work, think_ms) in enumerate(zip(works, thinks_ms, strict=True), 1):
        event = replace(about, job_id=f"{session_id}.{number}", workload_id=session_id)
        yield _Timed(at_ms, Entry(event=event, delay_ms=delay_ms, after=after, work=work))
        after, delay_ms = (event.job_id,), think_ms
    closed = WorkloadCloseRequested(workload_id=session_id)
    yield _Timed(at_ms, Entry(event=closed, after=after))


def _opened(about: JobSubmitted, workload_id: str, mode: Mode) -> WorkloadOpened:
    return WorkloadOpened(
        workload_id=workload_id,
        instance=about.instance,
        backend=about.backend,
        mode=mode,
        max_ttl_ms=MAX_TTL_S * 1_000,
        interactive_ttl_ms=INTERACTIVE_TTL_S * 1_000,
        active_ttl_ms=MAX_TTL_S * 1_000,
        unused_ttl_ms=UNUSED_TTL_S * 1_000,
    )
