"""Measuring Paulis: changes of basis, random flips, and what the readout does to the outcome.

Every measured qubit gets rz(a) sx rz(b) sx before its measurement, which reads

    - Z cos b + X sin b cos a - Y sin b sin a,

so all bases, and outcomes flipped or not, are parameter values of one circuit. A device whose basis
is u1, u2 and u3 does the same by u3(b - pi, 0, a). Flipping at random
(measurement twirling) makes the readout's errors symmetric, so that a term's expectation value is
only scaled by them; running the same on |0...0> tells by how much (TREX: van den Berg, Minev,
Temme, Phys. Rev. A 105, 032620).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import U3Gate
from qiskit.transpiler import Target

from queuebit.devices.protocol import Experiment
from queuebit.errors import InvalidInput
from queuebit.programs.estimator.paulis import Basis, qubits_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Measured(NamedTuple):
    """A circuit that ends in the measurement of some of its qubits, in any basis."""

    circuit: QuantumCircuit
    qubits: list[int]
    columns: list[int]
    """Per parameter of the circuit, its column in [user's parameters, all a, all b]."""
    clbits: list[int]
    """Where the outcomes are among the circuit's classical bits."""


def turns_by_u3(target: Target) -> bool:
    """Whether bases are changed by u3 and not by rz and sx; InvalidInput if by neither."""
    names = set(target.operation_names)
    if names >= {"rz", "sx"}:
        return False
    if "u3" in names:
        return True
    raise InvalidInput(
        "the estimator measures with the gates rz and sx, or u3, and the backend has "
        f"{', '.join(sorted(names))}",
        1517,
    )


def measured(circuit: QuantumCircuit, qubits: Sequence[int], *, by_u3: bool = False) -> Measured:
    """`circuit`, then a measurement of `qubits`; bases are changed by rz and sx, or by u3."""
    ended = circuit.copy()
    # Longer than any name that is there, and so a new one.
    free = max((p.name for p in circuit.parameters), key=len, default="") + "_"
    register = ClassicalRegister(
        len(qubits), max((r.name for r in circuit.cregs), key=len, default="") + "_measured"
    )
    first = [Parameter(f"{free}a{q}") for q in qubits]
    second = [Parameter(f"{free}b{q}") for q in qubits]
    order = {p: i for i, p in enumerate([*circuit.parameters, *first, *second])}
    ended.add_register(register)
    for qubit, a, b, clbit in zip(qubits, first, second, register, strict=True):
        if by_u3:
            ended.append(U3Gate(b - pi, 0, a), [qubit])
        else:
            ended.rz(a, qubit)
            ended.sx(qubit)
            ended.rz(b, qubit)
            ended.sx(qubit)
        ended.measure(qubit, clbit)
    columns = [order[parameter] for parameter in ended.parameters]
    clbits = list(range(circuit.num_clbits, ended.num_clbits))
    return Measured(ended, list(qubits), columns, clbits)


def angles(basis: Basis, qubits: Sequence[int], flips: Bools) -> Floats:
    """Values of [all a, all b], shape (n, 2 len(qubits)), for flips of shape (n, len(qubits))."""
    x = np.array([basis.x >> q & 1 for q in qubits], dtype=bool)
    z = np.array([basis.z >> q & 1 for q in qubits], dtype=bool)
    a = np.broadcast_to(np.where(x & z, -pi / 2, 0.0), flips.shape)
    b = np.where(x, pi / 2, pi) - pi * flips
    return np.concatenate([a, b], axis=1)


def random_flips(shape: tuple[int, ...], rng: np.random.Generator, *, twirled: bool) -> Bools:
    """Which outcomes are flipped; none if not twirled."""
    return rng.random(shape) < 0.5 if twirled else np.zeros(shape, dtype=bool)  # noqa: PLR2004 - heads or tails


@dataclass(frozen=True, slots=True)
class Calibration:
    """The circuits that learn the readout: |0...0>, measured with flips."""

    qubits: list[int]
    flips: Bools
    """Shape (randomizations, qubits)."""
    shots: int
    """Of each randomization."""

    @property
    def least_scale(self) -> float:
        """A standard error of what it learns, below which a scale is not known from zero.

        Divided by it, what was measured of a term has an error of about 1 or more, which is as much
        as can be said of an expectation value without having seen it.
        """
        return 1 / sqrt(len(self.flips) * self.shots)

    def experiment(self, num_qubits: int, *, by_u3: bool = False) -> Experiment:
        """What the device shall run."""
        what = measured(QuantumCircuit(num_qubits), self.qubits, by_u3=by_u3)
        values = angles(Basis(0, 0, []), self.qubits, self.flips)
        return Experiment(what.circuit, values[:, what.columns], self.shots)


class Scales:
    """By how much the readout scales terms, from the bits of a calibration."""

    def __init__(self, calibration: Calibration, bits: Bools) -> None:
        self._place = {qubit: i for i, qubit in enumerate(calibration.qubits)}
        self._least = calibration.least_scale
        self._bits = bits ^ calibration.flips[:, np.newaxis, :]
        # Terms on the same qubits are scaled alike.
        self.signs = lru_cache(maxsize=1024)(self._signs)
        self._known: dict[int, float] = {}

    def scale(self, support: int) -> float:
        """The factor of terms on the qubits of the mask `support`; at least a standard error."""
        if support not in self._known:
            self._known[support] = max(float(self.signs(support).mean()), self._least)
        return self._known[support]

    def _signs(self, support: int) -> NDArray[np.int8]:
        return parity_signs(self._bits, [self._place[q] for q in qubits_of(support)])


def parity_signs(bits: Bools, places: Sequence[int]) -> NDArray[np.int8]:
    """+1 where an even number of the bits at `places` is set, else -1; without the last axis."""
    odd = np.logical_xor.reduce(bits[..., places], axis=-1)
    return np.where(odd, np.int8(-1), np.int8(1))
