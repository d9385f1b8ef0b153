"""What dry runs run on: everything is checked and estimated, and nothing is run."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import Target

from queuebit.devices import ptm
from queuebit.devices.channels import Channels
from queuebit.devices.description import Description
from queuebit.devices.noise import Noise
from queuebit.devices.protocol import (
    Expectations,
    Experiment,
    LimitsDynamicCircuits,
    Propagates,
    Qpu,
    Readout,
    Samples,
)
from queuebit.devices.ptm import GROUND, Array
from queuebit.devices.reading import read_whole, split
from queuebit.devices.target import Wires
from queuebit.errors import InvalidInput

_STANDARD = get_standard_gate_name_mapping()


class Mock:
    """A device that checks like `device`, and whose bits are random. Implements `Qpu`."""

    def __init__(self, name: str, device: Qpu) -> None:
        self.name = name
        self._device = device
        self.num_qubits: int = device.num_qubits
        self.target: Target = device.target
        self.dt: float | None = device.dt
        self.rep_delay_s: float = device.rep_delay_s
        if isinstance(device, LimitsDynamicCircuits):
            self.dynamic_circuits = device.dynamic_circuits

    @property
    def description(self) -> Description:
        """That of the device."""
        return self._device.description

    def isa_error(self, circuit: QuantumCircuit) -> str | None:
        """Why the device could not run `circuit`."""
        return self._device.isa_error(circuit)

    def duration_s(self, circuit: QuantumCircuit) -> float:
        """What a shot would take on the device."""
        return self._device.duration_s(circuit)

    def check(self, experiments: Sequence[Experiment]) -> None:
        """Refuse what the device would refuse."""
        self._device.check(experiments)

    def sample(self, experiments: Sequence[Experiment], *, seed: int | None = None) -> Samples:
        """Bits in the shape of results, for nothing; same seed, same bits.

        All are fair coins but those of qubits that meet no other, which are read without noise: so
        circuits that calibrate readout work, and estimates can be mitigated.
        """
        rng = np.random.default_rng(seed)
        bits = [_coins(one, rng) for one in experiments]
        return Samples(bits, {"method": "random"}, usage_ms=0)


class PropagatingMock(Mock):
    """A mock of a device that tells expectation values too. Implements `Propagates`."""

    def __init__(self, name: str, device: Qpu) -> None:
        super().__init__(name, device)
        assert isinstance(device, Propagates)
        self._propagates = device

    def fits(self, experiments: Sequence[Experiment]) -> InvalidInput | None:
        """Why the device would refuse to sample them."""
        return self._propagates.fits(experiments)

    def propagates(
        self,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        observables: Sequence[SparsePauliOp],
        *,
        readout: Readout,
    ) -> InvalidInput | None:
        """Why the device's `propagate` would refuse."""
        return self._propagates.propagates(circuit, values, observables, readout=readout)

    def propagate(
        self,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        observables: Sequence[SparsePauliOp],
        *,
        readout: Readout,
    ) -> Expectations:
        """Zeros, as coins have them; but a qubit without gates is in its ground state."""
        del readout
        touched = np.zeros(circuit.num_qubits, dtype=bool)
        for one in circuit.data:
            if one.name != "barrier":
                touched[[circuit.find_bit(qubit).index for qubit in one.qubits]] = True
        found = [_untouched(observable, touched) for observable in observables]
        told = np.tile(np.array(found, dtype=float), (len(values), 1))
        return Expectations(told, np.zeros_like(told), {"method": "random"})


def mocked(name: str, device: Qpu) -> Mock:
    """The mock of a device, which can do what the device can."""
    kind = PropagatingMock if isinstance(device, Propagates) else Mock
    return kind(name, device)


class _Perfect(Noise):
    """No noise, for `Channels`."""

    def __init__(self) -> None:
        pass

    def error(self, name: str, qubits: Wires) -> Array | None:
        del name, qubits
        return None

    def gate(self, name: str, qubits: Wires, operation: Gate) -> Array:
        del name, qubits
        return ptm.of_unitary(operation.to_matrix())

    def relaxation(self, qubit: int, seconds: float) -> Array:
        del qubit, seconds
        return np.eye(4)


def _coins(one: Experiment, rng: np.random.Generator) -> NDArray[np.bool_]:
    circuit = one.circuit
    shape = (len(one.values), one.shots, circuit.num_clbits)
    bits = rng.integers(2, size=shape, dtype=np.bool_)
    channels = Channels(_Perfect(), 1.0, circuit.parameters, one.values)
    for part in split(read_whole(circuit)):
        if part.alone and all(op.name in _STANDARD for op in part.ops):
            vector = GROUND
            for op in part.ops[:-1]:
                vector = (channels.of(op, {}) @ vector[..., None])[..., 0]
            chance = ((vector[..., 0] - vector[..., 3]) / 2).reshape(-1, 1)
            bits[:, :, part.clbits[0]] = rng.random(shape[:2], dtype=np.float32) < chance
    return bits


def _untouched(observable: SparsePauliOp, touched: NDArray[np.bool_]) -> float:
    """What the terms that ask only for qubits in the ground state add up to."""
    paulis = observable.paulis
    known = ~(paulis.x.any(axis=1) | paulis.z[:, touched[: observable.num_qubits]].any(axis=1))
    return float(observable.coeffs[known].real.sum())
