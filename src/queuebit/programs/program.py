"""Every program in its stages: validate, prepare, quantum, finish.

Called by workers. A RequestError is the user's mistake; anything else is ours.
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import prod
from statistics import fmean
from typing import Any

import numpy as np
import qiskit
from numpy.typing import NDArray
from qiskit import QuantumCircuit, qpy

from queuebit.core import usage
from queuebit.devices.device import Device, Experiment
from queuebit.errors import NotFound
from queuebit.programs import codec, estimator, sampler

PLANS_MAX = 8  # plans that a worker keeps, so that the stage after the validation need not decode
PLANNED_BYTES_MAX = (
    4 * 2**20
)  # of their parameters together; decoded they are 20 to 50 times larger

Plan = sampler.Plan | estimator.Plan

PROGRAMS: dict[str, Callable[[dict[str, Any], Device], Plan]] = {
    "sampler": sampler.plan,
    "estimator": estimator.plan,
}


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
    done: sampler.Done | estimator.Done
    seed: int | None
    estimated_ms: int


@dataclass(frozen=True, slots=True)
class _Raw:
    """What quantum leaves to finish: the bits, packed."""

    bits: list[tuple[tuple[int, ...], NDArray[np.uint8]]]
    start: datetime
    stop: datetime


def validate(program_id: str, params: bytes, device: Device) -> None:
    """Check everything that can be checked before the job is accepted; RequestError if it fails."""
    experiments, _ = _plan(program_id, params, device).experiments()
    device.check(experiments)


def prepare(program_id: str, params: bytes, device: Device) -> Prepared:
    """Make the circuits that will run."""
    plan = _plan(program_id, params, device)
    experiments, done = plan.experiments()
    sizes = [_size(experiment.circuit) for experiment in experiments]
    circuits = sum(len(experiment.values) for experiment in experiments)
    estimated_ms = usage.qpu_ms(
        overhead_ms=usage.overhead_ms(
            circuits=circuits,
            qubits=round(fmean([width for width, _ in sizes] or [0])),
            depth=round(fmean([depth for _, depth in sizes] or [0])),
        ),
        runs=(
            (
                device.duration_s(experiment.circuit) + plan.rep_delay_s,
                len(experiment.values) * experiment.shots,
            )
            for experiment in experiments
        ),
    )
    packed = io.BytesIO()
    if experiments:
        qpy.dump([experiment.circuit for experiment in experiments], packed)
    executions = sum(len(e.values) * e.shots for e in experiments)
    return Prepared(
        estimated_ms,
        _Work(
            packed.getvalue(),
            [(experiment.values, experiment.shots) for experiment in experiments],
            done,
            plan.seed,
            estimated_ms,
        ),
        # The names of the metrics API up to 2026-02-15 (rest.md 5.9).
        metrics={
            "executions": executions,
            "qiskit_version": qiskit.__version__,
            "num_circuits": circuits,
            "num_qubits": [width for width, _ in sizes],
            "circuit_depths": [depth for _, depth in sizes],
        },
        log=(f"prepared circuits={circuits} executions={executions} estimated_ms={estimated_ms}",),
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
    result = work.done.result(bits, raw.start, raw.stop)
    return codec.encode(result, tagged=work.done.tagged)


class _Plans:
    """The plans that this worker made last, by the digest of their parameters."""

    def __init__(self) -> None:
        self._plans: OrderedDict[tuple[str, str, bytes], tuple[int, Plan]] = OrderedDict()

    def get(self, program_id: str, params: bytes, device: Device) -> Plan:
        """The plan; made if it is not known."""
        key = (program_id, device.name, hashlib.sha256(params).digest())
        if key in self._plans:
            self._plans.move_to_end(key)
            return self._plans[key][1]
        plan = PROGRAMS[program_id](codec.decode(params), device)
        if len(params) <= PLANNED_BYTES_MAX:
            self._plans[key] = (len(params), plan)
        while len(self._plans) > PLANS_MAX or self._bytes() > PLANNED_BYTES_MAX:
            self._plans.popitem(last=False)
        return plan

    def _bytes(self) -> int:
        return sum(size for size, _ in self._plans.values())


_plans = _Plans()


def _plan(program_id: str, params: bytes, device: Device) -> Plan:
    if program_id not in PROGRAMS:
        raise NotFound(
            f"program {program_id[:50]!r} not found; there are: {', '.join(PROGRAMS)}", 1208
        )
    return _plans.get(program_id, params, device)


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
