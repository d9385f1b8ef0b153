"""What a device can run, by values of parameters too: fractional gates, delays; and faults."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.transpiler import Target

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.devices.isa import Isa
from queuebit.errors import InvalidInput
from queuebit.programs import program


@pytest.fixture(scope="module")
def fractional() -> Device:
    return Device(BackendConfig(name="fake_fractional", snapshot="fractional"))


def interacting(device: Device, angle, qubits=(0, 1)) -> QuantumCircuit:
    circuit = QuantumCircuit(device.num_qubits, 2)
    circuit.rx(np.pi / 2, qubits[0])
    circuit.rzz(angle, *qubits)
    circuit.measure(qubits, [0, 1])
    return circuit


def test_fractional_gates_run(run, fractional):
    circuit = QuantumCircuit(fractional.num_qubits, 1)
    circuit.rx(Parameter("a"), 0)
    circuit.rzz(Parameter("z"), 0, 1)
    circuit.measure(0, 0)
    options = {"simulator": {"seed_simulator": 1}, "twirling": {"enable_measure": True}}

    (pub,) = run("sampler", fractional, [(circuit, [[0.0, 1.0], [2.0, 1.0]], 4000)], options)

    ones = pub.data.c.to_bool_array().mean(axis=(-1, -2))
    assert np.allclose(ones, [0, np.sin(1) ** 2], atol=0.06)


theta, phi = Parameter("theta"), Parameter("phi")
RZZ = (
    "PUB 1: The instruction rzz on qubits (0, 1) is supported only for angles in the range "
    "[0, pi/2], but "
)
RZZ_SWEPT = (
    "an angle ({}) outside of this range has been requested; via parameter value(s) {}, "
    "substituted in parameter expression {}."
)


@pytest.mark.parametrize(
    ("angle", "values", "message"),
    [
        (
            1.6,
            [],
            "an angle (1.6) outside of this range has been requested.",
        ),
        (
            theta,
            [[0.1], [1.5], [-0.1]],
            RZZ_SWEPT.format("-0.1", "theta=-0.1", "theta"),
        ),
        (
            2 * phi,
            [[0.1], [0.9]],
            RZZ_SWEPT.format("1.8", "phi=0.9", "2*phi"),
        ),
    ],
)
def test_rzz_outside_its_range_is_refused_also_when_swept(
    angle, values, message, encode, fractional
):
    fits = interacting(fractional, theta)
    pubs = [(fits, [[0.0], [np.pi / 2]]), (interacting(fractional, angle), values)]

    with pytest.raises(InvalidInput) as refusal:
        program.validate("sampler", encode(pubs), fractional)

    assert (refusal.value.message, refusal.value.code) == (RZZ + message, 1517)
    program.validate("sampler", encode(pubs[:1]), fractional)


@pytest.mark.parametrize("name", ["rx", "rzz"])
def test_fractional_gates_are_not_twirled(name, encode, fractional):
    circuit = QuantumCircuit(fractional.num_qubits, 1)
    qubits = (4,) if name == "rx" else (0, 1)
    getattr(circuit, name)(0.5, *qubits)
    circuit.measure(0, 0)

    params = encode([(circuit,)], {"twirling": {"enable_gates": True}})
    with pytest.raises(InvalidInput) as refusal:
        program.validate("sampler", params, fractional)

    assert refusal.value.message == (
        f"PUB 0: The instruction {name} on qubits {qubits} is a fractional gate, which cannot be "
        "used with gate twirling."
    )
    assert refusal.value.code == 1208


def test_an_expression_may_come_to_a_negative_number(run, encode, fractional):
    """Qiskit cannot hash one."""
    a = Parameter("a")
    circuit = QuantumCircuit(2, 1)
    circuit.rz(a - a - 1, 0)
    circuit.rzz(a - a + 1, 0, 1)
    circuit.measure(0, 0)
    (result,) = run("sampler", fractional, [[circuit, [[0.3], [0.4]], 10]])
    circuit.rzz(a - a - 1, 0, 1)

    assert result.data.c.shape == (2,)
    with pytest.raises(InvalidInput, match=r"an angle \(-1.0\) outside"):
        program.validate("sampler", encode([[circuit, [[0.3], [0.4]], 10]]), fractional)


def test_delays_may_be_parameters_in_dt(run, encode, torino):
    circuit = QuantumCircuit(133, 1)
    circuit.x(5)
    circuit.delay(1000 * Parameter("t"), 5)
    circuit.measure(5, 0)
    options = {"simulator": {"seed_simulator": 1}}

    (pub,) = run("sampler", torino, [(circuit, [[0], [20], [2000]], 4000)], options)

    t1_s, _ = torino.noise.coherence(5)
    begin, later, end = pub.data.c.to_bool_array().mean(axis=(-1, -2))
    decay = np.exp(-20_000 * torino.dt / t1_s)
    assert later - end == pytest.approx((begin - end) * decay, abs=0.03)
    with pytest.raises(InvalidInput, match=r"PUB 0: The instruction delay on .* a delay of 0.5 "):
        program.validate("sampler", encode([(circuit, [[0], [0.0005]])]), torino)


def test_a_faulty_qubit_is_told(torino):
    dead = 7
    target = torino.target
    alive = Target(num_qubits=133, dt=torino.dt)
    for name in target.operation_names:
        known = {
            at: told
            for at, told in (target[name] or {}).items()
            if at is not None and dead not in at
        }
        if known:
            alive.add_instruction(target.operation_from_name(name), known, name=name)
    circuit = QuantumCircuit(133)
    circuit.cz(dead, 6)

    error = Isa(alive).error(circuit)

    assert error is not None
    assert error.startswith(
        "The instruction cz on qubits (7, 6) is not supported by the target system. "
        "Qubit 7 is faulty. Circuits that do not match"
    )
