from statistics import NormalDist

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Instruction

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.programs import kernels


def test_classifying_the_points_gives_back_the_bits():
    rng = np.random.default_rng(5)
    bits = rng.random((40, 500, 3)) < 0.4
    widths = np.array([[0.3, 0.5], [1.0, 0.2], [4.0, 4.0]])

    points = kernels.iq(bits, widths, rng)

    assert points.shape == bits.shape
    assert points.dtype == np.complex128
    assert np.array_equal(points.real > 0, bits)
    assert abs(points.imag.mean()) < 0.05


def test_clouds_are_as_wide_as_the_readout_is_bad(torino):
    qubits = torino.description.properties()["qubits"]
    known = [{e["name"]: e["value"] for e in entries} for entries in qubits]
    best, worst = (
        pick(range(133), key=lambda q: known[q]["prob_meas1_prep0"]) for pick in (min, max)
    )

    (good, _), (bad, _), (none, _) = kernels.spreads(
        [(best, "measure"), (worst, "measure"), None], torino
    )

    assert good < none < bad
    # A Gaussian around -1 crosses 0 as often as |0> is misread.
    rng = np.random.default_rng(1)
    (typical, _), *_ = kernels.spreads([(0, "measure")], torino)
    crossed = (-1 + typical * rng.standard_normal(200_000) > 0).mean()
    assert crossed == pytest.approx(known[0]["prob_meas1_prep0"], rel=0.1)


def test_each_bit_is_spread_as_the_qubit_that_is_measured_into_it():
    circuit = QuantumCircuit(4, 4)
    circuit.measure(3, 0)
    circuit.measure(0, 1)
    circuit.measure(2, 1)
    with circuit.if_test((circuit.clbits[1], True)):
        circuit.measure(1, 2)

    assert kernels.places(circuit) == [(3, "measure"), (2, "measure"), (1, "measure"), None]


def test_the_devices_own_measurement_has_its_own_width():
    device = Device(BackendConfig(name="fake_boston", snapshot="boston"))
    error = device.noise.readout(0, "measure_2")[0]
    circuit = QuantumCircuit(1, 1)
    circuit.append(Instruction("measure_2", 1, 1, []), [0], [0])

    ((width, _),) = kernels.spreads(kernels.places(circuit), device)

    assert NormalDist(sigma=width).cdf(-1) == pytest.approx(error)
