"""What one experiment is cut into, and how each piece runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Bit, Clbit, ControlFlowOp, ParameterExpression, Qubit

from queuebit.devices.channels import Channels
from queuebit.devices.clifford import is_clifford
from queuebit.devices.planning import TRAJECTORIES, Limits, Plan, Task, plan, surely_fits
from queuebit.devices.protocol import Experiment
from queuebit.devices.reading import CLASSICAL, Op, Part, read_whole, split
from queuebit.errors import InvalidInput


@dataclass(slots=True)
class Piece:
    """One part of one experiment at some of its sets of values."""

    index: int
    """The experiment's."""
    experiment: Experiment
    channels: Channels
    part: Part
    repeated: bool
    """No parameter in it: all sets of values are the same, and run as more shots of one."""
    plan: Plan | None
    """None: a single qubit, measured once at its end."""

    @property
    def shots(self) -> int:
        """Shots of each set of values that it really runs."""
        one = self.experiment
        return len(one.values) * one.shots if self.repeated else one.shots

    @property
    def columns(self) -> dict[int, int]:
        """Column of each of the part's classical bits in what its run makes."""
        return {bit: column for column, bit in enumerate(self.part.clbits)}

    @property
    def by_bit(self) -> dict[Bit, int]:
        """Likewise, by the bit itself."""
        clbits = self.experiment.circuit.clbits
        return {clbits[bit]: column for bit, column in self.columns.items()}

    @property
    def batched(self) -> bool:
        """Whether it runs together with other pieces, in one call of Aer."""
        return self.plan is not None and self.plan.method in TRAJECTORIES and self.part.fixed

    def put(self, made: NDArray[np.bool_], bits: Sequence[NDArray[np.bool_]]) -> None:
        """What its run made, into the `bits` of all experiments, (n, shots, num_clbits) each."""
        assert self.plan is not None
        all_bits, clbits = bits[self.index], self.part.clbits
        if self.repeated:
            all_bits[:, :, clbits] = made.reshape(*all_bits.shape[:2], len(clbits))
        else:
            for row, found in zip(self.plan.rows, made, strict=True):
                all_bits[row][:, clbits] = found


def cut(index: int, one: Experiment, channels: Channels, limits: Limits) -> list[Piece]:
    """Every piece of an experiment that measures something; refuses what does not fit."""
    if one.circuit.num_input_vars:
        raise InvalidInput(f"circuit {index} has input variables without values")
    work = []
    rows = len(one.values)
    for part in split(read_whole(one.circuit)):
        if not part.clbits:
            continue
        repeated = not (one.circuit.num_parameters and any(map(_has_parameters, part.ops)))
        if _is_single(part):
            work.append(Piece(index, one, channels, part, repeated, None))
            continue
        sets, shots = (1, rows * one.shots) if repeated else (rows, one.shots)
        clifford = partial(is_clifford, part.ops, channels, sets)
        plans = plan(Task(part, sets, shots, f"Circuit {index}", clifford), limits)
        work += [Piece(index, one, channels, part, repeated, found) for found in plans]
    return work


def surely_all_fits(one: Experiment, limits: Limits) -> bool:
    """Whether no plan is needed to know that it fits."""
    circuit = one.circuit
    if circuit.num_input_vars or not CLASSICAL.isdisjoint(circuit.count_ops()):
        return False
    joined: set[Qubit] = set()  # all qubits that may have company in their part
    measured: dict[Clbit, Qubit] = {}
    for instruction in circuit.data:
        qubits = instruction.qubits
        if len(qubits) > 1:
            if instruction.name != "barrier":
                joined.update(qubits)
            continue
        for bit in instruction.clbits:
            first = measured.setdefault(bit, qubits[0])
            if first is not qubits[0]:
                joined.update((first, qubits[0]))
    return surely_fits(
        qubits=max(1, len(joined)),
        operations=len(circuit.data),
        runs=len(one.values) * one.shots,
        bits=circuit.num_clbits,
        limits=limits,
    )


def _has_parameters(op: Op) -> bool:
    if isinstance(op.operation, ControlFlowOp):
        loop = {op.operation.params[1]} if op.name == "for_loop" else set()
        return any(set(block.parameters) - loop for block in op.operation.blocks)
    return any(isinstance(value, ParameterExpression) and value.parameters for value in op.params)


def _is_single(part: Part) -> bool:
    """One qubit, whose only measurement comes last."""
    return (
        len(part.qubits) == 1
        and len(part.clbits) == 1
        and part.ops[-1].name.startswith("measure")
        and not part.dynamic
        and not any(op.name.startswith("measure") for op in part.ops[:-1])
    )
