"""Every program in its stages: validate, prepare, quantum, finish.

Called by workers. A RequestError is the user's mistake; anything else is ours.
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import prod
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import qiskit
from numpy.typing import NDArray
from qiskit import qpy

from queuebit.devices.protocol import Experiment, Qpu
from queuebit.errors import InvalidInput, NotFound
from queuebit.programs import sampler
from queuebit.programs.circuits.delays import mend
from queuebit.programs.estimates import Estimate, estimated
from queuebit.programs.estimator import estimator
from queuebit.programs.executor import executor
from queuebit.programs.learner import noise_learner
from queuebit.programs.seeds import Use, generator

PLANS_MAX = 8  # plans that a worker keeps, so that the stage after the validation need not decode
PLANNED_BYTES_MAX = (
    4 * 2**20
)  # of their parameters together; decoded they are 20 to 50 times larger
DRAWN_BYTES_MAX = 2**20  # of parameter values that are drawn while a job is checked, and kept
TIME = "circuits_execution_time_ns"  # among a device's metadata


class Done(Protocol):
    """What makes a result of bits; can be pickled."""

    def result(self, bits: Sequence[NDArray[np.bool_]], start: datetime, stop: datetime) -> bytes:
        """The result's JSON text, from the bits of each experiment and when they ran."""


@runtime_checkable
class Again(Protocol):
    """What makes a second round of the bits of the first; can be pickled."""

    def more(self, bits: Sequence[NDArray[np.bool_]], device: Qpu) -> tuple[list[Experiment], Done]:
        """What `device` shall run next, and what makes a result of it.

        InvalidInput, which fails the job, if the bits leave nothing that can run.
        """


@runtime_checkable
class Unsampled(Protocol):
    """What the device computes without sampling; can be pickled."""

    def run(self, device: Qpu) -> tuple[Done, dict[str, Any]]:
        """What makes a result, and the metrics."""


class Plan(Protocol):
    """A job that can run, unless it is over a limit."""

    @property
    def seed(self) -> int | None:
        """Of the simulated QPU."""

    @property
    def rep_delay_s(self) -> float:
        """Seconds between two shots."""

    def experiments(self) -> tuple[list[Experiment], Done | Again | Unsampled]:
        """What the device shall run, and what makes a result of it, or more to run."""

    def over_limits(self) -> Iterator[InvalidInput]:
        """The limits that the job breaks."""


@runtime_checkable
class Outlined(Protocol):
    """A plan that can tell what will run, and how hard it is to simulate, before it is drawn."""

    def outline(self) -> list[Experiment]:
        """Circuits and shots of all rounds, as far as they are known."""


@runtime_checkable
class Propagated(Protocol):
    """A plan that may be computed without sampling."""

    @property
    def sampled(self) -> bool:
        """Whether the device samples it; if not, its circuits only tell what is charged."""


PROGRAMS: dict[str, Callable[[bytes, Qpu], Plan]] = {
    "sampler": sampler.plan,
    "estimator": estimator.plan,
    "noise-learner": noise_learner.plan,
    "executor": executor.plan,
}
"""By a program's id, what plans a job by its parameters' JSON text; RequestError if it cannot."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that is ready for the QPU."""

    estimated_ms: int
    """QPU time that it should take."""
    work: object
    """For the stages to come; can be pickled."""
    metrics: dict[str, Any] = field(default_factory=dict)
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """A job that has left the QPU."""

    usage_ms: int
    """QPU time to charge."""
    raw: object
    """For the stage to come; can be pickled."""
    metrics: dict[str, Any] = field(default_factory=dict)
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Work:
    """What prepare leaves to quantum and finish."""

    circuits: bytes
    """In QPY, which is six times faster than pickle. Payloads have delays in dt only, whose unit is
    all that QPY would lose."""
    runs: list[tuple[NDArray[np.float64], int]]
    """Per circuit, its sets of parameter values and its shots."""
    done: Done | Again | Unsampled
    seed: int | None
    rep_delay_s: float
    estimated_ms: int


@dataclass(frozen=True, slots=True)
class _Raw:
    """What quantum leaves to finish: the bits, packed."""

    bits: list[tuple[tuple[int, ...], NDArray[np.uint8]]]
    start: datetime
    stop: datetime
    done: Done | None
    """Of the second round; None: there was one only."""


def validate(program_id: str, params: bytes, device: Qpu) -> Estimate:
    """Check everything that can be checked before the job is accepted; RequestError if it fails."""
    known = _known(program_id, params, device)
    for broken in known.plan.over_limits():
        raise broken
    experiments = known.outline()
    _check(known.plan, experiments, device)
    return known.estimated(experiments, device)


def estimate(program_id: str, params: bytes, device: Qpu) -> tuple[Estimate, list[InvalidInput]]:
    """What a job would take, and for which limits `validate` would refuse it.

    RequestError if it could not run even without them.
    """
    known = _known(program_id, params, device)
    over = list(known.plan.over_limits())
    experiments = known.outline()
    if not over:  # the simulator's own limits; it need not look at what is refused anyway
        try:
            _check(known.plan, experiments, device)
        except InvalidInput as error:
            over.append(error)
    try:
        return known.estimated(experiments, device), over
    except OverflowError:  # loops in loops that would outlast the universe
        raise over[0] from None


def prepare(program_id: str, params: bytes, device: Qpu) -> Prepared:
    """Make the circuits that will run."""
    known = _known(program_id, params, device)
    experiments, done = known.experiments()
    told = known.estimate or known.estimated(known.outline(), device)
    packed = io.BytesIO()
    if experiments:
        qpy.dump([experiment.circuit for experiment in experiments], packed)
    return Prepared(
        told.estimated_ms,
        _Work(
            packed.getvalue(),
            [(experiment.values, experiment.shots) for experiment in experiments],
            done,
            known.plan.seed,
            known.plan.rep_delay_s,
            told.estimated_ms,
        ),
        metrics={"qiskit_version": qiskit.__version__} | told.metrics(),
        log=(
            (
                f"prepared circuits={told.circuits} executions={told.executions} "
                f"estimated_ms={told.estimated_ms}"
            ),
        ),
    )


def quantum(program_id: str, work: object, device: Qpu) -> Measured:
    """Run the circuits; charged is what the real QPU would have needed (decisions 8)."""
    del program_id
    assert isinstance(work, _Work)
    circuits = map(mend, qpy.load(io.BytesIO(work.circuits)) if work.runs else [])
    experiments = [
        Experiment(circuit, values, shots)
        for circuit, (values, shots) in zip(circuits, work.runs, strict=True)
    ]
    start = datetime.now(UTC)
    ran = _ran(work, experiments, device)
    stop = datetime.now(UTC)
    seconds = (stop - start).total_seconds()
    raw = _Raw([(bits.shape, np.packbits(bits)) for bits in ran.bits], start, stop, ran.done)
    return Measured(
        ran.usage_ms,
        raw,
        metrics=ran.metrics,
        log=(f"measured seconds={seconds:.3f} usage_ms={ran.usage_ms}",),
    )


class _Ran(NamedTuple):
    """What came out of a job's rounds."""

    bits: Sequence[NDArray[np.bool_]]
    """Of the last."""
    metrics: dict[str, Any]
    """Of all."""
    usage_ms: int
    done: Done | None
    """If it is not that of the first round."""


def _ran(work: _Work, experiments: list[Experiment], device: Qpu) -> _Ran:
    if isinstance(work.done, Unsampled):
        done, metrics = work.done.run(device)
        return _Ran([], metrics, work.estimated_ms, done)
    first = device.sample(experiments, seed=work.seed)
    if not isinstance(work.done, Again):
        usage_ms = work.estimated_ms if first.usage_ms is None else first.usage_ms
        return _Ran(first.bits, first.metadata, usage_ms, None)
    more, done = work.done.more(first.bits, device)
    second = device.sample(more, seed=_next_seed(work.seed))
    # What the second round would be like was a guess.
    told = estimated(work.rep_delay_s, [*experiments, *more], device)
    usage_ms = told.estimated_ms
    if first.usage_ms is not None and second.usage_ms is not None:
        usage_ms = first.usage_ms + second.usage_ms
    metrics = first.metadata | second.metadata | told.metrics()
    if TIME in first.metadata and TIME in second.metadata:
        metrics[TIME] = first.metadata[TIME] + second.metadata[TIME]
    return _Ran(second.bits, metrics, usage_ms, done)


def finish(program_id: str, work: object, raw: object, device: Qpu) -> bytes:
    """Make the result: its JSON text."""
    del program_id, device
    assert isinstance(work, _Work)
    assert isinstance(raw, _Raw)
    bits = [
        np.unpackbits(packed, count=prod(shape)).view(bool).reshape(shape)
        for shape, packed in raw.bits
    ]
    done = work.done if raw.done is None else raw.done
    assert not isinstance(done, Again | Unsampled)
    return done.result(bits, raw.start, raw.stop)


def _next_seed(seed: int | None) -> int | None:
    """Of the second round."""
    return None if seed is None else int(generator(seed, Use.SECOND_ROUND).integers(2**63))


def _check(plan: Plan, experiments: Sequence[Experiment], device: Qpu) -> None:
    if not isinstance(plan, Propagated) or plan.sampled:
        device.check(experiments)


@dataclass(slots=True)
class _Known:
    """A plan, and what it should take."""

    plan: Plan
    params_bytes: int
    estimate: Estimate | None = None
    _drawn: tuple[list[Experiment], Done | Again | Unsampled] | None = None
    """What the check has drawn, for the job to run: once, or equal jobs would share their draws."""

    def outline(self) -> list[Experiment]:
        """Experiments like those that will run."""
        if isinstance(self.plan, Outlined):
            return self.plan.outline()
        drawn = self._drawn or self.plan.experiments()
        small = sum(one.values.nbytes for one in drawn[0]) <= DRAWN_BYTES_MAX
        self._drawn = drawn if small else None
        return drawn[0]

    def experiments(self) -> tuple[list[Experiment], Done | Again | Unsampled]:
        """Those that run, and what makes a result of them."""
        drawn, self._drawn = self._drawn, None
        return drawn or self.plan.experiments()

    def estimated(self, experiments: Sequence[Experiment], device: Qpu) -> Estimate:
        """What the plan's `experiments` should take."""
        if self.estimate is None:
            self.estimate = estimated(self.plan.rep_delay_s, experiments, device)
        return self.estimate


class _Plans:
    """The plans that this worker made last, by the digest of their parameters."""

    def __init__(self) -> None:
        self._plans: OrderedDict[tuple[str, str, bytes], _Known] = OrderedDict()

    def get(self, program_id: str, params: bytes, device: Qpu) -> _Known:
        """The plan; made if it is not known."""
        key = (program_id, device.name, hashlib.sha256(params).digest())
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key]
        known = _Known(PROGRAMS[program_id](params, device), len(params))
        if len(params) <= PLANNED_BYTES_MAX:
            self._plans[key] = known
        while len(self._plans) > PLANS_MAX or self._bytes() > PLANNED_BYTES_MAX:
            self._plans.popitem(last=False)
        return known

    def _bytes(self) -> int:
        return sum(known.params_bytes for known in self._plans.values())


_plans = _Plans()


def _known(program_id: str, params: bytes, device: Qpu) -> _Known:
    if program_id not in PROGRAMS:
        raise NotFound(
            f"program {program_id[:50]!r} not found; there are: {', '.join(PROGRAMS)}", 1208
        )
    return _plans.get(program_id, params, device)
