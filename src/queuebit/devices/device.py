"""One simulated QPU: what it can run, how long that takes, and what comes out."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import Target

from queuebit.config import BackendConfig
from queuebit.core.model import Calibrated
from queuebit.devices.channels import Channels
from queuebit.devices.drift import FAULTY_ERROR
from queuebit.devices.dynamic import Dynamic
from queuebit.devices.exact import Exact
from queuebit.devices.isa import Isa
from queuebit.devices.noise import Noise
from queuebit.devices.pieces import Piece, cut, surely_all_fits
from queuebit.devices.planning import (
    BOND_MAX,
    TRAJECTORIES,
    TRUNCATION,
    Limits,
    Plan,
    check_output,
    default_limits,
    slices,
)
from queuebit.devices.propagation import Budget, Propagation
from queuebit.devices.protocol import Expectations, Experiment, Readout, Samples
from queuebit.devices.ptm import GROUND, readings
from queuebit.devices.reading import Op
from queuebit.devices.snapshot import Snapshot
from queuebit.devices.stabilizer import Stabilizer
from queuebit.devices.target import Wires, build_target
from queuebit.devices.trajectories import Trajectories, Trajectory, chain_order
from queuebit.errors import InvalidInput

_NOISE = {
    "density_matrix": "exact",
    "stabilizer": "twirled",
    "statevector": "twirled",
    "matrix_product_state": "twirled",
}

__all__ = ["Device", "Experiment", "Samples"]


class Device:
    """A simulated QPU after a snapshot of a real one. Implements `Qpu`."""

    def __init__(
        self,
        config: BackendConfig,
        limits: Limits | None = None,
        calibrated: Calibrated | None = None,
    ) -> None:
        """As `calibrated` has left it; None: as its snapshot has it."""
        self.name = config.name
        self.dynamic_circuits = config.dynamic_circuits
        self.snapshot = Snapshot(config, calibrated)
        self.target: Target = build_target(self.snapshot)
        self.num_qubits: int = self.target.num_qubits
        self.rep_delay_s: float = self.snapshot.configuration.get("default_rep_delay", 250.0) * 1e-6
        self.dt: float | None = self.target.dt
        self.noise = Noise(self.target, self.snapshot)
        self._limits = limits
        self._isa = Isa(self.target)

    @property
    def description(self) -> Snapshot:
        """What clients are told of it."""
        return self.snapshot

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
            if not surely_all_fits(one, limits):
                cut(index, one, self._channels(one), limits)

    def fits(self, experiments: Sequence[Experiment]) -> InvalidInput | None:
        """Why `sample` would refuse them; None if it would not. As cheap as `check`."""
        try:
            self.check(experiments)
        except InvalidInput as refusal:
            return refusal
        return None

    def propagate(
        self,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        observables: Sequence[SparsePauliOp],
        *,
        readout: Readout = "none",
        budget: Budget | None = None,
    ) -> Expectations:
        """Expectation values without sampling, by Pauli propagation; for circuits of any width.

        `circuit` as in Experiment; what it measures at its end is lost to X and Y, as in a sampled
        job. `values` as in Experiment, shape (n, P); `observables` on the circuit's physical
        qubits, of as many qubits as the circuit or fewer. Gates and delays have the device's noise,
        twirled. `readout` adds the errors of measuring: "none", "biased" (as the device reads) or
        "twirled" (its bits flipped at random and back). The values have no shot noise.
        InvalidInput, before it runs, for control flow, resets, measurements in the middle, and what
        takes too long or too much.
        """
        return self._propagation(circuit, values, readout, budget).run(observables)

    def propagates(
        self,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        observables: Sequence[SparsePauliOp],
        *,
        readout: Readout = "none",
        budget: Budget | None = None,
    ) -> InvalidInput | None:
        """Why `propagate` would refuse; None if it would not. Runs nothing."""
        try:
            self._propagation(circuit, values, readout, budget).plan(observables)
        except InvalidInput as refusal:
            return refusal
        return None

    def _propagation(
        self,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        readout: Readout,
        budget: Budget | None,
    ) -> Propagation:
        limits = self._limits or default_limits()
        channels = Channels(self.noise, self.dt, circuit.parameters, values)
        return Propagation(circuit, channels, len(values), readout, budget, limits)

    def sample(self, experiments: Sequence[Experiment], *, seed: int | None = None) -> Samples:
        """Run every experiment; same seed, same bits, whatever ran before."""
        start = time.perf_counter_ns()
        work = self._plan(experiments)
        rng = np.random.default_rng(seed)
        bits = [
            np.zeros((len(e.values), e.shots, e.circuit.num_clbits), dtype=bool)
            for e in experiments
        ]
        self._singles(work, bits, rng)
        runs = {
            "density_matrix": self._exact,
            "stabilizer": self._stabilizer,
            **dict.fromkeys(TRAJECTORIES, self._dynamic),
        }
        for piece in work:
            if piece.plan is not None and not piece.batched:
                piece.put(runs[piece.plan.method](piece, piece.plan, rng), bits)
        truncation = self._trajectories(work, bits, rng)
        methods = {piece.plan.method for piece in work if piece.plan is not None}
        methods = methods or {"density_matrix"}
        metadata = {
            "method": "+".join(sorted(methods)),
            "noise": "+".join(sorted({_NOISE[method] for method in methods})),
            "simulated": self.snapshot.source,
            "properties_updated": self.snapshot.properties()["last_update_date"],
            "max_component_qubits": max([len(piece.part.qubits) for piece in work], default=0),
            **({"truncation": truncation} if truncation else {}),
            "circuits_execution_time_ns": time.perf_counter_ns() - start,
        }
        return Samples(bits, metadata)

    def _channels(self, one: Experiment) -> Channels:
        return Channels(self.noise, self.dt, one.circuit.parameters, one.values)

    def _plan(self, experiments: Sequence[Experiment]) -> list[Piece]:
        limits = self._limits_of(experiments)
        return [
            piece
            for index, one in enumerate(experiments)
            for piece in cut(index, one, self._channels(one), limits)
        ]

    def _limits_of(self, experiments: Sequence[Experiment]) -> Limits:
        """What each of them may use; refuses all if their results are too large."""
        limits = self._limits or default_limits()
        return check_output(
            [(len(e.values), e.shots, e.circuit.num_clbits) for e in experiments], limits
        )

    def _singles(
        self, work: list[Piece], bits: list[NDArray[np.bool_]], rng: np.random.Generator
    ) -> None:
        """Qubits on their own: their chance to read 1, then all of a circuit at once."""
        for index, made in enumerate(bits):
            alone = [p for p in work if p.plan is None and p.index == index]
            if not alone:
                continue
            rows, shots, _ = made.shape
            chances = np.empty((rows, len(alone)), dtype=np.float32)
            for column, piece in enumerate(alone):
                chances[:, column] = self._chance(piece.part.ops, piece.channels)
            drawn = rng.random((rows, shots, len(alone)), dtype=np.float32) < chances[:, None, :]
            made[:, :, [piece.part.clbits[0] for piece in alone]] = drawn

    def _chance(self, ops: list[Op], channels: Channels) -> Any:
        *before, measure = ops
        vector = GROUND
        for op in before:
            vector = (channels.of(op, {}) @ vector[..., None])[..., 0]
        return vector @ readings(*self.noise.readout(measure.qubits[0], measure.name))[1]

    @staticmethod
    def _exact(piece: Piece, plan: Plan, rng: np.random.Generator) -> NDArray[np.bool_]:
        piece.channels.prepare(piece.part.ops)
        exact = Exact(plan.steps, piece.channels, piece.columns, piece.by_bit, rng)
        made = np.empty((len(plan.rows), piece.shots, len(piece.columns)), dtype=bool)
        for first, end in slices(len(plan.rows), plan.rows_at_once):
            for begin, stop in slices(piece.shots, plan.shots_at_once):
                made[first:end, begin:stop] = exact.run(plan.rows[first:end], stop - begin)
        return made

    @staticmethod
    def _stabilizer(piece: Piece, plan: Plan, rng: np.random.Generator) -> NDArray[np.bool_]:
        wide = Stabilizer(piece.part, piece.channels, plan.rows)
        return wide.run(piece.shots, plan.shots_at_once, rng)

    @staticmethod
    def _dynamic(piece: Piece, plan: Plan, rng: np.random.Generator) -> NDArray[np.bool_]:
        part, order = piece.part, chain_order([piece.part])
        own = Dynamic(part, order, plan.method, piece.channels, piece.columns, piece.by_bit, rng)
        return own.run(plan.rows, piece.shots, plan.shots_at_once)

    def _trajectories(
        self, work: list[Piece], bits: list[NDArray[np.bool_]], rng: np.random.Generator
    ) -> dict[str, Any]:
        """JSON: what was cut off, where something may have been."""
        truncation = {}
        for method in TRAJECTORIES:
            chosen = [p for p in work if p.plan is not None and p.plan.method == method]
            if chosen and method == "matrix_product_state":
                truncation.update({"bond_dimension_max": BOND_MAX, "threshold": TRUNCATION})
            batch = [(p, p.plan.rows) for p in chosen if p.batched and p.plan is not None]
            if not batch:
                continue
            runs = [Trajectory(p.channels, p.part, rows, p.shots, rng) for p, rows in batch]
            seed = int(rng.integers(2**31))
            aer = Trajectories(self.noise, method)
            for (piece, _), made in zip(batch, aer.run(runs, seed), strict=True):
                piece.put(made, bits)
            truncation.update(aer.truncation)
        return truncation
