"""Expectation values of circuits that are too wide to be sampled, by Pauli propagation.

The device tells values without shot noise; it is drawn here, from a normal distribution, as wide as
the shots that the job asked for, and those of its readout calibration, would make it. So it is done
only where no circuits are to be compared with each other: without ZNE, PEC and PEA. The noise of
gates is twirled, and the gates that change the basis of a measurement are taken as perfect.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives.containers import DataBin, PrimitiveResult, PubResult
from qiskit.quantum_info import SparsePauliOp

from queuebit.devices.protocol import Expectations, Experiment, Propagates, Qpu, Readout
from queuebit.programs.estimator.averages import Pub
from queuebit.programs.estimator.estimation import Job
from queuebit.programs.estimator.paulis import IDENTITY, Term, qubits_of, support
from queuebit.programs.seeds import Use, generator
from queuebit.programs.wire import codec

Floats = NDArray[np.float64]

TOO_BIG = 3248  # the code of what the simulator cannot sample


@dataclass(frozen=True, slots=True)
class Propagated:
    """An estimator job whose values the device tells; can be pickled."""

    job: Job
    circuits: list[QuantumCircuit]
    """Per PUB, as it was sent."""

    def run(self, device: Qpu) -> tuple["Told", dict[str, Any]]:
        """What makes the result, and the metrics."""
        assert isinstance(device, Propagates)
        rng = generator(self.job.settings.seed, Use.SHOT_NOISE)
        results, metrics = [], {}
        for pub, circuit, values in zip(self.job.pubs, self.circuits, self.job.values, strict=True):
            terms = _terms(pub)
            found = device.propagate(
                circuit, values, _operators(terms, device.num_qubits), readout=self.readout
            )
            results.append(self._result(pub, terms, found, self._scales(terms, device), rng))
            metrics = found.metadata
        return Told(results, self.job), metrics

    @property
    def readout(self) -> Readout:
        """Which errors of measuring its values have."""
        if self.job.settings.mitigated:
            return "none"
        return "twirled" if self.job.settings.measures_twirled else "biased"

    def _scales(self, terms: Sequence[Term], device: Qpu) -> Floats:
        """By what the readout that is mitigated scales each term."""
        if not self.job.settings.mitigated or not terms:
            return np.ones(len(terms))
        assert isinstance(device, Propagates)
        outcomes = _operators([(0, support(term)) for term in terms], device.num_qubits)
        empty = QuantumCircuit(device.num_qubits)
        found = device.propagate(empty, np.zeros((1, 0)), outcomes, readout="twirled").values[0]
        return np.asarray(found)

    def _result(
        self,
        pub: Pub,
        terms: Sequence[Term],
        found: Expectations,
        scales: Floats,
        rng: np.random.Generator,
    ) -> PubResult:
        read = np.clip(found.values, -1, 1) * scales
        variances = (1 - read**2) / (pub.randomizations * pub.shots_each)
        divisors = scales
        calibration = self.job.calibration(rng)
        if calibration is not None:
            divisors = np.maximum(scales, calibration.least_scale)
            learned = (1 - scales**2) * calibration.least_scale**2
            variances = variances + learned * (read / divisors) ** 2
        stds = np.sqrt(variances) / divisors
        drawn = read / divisors + stds * rng.standard_normal(read.shape)
        place = {term: column for column, term in enumerate(terms)}
        told = np.zeros((2, len(pub.elements)))
        bound = 0.0
        for i, (row, column) in enumerate(pub.elements):
            lost = 0.0
            for term, coefficient in pub.terms[column].items():
                if term == IDENTITY:
                    told[0, i] += coefficient
                    continue
                at = (row, place[term])
                told[:, i] += coefficient * drawn[at], (coefficient * stds[at]) ** 2
                lost += abs(coefficient) * float(found.bounds[at])
            bound = max(bound, lost)
        errors = np.sqrt(told[1]).reshape(pub.shape)
        simulation = {"method": "pauli_propagation", "noise": "twirled", "bound": bound}
        return PubResult(
            DataBin(
                evs=told[0].reshape(pub.shape),
                stds=errors,
                ensemble_standard_error=errors,
                shape=pub.shape,
            ),
            metadata=pub.metadata | {"simulation": simulation},
        )


@dataclass(frozen=True, slots=True)
class Told:
    """A result that needs no bits."""

    results: list[PubResult]
    job: Job

    def result(self, bits: object, start: datetime, stop: datetime) -> bytes:
        """The job's result as JSON text."""
        del bits, start, stop
        whole = PrimitiveResult(self.results, metadata=self.job.settings.metadata())
        return codec.encode(whole, tagged=self.job.tagged)


def propagated(
    job: Job, circuits: Sequence[QuantumCircuit], outline: Sequence[Experiment], device: Qpu
) -> Propagated | None:
    """The job by propagation, where it cannot be sampled and this can be done."""
    settings = job.settings
    if settings.extrapolated or settings.injected or not isinstance(device, Propagates):
        return None
    refusal = device.fits(outline)
    if refusal is None or refusal.code != TOO_BIG:
        return None
    found = Propagated(replace(job, bodies=[]), list(circuits))
    for pub, circuit, values in zip(job.pubs, circuits, job.values, strict=True):
        operators = _operators(_terms(pub), device.num_qubits)
        if device.propagates(circuit, values, operators, readout=found.readout) is not None:
            return None
    return found


def _terms(pub: Pub) -> list[Term]:
    """All that are wanted of a PUB."""
    return sorted({term for observable in pub.terms for term in observable} - {IDENTITY})


def _operators(terms: Sequence[Term], num_qubits: int) -> list[SparsePauliOp]:
    found = []
    for x, z in terms:
        qubits = qubits_of(x | z)
        letters = ["IXZY"[(x >> q & 1) + 2 * (z >> q & 1)] for q in qubits]
        found.append(SparsePauliOp.from_sparse_list([("".join(letters), qubits, 1.0)], num_qubits))
    return found
