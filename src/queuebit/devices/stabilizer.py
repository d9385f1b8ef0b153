"""Clifford parts of any width, by Stim: exact but for the noise, which is twirled to Pauli errors.

Twirling keeps each error's fidelity and loses that errors lean towards |0>; of delays too. Readout
errors stay as they are: they change what is recorded and never the state, so they come last.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import stim
from numpy.typing import NDArray
from qiskit.circuit import ParameterExpression

from queuebit.devices import ptm
from queuebit.devices.channels import Channels
from queuebit.devices.clifford import KNOWN, TURNS, Gate, Quarters, quarters
from queuebit.devices.planning import slices
from queuebit.devices.reading import Op, Part
from queuebit.devices.target import Wires

_DIGITS = 12  # of an error's chance; rarer ones are left out
_SEED_MAX = 2**63
# Stim counts the Paulis of a pair with the second qubit's faster, we with the first qubit's.
_STIM_ORDER = {1: np.arange(4), 2: np.arange(16).reshape(4, 4).T.ravel()}


class Stabilizer:
    """One part, at sets of values at which it is Clifford."""

    def __init__(self, part: Part, channels: Channels, rows: NDArray[np.intp]) -> None:
        self._part = part
        self._channels = channels
        self._rows = rows
        self._place = {qubit: at for at, qubit in enumerate(part.qubits)}
        self._moments = _Moments()
        for op in part.ops:
            self._add(op)

    def run(self, shots: int, shots_at_once: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Bits of every shot at each of the sets of values: (rows, shots, bits of the part)."""
        columns = {bit: at for at, bit in enumerate(self._part.clbits)}
        # A bit that is measured more than once keeps what came last.
        last = {columns[op.clbits[0]]: op for op in self._part.ops if op.clbits}
        records = self._moments.records()
        at = [records[id(op)] for op in last.values()]
        measured = [(op.qubits[0], op.name) for op in last.values()]
        bits = np.zeros((len(self._rows), shots, len(columns)), dtype=bool)
        segments = self._moments.segments()
        for row, made in enumerate(bits):
            sampler = _joined(segments, row).compile_sampler(seed=int(rng.integers(_SEED_MAX)))
            for start, stop in slices(shots, shots_at_once):
                true = sampler.sample(stop - start)[:, at]
                read = self._channels.noise.misread(true, measured, rng)
                made[start:stop, list(last)] = read
        return bits

    def _add(self, op: Op) -> None:
        noise = self._channels.noise
        wires = tuple([self._place[qubit] for qubit in op.qubits])
        if op.name.startswith("measure"):
            self._moments.measure(wires[0], op)
        elif op.name.startswith("reset"):
            self._moments.gate("R", wires)
        elif op.name == "delay":
            chances = ptm.pauli_probabilities(self._channels.of(op, {}))
            self._moments.noise(wires, chances)
        else:
            for piece in KNOWN[op.name]:
                on = tuple([wires[slot] for slot in piece.slots])
                if isinstance(piece, Gate):
                    self._moments.gate(piece.name, on)
                else:
                    self._turn(piece.axis, on, op.params[piece.parameter])
            twirled = noise.twirl(op.name, op.qubits)
            if twirled is not None:
                self._moments.noise(wires, twirled)

    def _turn(self, axis: str, wires: Wires, parameter: object) -> None:
        if isinstance(parameter, ParameterExpression):
            found = quarters(self._channels.angle(parameter, {}))[0]
            turned = found[self._rows] if found.ndim else found[None]
        else:
            turned = quarters(float(parameter))[0][None]  # type: ignore[arg-type]  # a number
        if (turned == turned[0]).all():
            if turned[0]:
                self._moments.gate(TURNS[axis][turned[0] - 1], wires)
        else:
            self._moments.turn(axis, wires, turned)


@dataclass(slots=True)
class _Moment:
    """What happens at once, on different qubits."""

    gates: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    noise: list[str] = field(default_factory=list)
    turns: dict[str, list[tuple[Wires, Quarters]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    measured: list[Op] = field(default_factory=list)


@dataclass(slots=True)
class _Segment:
    """Turns that differ between sets of values, and what follows and does not."""

    turns: list[tuple[str, NDArray[np.intp], NDArray[np.int8]]]
    """Axis, qubits (turns, 1 or 2), quarters (turns, rows)."""
    fixed: stim.Circuit


class _Moments:
    """Operations packed as early as they can be: Stim likes them wide, and few parts differ."""

    def __init__(self) -> None:
        self._moments: list[_Moment] = []
        self._busy: dict[int, int] = defaultdict(int)

    def gate(self, name: str, wires: Wires) -> None:
        self._next(wires).gates[name].extend(wires)

    def turn(self, axis: str, wires: Wires, turned: Quarters) -> None:
        self._next(wires).turns[axis].append((wires, turned))

    def noise(self, wires: Wires, chances: NDArray[np.float64]) -> None:
        scale = 10**_DIGITS  # rounded down, for they must not add up to more than 1
        errors = np.floor(chances[_STIM_ORDER[len(wires)]][1:] * scale) / scale
        if errors.any():
            told = ",".join([f"{chance:.{_DIGITS}g}" for chance in errors.tolist()])
            line = f"PAULI_CHANNEL_{len(wires)}({told}) {_targets(wires)}"
            self._next(wires).noise.append(line)

    def measure(self, wire: int, op: Op) -> None:
        moment = self._next((wire,))
        moment.gates["M"].append(wire)
        moment.measured.append(op)

    def records(self) -> dict[int, int]:
        """By id of each measurement, which of the measured bits it is."""
        every = [op for moment in self._moments for op in moment.measured]
        return {id(op): at for at, op in enumerate(every)}

    def segments(self) -> list[_Segment]:
        """All of it, cut where something differs between sets of values."""
        found: list[tuple[_Moment | None, list[str]]] = [(None, [])]
        for moment in self._moments:
            if moment.turns:
                found.append((moment, []))
            lines = found[-1][1]
            lines.extend(f"{name} {_targets(wires)}" for name, wires in moment.gates.items())
            lines.extend(moment.noise)
        return [
            _Segment(
                []
                if moment is None
                else [
                    (axis, np.array([w for w, _ in every]), np.array([k for _, k in every]))
                    for axis, every in moment.turns.items()
                ],
                stim.Circuit("\n".join(lines)),
            )
            for moment, lines in found
        ]

    def _next(self, wires: Wires) -> _Moment:
        at = max([self._busy[wire] for wire in wires])
        for wire in wires:
            self._busy[wire] = at + 1
        if at == len(self._moments):
            self._moments.append(_Moment())
        return self._moments[at]


def _joined(segments: Sequence[_Segment], row: int) -> stim.Circuit:
    """The circuit at one set of values."""
    whole = stim.Circuit()
    for segment in segments:
        for axis, wires, turned in segment.turns:
            for count, name in enumerate(TURNS[axis], start=1):
                chosen = wires[turned[:, row] == count]
                if len(chosen):
                    whole.append(name, chosen.ravel().tolist())
        whole += segment.fixed
    return whole


def _targets(wires: Iterable[int]) -> str:
    return " ".join(map(str, wires))
