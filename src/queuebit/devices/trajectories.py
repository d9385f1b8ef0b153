"""Parts too big for exact noise: Aer runs every shot, with the noise twirled to Pauli errors.

Twirling keeps each gate's fidelity and loses that errors lean towards |0>; delays and readout stay
as they are.
"""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Instruction, Measure, Parameter, ParameterExpression, Reset
from qiskit.circuit.library import IGate, get_standard_gate_name_mapping
from qiskit.quantum_info import pauli_basis

from queuebit.devices.channels import Angle, Channels
from queuebit.devices.noise import Noise
from queuebit.devices.planning import BOND_MAX, TRUNCATION
from queuebit.devices.reading import Op, Part
from queuebit.errors import ServiceFault

_STANDARD = get_standard_gate_name_mapping()
_PROBES = 4  # shots that tell how much a matrix product state loses
_PROBED = 64  # of so many there is one
_LOG_MAX = 2**25  # characters
_LOST = re.compile(r"discarded_value=([0-9.e+-]+)")
_BONDS = re.compile(r"BD=\[([0-9 ]*)\]")
_RARE = 1e-9  # Pauli errors that are less likely are left out


@dataclass(slots=True)
class Trajectory:
    """One part to run."""

    channels: Channels
    part: Part
    rows: NDArray[np.intp]
    """Which sets of values."""
    shots: int
    rng: np.random.Generator


@dataclass(slots=True)
class _Built:
    """A part as Aer's circuit."""

    circuit: QuantumCircuit
    binds: dict[Parameter, list[float]]
    """A parameter for each expression in it, and its values at the part's sets of values."""


class Trajectories:
    """All parts of a job that run by one method and decide nothing, in one call of the simulator.

    Readout errors change what is recorded and never the state, so they come last.
    """

    def __init__(self, noise: Noise, method: str) -> None:
        from qiskit_aer.noise import NoiseModel  # noqa: PLC0415 - slow, and most jobs need no Aer

        self._noise = noise
        self._method = method
        self._model = NoiseModel(basis_gates=[*_STANDARD])
        self._added: set[tuple[str, tuple[int, ...]]] = set()
        self._place: dict[int, int] = {}
        self.truncation: dict[str, float] = {}
        """Of matrix product states; docs/programs.md, "How a QPU is simulated"."""

    def run(self, work: Sequence[Trajectory], seed: int) -> list[NDArray[np.bool_]]:
        """Bits of each: (sets of values, shots, bits of the part)."""
        from qiskit_aer import AerSimulator  # noqa: PLC0415 - likewise

        self._place = {
            qubit: at for at, qubit in enumerate(chain_order([one.part for one in work]))
        }
        built = [self._build(one) for one in work]
        # One thread: the service runs a process per core, and more threads would change the bits.
        simulator = AerSimulator(
            method=self._method,
            noise_model=self._model,
            max_parallel_threads=1,
            matrix_product_state_max_bond_dimension=BOND_MAX,
            matrix_product_state_truncation_threshold=TRUNCATION,
        )
        if self._method == "matrix_product_state":
            probes = max(1, min([_PROBES, *[one.shots // _PROBED for one in work]]))
            # Of the largest, which most likely loses most.
            at = max(range(len(work)), key=lambda at: len(work[at].part.ops))
            self.truncation = _truncation(simulator, built[at], seed, probes)
        bits: list[NDArray[np.bool_]] = [np.zeros(0, dtype=bool)] * len(work)
        for shots in sorted({one.shots for one in work}):
            members = [at for at, one in enumerate(work) if one.shots == shots]
            bound = [built[at].binds for at in members]
            extra = {"parameter_binds": bound} if any(bound) else {}
            circuits = [built[at].circuit for at in members]
            answer = simulator.run(circuits, shots=shots, seed_simulator=seed, **extra).result()
            if not answer.success:
                raise ServiceFault(f"the simulation failed: {answer.status}")
            results = iter(answer.results)
            for at in members:
                sets = len(work[at].rows) if built[at].binds else 1
                counts = [next(results).data.counts for _ in range(sets)]
                bits[at] = self._recorded(work[at], counts)
        return bits

    def _recorded(self, one: Trajectory, counts: Sequence[dict[str, int]]) -> NDArray[np.bool_]:
        """What is read where each outcome came so often; a set of values each, or one for all."""
        width = len(one.part.clbits)
        repeats = len(one.rows) // len(counts)
        true = np.stack(
            [_expand(count, width, one.rng) for count in counts for _ in range(repeats)]
        )
        columns = {bit: at for at, bit in enumerate(one.part.clbits)}
        # A bit that is measured more than once keeps what came last.
        last = {columns[op.clbits[0]]: op for op in one.part.ops if op.clbits}
        measured = [(op.qubits[0], op.name) for op in last.values()]
        true[..., list(last)] = self._noise.misread(true[..., list(last)], measured, one.rng)
        return true

    def _build(self, one: Trajectory) -> _Built:
        """The part on the union of all parts' qubits, with the bits that it has."""
        circuit = QuantumCircuit(len(self._place), len(one.part.clbits))
        columns = {bit: at for at, bit in enumerate(one.part.clbits)}
        parameters: dict[ParameterExpression, Parameter] = {}
        for op in one.part.ops:
            if (made := self._made(op, one.channels, parameters)) is not None:
                places = [self._place[qubit] for qubit in op.qubits]
                circuit.append(made, places, [columns[bit] for bit in op.clbits])
        binds = {
            parameter: np.asarray(one.channels.angle(written, {}))[one.rows].tolist()
            for written, parameter in parameters.items()
        }
        return _Built(circuit, binds)

    def _made(
        self, op: Op, channels: Channels, parameters: dict[ParameterExpression, Parameter]
    ) -> Instruction | None:
        """What Aer runs for it, with its noise in the model; None for nothing.

        An expression becomes a parameter, for Aer does not know all that may be in it.
        """
        if op.name.startswith("measure"):
            return Measure()
        if op.name.startswith("reset"):
            return Reset()
        if op.name == "delay":
            return self._delay(channels.span_s(op, {}), op.qubits[0])
        self._add_error(op.name, op.qubits)
        given = [
            parameters.setdefault(value, Parameter(f"p{len(parameters)}"))
            if isinstance(value, ParameterExpression) and value.parameters
            else value
            for value in op.params
        ]
        gate = _STANDARD[op.name].base_class if op.operation is None else type(op.operation)
        return gate(*given)

    def _add_error(self, name: str, qubits: tuple[int, ...]) -> None:
        from qiskit_aer.noise import pauli_error  # noqa: PLC0415 - likewise

        if (name, qubits) in self._added:
            return
        self._added.add((name, qubits))
        chances = self._noise.twirl(name, qubits)
        if chances is None:
            return
        labels = pauli_basis(len(qubits)).to_labels()
        terms = [(label, p) for label, p in zip(labels, chances, strict=True) if p > _RARE]
        total = sum(p for _, p in terms)
        twirled = pauli_error([(label, p / total) for label, p in terms])
        at = [self._place[qubit] for qubit in qubits]
        self._model.add_quantum_error(twirled, name, at, warnings=False)

    def _delay(self, seconds: Angle, qubit: int) -> Instruction | None:
        """An identity whose label carries the relaxation: Aer's own pass is slow."""
        from qiskit_aer.noise import thermal_relaxation_error  # noqa: PLC0415 - likewise

        assert isinstance(seconds, float)  # a part with other delays is no part of these
        if not seconds:
            return None
        label = f"delay_{seconds:.9e}"
        if (label, (qubit,)) not in self._added:
            self._added.add((label, (qubit,)))
            t1, t2 = self._noise.coherence(qubit)
            error = thermal_relaxation_error(t1, t2, seconds)
            self._model.add_quantum_error(error, label, [self._place[qubit]], warnings=False)
        return IGate(label=label)


def _truncation(simulator: Any, built: _Built, seed: int, shots: int) -> dict[str, float]:
    """How large bonds grow and what is cut off them, by a few shots of one circuit.

    A log of all shots would be many megabytes of text. Aer never clears it in a process (0.18), so
    what it held before is taken off, and one that has become long is left alone.
    """
    told: dict[str, float] = {"bond_dimension_max": BOND_MAX, "threshold": TRUNCATION}
    idle = QuantumCircuit(1, 1)
    idle.measure(0, 0)
    start = max(0, len(_log(simulator, idle, seed, 1)) - 1)  # less its closing brace
    if start > _LOG_MAX:
        return told
    bound = built.circuit.assign_parameters({name: each[0] for name, each in built.binds.items()})
    log = _log(simulator, bound, seed, shots)[start:]
    bonds = [int(bond) for every in _BONDS.findall(log) for bond in every.split()]
    lost = sum(map(float, _LOST.findall(log))) / shots
    return {**told, "bond_dimension": max(bonds, default=1), "discarded_weight": lost}


def _log(simulator: Any, circuit: QuantumCircuit, seed: int, shots: int) -> str:
    answer = simulator.run(circuit, shots=shots, seed_simulator=seed, mps_log_data=True).result()
    if not answer.success:
        raise ServiceFault(f"the simulation failed: {answer.status}")
    log: str = answer.results[0].metadata.get("MPS_log_data", "")
    return log


def chain_order(parts: Sequence[Part]) -> list[int]:
    """All their qubits, those that interact near each other: a matrix product state is a chain.

    Breadth first from a qubit at an edge, which is Cuthill and McKee's order; a line of qubits
    comes out as that line.
    """
    linked: dict[int, set[int]] = {qubit: set() for part in parts for qubit in part.qubits}
    for part in parts:
        for op in part.ops:
            for qubit in op.qubits:
                linked[qubit].update(op.qubits)

    def degree(qubit: int) -> tuple[int, int]:
        return len(linked[qubit]), qubit

    found: list[int] = []
    seen: set[int] = set()
    for start in sorted(linked, key=degree):
        queue = deque([start])
        while queue:
            qubit = queue.popleft()
            if qubit not in seen:
                seen.add(qubit)
                found.append(qubit)
                queue.extend(sorted(linked[qubit] - seen, key=degree))
    return found


def _expand(counts: dict[str, int], width: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """One row of bits per shot, in random order: counts are cheaper to get than every shot."""
    size = (width + 7) // 8
    keys = b"".join(int(outcome, 16).to_bytes(size, "little") for outcome in counts)
    packed = np.frombuffer(keys, dtype=np.uint8).reshape(-1, size)
    bits = np.unpackbits(packed, axis=1, bitorder="little")[:, :width].astype(bool)
    shots: NDArray[np.bool_] = np.repeat(bits, list(counts.values()), axis=0)
    return shots[rng.permutation(len(shots))]
