"""The device's errors, in closed form, for the gates that are used.

The model is Aer's device model (qiskit_aer.noise.device.models, 0.17): after each gate depolarizing
and thermal relaxation for the gate's duration, together as large as the reported gate error;
asymmetric readout errors; relaxation during explicit delays. Aer builds it for the whole device in
seconds; one entry here takes microseconds, and tests hold the two together to 1e-12.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Gate
from qiskit.transpiler import Target

from queuebit.devices import ptm
from queuebit.devices.ptm import Array
from queuebit.devices.snapshot import Snapshot
from queuebit.devices.target import Wires, in_si


class Noise:
    """Errors of one device by instruction name and physical qubits, kept once computed."""

    def __init__(self, target: Target, snapshot: Snapshot) -> None:
        self._known: dict[str, dict[Wires, Any]] = {
            name: dict(target[name])
            for name in target.operation_names
            if target[name] and None not in target[name]
        }
        self._operations = {name: target.operation_from_name(name) for name in self._known}
        self._qubits = [in_si(entries) for entries in snapshot.properties()["qubits"]]
        self._errors: dict[tuple[str, Wires], Array | None] = {}
        self._twirls: dict[tuple[str, Wires], Array | None] = {}
        self._gates: dict[tuple[str, Wires], Array] = {}

    def coherence(self, qubit: int) -> tuple[float, float]:
        """T1 and T2 in seconds; infinite where unknown; T2 cut at its bound of 2 T1."""
        known = self._qubits[qubit]
        t1 = known.get("T1", math.inf)
        return t1, min(known.get("T2", math.inf), 2 * t1)

    def relaxation(self, qubit: int, seconds: float) -> Array:
        """What waiting for `seconds` does to the qubit."""
        return ptm.relaxation(*self.coherence(qubit), seconds)

    def error(self, name: str, qubits: Wires) -> Array | None:
        """The error that follows instruction `name`; None if it is perfect."""
        key = (name, qubits)
        if key not in self._errors:
            self._errors[key] = self._build(name, qubits)
        return self._errors[key]

    def twirl(self, name: str, qubits: Wires) -> Array | None:
        """Chances of each Pauli, shape (4**n,), when `error` is twirled; None if it is perfect."""
        key = (name, qubits)
        if key not in self._twirls:
            error = self.error(name, qubits)
            self._twirls[key] = None if error is None else ptm.pauli_probabilities(error)
        return self._twirls[key]

    def gate(self, name: str, qubits: Wires, operation: Gate) -> Array:
        """A gate without parameters together with its error."""
        key = (name, qubits)
        if key not in self._gates:
            ideal, error = ptm.of_unitary(operation.to_matrix()), self.error(name, qubits)
            self._gates[key] = ideal if error is None else error @ ideal
        return self._gates[key]

    def readout(self, qubit: int, name: str = "measure") -> tuple[float, float]:
        """Chances to read 1 on |0> and to read 0 on |1>."""
        known = self._qubits[qubit]
        if name != "measure":  # measure_2 and the like report one error for both
            entry = self._known.get(name, {}).get((qubit,))
            if entry is not None and entry.error is not None:
                return _chance(entry.error), _chance(entry.error)
        either = known.get("readout_error", 0.0)
        return (
            _chance(known.get("prob_meas1_prep0", either)),
            _chance(known.get("prob_meas0_prep1", either)),
        )

    def misread(
        self,
        true: NDArray[np.bool_],
        measured: Sequence[tuple[int, str]],
        rng: np.random.Generator,
    ) -> NDArray[np.bool_]:
        """What is recorded of `true` outcomes, shape (..., n).

        `measured` has the qubit and the instruction's name of each of the n.
        """
        chances = [self.readout(qubit, name) for qubit, name in measured]
        p01, p10 = np.array(chances, dtype=np.float32).reshape(-1, 2).T
        drawn = rng.random(true.shape, dtype=np.float32)
        recorded: NDArray[np.bool_] = true ^ (drawn < np.where(true, p10, p01))
        return recorded

    def duration_s(self, name: str, qubits: Wires) -> float:
        """Seconds that the instruction takes; 0 where the snapshot does not say."""
        entry = self._known.get(name, {}).get(qubits)
        return 0.0 if entry is None or entry.duration is None else entry.duration

    def _build(self, name: str, qubits: Wires) -> Array | None:
        entry = self._known.get(name, {}).get(qubits)
        if entry is None:
            return None
        relax = self._relax(qubits, entry.duration) if entry.duration else None
        if not entry.error or not isinstance(self._operations[name], Gate):
            return relax
        fidelity = 1.0 if relax is None else ptm.average_fidelity(relax)
        if entry.error <= 1.0 - fidelity:
            return relax
        side = 2 ** len(qubits)
        # No channel is worse than 1 / (d + 1); snapshots report 1 for what is not calibrated.
        infidelity = min(entry.error, side / (side + 1))
        chance = side * (infidelity - (1.0 - fidelity)) / (side * fidelity - 1.0)
        chance = min(chance, side**2 / (side**2 - 1))
        depolarize = ptm.depolarizing(chance, len(qubits))
        return depolarize if relax is None else relax @ depolarize

    def _relax(self, qubits: Wires, seconds: float) -> Array:
        whole = np.ones((1, 1))
        for qubit in qubits:
            whole = np.kron(self.relaxation(qubit, seconds), whole)  # type: ignore[assignment]  # numpy's stub widens it
        return whole


def _chance(value: float) -> float:
    return min(max(value, 0.0), 1.0)
