"""Expectation values of circuits of any width, by Pauli propagation (pauli-prop).

Every observable is carried backwards through the circuit: a Clifford gate turns its Paulis into
others, a rotation splits those that it does not commute with into two, and noise damps them. Terms
that have become small are dropped, and what was dropped bounds the error of the value. Noise makes
it easier, not harder.

Clifford gates are moved past everything to the circuit's end, so that what is left are rotations
about Paulis and Pauli-Lindblad noise, seen through the gates before them.
"""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pauli_prop import propagate_through_rotation_gates
from qiskit import QuantumCircuit
from qiskit.quantum_info import PauliList, SparsePauliOp

from queuebit.devices.channels import Channels
from queuebit.devices.frames import Frame, frame_of
from queuebit.devices.planning import Cost, Limits
from queuebit.devices.protocol import Expectations, Readout
from queuebit.errors import InvalidInput

# Measured on one core of a small server, for each term of an observable: the most it takes.
ROTATION_S = 4e-7
RATE_S = 5e-9  # one of the Paulis of a noise channel
TERMS_MAX = 500_000
TERMS_MIN = 10_000
"""With fewer terms than this the values would be worth nothing; then it is refused."""
TERM_BYTES = 200
"""For each term, and `TERM_QUBIT_BYTES` for each of its qubits."""
TERM_QUBIT_BYTES = 12
GATE_BYTES = 600
"""For each rotation and rate, with a bit per qubit twice."""
ATOL = 1e-4
DOUBLINGS_MAX = 40  # more of them make more terms than any limit lets through
_REAL = 1e-10


@dataclass(frozen=True, slots=True)
class Budget:
    """What a propagation may use."""

    max_terms: int | None = None
    """Paulis of one observable at any time; the smallest beyond it are dropped. None: as many as
    the limits of time and memory allow, at most `TERMS_MAX`."""
    atol: float = ATOL
    """Terms with smaller coefficients, in units of the observable's largest, are dropped."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How observables will be carried."""

    frame: Frame
    """The circuit as they see it."""
    max_terms: int
    cost: Cost
    """At the worst: when they have so many terms all the way."""


class Propagation:
    """One circuit at its sets of parameter values."""

    def __init__(  # noqa: PLR0913, PLR0917 - one caller, which has them in this order
        self,
        circuit: QuantumCircuit,
        channels: Channels,
        rows: int,
        readout: Readout,
        budget: Budget | None,
        limits: Limits,
    ) -> None:
        self._circuit = circuit
        self._channels = channels
        self._rows = rows
        self._readout = readout
        self._budget = budget or Budget()
        self._limits = limits

    def run(self, observables: Sequence[SparsePauliOp]) -> Expectations:
        """Values of every observable at every set of values."""
        start = time.perf_counter_ns()
        plan = self.plan(observables)
        frame, max_terms = plan.frame, plan.max_terms
        values = np.zeros((self._rows, len(observables)))
        bounds = np.zeros_like(values)
        most = 0
        for column, observable in enumerate(observables):
            scale = float(np.abs(observable.coeffs).max(initial=0.0))
            if not scale:
                continue
            seen, lost = self._seen(frame, observable / scale, max_terms)
            # No value is larger than the sum of the coefficients.
            largest = np.abs(observable.coeffs).sum() / scale
            for row in range(self._rows):
                found, dropped = _carried(frame, row, seen, max_terms, self._budget.atol)
                value = found.coeffs[~found.paulis.x.any(axis=1)].real.sum()
                values[row, column] = scale * value
                bounds[row, column] = scale * min(lost + dropped, largest + abs(value))
                most = max(most, len(found))
        metadata = {
            "method": "pauli_propagation",
            "noise": "twirled",
            "max_component_qubits": len(frame.qubits),
            "truncation": {
                "atol": self._budget.atol,
                "max_terms": max_terms,
                "terms": most,
                "bound_max": float(bounds.max(initial=0.0)),
            },
            "circuits_execution_time_ns": time.perf_counter_ns() - start,
        }
        return Expectations(values, bounds, metadata)

    def plan(self, observables: Sequence[SparsePauliOp]) -> Plan:
        """How `run` would go; refuses, with InvalidInput, what it would refuse."""
        for index, observable in enumerate(observables):
            if observable.num_qubits > self._circuit.num_qubits:
                raise InvalidInput(
                    f"observable {index} has {observable.num_qubits} qubits, and its circuit "
                    f"{self._circuit.num_qubits}"
                )
            if np.abs(observable.coeffs.imag).max(initial=0.0) > _REAL:
                raise InvalidInput(f"observable {index} has coefficients that are not real")
        support = np.zeros(self._circuit.num_qubits, dtype=bool)
        for observable in observables:
            paulis = observable.paulis
            support[: observable.num_qubits] |= (paulis.x | paulis.z).any(axis=0)
        frame = frame_of(self._circuit, self._channels, np.flatnonzero(support).tolist())
        terms, cost = self._terms(frame, observables)
        return Plan(frame, terms, cost)

    def _terms(self, frame: Frame, observables: Sequence[SparsePauliOp]) -> tuple[int, Cost]:
        """The most terms that an observable may have; refuses if too few are within the limits."""
        limits, rotations = self._limits, len(frame.angles)
        each_s = (rotations * ROTATION_S + frame.rates * RATE_S) * self._rows * len(observables)
        each_bytes = TERM_BYTES + TERM_QUBIT_BYTES * len(frame.qubits)
        fixed = (rotations + frame.rates) * (GATE_BYTES + 2 * len(frame.qubits))
        left = max(0, limits.memory_bytes - fixed)
        fitting = int(min(limits.seconds / max(each_s, 1e-12), left / each_bytes))
        first = max([self._measured_terms(one) for one in observables], default=1)
        possible = first << min(rotations, DOUBLINGS_MAX)  # each rotation may double them
        wanted = self._budget.max_terms or TERMS_MIN
        if fitting < min(wanted, possible):
            raise InvalidInput(
                f"The circuit is too big for Pauli propagation: {rotations} rotations by angles "
                f"that are not multiples of pi/2 and {frame.rates} error rates on "
                f"{len(frame.qubits)} qubits, {self._rows} sets of values and {len(observables)} "
                f"observables. With {wanted} terms it takes up to {each_s * wanted:.3g} s and "
                f"{(fixed + each_bytes * wanted) / 2**30:.3g} GiB (limit {limits.seconds:.0f} s, "
                f"{limits.memory_bytes / 2**30:.3g} GiB).",
                code=3248,
                solution="Use fewer sets of values or observables in one job, observables on fewer "
                "qubits, a shallower circuit, or more angles that are multiples of pi/2.",
            )
        terms = min(self._budget.max_terms or min(fitting, TERMS_MAX), possible)
        return terms, Cost(each_s * terms, fixed + each_bytes * terms)

    def _measured_terms(self, observable: SparsePauliOp) -> int:
        """The most Paulis that `_read` makes of an observable."""
        if self._readout != "biased":
            return len(observable)
        weights = (observable.paulis.x | observable.paulis.z).sum(axis=1)
        return sum(1 << min(int(weight), DOUBLINGS_MAX) for weight in weights)

    def _seen(
        self, frame: Frame, observable: SparsePauliOp, max_terms: int
    ) -> tuple[SparsePauliOp, float]:
        """The observable before the rotations, and the 1-norm of what is left out of it."""
        paulis, coefficients, lost = self._read(frame, observable, max_terms)
        half = len(frame.qubits)
        seen_at_all = ~paulis[:, frame.measured].any(axis=1)
        paulis, coefficients = paulis[seen_at_all], coefficients[seen_at_all]
        found = [frame.seen(one[:half], one[half:]) for one in paulis]
        x = np.array([x for x, _, _ in found]).reshape(len(found), half)
        z = np.array([z for _, z, _ in found]).reshape(len(found), half)
        signs = np.array([sign for _, _, sign in found])
        seen = SparsePauliOp(
            PauliList.from_symplectic(z, x), coefficients * signs, ignore_pauli_phase=True
        ).simplify(atol=0.0)
        small = np.abs(seen.coeffs) < self._budget.atol
        return seen[~small], lost + float(np.abs(seen.coeffs[small]).sum())

    def _read(
        self, frame: Frame, observable: SparsePauliOp, max_terms: int
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], float]:
        """Bits (x, z) of its terms and their coefficients, as they are measured; what is left out.

        At most `max_terms`, the largest. With p01 and p10 the chances to read a bit wrong, the
        outcome of a qubit means (1 - p01 - p10) P + (p10 - p01). Twirled, the second part averages
        out.
        """
        qubits = [qubit for qubit in frame.qubits if qubit < observable.num_qubits]
        paulis = np.zeros((len(observable), 2 * len(frame.qubits)), dtype=bool)
        paulis[:, : len(qubits)] = observable.paulis.x[:, qubits]
        paulis[:, len(frame.qubits) :][:, : len(qubits)] = observable.paulis.z[:, qubits]
        weights = observable.coeffs.real.copy()
        lost = 0.0
        if self._readout == "none":
            return paulis, weights, lost
        half = len(frame.qubits)
        for place, qubit in enumerate(qubits):
            p01, p10 = self._channels.noise.readout(qubit)
            there = paulis[:, place] | paulis[:, half + place]
            if self._readout == "biased" and p10 != p01:
                gone = paulis[there]
                gone[:, [place, half + place]] = False
                shifts = weights[there] * (p10 - p01)
                large = np.abs(shifts) >= self._budget.atol
                lost += float(np.abs(shifts[~large]).sum())
                weights = np.where(there, weights * (1 - p01 - p10), weights)
                paulis = np.concatenate([paulis, gone[large]])
                weights = np.concatenate([weights, shifts[large]])
                kept = np.argsort(-np.abs(weights), kind="stable")[:max_terms]
                lost += float(np.abs(weights).sum() - np.abs(weights[kept]).sum())
                paulis, weights = paulis[kept], weights[kept]
            else:
                weights = np.where(there, weights * (1 - p01 - p10), weights)
        return paulis, weights, lost


def _carried(
    frame: Frame, row: int, seen: SparsePauliOp, max_terms: int, atol: float
) -> tuple[SparsePauliOp, float]:
    """An observable before all rotations and noise, and the 1-norm of what was dropped."""
    if not frame.gates.gate_types or not len(seen):
        return seen, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)  # theirs, on purpose
        found, dropped = propagate_through_rotation_gates(seen, frame.at(row), max_terms, atol, "h")
    return found, float(dropped)
