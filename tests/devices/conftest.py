"""Devices are slow to make and never change: one of each for all tests."""

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from scipy.stats import chi2_contingency

from queuebit.config import BackendConfig
from queuebit.devices.device import Device, Experiment
from queuebit.devices.noise import Noise
from queuebit.devices.planning import Cost, Plan


def _device(snapshot: str) -> Device:
    """With all that the simulator can run, not only what IBM's QPUs take."""
    config = BackendConfig(name=f"fake_{snapshot}", snapshot=snapshot, dynamic_circuits="all")
    return Device(config)


@pytest.fixture(scope="session")
def manila() -> Device:
    return _device("manila")


@pytest.fixture(scope="session")
def torino() -> Device:
    return _device("torino")


@pytest.fixture(scope="session")
def fez() -> Device:
    return _device("fez")


@pytest.fixture(scope="session")
def boston() -> Device:
    return _device("boston")


@pytest.fixture(scope="session")
def fractional() -> Device:
    return _device("fractional")


@pytest.fixture(scope="session")
def reference() -> Callable[..., np.ndarray]:
    """Bits by Aer, shape (shots, bits); for circuits whose registers hold their bits in order."""
    backend = FakeManilaV2()
    manila = AerSimulator(
        method="density_matrix",
        noise_model=NoiseModel.from_backend_properties(backend.properties(), dt=backend.dt),
        max_parallel_threads=1,
    )

    def run(
        circuit: QuantumCircuit, shots: int = 8_000, simulator: AerSimulator = manila
    ) -> np.ndarray:
        job = simulator.run(circuit, shots=shots, memory=True, seed_simulator=11)
        memory = [reversed(shot.replace(" ", "")) for shot in job.result().get_memory()]
        return np.array([[bit == "1" for bit in shot] for shot in memory])

    return run


@pytest.fixture
def one() -> Callable[..., np.ndarray]:
    """Bits of a circuit without parameters, shape (shots, bits)."""

    def run(device: Device, circuit: QuantumCircuit, shots: int, seed: int = 7) -> np.ndarray:
        experiment = Experiment(circuit, np.zeros((1, 0)), shots)
        return device.sample([experiment], seed=seed).bits[0][0]

    return run


@pytest.fixture
def isa() -> Callable[..., QuantumCircuit]:
    """A circuit as the client would send it."""

    def fit(device: Device, circuit: QuantumCircuit, layout: list[int]) -> QuantumCircuit:
        return transpile(
            circuit,
            target=device.target,
            initial_layout=layout,
            optimization_level=1,
            seed_transpiler=1,
        )

    return fit


@pytest.fixture
def same_distribution() -> Callable[..., None]:
    """Assert that two samples of bits, shape (shots, bits), come from one distribution."""

    def check(first: np.ndarray, second: np.ndarray) -> None:
        weights = 1 << np.arange(first.shape[1])
        size = 1 << first.shape[1]
        table = np.array([np.bincount(bits @ weights, minlength=size) for bits in (first, second)])
        rare = table.sum(axis=0) < 20  # chi-square wants enough in each cell
        table = np.hstack([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)])
        table = table[:, table.sum(axis=0) > 0]

        assert table.shape[1] > 1
        assert chi2_contingency(table).pvalue > 1e-4

    return check


class Twirled(Noise):
    """What trajectories promise: of each gate's error the diagonal."""

    def error(self, name, qubits):
        found = super().error(name, qubits)
        return None if found is None else np.diag(np.diag(found))


@pytest.fixture(scope="session")
def twirled() -> Device:
    device = Device(BackendConfig(name="fake_manila", snapshot="manila"))
    device.noise = Twirled(device.target, device.snapshot)
    return device


@pytest.fixture(params=["statevector", "matrix_product_state"])
def forced(request, monkeypatch) -> Callable[[], str]:
    """From its call on, everything runs by this method; it returns its name."""

    def force() -> str:
        monkeypatch.setattr(
            "queuebit.devices.pieces.plan",
            lambda task, limits: [
                Plan(request.param, np.arange(task.rows), [], Cost(0, 0), task.rows, task.shots)
            ],
        )
        return request.param

    return force
