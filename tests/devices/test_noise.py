"""Our closed forms are Aer's device model."""

import numpy as np
import pytest
from qiskit.circuit.library import (
    CXGate,
    CZGate,
    ECRGate,
    RXGate,
    RYGate,
    RZGate,
    RZZGate,
    SXGate,
)
from qiskit.quantum_info import PTM, Operator, SuperOp
from qiskit.transpiler import Target
from qiskit_aer.noise import depolarizing_error, thermal_relaxation_error
from qiskit_aer.noise.device import basic_device_gate_errors

from queuebit.devices import ptm


@pytest.mark.parametrize("name", ["manila", "torino", "fez"])
def test_gate_errors_are_aers_to_1e_12(name, request):
    device = request.getfixturevalue(name)
    target = device.target
    some = Target(
        num_qubits=target.num_qubits, dt=target.dt, qubit_properties=target.qubit_properties
    )
    for gate in set(target.operation_names) & {"sx", "x", "rz", "cx", "cz", "reset"}:
        known = list(target[gate].items())
        uncalibrated = [one for one in known if one[1].error and one[1].error >= 1][:1]
        some.add_instruction(
            target.operation_from_name(gate), dict(known[:3] + uncalibrated), name=gate
        )
    errors = basic_device_gate_errors(target=some)

    assert len(errors) >= 12
    for gate, wires, error in errors:
        expected = np.real(PTM(SuperOp(error)).data)
        assert device.noise.error(gate, tuple(wires)) == pytest.approx(expected, abs=1e-12)


def test_virtual_gates_are_perfect(torino):
    assert torino.noise.error("rz", (0,)) is None


def test_a_noisy_gate_is_its_error_after_the_gate(torino):
    wires = (0, 1)
    expected = torino.noise.error("cz", wires) @ np.real(PTM(Operator(CZGate())).data)

    assert torino.noise.gate("cz", wires, CZGate()) == pytest.approx(expected, abs=1e-12)


def test_readout_errors_are_asymmetric(manila):
    assert manila.noise.readout(0) == pytest.approx((0.0158, 0.0548))


@pytest.mark.parametrize(
    "gate", [SXGate(), RXGate(0.3), CXGate(), ECRGate(), RZZGate(0.7)], ids=lambda gate: gate.name
)
def test_transfer_matrices_of_gates_are_qiskits(gate):
    expected = np.real(PTM(Operator(gate)).data)

    assert ptm.of_unitary(gate.to_matrix()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("pauli", "gate"), [(1, RXGate), (2, RYGate), (3, RZGate)])
def test_rotations_are_qiskits(pauli, gate):
    angles = np.array([0.0, 0.4, -2.0])
    expected = [np.real(PTM(Operator(gate(angle))).data) for angle in angles]

    assert ptm.rotation(pauli, angles) == pytest.approx(np.array(expected), abs=1e-12)


def test_relaxation_and_depolarizing_are_aers():
    relaxed = thermal_relaxation_error(50e-6, 70e-6, 3e-6)
    mixed = depolarizing_error(0.03, 2)

    assert ptm.relaxation(50e-6, 70e-6, 3e-6) == pytest.approx(
        np.real(PTM(SuperOp(relaxed)).data), abs=1e-12
    )
    assert ptm.depolarizing(0.03, 2) == pytest.approx(np.real(PTM(SuperOp(mixed)).data), abs=1e-12)


def test_the_pauli_twirl_keeps_the_diagonal(torino):
    error = torino.noise.error("cz", (0, 1))
    chances = ptm.pauli_probabilities(error)
    basis = ptm.paulis(2)
    twirled = sum(p * ptm.of_unitary(pauli) for p, pauli in zip(chances, basis, strict=True))

    assert chances.sum() == pytest.approx(1)
    assert twirled == pytest.approx(np.diag(np.diag(error)), abs=1e-12)


def test_channels_keep_the_trace(torino, fez):
    for device in (torino, fez):
        for wires in list(device.target["cz"])[::40]:
            error = device.noise.error("cz", wires)
            assert error[0] == pytest.approx(np.eye(16)[0], abs=1e-12)
