"""The noise model of docs/programs.md, "How a QPU is simulated", as plain maps of density matrices.

It is written down a second time here, from the properties that a client can fetch, and shares
nothing with queuebit.devices:

- After a gate with a reported error e and length t: depolarizing noise on all of its qubits, then
  thermal relaxation of each for t. The depolarizing chance is such that the average fidelity of
  both together is 1 - e. If relaxation alone is as bad as e or worse, there is nothing beside it;
  and no channel is worse than an average infidelity of d / (d + 1).
- During a delay: thermal relaxation. At the end of T1 a qubit is in |0>.
- A measurement projects the qubit, then the recorded bit is wrong with a chance that depends on the
  true one. Later operations see the true state.
- A reset is perfect. A qubit that waits for others suffers nothing.
- The methods "stabilizer" and "propagation" twirl gate errors and relaxation to Pauli channels,
  "trajectories" twirls gate errors only. "exact" twirls nothing.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from qiskit_ibm_runtime.models import BackendProperties
from qiskit_ibm_runtime.models.exceptions import BackendPropertyError

Method = Literal["exact", "stabilizer", "trajectories", "none"]
Readout = Literal["biased", "twirled", "none"]
Matrix = NDArray[np.complex128]

PAULIS: dict[str, Matrix] = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]], dtype=complex),
    "Z": np.diag([1, -1]).astype(complex),
}


class Noise:
    """Errors of one backend, from its properties."""

    def __init__(
        self,
        properties: BackendProperties,
        methods: Mapping[int, Method] | Method = "exact",
        readout: Readout = "biased",
    ) -> None:
        """`methods`: by which method each qubit is simulated ("exact" if it is not named)."""
        self._properties = properties
        self.methods = methods
        self._readout = readout

    def method(self, qubit: int) -> Method:
        """By which method the qubit is simulated."""
        if isinstance(self.methods, str):
            return self.methods
        return self.methods.get(qubit, "exact")

    def relaxation(self, qubit: int, seconds: float, *, twirled: bool) -> Matrix:
        """Superoperator of waiting: maps the vector (rho00, rho01, rho10, rho11)."""
        if self.method(qubit) == "none":
            return np.eye(4, dtype=complex)
        return _relaxation(*self._coherence(qubit), seconds, twirled)

    def delay(self, qubit: int, seconds: float) -> Matrix:
        """Superoperator of a delay."""
        return self.relaxation(qubit, seconds, twirled=self.method(qubit) == "stabilizer")

    def gate(self, name: str, qubits: tuple[int, ...]) -> tuple[float, list[Matrix]]:
        """What follows a gate: a depolarizing chance, and the relaxation of each qubit after it."""
        method = self.method(qubits[0])
        if method == "none":
            return 0.0, [np.eye(4, dtype=complex)] * len(qubits)
        error, seconds = self._gate(name, qubits)
        exact = [self.relaxation(qubit, seconds, twirled=False) for qubit in qubits]
        # Process fidelities multiply; of the average fidelity F = (d Fp + 1) / (d + 1).
        side = 2 ** len(qubits)
        process = math.prod(float(one.trace().real) / 4 for one in exact)
        relaxed = (side * process + 1) / (side + 1)
        wanted = 1 - min(error, side / (side + 1))
        chance = 0.0
        if error and wanted < relaxed:
            # Depolarized for good, the average fidelity is 1 / d.
            chance = min((relaxed - wanted) / (relaxed - 1 / side), side**2 / (side**2 - 1))
        if method == "exact":
            return chance, exact
        return chance, [self.relaxation(qubit, seconds, twirled=True) for qubit in qubits]

    def readout(self, qubit: int, name: str) -> tuple[float, float]:
        """Chances to record 1 for a true 0, and 0 for a true 1."""
        if self._readout == "none":
            return 0.0, 0.0
        wrong = self._misread(qubit, name)
        return (sum(wrong) / 2,) * 2 if self._readout == "twirled" else wrong

    def _misread(self, qubit: int, name: str) -> tuple[float, float]:
        if name != "measure":  # measure_2 and the like: one error for both
            try:
                error = self._properties.gate_error(name, qubit)
            except BackendPropertyError:
                pass
            else:
                return error, error
        either = self._qubit(qubit, "readout_error", 0.0)
        return (
            self._qubit(qubit, "prob_meas1_prep0", either),
            self._qubit(qubit, "prob_meas0_prep1", either),
        )

    def _coherence(self, qubit: int) -> tuple[float, float]:
        t1 = self._qubit(qubit, "T1", math.inf)
        return t1, min(self._qubit(qubit, "T2", math.inf), 2 * t1)

    def _gate(self, name: str, qubits: tuple[int, ...]) -> tuple[float, float]:
        found = []
        for ask in (self._properties.gate_error, self._properties.gate_length):
            try:
                found.append(float(ask(name, list(qubits))))
            except BackendPropertyError:
                found.append(0.0)
        return found[0], found[1]

    def _qubit(self, qubit: int, name: str, default: float) -> float:
        try:
            return float(self._properties.qubit_property(qubit, name)[0])
        except BackendPropertyError:
            return default


@cache
def _relaxation(t1: float, t2: float, seconds: float, twirled: bool) -> Matrix:  # noqa: FBT001 - cached by position
    kept, coherent = math.exp(-seconds / t1), math.exp(-seconds / t2)
    if not twirled:
        return np.array(
            [[1, 0, 0, 1 - kept], [0, coherent, 0, 0], [0, 0, coherent, 0], [0, 0, 0, kept]],
            dtype=complex,
        )
    flip = (1 - kept) / 4
    dephase = (1 + kept - 2 * coherent) / 4
    chances = {"I": 1 - 2 * flip - dephase, "X": flip, "Y": flip, "Z": dephase}
    return sum(chances[name] * np.kron(one, one.conj()) for name, one in PAULIS.items())  # type: ignore[return-value]
