"""The sampler: measured bits of circuits."""

import keyword
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import BitArray, DataBin, PrimitiveResult, SamplerPubResult
from qiskit_ibm_runtime.execution_span import DoubleSliceSpan, ExecutionSpans

from queuebit.devices.device import Device, Experiment
from queuebit.errors import InvalidInput
from queuebit.programs import codec, limits, pubs
from queuebit.programs.options import SHOTS_MAX, SamplerOptions, parse, rep_delay_s, seed_of

DEFAULT_SHOTS = 4096  # client 0.51, SamplerOptions.default_shots


@dataclass(frozen=True, slots=True)
class Pub:
    """What is needed of a PUB once its circuit has run."""

    shape: tuple[int, ...]
    shots: int
    registers: dict[str, list[int]]
    """Positions in circuit.clbits of each classical register's bits."""
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sampler job that can run, unless it is over a limit."""

    pubs: list[Pub]
    circuits: list[QuantumCircuit]
    values: list[NDArray[np.float64]]
    seed: int | None
    rep_delay_s: float
    tagged: bool

    def experiments(self) -> tuple[list[Experiment], "Done"]:
        """What the device shall run, and what makes a result of it."""
        experiments = [
            Experiment(circuit, rows, pub.shots)
            for pub, circuit, rows in zip(self.pubs, self.circuits, self.values, strict=True)
        ]
        return experiments, Done(self.pubs, self.tagged)

    def over_limits(self) -> Iterator[InvalidInput]:
        """The limits that the job breaks."""
        runs = [(len(rows), pub.shots) for pub, rows in zip(self.pubs, self.values, strict=True)]
        yield from limits.executions(runs)
        widths = [circuit.num_clbits for circuit in self.circuits]
        yield from limits.bits((*run, width) for run, width in zip(runs, widths, strict=True))
        yield from limits.sizes(self.circuits)


@dataclass(frozen=True, slots=True)
class Done:
    """What makes a result of bits."""

    pubs: list[Pub]
    tagged: bool

    def result(self, bits: Sequence[NDArray[np.bool_]], start: datetime, stop: datetime) -> bytes:
        """The job's result as JSON text.

        Its metadata are as the guide prints them (Run jobs in a batch, Result2).
        """
        spans = DoubleSliceSpan(
            start,
            stop,
            {
                i: ((*pub.shape, pub.shots), slice(0, prod(pub.shape)), slice(0, pub.shots))
                for i, pub in enumerate(self.pubs)
            },
        )
        result = PrimitiveResult(
            [_pub_result(pub, measured) for pub, measured in zip(self.pubs, bits, strict=True)],
            metadata={"execution": {"execution_spans": ExecutionSpans([spans])}, "version": 2},
        )
        return codec.encode(result, tagged=self.tagged)


def plan(text: bytes, device: Device) -> Plan:
    """The job that the parameters' JSON text asks for; InvalidInput if it cannot run."""
    params = codec.decode(text)
    frame = pubs.frame(params, ("shots",))
    options = parse(SamplerOptions, frame.options)
    default = _shots(params.get("shots"), "params.shots") or options.default_shots or DEFAULT_SHOTS
    circuits, checked, values = [], [], []
    for number, pub in enumerate(frame.pubs):
        names = ("circuit", "parameter values", "shots")
        circuit, given, own_shots = pubs.parts(pub, number, names, required=1)
        shots = _shots(own_shots, f"PUB {number}, shots") or default
        bound = pubs.bindings(circuit, given, number)
        metadata = circuit.metadata or {}
        checked.append(Pub(bound.shape, shots, _registers(circuit, number), metadata))
        circuits.append(circuit)
        values.append(pubs.rows(circuit, bound))
    pubs.check_circuits(circuits, device)
    return Plan(
        pubs=checked,
        circuits=circuits,
        values=values,
        seed=seed_of(options.simulator),
        rep_delay_s=rep_delay_s(options.execution, device),
        tagged=frame.tagged,
    )


def _shots(given: object, where: str) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= SHOTS_MAX:
        raise InvalidInput(f"{where}: must be a number from 1 to {SHOTS_MAX}", 1208)
    return given


def _registers(circuit: QuantumCircuit, number: int) -> dict[str, list[int]]:
    """The classical registers, which give the result's fields their names."""
    if not circuit.cregs:
        raise InvalidInput(
            f"PUB {number}: the circuit has no classical register, so there is nothing to return",
            1208,
            "Add measurements.",
        )
    for register in circuit.cregs:
        name = register.name
        if not name.isidentifier() or keyword.iskeyword(name) or hasattr(DataBin, name):
            raise InvalidInput(
                f"PUB {number}: classical register {name[:50]!r}: the name cannot be a result "
                "field's, which is an identifier and no keyword",
                1208,
            )
        if not register.size:
            raise InvalidInput(f"PUB {number}: classical register {name} has no bits", 1208)
    return {
        register.name: [circuit.find_bit(bit).index for bit in register]
        for register in circuit.cregs
    }


def _pub_result(pub: Pub, bits: NDArray[np.bool_]) -> SamplerPubResult:
    """The result of one PUB from bits of shape (sets of values, shots, bits)."""
    fields = {
        name: BitArray.from_bool_array(
            bits[..., where].reshape(*pub.shape, pub.shots, len(where)), order="little"
        )
        for name, where in pub.registers.items()
    }
    return SamplerPubResult(
        DataBin(**fields, shape=pub.shape), metadata={"circuit_metadata": pub.metadata}
    )
