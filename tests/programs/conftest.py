"""Devices, and jobs as the real client writes and reads them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.devices.noise import Noise
from queuebit.devices.target import Wires
from queuebit.programs import program

GOLDEN = Path(__file__).parents[1] / "golden"

Run = Callable[..., Any]


class Perfect(Noise):
    """No errors but in the readout: (chance of 1 for 0, of 0 for 1) per qubit."""

    misread: Sequence[tuple[float, float]] = ()

    def error(self, name: str, qubits: Wires) -> None:
        return None

    def readout(self, qubit: int, name: str = "measure") -> tuple[float, float]:
        return self.misread[qubit] if self.misread else (0.0, 0.0)


def perfect_device(misread: Sequence[tuple[float, float]] = ()) -> Device:
    """Manila without errors, but for those of its readout."""
    device = Device(BackendConfig(name="perfect", snapshot="manila", dynamic_circuits="all"))
    noise = Perfect(device.target, device.snapshot)
    noise.misread = misread
    device.noise = noise
    return device


@pytest.fixture(scope="session")
def torino() -> Device:
    return Device(BackendConfig(name="fake_torino", snapshot="torino", dynamic_circuits="all"))


@pytest.fixture(scope="session")
def manila() -> Device:
    return Device(BackendConfig(name="fake_manila", snapshot="manila", dynamic_circuits="all"))


@pytest.fixture(scope="session")
def perfect() -> Device:
    return perfect_device()


@pytest.fixture(scope="session")
def misreading() -> Device:
    return perfect_device([(0.02, 0.08), (0.05, 0.15), (0.0, 0.1), (0.1, 0.1), (0.01, 0.2)])


@pytest.fixture(autouse=True)
def fresh_plans() -> None:
    program._plans = program._Plans()


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """The parameters of a job, as the client writes them."""

    def encoded(pubs: list[Any], options: dict[str, Any] | None = None, **others: Any) -> bytes:
        frame = {"pubs": pubs, "options": options or {}, "version": 2, "support_qiskit": True}
        return json.dumps(frame | others, cls=RuntimeEncoder).encode()

    return encoded


@pytest.fixture(scope="session")
def run_bytes() -> Run:
    """Run a job through all its stages; returns the result's text."""

    def run(program_id: str, params: bytes, device: Device) -> bytes:
        program.validate(program_id, params, device)
        prepared = program.prepare(program_id, params, device)
        measured = program.quantum(program_id, prepared.work, device)
        return program.finish(program_id, prepared.work, measured.raw, device)

    return run


@pytest.fixture(scope="session")
def run(encode: Callable[..., bytes], run_bytes: Run) -> Run:
    """Run a job; returns its result as the client decodes it."""

    def ran(program_id: str, device: Device, pubs: list[Any], options: Any = None, **others: Any):
        text = run_bytes(program_id, encode(pubs, options, **others), device)
        return json.loads(text, cls=RuntimeDecoder)

    return ran


@pytest.fixture(scope="session")
def golden() -> Callable[[str], tuple[str, bytes]]:
    """Program and parameters of a recorded POST /jobs body."""

    def read(name: str) -> tuple[str, bytes]:
        body = json.loads((GOLDEN / name).read_text())
        return body["program_id"], json.dumps(body["params"]).encode()

    return read


def bell(num_qubits: int = 5) -> QuantumCircuit:
    """(|00> + |11>) / sqrt 2 on qubits 0 and 1, in manila's gates."""
    circuit = QuantumCircuit(num_qubits)
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(np.pi / 2, 0)
    circuit.cx(0, 1)
    return circuit


@pytest.fixture
def bell_state() -> QuantumCircuit:
    return bell()
