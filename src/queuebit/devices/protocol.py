"""What jobs run on, as programs and workers see it: a real QPU or another simulator fits in here.

docs/devices.md shows how one is added from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import Target

from queuebit.config import DynamicCircuits
from queuebit.devices.description import Description
from queuebit.errors import InvalidInput

Readout = Literal["none", "biased", "twirled"]
"""Errors of measuring: as the device reads, or with its bits flipped at random and back."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One circuit to run, at one or more sets of parameter values."""

    circuit: QuantumCircuit
    """On the device's physical qubits; classical bits as the user made them."""
    values: NDArray[np.float64]
    """Shape (n, P): a row per set of values, columns in circuit.parameters order; P may be 0."""
    shots: int


@dataclass(frozen=True, slots=True)
class Samples:
    """What a job's experiments measured."""

    bits: list[NDArray[np.bool_]]
    """Per experiment, shape (n, shots, num_clbits), bits in circuit.clbits order."""
    metadata: dict[str, Any]
    """JSON: how it was measured. It goes into the job's metrics."""
    usage_ms: int | None = None
    """QPU time to charge, in milliseconds; None: as much as was estimated."""


class Qpu(Protocol):
    """One quantum processor. A worker makes one per backend, and asks one thing at a time of it."""

    name: str
    """Of the backend."""
    num_qubits: int
    target: Target
    """What it can run: instructions by physical qubits, with durations in seconds and errors."""
    dt: float | None
    """Seconds of its unit of time, in which delays are given; None: it has none."""
    rep_delay_s: float
    """Seconds between two shots, unless a job asks for others."""

    @property
    def description(self) -> Description:
        """What clients are told of it."""

    def isa_error(self, circuit: QuantumCircuit) -> str | None:
        """Why it cannot run `circuit`, in the client's words; None if it can."""

    def duration_s(self, circuit: QuantumCircuit) -> float:
        """Seconds of one shot, from its first to its last instruction."""

    def check(self, experiments: Sequence[Experiment]) -> None:
        """Refuse, with InvalidInput, what `sample` would refuse; runs nothing."""

    def sample(self, experiments: Sequence[Experiment], *, seed: int | None = None) -> Samples:
        """Run every experiment.

        `seed` is what the user asked for: same seed, same bits, if it simulates. A cancelled job's
        worker is killed, wherever this stands.
        """


@runtime_checkable
class LimitsDynamicCircuits(Protocol):
    """A device that imitates IBM's, which cannot do all that a simulator can."""

    dynamic_circuits: DynamicCircuits
    """"ibm": with IBM's limits of dynamic circuits; "all": without."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """Expectation values without shot noise."""

    values: NDArray[np.float64]
    """Shape (n, observables)."""
    bounds: NDArray[np.float64]
    """Likewise: how far a value may be off, by what was dropped. It is loose."""
    metadata: dict[str, Any]
    """JSON: how it was simulated. It goes into the job's metrics."""


@runtime_checkable
class Propagates(Protocol):
    """A device that can also tell expectation values without sampling.

    The estimator asks it for those of circuits that it refuses to sample.
    """

    def fits(self, experiments: Sequence[Experiment]) -> InvalidInput | None:
        """Why it would refuse to sample them; None if it would not."""

    def propagate(
        self,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        observables: Sequence[SparsePauliOp],
        *,
        readout: Readout,
    ) -> Expectations:
        """Expectation values, shape (sets of values, observables)."""

    def propagates(
        self,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        observables: Sequence[SparsePauliOp],
        *,
        readout: Readout,
    ) -> InvalidInput | None:
        """Why `propagate` would refuse; None if it would not."""
