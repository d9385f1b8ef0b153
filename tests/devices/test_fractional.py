"""Fractional gates of wide devices: rx and rzz, with the errors that their snapshots report."""

import json

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)

from queuebit.config import BackendConfig, Config
from queuebit.devices import ptm
from queuebit.devices.device import Device
from queuebit.devices.snapshot import Snapshot, available
from queuebit.errors import ConfigError

SHOTS = 20_000
BOTH = {"aachen", "boston", "fez", "fractional", "kingston", "marrakesh", "pittsburgh"}
ONE = {"berlin", "miami", "torino"}  # Nighthawks have no rzz; Torino's was calibrated nowhere


def config(snapshot: str) -> BackendConfig:
    return BackendConfig(name="lab", snapshot=snapshot, fractional=True)


@pytest.fixture(scope="module")
def device() -> Device:
    return Device(config("fez"))


@pytest.fixture(scope="module")
def pair(device) -> tuple[int, int]:
    """A pair whose rzz is neither among the best nor among the worst."""
    known = device.target["rzz"]
    calibrated = [wires for wires in known if known[wires].error < 1]
    return sorted(calibrated, key=lambda wires: known[wires].error)[len(calibrated) // 2]


@pytest.mark.parametrize("name", available())
def test_a_snapshot_offers_what_it_has_calibrated(name):
    if name not in BOTH | ONE:
        with pytest.raises(ConfigError, match="has no calibrated rx or rzz gate"):
            Snapshot(config(name))
        return
    told = Snapshot(config(name)).configuration
    gates = {gate["name"]: gate.get("coupling_map") for gate in told["gates"]}
    expected = {"rx", "rzz"} if name in BOTH else {"rx"}

    assert {"rx", "rzz"} & {*told["basis_gates"]} == expected
    assert {"rx", "rzz"} & {*told["supported_instructions"]} == expected
    assert {"rx", "rzz"} & gates.keys() == expected
    assert len(gates["rx"]) == told["n_qubits"]
    assert all(wires in told["coupling_map"] for wires in gates.get("rzz", []))


@pytest.mark.parametrize("wish", [False, True, None])
def test_the_client_has_them_if_its_user_asks(wish, device):
    snapshot = Snapshot(config("fez"))
    told = json.loads(json.dumps(snapshot.configuration))
    found = json.loads(json.dumps(snapshot.properties()))
    target = convert_to_target(
        configuration_from_server_data(told, use_fractional_gates=wish),
        properties_from_server_data(found, use_fractional_gates=wish),
    )
    names = {*device.target.operation_names}

    assert {*target.operation_names} == (names - {"rx", "rzz"} if wish is False else names)
    assert "if_else" in target.operation_names  # IBM: both in one job, since client 0.42
    if wish is not False:
        ours, theirs = device.target["rzz"], target["rzz"]
        assert ours.keys() == theirs.keys()
        assert all(ours[at].error == theirs[at].error for at in ours)


def test_without_the_setting_nobody_sees_them():
    told = Snapshot(BackendConfig(name="lab", snapshot="fez"))

    assert {"rx", "rzz"}.isdisjoint(told.configuration["basis_gates"])
    assert {"rx", "rzz"}.isdisjoint(gate["gate"] for gate in told.properties()["gates"])


def test_a_backend_with_them_has_a_mock_with_them():
    made = Config(backends=(config("fez").model_copy(update={"name": "lab_fez"}),))

    assert [one.fractional for one in made.offered] == [True, True]


def test_their_errors_are_those_that_the_properties_report(device, pair):
    for name, wires in (("rx", pair[:1]), ("rzz", pair)):
        reported = device.target[name][wires]
        error = device.noise.error(name, wires)

        assert 0 < reported.error < 0.02
        assert 1 - ptm.average_fidelity(error) == pytest.approx(reported.error, rel=1e-9)
        assert device.noise.duration_s(name, wires) == reported.duration > 0


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.1, np.pi / 2])
def test_rzz_turns_by_its_angle_and_loses_what_its_error_says(angle, device, pair, one):
    """<XX> between is 1 of |++>, and <XI> falls as the cosine, for any angle alike damped."""
    circuit = QuantumCircuit(device.num_qubits, 2)
    for qubit in pair:
        circuit.rx(np.pi, qubit)  # |1>, then |->: what rx does is seen too
        circuit.rz(np.pi / 2, qubit)
        circuit.sx(qubit)
        circuit.rz(np.pi / 2, qubit)
    circuit.rzz(angle, *pair)
    for qubit in pair:
        circuit.rz(np.pi / 2, qubit)
        circuit.sx(qubit)
        circuit.rz(np.pi / 2, qubit)
    circuit.measure(pair, [0, 1])
    misread = [device.noise.readout(qubit) for qubit in pair]

    signs = 1 - 2 * one(device, circuit, SHOTS).astype(float)

    for at, (up, down) in enumerate(misread):
        contrast, offset = 1 - up - down, down - up
        # Of three gates on the qubit and one on the pair; a depolarized value loses 4/3, 16/15.
        lost = 4 * device.target["sx"][pair[at],].error + 2 * device.target["rzz"][pair].error
        value = (signs[:, at].mean() - offset) / contrast
        assert value == pytest.approx(-np.cos(angle), abs=2 * lost + 4 / np.sqrt(SHOTS) / contrast)


def test_dynamic_circuits_may_hold_them(device, pair, one):
    circuit = QuantumCircuit(device.num_qubits, 2)
    circuit.rx(np.pi, pair[0])
    circuit.measure(pair[0], 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.rx(np.pi, pair[1])
    circuit.measure(pair[1], 1)

    assert device.isa_error(circuit) is None
    assert (one(device, circuit, 2_000).mean(axis=0) > 0.9).all()


def test_an_angle_out_of_bounds_is_refused(device, pair):
    circuit = QuantumCircuit(device.num_qubits)
    circuit.rzz(-0.1, *pair)

    assert "an angle (-0.1) outside of this range" in device.isa_error(circuit)
