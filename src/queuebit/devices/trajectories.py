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
from qiskit.circuit import Clbit, ControlFlowOp, Delay, Instruction, Measure, Qubit, Reset
from qiskit.circuit.library import IGate, get_standard_gate_name_mapping
from qiskit.quantum_info import pauli_basis

from queuebit.devices.noise import Noise
from queuebit.devices.planning import BOND_MAX
from queuebit.devices.reading import Op, Part
from queuebit.devices.target import unit_s
from queuebit.errors import InvalidInput, ServiceFault

_STANDARD = get_standard_gate_name_mapping()
_TRUNCATION = 1e-6
_PROBES = 4  # shots that tell how much a matrix product state loses
_PROBED = 64  # of so many there is one
_LOG_MAX = 2**25  # characters
_LOST = re.compile(r"discarded_value=([0-9.e+-]+)")
_BONDS = re.compile(r"BD=\[([0-9 ]*)\]")
_RARE = 1e-9  # Pauli errors that are less likely are left out


@dataclass(slots=True)
class Trajectory:
    """One part to run."""

    circuit: QuantumCircuit
    """The outermost circuit that it is a part of."""
    part: Part
    values: NDArray[np.float64]
    shots: int
    rng: np.random.Generator


class Trajectories:
    """All parts of a job that run by one method, in one call of the simulator."""

    def __init__(self, noise: Noise, dt: float | None, method: str) -> None:
        from qiskit_aer.noise import NoiseModel  # noqa: PLC0415 - slow, and most jobs need no Aer

        self._noise = noise
        self._dt = dt
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
        circuits = [self._build(one.circuit, one.part) for one in work]
        binds = []
        for one, circuit in zip(work, circuits, strict=True):
            columns = {p: at for at, p in enumerate(one.circuit.parameters)}
            binds.append({p: one.values[:, columns[p]].tolist() for p in circuit.parameters})
        # One thread: the service runs a process per core, and more threads would change the bits.
        simulator = AerSimulator(
            method=self._method,
            noise_model=self._model,
            max_parallel_threads=1,
            matrix_product_state_max_bond_dimension=BOND_MAX,
            matrix_product_state_truncation_threshold=_TRUNCATION,
        )
        if self._method == "matrix_product_state":
            probes = max(1, min([_PROBES, *[one.shots // _PROBED for one in work]]))
            # Of the largest, which most likely loses most.
            at = max(range(len(work)), key=lambda at: len(work[at].part.ops))
            self.truncation = _truncation(simulator, circuits[at], binds[at], seed, probes)
        bits: list[NDArray[np.bool_]] = [np.zeros(0, dtype=bool)] * len(work)
        for shots in sorted({one.shots for one in work}):
            members = [at for at, one in enumerate(work) if one.shots == shots]
            chosen, bound = [circuits[at] for at in members], [binds[at] for at in members]
            extra = {"parameter_binds": bound} if any(bound) else {}
            answer = simulator.run(chosen, shots=shots, seed_simulator=seed, **extra).result()
            if not answer.success:
                raise ServiceFault(f"the simulation failed: {answer.status}")
            results = iter(answer.results)
            for at in members:
                one = work[at]
                counts = (
                    [next(results).data.counts for _ in one.values]
                    if binds[at]
                    else [next(results).data.counts]
                )
                width = len(one.part.clbits)
                bits[at] = np.stack([_expand(count, width, one.rng) for count in counts])
        return bits

    def _build(self, whole: QuantumCircuit, part: Part) -> QuantumCircuit:
        """The part on the union of all parts' qubits, with the bits that it has."""
        qubits = [Qubit() for _ in self._place]
        clbits = [whole.clbits[at] for at in part.clbits]
        circuit = QuantumCircuit(qubits, clbits)
        inside = set(clbits)
        for register in whole.cregs:
            if inside.issuperset(register):
                circuit.add_register(register)
        for variable in whole.iter_declared_vars():
            circuit.add_uninitialized_var(variable)
        for op in part.ops:
            self._append(circuit, op, [whole.clbits[at] for at in op.clbits])
        return circuit

    def _append(self, circuit: QuantumCircuit, op: Op, clbits: list[Clbit]) -> None:
        places = [self._place[qubit] for qubit in op.qubits]
        made = op.operation or _STANDARD[op.name].base_class(*op.params)
        instruction = self._convert(made, op.qubits)
        if instruction is not None:
            circuit.append(instruction, [circuit.qubits[at] for at in places], clbits)

    def _convert(self, operation: Instruction, qubits: tuple[int, ...]) -> Instruction | None:
        """What Aer runs for it, with its noise in the model; None for nothing."""
        name = operation.name
        if isinstance(operation, ControlFlowOp):
            return operation.replace_blocks(
                [self._block(block, qubits) for block in operation.blocks]
            )
        if name.startswith("measure"):
            self._add_readout(qubits[0])
            return Measure()
        if name.startswith("reset"):
            return Reset()
        if isinstance(operation, Delay):
            return self._delay(operation, qubits[0])
        if name not in {"store", "barrier"}:
            self._add_error(name, qubits)
        return operation

    def _block(self, block: QuantumCircuit, outer: tuple[int, ...]) -> QuantumCircuit:
        made = block.copy_empty_like()
        places = dict(zip(block.qubits, outer, strict=True))
        for one in block.data:
            inner = self._convert(one.operation, tuple(places[bit] for bit in one.qubits))
            if inner is not None:
                made.append(inner, one.qubits, one.clbits)
        return made

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

    def _add_readout(self, qubit: int) -> None:
        from qiskit_aer.noise import ReadoutError  # noqa: PLC0415 - likewise

        p01, p10 = self._noise.readout(qubit)
        if ("measure", (qubit,)) not in self._added and (p01 or p10):
            self._added.add(("measure", (qubit,)))
            error = ReadoutError([[1 - p01, p01], [p10, 1 - p10]])
            self._model.add_readout_error(error, [self._place[qubit]], warnings=False)

    def _delay(self, delay: Delay, qubit: int) -> Instruction | None:
        """An identity whose label carries the relaxation: Aer's own pass is slow and not nested."""
        from qiskit_aer.noise import thermal_relaxation_error  # noqa: PLC0415 - likewise

        span = delay.params[0]
        if not isinstance(span, int | float):
            raise InvalidInput(
                f"a delay of {span} on qubit {qubit} is not supported in a circuit of this size",
                code=3248,
            )
        seconds = span * unit_s(delay.unit, self._dt)
        if not seconds:
            return None
        label = f"delay_{seconds:.9e}"
        if (label, (qubit,)) not in self._added:
            self._added.add((label, (qubit,)))
            t1, t2 = self._noise.coherence(qubit)
            error = thermal_relaxation_error(t1, t2, seconds)
            self._model.add_quantum_error(error, label, [self._place[qubit]], warnings=False)
        return IGate(label=label)


def _truncation(
    simulator: Any, circuit: QuantumCircuit, values: dict[Any, list[float]], seed: int, shots: int
) -> dict[str, float]:
    """How large bonds grow and what is cut off them, by a few shots of one circuit.

    A log of all shots would be many megabytes of text. Aer never clears it in a process (0.18), so
    what it held before is taken off, and one that has become long is left alone.
    """
    told: dict[str, float] = {"bond_dimension_max": BOND_MAX, "threshold": _TRUNCATION}
    idle = QuantumCircuit(1, 1)
    idle.measure(0, 0)
    start = max(0, len(_log(simulator, idle, seed, 1)) - 1)  # less its closing brace
    if start > _LOG_MAX:
        return told
    bound = circuit.assign_parameters({name: each[0] for name, each in values.items()})
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
