"""Pulses are really in the circuit that runs, where and when the client's sequences have them."""

import io

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qpy
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator

from queuebit.devices.device import Device, Experiment
from queuebit.errors import InvalidInput
from queuebit.programs import program
from queuebit.programs.circuits.decoupling import decouple
from queuebit.programs.options import DynamicalDecoupling

X, Y, MINUS_X, MINUS_Y = 0.0, np.pi / 2, np.pi, -np.pi / 2
AXES = {"XX": [X, X], "XpXm": [X, MINUS_X], "XY4": [X, Y, MINUS_X, MINUS_Y]}


def waiting(device: Device) -> QuantumCircuit:
    """Qubit 3 waits while its neighbour 4 is busy with 5."""
    circuit = QuantumCircuit(QuantumRegister(device.num_qubits, "q"), ClassicalRegister(2, "out"))
    circuit.sx(3)
    circuit.cz(3, 4)
    for _ in range(40):
        circuit.cz(4, 5)
    circuit.cz(3, 4)
    circuit.measure([3, 4], [0, 1])
    return circuit


def on(circuit: QuantumCircuit, qubit: int) -> list[tuple[str, list[float], int]]:
    """The instructions on one qubit: name, parameters, and how many qubits they are on."""
    return [
        (one.name, [float(p) for p in one.params], len(one.qubits))
        for one in circuit.data
        if circuit.qubits[qubit] in one.qubits
    ]


def pulses(circuit: QuantumCircuit, qubit: int) -> list[float]:
    """Axes of the pulses on a qubit, as angles from x; each is rz, x, rz or x alone."""
    ops = on(circuit, qubit)
    axes = []
    for at, (name, _, _) in enumerate(ops):
        if name != "x":
            continue
        before, after = ops[at - 1], ops[at + 1]
        turned = before[0] == after[0] == "rz" and np.isclose(before[1][0], -after[1][0])
        axes.append(before[1][0] if turned else X)
    return axes


@pytest.mark.parametrize("sequence", AXES)
def test_a_waiting_qubit_gets_the_sequence_and_the_delays_between(sequence, torino):
    circuit = waiting(torino)

    padded = decouple(circuit, DynamicalDecoupling(enable=True, sequence_type=sequence), torino)

    assert np.allclose(pulses(padded, 3), AXES[sequence])
    # tau/2, tau, ..., tau/2: what the 40 gates leave beside the pulses, in dt, slack in the middle.
    delays = [int(p[0]) for name, p, _ in on(padded, 3) if name == "delay"]
    assert len(delays) == len(AXES[sequence]) + 1
    assert delays[0] == delays[-1]
    assert abs(delays[1] - 2 * delays[0]) <= 4
    pulse_s = torino.target["x"][(3,)].duration
    busy_s = 40 * torino.target["cz"][(4, 5)].duration
    assert np.isclose(sum(delays) * torino.dt + len(AXES[sequence]) * pulse_s, busy_s)


def test_slack_goes_to_the_edges_if_asked(torino):
    given = {"enable": True, "sequence_type": "XY4"}

    middle, edges = (
        [int(p[0]) for name, p, _ in on(padded, 3) if name == "delay"]
        for padded in (
            decouple(waiting(torino), DynamicalDecoupling(**given), torino),
            decouple(
                waiting(torino),
                DynamicalDecoupling(**given, extra_slack_distribution="edges"),
                torino,
            ),
        )
    )

    assert sum(middle) == sum(edges)
    assert middle[2] >= middle[1] == middle[3]
    assert edges[1] == edges[2] == edges[3]
    assert edges[0] + edges[-1] >= middle[0] + middle[-1]


def early(device: Device) -> QuantumCircuit:
    """Qubit 1 has one gate, and then time until 0 is ready to meet it."""
    circuit = QuantumCircuit(device.num_qubits, 2)
    circuit.sx(1)
    for _ in range(60):
        circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({"scheduling_method": "alap"}, "delay"),  # the gate is late, and the pulses before it
        ({"scheduling_method": "asap"}, "sx"),
        # In front of the gate the qubit is known to be in the ground state.
        ({"scheduling_method": "alap", "skip_reset_qubits": True}, "delay"),
    ],
)
def test_gates_are_early_or_late_and_fresh_qubits_may_be_left_alone(options, first, manila):
    padded = decouple(early(manila), DynamicalDecoupling(enable=True, **options), manila)

    ops = on(padded, 1)
    assert ops[0][0] == first
    assert len(pulses(padded, 1)) == (0 if options.get("skip_reset_qubits") else 2)


def test_the_circuit_means_what_it_meant_and_keeps_its_bits(manila):
    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(1, "a"))
    circuit.add_register(ClassicalRegister(2, "b"))
    angle = Parameter("t")
    circuit.rz(angle, 3)
    circuit.cx(3, 4)
    for _ in range(30):
        circuit.sx(4)
    circuit.cx(3, 4)
    unitary = circuit.copy()
    circuit.measure([3, 4], circuit.cregs[1])
    circuit.metadata = {"mine": 1}

    padded = decouple(circuit, DynamicalDecoupling(enable=True, sequence_type="XY4"), manila)

    assert padded.cregs == circuit.cregs
    assert list(padded.parameters) == [angle]
    assert padded.metadata == {"mine": 1}
    measured = [
        (padded.find_bit(one.qubits[0]).index, one.clbits) for one in padded.data if one.clbits
    ]
    assert measured == [(3, (circuit.clbits[1],)), (4, (circuit.clbits[2],))]
    stripped = padded.copy_empty_like()
    for one in padded.data:
        if one.name not in {"delay", "measure"}:
            stripped.append(one)
    assert padded.count_ops()["x"] >= 4
    # The padded one has its global phase too.
    assert Operator(stripped.assign_parameters([0.3])) == Operator(unitary.assign_parameters([0.3]))


def test_what_runs_is_the_padded_circuit_and_what_is_charged_its_duration(encode, torino):
    def prepared(**decoupling):
        params = encode([(waiting(torino), None, 100_000)], {"dynamical_decoupling": decoupling})
        return program.prepare("sampler", params, torino)

    plain, padded = prepared(enable=False), prepared(enable=True, sequence_type="XpXm")

    (runs,) = qpy.load(io.BytesIO(padded.work.circuits))
    assert np.allclose(pulses(runs, 3), AXES["XpXm"])
    assert np.isclose(torino.duration_s(runs), torino.duration_s(waiting(torino)), rtol=1e-6)
    # Pulses fill time that was there: only the deeper circuit costs a little more to load.
    assert plain.estimated_ms <= padded.estimated_ms < plain.estimated_ms + 20


def test_waiting_is_charged_in_noise_and_pulses_cannot_undo_it(torino):
    """The device's noise has no memory: docs/programs.md."""
    circuit = QuantumCircuit(torino.num_qubits, 1)
    circuit.sx(3)
    circuit.cz(3, 4)
    for _ in range(100):
        circuit.cz(4, 5)
    circuit.cz(3, 4)
    circuit.rz(np.pi, 3)
    circuit.sx(3)
    circuit.measure(3, 0)
    padded = decouple(circuit, DynamicalDecoupling(enable=True), torino)

    plain, waited = torino.sample(
        [Experiment(one, np.zeros((1, 0)), 20_000) for one in (circuit, padded)], seed=3
    ).bits

    # Ramsey: without waiting the qubit comes back to 0. It waits 100 cz of 68 ns, T2 is 130 us.
    assert plain.mean() < waited.mean() < 0.5


def dynamic() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], True)):
        circuit.x(1)
    return circuit


def unscheduled() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.delay(Parameter("d"), 0)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize(
    ("circuit", "values", "message"),
    [
        (dynamic(), [], "PUB 1: Dynamical decoupling currently cannot be used with dynamic cir"),
        (
            unscheduled(),
            [16.0],
            "PUB 1: Dynamical decoupling cannot schedule a delay that is a parameter",
        ),
    ],
)
def test_what_has_no_schedule_is_refused(circuit, values, message, encode, manila):
    plain = QuantumCircuit(5, 1)
    plain.measure(0, 0)
    pubs = [(plain,), (circuit, values)]

    with pytest.raises(InvalidInput) as refusal:
        program.validate(
            "sampler", encode(pubs, {"dynamical_decoupling": {"enable": True}}), manila
        )

    assert refusal.value.message.startswith(message)
    assert refusal.value.code == 1208
    program.validate("sampler", encode(pubs), manila)  # the option alone makes the difference
