"""A start for devices from outside: all of a QPU but its sampling, from Qiskit's Target."""

from collections.abc import Sequence

from qiskit import QuantumCircuit
from qiskit.transpiler import Target

from queuebit.devices.description import Description
from queuebit.devices.isa import Isa
from queuebit.devices.protocol import Experiment


class TargetQpu:
    """What a `Qpu` knows of itself. Who inherits from it writes `sample`, and perhaps `check`."""

    def __init__(self, name: str, target: Target, description: Description) -> None:
        self.name = name
        self.target = target
        self.num_qubits: int = target.num_qubits
        self.dt: float | None = target.dt
        self.rep_delay_s = float(description.configuration.get("default_rep_delay", 250.0)) * 1e-6
        self._description = description
        self._isa = Isa(target)

    @property
    def description(self) -> Description:
        """What clients are told of it."""
        return self._description

    def isa_error(self, circuit: QuantumCircuit) -> str | None:
        """Why the target has no place for `circuit`; None if it has."""
        return self._isa.error(circuit)

    def duration_s(self, circuit: QuantumCircuit) -> float:
        """Seconds of one shot, by the durations of the target's instructions."""
        return self._isa.duration_s(circuit)

    def check(self, experiments: Sequence[Experiment]) -> None:
        """Refuse nothing."""
