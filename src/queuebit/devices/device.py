"""One simulated QPU: what it can run, how long that takes, and what comes out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Clbit, ControlFlowOp, ParameterExpression, Qubit
from qiskit.transpiler import Target

from queuebit.config import BackendConfig
from queuebit.devices.channels import Channels
from queuebit.devices.exact import Exact
from queuebit.devices.isa import Isa
from queuebit.devices.noise import Noise
from queuebit.devices.planning import (
    Limits,
    Plan,
    check_output,
    default_limits,
    pieces,
    plan,
    surely_fits,
)
from queuebit.devices.ptm import GROUND, readings
from queuebit.devices.reading import CLASSICAL, Op, Part, read_whole, split
from queuebit.devices.snapshot import FAULTY_ERROR, Snapshot
from queuebit.devices.target import Wires, build_target
from queuebit.devices.trajectories import Trajectories, Trajectory
from queuebit.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Experiment:
    """One circuit to run, at one or more sets of parameter values."""

    circuit: QuantumCircuit
    """On the device's physical qubits; classical bits as the user made them."""
    values: NDArray[np.float64]
    """Shape (n, P): a row per set of values, columns in circuit.parameters order; P may be 0."""
    shots: int


@dataclass(frozen=True, slots=True)
class Samples:
    """What a job's experiments measured."""

    bits: list[NDArray[np.bool_]]
    """Per experiment, shape (n, shots, num_clbits), bits in circuit.clbits order."""
    metadata: dict[str, Any]
    """JSON: how it was simulated."""


@dataclass(slots=True)
class _Piece:
    """One part of one experiment, and how it runs."""

    index: int
    part: Part
    repeated: bool
    """No parameter in it: all sets of values are the same, and run as more shots of one."""
    plan: Plan | None
    """None: a single qubit, measured once at its end."""


class Device:
    """A simulated QPU after a snapshot of a real one."""

    def __init__(self, config: BackendConfig, limits: Limits | None = None) -> None:
        self.name = config.name
        self.snapshot = Snapshot(config)
        self.target: Target = build_target(self.snapshot)
        self.num_qubits: int = self.target.num_qubits
        self.rep_delay_s: float = self.snapshot.configuration.get("default_rep_delay", 250.0) * 1e-6
        self.dt: float | None = self.target.dt
        self.noise = Noise(self.target, self.snapshot)
        self._limits = limits
        self._isa = Isa(self.target, self.noise)

    @property
    def faulty_gates(self) -> frozenset[tuple[str, Wires]]:
        """Gates that the snapshot reports as not calibrated; they run, with the largest error."""
        return frozenset(
            (name, wires)
            for name in self.target.operation_names
            for wires, known in (self.target[name] or {}).items()
            if wires is not None and known is not None and (known.error or 0.0) >= FAULTY_ERROR
        )

    def isa_error(self, circuit: QuantumCircuit) -> str | None:
        """Why the device cannot run `circuit`, in the client's words; None if it can."""
        return self._isa.error(circuit)

    def duration_s(self, circuit: QuantumCircuit) -> float:
        """Seconds of one shot, from its first to its last instruction."""
        return self._isa.duration_s(circuit)

    def check(self, experiments: Sequence[Experiment]) -> None:
        """Refuse, with InvalidInput, what `sample` would refuse; runs nothing.

        Most circuits are small and known to fit without a plan, which costs many times as much.
        """
        limits = self._limits_of(experiments)
        for index, one in enumerate(experiments):
            if not _surely_fits(one, limits):
                self._pieces(index, one, limits)

    def sample(self, experiments: Sequence[Experiment], *, seed: int | None = None) -> Samples:
        """Run every experiment; same seed, same bits, whatever ran before."""
        start = time.perf_counter_ns()
        work = self._plan(experiments)
        rng = np.random.default_rng(seed)
        bits = [
            np.zeros((len(e.values), e.shots, e.circuit.num_clbits), dtype=bool)
            for e in experiments
        ]
        channels = [
            Channels(self.noise, self.dt, e.circuit.parameters, e.values) for e in experiments
        ]
        self._singles(work, experiments, channels, bits, rng)
        self._exact(work, experiments, channels, bits, rng)
        self._trajectories(work, experiments, bits, rng)
        plans = [piece.plan for piece in work if piece.plan is not None]
        methods = sorted({one.method for one in plans}) or ["density_matrix"]
        metadata = {
            "method": "+".join(methods),
            "noise": "exact" if methods == ["density_matrix"] else "twirled",
            "simulated": self.snapshot.source,
            "max_component_qubits": max([len(piece.part.qubits) for piece in work], default=0),
            "circuits_execution_time_ns": time.perf_counter_ns() - start,
        }
        return Samples(bits, metadata)

    def _plan(self, experiments: Sequence[Experiment]) -> list[_Piece]:
        limits = self._limits_of(experiments)
        return [
            piece
            for index, one in enumerate(experiments)
            for piece in self._pieces(index, one, limits)
        ]

    def _limits_of(self, experiments: Sequence[Experiment]) -> Limits:
        """What each of them may use; refuses all if their results are too large."""
        limits = self._limits or default_limits()
        check_output([(len(e.values), e.shots, e.circuit.num_clbits) for e in experiments], limits)
        return limits

    @staticmethod
    def _pieces(index: int, one: Experiment, limits: Limits) -> list[_Piece]:
        if one.circuit.num_input_vars:
            raise InvalidInput(f"circuit {index} has input variables without values")
        work = []
        rows = len(one.values)
        for part in split(read_whole(one.circuit)):
            if not part.clbits:
                continue
            repeated = not (one.circuit.num_parameters and any(map(_has_parameters, part.ops)))
            if _is_single(part):
                work.append(_Piece(index, part, repeated, None))
                continue
            runs = (1, rows * one.shots) if repeated else (rows, one.shots)
            label = f"Circuit {index}"
            work.append(_Piece(index, part, repeated, plan(part, *runs, limits, label)))
        return work

    def _singles(
        self,
        work: list[_Piece],
        experiments: Sequence[Experiment],
        channels: list[Channels],
        bits: list[NDArray[np.bool_]],
        rng: np.random.Generator,
    ) -> None:
        """Qubits on their own: their chance to read 1, then all of a circuit at once."""
        for index, one in enumerate(experiments):
            pieces_ = [p for p in work if p.plan is None and p.index == index]
            if not pieces_:
                continue
            chances = np.empty((len(one.values), len(pieces_)), dtype=np.float32)
            for column, piece in enumerate(pieces_):
                chances[:, column] = self._chance(piece.part.ops, channels[index])
            shape = (len(one.values), one.shots, len(pieces_))
            drawn = rng.random(shape, dtype=np.float32) < chances[:, None, :]
            bits[index][:, :, [piece.part.clbits[0] for piece in pieces_]] = drawn

    def _chance(self, ops: list[Op], channels: Channels) -> Any:
        *before, measure = ops
        vector = GROUND
        for op in before:
            vector = (channels.of(op, {}) @ vector[..., None])[..., 0]
        return vector @ readings(*self.noise.readout(measure.qubits[0], measure.name))[1]

    def _exact(
        self,
        work: list[_Piece],
        experiments: Sequence[Experiment],
        channels: list[Channels],
        bits: list[NDArray[np.bool_]],
        rng: np.random.Generator,
    ) -> None:
        for piece in work:
            if piece.plan is None or piece.plan.method != "density_matrix":
                continue
            one = experiments[piece.index]
            channels[piece.index].prepare(piece.part.ops)
            columns = {bit: column for column, bit in enumerate(piece.part.clbits)}
            by_bit = {one.circuit.clbits[bit]: column for bit, column in columns.items()}
            exact = Exact(piece.plan.steps, channels[piece.index], columns, by_bit)
            rows, shots = self._runs(piece, one)
            made = np.empty((rows, shots, len(columns)), dtype=bool)
            for first, end in pieces(rows, piece.plan.rows_at_once):
                for begin, stop in pieces(shots, piece.plan.shots_at_once):
                    made[first:end, begin:stop] = exact.run(
                        np.arange(first, end), stop - begin, rng
                    )
            self._put(piece, one, made, bits)

    def _trajectories(
        self,
        work: list[_Piece],
        experiments: Sequence[Experiment],
        bits: list[NDArray[np.bool_]],
        rng: np.random.Generator,
    ) -> None:
        big = [p for p in work if p.plan is not None and p.plan.method != "density_matrix"]
        for method in sorted({piece.plan.method for piece in big if piece.plan is not None}):
            chosen = [p for p in big if p.plan is not None and p.plan.method == method]
            runs = []
            for piece in chosen:
                one = experiments[piece.index]
                shots = self._runs(piece, one)[1]
                runs.append(Trajectory(one.circuit, piece.part, one.values, shots, rng))
            seed = int(rng.integers(2**31))
            found = Trajectories(self.noise, self.dt, method).run(runs, seed)
            for piece, made in zip(chosen, found, strict=True):
                self._put(piece, experiments[piece.index], made, bits)

    @staticmethod
    def _runs(piece: _Piece, one: Experiment) -> tuple[int, int]:
        """Sets of values and shots that it really runs."""
        return (1, len(one.values) * one.shots) if piece.repeated else (len(one.values), one.shots)

    @staticmethod
    def _put(
        piece: _Piece, one: Experiment, made: NDArray[np.bool_], bits: list[NDArray[np.bool_]]
    ) -> None:
        shape = (len(one.values), one.shots, len(piece.part.clbits))
        bits[piece.index][:, :, piece.part.clbits] = made.reshape(shape)


def _surely_fits(one: Experiment, limits: Limits) -> bool:
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
        limits=limits,
    )


def _has_parameters(op: Op) -> bool:
    if isinstance(op.operation, ControlFlowOp):
        return any(block.num_parameters for block in op.operation.blocks)
    return any(isinstance(value, ParameterExpression) for value in op.params)


def _is_single(part: Part) -> bool:
    """One qubit, whose only measurement comes last."""
    return (
        len(part.qubits) == 1
        and len(part.clbits) == 1
        and part.ops[-1].name.startswith("measure")
        and not part.dynamic
        and not any(op.name.startswith("measure") for op in part.ops[:-1])
    )
