"""A circuit with its Clifford gates moved to the end: rotations and noise, seen through them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import stim
from numpy.typing import NDArray
from pauli_prop.propagation import NoisyRotationGates
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterExpression

from queuebit.devices import ptm
from queuebit.devices.channels import Channels
from queuebit.devices.clifford import KNOWN, TURNS, Gate, quarters
from queuebit.devices.ptm import Array
from queuebit.devices.reading import Op, read_whole
from queuebit.devices.target import Wires
from queuebit.errors import InvalidInput

Bits = NDArray[np.bool_]

_RARE = 1e-12  # rates that are smaller are left out
# Paulis I, X, Y, Z of one qubit as (x, z).
_BITS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.uint8)
_HINT = "Leave it out, or use the sampler, or fewer connected qubits."


@dataclass(slots=True)
class Frame:
    """What is left between an observable at the circuit's end and the qubits in |0>."""

    qubits: list[int]
    """Of the circuit: those that matter to the observables. Numbers below are places in it."""
    clifford: stim.Tableau
    """P becomes C^-1 P C for the product C of all Clifford gates so far."""
    gates: NoisyRotationGates = field(
        default_factory=lambda: NoisyRotationGates([], [], [], [], [], [])
    )
    """Rotations and noise in order of time, without angles."""
    measured: list[int] = field(default_factory=list)
    """Qubits that were measured last: their coherence, what X and Y would tell, is lost."""
    angles: list[NDArray[np.float64]] = field(default_factory=list)
    """Of each rotation: one for all sets of values, or one for each."""

    @property
    def rates(self) -> int:
        """Paulis of all noise channels."""
        return sum(map(len, self.gates.rates))

    def at(self, row: int) -> NoisyRotationGates:
        """The gates at one set of values."""
        thetas = [float(angle[row] if angle.ndim else angle) for angle in self.angles]
        return self.gates._replace(thetas=thetas)

    def seen(self, x: Bits, z: Bits) -> tuple[Bits, Bits, int]:
        """A Pauli of bits x and z by place, through all Clifford gates so far: x, z and sign."""
        turned = self.clifford(stim.PauliString.from_numpy(xs=x, zs=z))
        x, z = turned.to_numpy()
        return x, z, int(turned.sign.real)

    def turn(self, name: str, places: Sequence[int]) -> None:
        """A Clifford gate, by Stim's name."""
        inverse = stim.gate_data(name).inverse.tableau
        if len(inverse) == len(places):
            self.clifford.prepend(inverse, places)
        else:
            for place in places:
                self.clifford.prepend(inverse, [place])

    def rotate(self, axis: str, places: Sequence[int], angle: NDArray[np.float64]) -> None:
        """exp(-i angle P / 2), P being X, Y, Z or ZZ."""
        pauli = stim.PauliString(len(self.qubits))
        for letter, place in zip(axis, places, strict=True):
            pauli[place] = letter
        x, z, sign = self.seen(*pauli.to_numpy())
        self.gates.gates.append(np.concatenate([x, z]))
        self.gates.qargs.append([tuple(np.flatnonzero(x | z).tolist())])
        self.gates.gate_types.append(False)
        self.angles.append(sign * angle)

    def damp(self, places: Sequence[int], rates: Array) -> None:
        """Pauli noise: for each Pauli on `places`, in ptm's order, its Lindblad rate."""
        kept = np.flatnonzero(np.abs(rates) > _RARE)
        if not len(kept):
            return
        shifts = 2 * np.arange(len(places))
        chosen = _BITS[kept[:, None] >> shifts & 3].reshape(len(kept), -1)
        rows = [
            np.concatenate(output(place).to_numpy())
            for place in places
            for output in (self.clifford.x_output, self.clifford.z_output)
        ]
        paulis = (chosen @ np.array(rows, dtype=np.uint8) & 1).astype(bool)
        half = len(self.qubits)
        touched = paulis[:, :half] | paulis[:, half:]
        self.gates.qargs.append([tuple(np.flatnonzero(one).tolist()) for one in touched])
        self.gates.generators.append(list(paulis))
        self.gates.rates.append(rates[kept].tolist())
        self.gates.gate_types.append(True)


def frame_of(circuit: QuantumCircuit, channels: Channels, support: Sequence[int]) -> Frame:
    """The circuit as an observable on the qubits `support` sees it; refuses what has no such form.

    What cannot reach the observable is left out.
    """
    whole = read_whole(circuit)
    ops, qubits = _cone(_unitary(whole), support)
    place = {qubit: at for at, qubit in enumerate(qubits)}
    measured = {q for op in whole if op.name.startswith("measure") for q in op.qubits}
    ends = sorted(place[qubit] for qubit in measured if qubit in place)
    frame = Frame(qubits, stim.Tableau(len(qubits)), measured=ends)
    for op in ops:
        _add(frame, op, channels, tuple([place[qubit] for qubit in op.qubits]))
    return frame


def lindblad(chances: Array) -> Array | None:
    """Rates of the Pauli-Lindblad form of a Pauli channel, in closed form; None if it has none.

    The fidelity of a Pauli is exp(-2 sum of the rates of those that it does not commute with).
    """
    fidelities = ptm.commuting(chances)
    if (fidelities <= 0).any():
        return None
    rates: Array = ptm.commuting(np.log(fidelities)) / len(fidelities)
    rates[0] = 0.0
    return rates


def _add(frame: Frame, op: Op, channels: Channels, places: Wires) -> None:
    noise = channels.noise
    if op.name == "delay":
        chances: Array | None = ptm.pauli_probabilities(channels.of(op, {}))
    else:
        for piece in KNOWN[op.name]:
            on = [places[slot] for slot in piece.slots]
            if isinstance(piece, Gate):
                frame.turn(piece.name, on)
                continue
            angle = np.asarray(channels.angle(op.params[piece.parameter], {}))
            count, exact = quarters(angle)
            if exact.all() and (count == count.flat[0]).all():
                if count.flat[0]:
                    frame.turn(TURNS[piece.axis][count.flat[0] - 1], on)
            else:
                frame.rotate(piece.axis, on, angle)
        chances = noise.twirl(op.name, op.qubits)
    if chances is not None:
        rates = lindblad(chances)
        if rates is None:
            raise InvalidInput(
                f"{op.name} on qubits {op.qubits} is not calibrated: its error is too large for "
                "Pauli propagation",
                code=3248,
                solution="Avoid it when transpiling: the backend's properties tell which it is.",
            )
        frame.damp(places, rates)


def _unitary(ops: list[Op]) -> Iterator[Op]:
    """Without measurements at the end and resets at the start; refuses all others."""
    begun: set[int] = set()
    ended: set[int] = set()
    for op in ops:
        again = ended.intersection(op.qubits)
        if op.name.startswith("measure"):
            ended.update(op.qubits)
            continue
        if op.name.startswith("reset") and not begun.intersection(op.qubits) and not again:
            continue
        if again:
            raise _refusal("a measurement before other operations", op.qubits)
        fixed = op.name != "delay" or not isinstance(op.params[0], ParameterExpression)
        if not fixed or (op.name != "delay" and op.name not in KNOWN):
            raise _refusal(op.name, op.qubits)
        begun.update(op.qubits)
        yield op


def _refusal(what: str, qubits: Wires) -> InvalidInput:
    return InvalidInput(
        f"Pauli propagation cannot carry an observable through {what} (qubits {qubits})",
        code=3248,
        solution=_HINT,
    )


def _cone(ops: Iterator[Op], support: Sequence[int]) -> tuple[list[Op], list[int]]:
    """The operations that can reach the observable, and their qubits."""
    reached = set(support)
    kept = []
    for op in reversed(list(ops)):
        if not reached.isdisjoint(op.qubits):
            reached.update(op.qubits)
            kept.append(op)
    return kept[::-1], sorted(reached)
