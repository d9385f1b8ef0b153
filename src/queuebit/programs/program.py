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
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import qiskit
from numpy.typing import NDArray
from qiskit import QuantumCircuit, qpy

from queuebit.core import usage
from queuebit.devices.device import Device, Experiment
from queuebit.errors import InvalidInput, NotFound
from queuebit.programs import estimator, sampler

PLANS_MAX = 8  # plans that a worker keeps, so that the stage after the validation need not decode
PLANNED_BYTES_MAX = (
    4 * 2**20
)  # of their parameters together; decoded they are 20 to 50 times larger


class Done(Protocol):
    """What makes a result of bits; can be pickled."""

    def result(self, bits: Sequence[NDArray[np.bool_]], start: datetime, stop: datetime) -> bytes:
        """The result's JSON text, from the bits of each experiment and when they ran."""


class Plan(Protocol):
    """A job that can run, unless it is over a limit."""

    @property
    def seed(self) -> int | None:
        """Of the simulated QPU."""

    @property
    def rep_delay_s(self) -> float:
        """Seconds between two shots."""

    def experiments(self) -> tuple[list[Experiment], Done]:
        """What the device shall run, and what makes a result of it."""

    def over_limits(self) -> Iterator[InvalidInput]:
        """The limits that the job breaks."""


PROGRAMS: dict[str, Callable[[bytes, Device], Plan]] = {
    "sampler": sampler.plan,
    "estimator": estimator.plan,
}
"""By a program's id, what plans a job by its parameters' JSON text; RequestError if it cannot."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job should take of the real QPU."""

    estimated_ms: int
    """QPU time in all."""
    overhead_ms: int
    """The part of it that the job costs beside its circuits."""
    circuits: int
    """After broadcasting."""
    executions: int
    """Circuits times shots."""
    sizes: list[tuple[int, int]]
    """Qubits used and depth of each circuit, before broadcasting."""


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
    done: Done
    seed: int | None
    estimated_ms: int


@dataclass(frozen=True, slots=True)
class _Raw:
    """What quantum leaves to finish: the bits, packed."""

    bits: list[tuple[tuple[int, ...], NDArray[np.uint8]]]
    start: datetime
    stop: datetime


def validate(program_id: str, params: bytes, device: Device) -> Estimate:
    """Check everything that can be checked before the job is accepted; RequestError if it fails."""
    known = _known(program_id, params, device)
    for broken in known.plan.over_limits():
        raise broken
    experiments, _ = known.plan.experiments()
    device.check(experiments)
    return known.estimated(experiments, device)


def estimate(program_id: str, params: bytes, device: Device) -> tuple[Estimate, list[InvalidInput]]:
    """What a job would take, and for which limits `validate` would refuse it.

    RequestError if it could not run even without them.
    """
    known = _known(program_id, params, device)
    over = list(known.plan.over_limits())
    experiments, _ = known.plan.experiments()
    if not over:  # the simulator's own limits; it need not look at what is refused anyway
        try:
            device.check(experiments)
        except InvalidInput as error:
            over.append(error)
    try:
        return known.estimated(experiments, device), over
    except OverflowError:  # loops in loops that would outlast the universe
        raise over[0] from None


def prepare(program_id: str, params: bytes, device: Device) -> Prepared:
    """Make the circuits that will run."""
    known = _known(program_id, params, device)
    experiments, done = known.plan.experiments()
    told = known.estimated(experiments, device)
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
            told.estimated_ms,
        ),
        # The names of the metrics API up to 2026-02-15 (docs/endpoints.md).
        metrics={
            "executions": told.executions,
            "qiskit_version": qiskit.__version__,
            "num_circuits": told.circuits,
            "num_qubits": [width for width, _ in told.sizes],
            "circuit_depths": [depth for _, depth in told.sizes],
        },
        log=(
            (
                f"prepared circuits={told.circuits} executions={told.executions} "
                f"estimated_ms={told.estimated_ms}"
            ),
        ),
    )


def quantum(program_id: str, work: object, device: Device) -> Measured:
    """Run the circuits; charged is what the real QPU would have needed (decisions 8)."""
    del program_id
    assert isinstance(work, _Work)
    circuits = qpy.load(io.BytesIO(work.circuits)) if work.runs else []
    experiments = [
        Experiment(circuit, values, shots)
        for circuit, (values, shots) in zip(circuits, work.runs, strict=True)
    ]
    start = datetime.now(UTC)
    samples = device.sample(experiments, seed=work.seed)
    stop = datetime.now(UTC)
    seconds = (stop - start).total_seconds()
    raw = _Raw([(bits.shape, np.packbits(bits)) for bits in samples.bits], start, stop)
    return Measured(
        work.estimated_ms,
        raw,
        metrics=samples.metadata,
        log=(f"measured seconds={seconds:.3f} usage_ms={work.estimated_ms}",),
    )


def finish(program_id: str, work: object, raw: object, device: Device) -> bytes:
    """Make the result: its JSON text."""
    del program_id, device
    assert isinstance(work, _Work)
    assert isinstance(raw, _Raw)
    bits = [
        np.unpackbits(packed, count=prod(shape)).view(bool).reshape(shape)
        for shape, packed in raw.bits
    ]
    return work.done.result(bits, raw.start, raw.stop)


@dataclass(slots=True)
class _Known:
    """A plan, and what it should take."""

    plan: Plan
    params_bytes: int
    estimate: Estimate | None = None

    def estimated(self, experiments: Sequence[Experiment], device: Device) -> Estimate:
        """What the plan's `experiments` should take; for large circuits as slow as decoding."""
        if self.estimate is None:
            self.estimate = _estimate(self.plan, experiments, device)
        return self.estimate


class _Plans:
    """The plans that this worker made last, by the digest of their parameters."""

    def __init__(self) -> None:
        self._plans: OrderedDict[tuple[str, str, bytes], _Known] = OrderedDict()

    def get(self, program_id: str, params: bytes, device: Device) -> _Known:
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


def _known(program_id: str, params: bytes, device: Device) -> _Known:
    if program_id not in PROGRAMS:
        raise NotFound(
            f"program {program_id[:50]!r} not found; there are: {', '.join(PROGRAMS)}", 1208
        )
    return _plans.get(program_id, params, device)


def _estimate(plan: Plan, experiments: Sequence[Experiment], device: Device) -> Estimate:
    sizes = [_size(experiment.circuit) for experiment in experiments]
    runs = [len(experiment.values) * experiment.shots for experiment in experiments]
    circuits = sum(len(experiment.values) for experiment in experiments)
    overhead_ms = usage.overhead_ms(
        circuits=circuits,
        qubits=round(fmean([width for width, _ in sizes] or [0])),
        depth=round(fmean([depth for _, depth in sizes] or [0])),
    )
    shot_s = [device.duration_s(one.circuit) + plan.rep_delay_s for one in experiments]
    return Estimate(
        estimated_ms=usage.qpu_ms(
            overhead_ms=overhead_ms, runs=list(zip(shot_s, runs, strict=True))
        ),
        overhead_ms=overhead_ms,
        circuits=circuits,
        executions=sum(runs),
        sizes=sizes,
    )


def _size(circuit: QuantumCircuit) -> tuple[int, int]:
    """How many qubits a circuit uses, and its depth; a block of control flow counts as one."""
    levels: dict[object, int] = {}
    qubits = set()
    for instruction in circuit.data:
        if instruction.name == "barrier":
            continue
        bits = (*instruction.qubits, *instruction.clbits)
        level = 1 + max([levels.get(bit, 0) for bit in bits], default=0)
        levels.update(dict.fromkeys(bits, level))
        qubits.update(instruction.qubits)
    return len(qubits), max(levels.values(), default=0)
