"""Devices from outside: found by name, checked, told of, and run by the real client."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import SamplerV2

from queuebit import testing
from queuebit.config import BackendConfig
from queuebit.devices import loading
from queuebit.devices.protocol import Experiment
from queuebit.errors import ConfigError, InvalidInput

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "aer_device"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The tests' device and the example package, as if installed."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "queuebit_aer_device-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    text = ""
    for group, names in project["entry-points"].items():
        text += "\n".join([f"[{group}]", *(f"{key} = {at}" for key, at in names.items())]) + "\n"
    (info / "entry_points.txt").write_text(text)
    for folder in (tmp_path, EXAMPLE, ROOT / "tests" / "outside"):
        monkeypatch.syspath_prepend(str(folder))


def config(device: str, **more: object) -> BackendConfig:
    return BackendConfig(name="lab_qpu", device=device, **more)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (config("aer_gpu"), "no device 'aer_gpu' in this installation; there are: simulated, aer"),
        (config("broken"), "device 'broken' brings no description of its own: name a snapshot"),
        (config("broken", snapshot="fez"), "cannot start: RuntimeError: the refrigerator is warm"),
        (config("halved", snapshot="fez"), "lacks check, description, dt, duration_s, isa_error"),
        (config("aer"), "device 'aer' brings no description of its own"),
        (config("aer", snapshot="fez", options={"qubits": 3}), "options: there is no qubits"),
    ],
)  # fmt: skip
def test_what_cannot_start_says_why(installed, given, told):
    with pytest.raises(ConfigError) as refusal:
        loading.make(given)

    assert str(refusal.value).startswith("backend lab_qpu: ")
    assert told in str(refusal.value)


def test_a_device_without_its_gpu_keeps_a_service_from_starting(installed):
    """Through the entry point, in a worker; the reason comes out as a mistake in the settings."""
    backend = config("aer", snapshot="manila", options={"device": "GPU"})

    with pytest.raises(ConfigError) as refusal, testing.service(backends=[backend]):
        pass

    assert str(refusal.value).startswith(
        "backend lab_qpu: device 'aer' cannot start: Aer has no GPU here, only CPU; for a GPU"
    )


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore:The SamplerV2 class is deprecated")
@pytest.mark.filterwarnings(f"ignore:{testing.NO_VERIFY_WARNING}")
def test_jobs_of_the_real_client_run_on_devices_from_outside(installed):
    backends = [
        config("outside"),
        BackendConfig(name="aer_manila", device="aer", snapshot="manila"),
    ]
    bell = QuantumCircuit(5, 2)
    bell.rz(np.pi / 2, 0), bell.sx(0), bell.rz(np.pi / 2, 0), bell.cx(0, 1)
    bell.measure([0, 1], [0, 1])
    ones = QuantumCircuit(2, 2)
    ones.x(0)
    ones.measure([0, 1], [0, 1])

    with testing.service(backends=backends) as running:
        runtime = running.connect()
        lab, aer = (runtime.backend(name) for name in ("lab_qpu", "aer_manila"))
        jobs = {
            one: SamplerV2(mode=one).run([circuit], shots=1000)
            for one, circuit in ((lab, ones), (aer, bell))
        }
        counts = {one: job.result()[0].data.c.get_counts() for one, job in jobs.items()}
        usage = jobs[lab].usage()
        version, error = lab.status().backend_version, lab.properties().readout_error(1)

    assert counts[lab] == {"11": 1000}
    assert set(counts[aer]) == {"00", "11"}  # no noise
    assert abs(counts[aer]["11"] - 500) < 100
    assert usage == 1.234  # what the device says
    assert lab.num_qubits == 2
    assert set(lab.target["cz"]) == {(0, 1)}
    assert (version, error) == ("7.0.0", 0.25)


def test_sets_of_values_and_seeds_of_the_example(installed):
    device = loading.make(config("aer", snapshot="manila", options={"max_qubits": 3}))
    circuit = QuantumCircuit(5, 9)
    circuit.x(4)
    circuit.measure(4, 8)
    circuit.measure(0, 3)
    one = Experiment(circuit, np.zeros((2, 0)), 3)
    wide = QuantumCircuit(5, 1)
    wide.x(range(5))

    (bits,) = device.sample([one], seed=1).bits

    expected = np.zeros((2, 3, 9), dtype=bool)
    expected[:, :, 8] = True
    assert np.array_equal(bits, expected)
    device.check([one])
    with pytest.raises(InvalidInput, match="Circuit 0 uses 5 qubits; lab_qpu simulates 3"):
        device.check([Experiment(wide, np.zeros((1, 0)), 1)])


def test_our_own_descriptions_import_no_qiskit():
    code = """
import sys
from queuebit.config import Config
from queuebit.devices.loading import describe
for backend in Config().offered: describe(backend).listing
assert not {name for name in sys.modules if name.split(".")[0].startswith("qiskit")}
"""
    subprocess.run([sys.executable, "-c", code], check=True)
