"""The device accepts what the client can build from its configuration, and nothing else."""

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime.fake_provider import (
    FakeBoston,
    FakeFez,
    FakeFractionalBackend,
    FakeManilaV2,
    FakeTorino,
)

from queuebit.config import BackendConfig
from queuebit.devices.device import Device


@pytest.mark.parametrize(
    ("name", "fake"),
    [
        ("manila", FakeManilaV2),
        ("torino", FakeTorino),
        ("fez", FakeFez),
        ("boston", FakeBoston),
        ("fractional", FakeFractionalBackend),
    ],
)
def test_the_target_is_the_clients(name, fake):
    ours = Device(BackendConfig(name=name, snapshot=name, dynamic_circuits="all")).target
    theirs = fake().target

    assert ours.num_qubits == theirs.num_qubits
    assert ours.dt == theirs.dt
    assert set(ours.operation_names) == set(theirs.operation_names)
    for operation in ours.operation_names:
        known = {wires: p and (p.duration, p.error) for wires, p in ours[operation].items()}
        expected = {wires: p and (p.duration, p.error) for wires, p in theirs[operation].items()}
        assert known.keys() == expected.keys()
        for wires, values in known.items():
            assert values == pytest.approx(expected[wires]), (operation, wires)


def test_a_fitting_circuit_breaks_no_rule(torino):
    circuit = QuantumCircuit(133, 2)
    circuit.sx(0)
    circuit.cz(0, 1)
    circuit.barrier()
    circuit.delay(100, 0)
    circuit.reset(5)
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    with circuit.for_loop(range(2)):
        circuit.cz(1, 0)

    assert torino.isa_error(circuit) is None


def test_a_missing_pair_is_named(torino):
    circuit = QuantumCircuit(133)
    circuit.cz(0, 5)

    assert torino.isa_error(circuit).startswith(
        "The instruction cz on qubits (0, 5) is not supported by the target system. "
        "Circuits that do not match the target hardware definition are no longer supported"
    )


def test_many_qubits_are_counted_and_not_listed(torino):
    circuit = QuantumCircuit(127, 1)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.sx(range(127))

    told = torino.isa_error(circuit)

    assert "(0, 1, 2, 3, 4, ...; 127 in all) is not supported" in told


def test_a_missing_gate_is_named(torino):
    circuit = QuantumCircuit(2)
    circuit.h(1)

    assert "The instruction h on qubits (1,) is not supported" in torino.isa_error(circuit)


def test_a_gate_inside_a_branch_is_named_by_its_outer_qubits(torino):
    circuit = QuantumCircuit(133, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)), circuit.for_loop(range(2)):
        circuit.cz(7, 30)

    assert "The instruction cz on qubits (7, 30)" in torino.isa_error(circuit)


def test_control_flow_that_the_snapshot_lacks_is_named(torino):
    circuit = QuantumCircuit(1, 1)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.x(0)

    assert "The instruction while_loop on qubits (0,)" in torino.isa_error(circuit)


def test_a_circuit_wider_than_the_device_is_refused(manila):
    assert manila.isa_error(QuantumCircuit(6)) == (
        "The circuit has 6 qubits but the target system requires 5 qubits."
    )


@pytest.mark.parametrize(("angle", "fits"), [(0.0, True), (1.5, True), (-0.1, False), (1.6, False)])
def test_fractional_rotations_have_bounds(fractional, angle, fits):
    circuit = QuantumCircuit(2)
    circuit.rzz(angle, 0, 1)
    error = fractional.isa_error(circuit)

    assert (error is None) == fits
    assert fits or f"an angle ({angle}) outside of this range" in error


def test_uncalibrated_gates_are_known_as_faulty(torino):
    pairs = [wires for name, wires in torino.faulty_gates if name == "cz"]

    assert len(pairs) == 22
    assert all(torino.target["cz"][wires].error == 1 for wires in pairs)


def test_a_shot_lasts_as_long_as_its_critical_path(torino):
    circuit = QuantumCircuit(133, 2)
    circuit.sx(0)
    circuit.sx(0)
    circuit.sx(1)
    circuit.cz(0, 1)
    circuit.delay(100e-9, 1, unit="s")
    circuit.barrier()
    circuit.measure([0, 1], [0, 1])
    target = torino.target
    longest = 2 * target["sx"][0,].duration + target["cz"][0, 1].duration + 100e-9

    assert torino.duration_s(circuit) == pytest.approx(longest + target["measure"][0,].duration)
    assert torino.duration_s(circuit) == pytest.approx(circuit.estimate_duration(target))


def test_of_branches_the_longest_counts_and_loops_repeat(torino):
    circuit = QuantumCircuit(133, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.delay(10, 0, unit="us")
    with otherwise:
        circuit.x(0)
    with circuit.for_loop(range(5)):
        circuit.delay(2, 0, unit="us")
    measured = torino.target["measure"][0,].duration

    assert torino.duration_s(circuit) == pytest.approx(measured + 20e-6)


def test_an_empty_circuit_takes_no_time(torino):
    assert torino.duration_s(QuantumCircuit(2)) == 0
