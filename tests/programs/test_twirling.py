"""Twirled circuits are random, mean what the user's means, and symmetrise what errors do."""

import json

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import ParameterVector
from qiskit.circuit.classical import expr
from qiskit.quantum_info import Operator
from qiskit_ibm_runtime import QuantumProgram
from samplomatic import build
from samplomatic.transpiler import generate_boxing_pass_manager
from tests.programs.quantum_programs import body

from queuebit.errors import InvalidInput
from queuebit.programs import limits, program
from queuebit.programs.circuits.flipping import flip
from queuebit.programs.circuits.twirling import twirl
from queuebit.programs.options import Twirling

SEED = {"simulator": {"seed_simulator": 11}}
GATES = {"twirling": {"enable_gates": True}}
READOUT = {"twirling": {"enable_measure": True}}
BOTH = {"twirling": {"enable_gates": True, "enable_measure": True}}


def layered(device) -> QuantumCircuit:
    """Eleven parameters, so that their order by name is not their order; on qubits 1 to 4."""
    angles = ParameterVector("v", 11)
    circuit = QuantumCircuit(
        QuantumRegister(device.num_qubits, "q"),
        ClassicalRegister(2, "a"),
        ClassicalRegister(2, "b"),
    )
    entangler = "cx" if "cx" in device.target.operation_names else "cz"
    for at, angle in enumerate(angles):
        qubit = 1 + at % 4
        circuit.sx(qubit)
        circuit.rz(angle, qubit)
        circuit.sx(qubit)
        if qubit < 4:
            getattr(circuit, entangler)(qubit, qubit + 1)
    circuit.measure([1, 2], circuit.cregs[1])
    circuit.measure([3, 4], circuit.cregs[0])
    return circuit


def unitary(circuit: QuantumCircuit, values) -> Operator:
    bare = circuit.assign_parameters(values).copy_empty_like()
    bound = circuit.assign_parameters(values)
    for one in bound.data:
        if one.name not in {"measure", "barrier"}:
            bare.append(one)
    return Operator(bare)


@pytest.mark.parametrize("strategy", ["active", "active-accum", "active-circuit", "all"])
def test_every_draw_means_what_the_users_circuit_means(strategy, manila):
    circuit = layered(manila)
    rows = np.random.default_rng(2).uniform(-3, 3, (2, 11))
    twirled = twirl(circuit, Twirling(strategy=strategy), manila, gates=True, measures=True)

    draws = twirled.draw(rows, 5, np.random.default_rng(1))

    assert twirled.circuit.cregs == circuit.cregs
    assert manila.isa_error(twirled.circuit) is None
    assert draws.values.shape == (2, 5, twirled.circuit.num_parameters)
    flat = draws.values.reshape(10, -1)
    assert len(np.unique(flat.round(6), axis=0)) == 10
    for row in range(2):
        meant = unitary(circuit, rows[row])
        for values, flips in zip(draws.values[row], draws.flips[row], strict=True):
            undone = QuantumCircuit(5)
            # b[0], b[1] are bits 2 and 3, of qubits 1 and 2; a's are bits 0 and 1.
            for qubit, bit in ((3, 0), (4, 1), (1, 2), (2, 3)):
                if flips[bit]:
                    undone.x(qubit)
            probabilities = np.abs((Operator(undone) @ unitary(twirled.circuit, values)).data) ** 2
            assert np.allclose(probabilities[:, 0], np.abs(meant.data[:, 0]) ** 2, atol=1e-9)


def test_strategies_twirl_the_qubits_that_they_name(manila):
    """Qubit 0 has two gates before the others have any; 3 is only measured."""
    circuit = QuantumCircuit(5, 1)
    circuit.cx(0, 1)
    circuit.barrier(0, 1, 2)
    circuit.cx(1, 2)
    circuit.barrier(1, 2)
    circuit.cx(0, 1)
    circuit.x(3)
    circuit.measure(3, 0)

    parameters = {
        strategy: twirl(
            circuit, Twirling(strategy=strategy), manila, gates=True, measures=False
        ).circuit.num_parameters
        for strategy in ("active", "active-accum", "active-circuit", "all")
    }

    assert parameters["active"] < parameters["active-accum"]
    assert parameters["active-accum"] < parameters["active-circuit"]
    assert parameters["active-circuit"] <= parameters["all"]


def test_rows_without_parameters_are_drawn_at_once_and_independently(manila):
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    twirled = twirl(circuit, Twirling(), manila, gates=False, measures=True)

    draws = twirled.draw(np.zeros((4, 0)), 200, np.random.default_rng(0))

    assert draws.flips.shape == (4, 200, 1)
    assert np.allclose(draws.flips.mean(axis=(1, 2)), 0.5, atol=0.15)
    assert not np.array_equal(draws.flips[0], draws.flips[1])


def test_measuring_twirled_makes_the_readouts_errors_symmetric(run, misreading):
    def read(state: int, options):
        circuit = QuantumCircuit(5, 5)
        if state:
            circuit.x(range(5))
        circuit.measure(range(5), range(5))
        (pub,) = run("sampler", misreading, [(circuit, None, 40_000)], options | SEED)
        return pub.data.c.to_bool_array(order="little").mean(axis=0)

    # Chances of 1 for 0 and of 0 for 1: (.02, .08), (.05, .15), (0, .1), (.1, .1), (.01, .2).
    assert np.allclose(read(0, {}), [0.02, 0.05, 0.0, 0.1, 0.01], atol=0.006)
    mean = np.array([0.05, 0.1, 0.05, 0.1, 0.105])
    many = {"twirling": {"enable_measure": True, "num_randomizations": 400}}
    assert np.allclose(read(0, many), mean, atol=0.012)
    assert np.allclose(read(1, many), 1 - mean, atol=0.012)


@pytest.mark.parametrize("options", [GATES, READOUT, BOTH])
def test_twirled_and_untwirled_agree(options, run, perfect, bell_state):
    """Without errors a twirled circuit measures just what the circuit does: chi-square, seeded."""
    bell_state.rz(0.7, 0)
    bell_state.sx(0)
    bell_state.rz(0.4, 1)
    bell_state.sx(1)
    bell_state.cx(0, 1)
    bell_state.measure_all()
    shots = 20_000

    plain, twirled = (
        run("sampler", perfect, [(bell_state, None, shots)], one | SEED)[0].data.meas
        for one in ({}, options)
    )

    first, second = (
        np.bincount(np.asarray(list(bits.array[:, 0])), minlength=32) for bits in (plain, twirled)
    )
    seen = (first + second) > 0
    chi2 = ((first - second)[seen] ** 2 / (first + second)[seen]).sum()
    assert chi2 < seen.sum() - 1 + 4 * np.sqrt(2 * seen.sum())
    assert twirled.num_shots == shots


def test_randomizations_are_told_and_shots_beyond_those_asked_for_left_out(run, perfect):
    circuit = layered(perfect)
    values = np.zeros((3, 2, 11))

    result = run("sampler", perfect, [(circuit, values, 1000), (circuit, values[0, 0])], BOTH)

    swept, single = result
    assert swept.metadata["num_randomizations"] == 16  # of 64 shots: 1024
    assert single.metadata["num_randomizations"] == 32  # of 128 shots: 4096
    assert (swept.data.a.shape, swept.data.a.num_shots) == ((3, 2), 1000)
    assert single.data.b.num_shots == 4096
    (span,) = result.metadata["execution"]["execution_spans"]
    assert span.mask(0).shape == (3, 2, 1000)
    assert span.mask(0).all()
    assert span.size == 6 * 16 * 64 + 4096


def test_flips_are_taken_back_in_the_row_and_randomization_that_had_them(run, perfect):
    """x or nothing by parameter: every row must come out as it was asked for, in all registers."""
    circuit = layered(perfect)
    rows = np.where(np.random.default_rng(4).random((6, 11)) < 0.5, 0.0, np.pi)

    plain, twirled = (run("sampler", perfect, [(circuit, rows, 300)], one)[0] for one in ({}, BOTH))

    for name in ("a", "b"):
        for row in range(6):
            assert plain.data[name][row].get_counts() == twirled.data[name][row].get_counts()


@pytest.mark.parametrize(
    ("own", "options", "told"),
    [
        (None, {"num_randomizations": 3, "shots_per_randomization": 50}, (150, 3)),
        # A PUB's shots are always obeyed (client 0.51, TwirlingOptions).
        (100, {"num_randomizations": 3, "shots_per_randomization": 50}, (100, 3)),
        (400, {"num_randomizations": 3, "shots_per_randomization": 50}, (400, 8)),
        (100, {"num_randomizations": 7}, (100, 7)),
        (None, {"shots_per_randomization": 50}, (90, 2)),
    ],
)
def test_shots_of_a_pub_go_before_the_options(own, options, told, run, perfect):
    """What is told: shots and randomizations."""
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    options = {"default_shots": 90, "twirling": {"enable_measure": True, **options}}

    (pub,) = run("sampler", perfect, [(circuit, None, own)], options)

    assert (pub.data.c.num_shots, pub.metadata["num_randomizations"]) == told


def test_the_same_seed_gives_the_same_twirls(run, manila, bell_state):
    bell_state.measure_all()

    def bits(seed):
        options = BOTH | {"simulator": {"seed_simulator": seed}}
        return run("sampler", manila, [(bell_state, None, 500)], options)[0].data.meas

    assert bits(7) == bits(7)
    assert bits(7) != bits(8)


def test_executions_are_counted_as_they_run(encode, manila):
    circuit = QuantumCircuit(5, 1)
    circuit.measure(0, 0)
    options = {"twirling": {"enable_measure": True, "shots_per_randomization": 1000}}

    prepared = program.prepare("sampler", encode([(circuit, None, 1500)], options), manila)

    assert prepared.metrics["executions"] == 2000
    assert prepared.metrics["num_circuits"] == 2


def dynamic() -> QuantumCircuit:
    """Bit 0 decides, bit 2 is written inside; bits 1 and 3 are measured and not involved."""
    circuit = QuantumCircuit(5, 4)
    circuit.x(0)
    circuit.measure(0, 0)
    circuit.measure(0, 3)
    with circuit.if_test((circuit.clbits[0], True)):
        circuit.x(1)
        circuit.measure(0, 2)
    circuit.measure(1, 1)
    return circuit


def overwritten() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.x(1)
    circuit.measure(1, 0)
    circuit.measure(0, 0)
    return circuit


def going_on() -> QuantumCircuit:
    """Gates, a measurement and a reset after a measurement."""
    circuit = QuantumCircuit(5, 5)
    circuit.x(0)
    circuit.measure(0, 0)
    circuit.cx(0, 1)
    circuit.measure(1, 1)
    circuit.measure(1, 2)
    circuit.sx(1)
    circuit.rz(np.pi, 1)
    circuit.sx(1)
    circuit.reset(0)
    circuit.measure(0, 3)
    circuit.barrier()
    circuit.x(0)
    circuit.measure(0, 4)
    return circuit


def delayed() -> QuantumCircuit:
    """A turn by an angle that is followed by a delay, after a layer of gates."""
    circuit = QuantumCircuit(5, 2)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.cx(0, 1)
    circuit.rz(0.3, 0)
    circuit.delay(160, 0)
    circuit.rz(-0.3, 0)
    circuit.sx(0)
    circuit.delay(160, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit


def stored() -> QuantumCircuit:
    """What is measured into bit 0 is copied; bit 1 is overwritten by a value."""
    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(3, "c"))
    circuit.x(0)
    circuit.measure(0, 0)
    circuit.measure(0, 1)
    circuit.store(circuit.clbits[1], expr.lift(False))
    seen = circuit.add_var("seen", expr.lift(circuit.clbits[0]))
    with circuit.if_test(seen):
        circuit.x(1)
    circuit.measure(1, 2)
    return circuit


@pytest.mark.parametrize(
    ("circuit", "options", "read"),
    [
        (going_on(), READOUT, "10111"),
        (going_on(), BOTH, "10111"),
        (going_on(), GATES, "10111"),
        (overwritten(), READOUT, "0"),
        (overwritten(), BOTH, "0"),
        (delayed(), GATES, "01"),
        (delayed(), BOTH, "01"),
        (dynamic(), READOUT, "1111"),
    ],
)
def test_what_is_measured_in_the_middle_is_twirled_too(circuit, options, read, run, perfect):
    """As long as the measurement is not involved within a conditional block (client 0.51)."""
    (pub,) = run("sampler", perfect, [(circuit, None, 500)], options | SEED)

    assert pub.data.c.get_counts() == {read: 500}


@pytest.mark.parametrize(
    ("circuit", "flipped"), [(going_on(), [0, 1, 2, 3, 4]), (dynamic(), [1, 3]), (stored(), [2])]
)
def test_measurements_that_are_not_involved_in_conditions_are_flipped(circuit, flipped):
    assert sorted(flip(circuit).clbits) == flipped


def test_a_readout_in_the_middle_has_symmetric_errors(run, misreading):
    """Qubit 1 reads 0.05 of the zeros and 0.15 of the ones wrong."""
    circuit = QuantumCircuit(5, 2)
    circuit.measure(1, 0)
    circuit.x(1)
    circuit.measure(1, 1)
    options = {"twirling": {"enable_measure": True, "num_randomizations": 400}}

    (pub,) = run("sampler", misreading, [(circuit, None, 40_000)], options | SEED)

    read = pub.data.c.to_bool_array(order="little").mean(axis=0)
    assert np.allclose(read, [0.1, 0.9], atol=0.012)


@pytest.mark.parametrize(
    ("circuit", "options", "message"),
    [
        (dynamic(), GATES, "PUB 0: gate twirling cannot be used with dynamic circuits"),
        (dynamic(), BOTH, "PUB 0: gate twirling cannot be used with dynamic circuits"),
        (
            overwritten(),
            READOUT | {"execution": {"meas_type": "kerneled"}},
            "'meas_type=kerneled' and measurement twirling are not compatible.",
        ),
    ],
)
def test_what_cannot_be_twirled_is_refused(circuit, options, message, encode, manila):
    with pytest.raises(InvalidInput) as refusal:
        program.validate("sampler", encode([(circuit,)], options), manila)

    assert refusal.value.message.startswith(message)
    assert refusal.value.code == 1208
    assert "twirling.enable_" in refusal.value.solution


def test_too_many_rows_are_refused(encode, manila, monkeypatch):
    monkeypatch.setattr(limits, "TWIRLED_MAX", 5)
    params = encode([(layered(manila), np.zeros((6, 11)), 1)], GATES)

    with pytest.raises(InvalidInput, match="at 6 sets of parameter values; the limit is 5"):
        program.validate("sampler", params, manila)


def clifford(qubits: int) -> QuantumCircuit:
    """Layers of gates of torino by which all qubits are needed at once."""
    circuit = QuantumCircuit(133)
    for layer in range(10):
        for qubit in range(qubits):
            circuit.sx(qubit)
            circuit.rz(np.pi / 2 * ((qubit + layer) % 4), qubit)
        for low in range(layer % 2, qubits - 1, 2):
            circuit.cz(low, low + 1)
    return circuit


@pytest.mark.parametrize("level", [0, 2])
def test_a_twirled_clifford_circuit_stays_one_for_the_estimator(encode, torino, level):
    """Drawn in single precision; else such circuits would take minutes, or be refused."""
    options = {"twirling": {"enable_gates": True}, "default_precision": 0.1}
    observable = "I" * 118 + "Z" * 15
    params = encode([(clifford(15), observable)], options, resilience_level=level)
    prepared = program.prepare("estimator", params, torino)

    measured = program.quantum("estimator", prepared.work, torino)

    assert "stabilizer" in measured.metrics["method"]


def test_a_twirled_clifford_circuit_stays_one_for_the_executor(torino):
    made = clifford(15)
    made.add_register(ClassicalRegister(133, "c"))
    made.measure(range(15), range(15))
    boxed = generate_boxing_pass_manager(enable_gates=True, enable_measures=True).run(made)
    template, samplex = build(boxed)
    asked = QuantumProgram(shots=10)
    asked.append_samplex_item(template, samplex=samplex, shape=(4,))
    params = json.dumps(body(asked)).encode()
    prepared = program.prepare("executor", params, torino)

    measured = program.quantum("executor", prepared.work, torino)

    assert "stabilizer" in measured.metrics["method"]


def waiting(device, unit: int) -> QuantumCircuit:
    """An excited qubit that waits for `unit` times a parameter, and twice that and 16 dt."""
    spans = ParameterVector("p", 2)  # named as samplomatic names its own
    circuit = QuantumCircuit(device.num_qubits, 2)
    circuit.x([0, 1])
    circuit.cx(0, 1)
    circuit.x(1)
    circuit.delay(unit * spans[1], 0, "dt")
    circuit.rz(spans[0], 0)
    circuit.cx(0, 1)
    circuit.cx(0, 1)
    circuit.delay(2 * unit * spans[1] + 16, 1, "dt")
    circuit.measure([0, 1], [0, 1])
    return circuit


def test_swept_delays_keep_their_lengths_between_twirled_gates(manila):
    circuit = waiting(manila, 80)
    rows = np.array([[0.5, 3.0], [0.1, 0.0], [0.2, 1000.0]])
    for measures in (False, True):
        twirled = twirl(circuit, Twirling(), manila, gates=True, measures=measures)
        values = twirled.draw(rows, 4, np.random.default_rng(3)).values
        for row, randomizations in zip(rows, values, strict=True):
            for one in randomizations:
                bound = twirled.circuit.assign_parameters(one)
                lengths = [one.params[0] for one in bound.data if one.name == "delay"]
                assert lengths == [80 * row[1], 160 * row[1] + 16]
        draws = twirled.draw(rows[:1], 1, np.random.default_rng(3))
        twice = twirled.draw(rows[:1], 1, np.random.default_rng(3))
        assert np.array_equal(draws.values, twice.values)


@pytest.mark.parametrize("options", [GATES, BOTH])
def test_a_twirled_qubit_decays_for_as_long_as_its_delay_says(run, manila, options):
    circuit = waiting(manila, 1)
    t1, _ = manila.noise.coherence(0)
    rows = [
        [0.0, 0.0],
        [0.0, 16 * round(t1 / manila.dt / 16)],
        [0.0, 160 * round(t1 / manila.dt / 16)],
    ]
    (result,) = run("sampler", manila, [[circuit, rows, 4000]], options | SEED)
    ones = result.data.c.to_bool_array("little")[..., 0].mean(axis=1)

    # In half of the randomizations it waits as |0>.
    assert ones == pytest.approx([1, (1 + np.exp(-1)) / 2, 1 / 2], abs=0.08)


def test_an_estimator_that_twirls_gates_waits_as_long_as_a_delay_says(run, perfect):
    """Seen in its circuits: a perfect device's qubits do not decay."""
    seen = []
    sample = perfect.sample

    def recording(experiments, **others):
        seen.extend(experiments)
        return sample(experiments, **others)

    perfect.sample = recording
    try:
        pub = [waiting(perfect, 80).remove_final_measurements(inplace=False), "IIIIZ", [[0.1, 7.0]]]
        run(
            "estimator",
            perfect,
            [pub],
            {"seed_estimator": 1, "default_shots": 64},
            resilience_level=2,
        )
    finally:
        del perfect.sample
    lengths = {
        one.params[0]
        for experiment in seen
        for values in experiment.values
        for one in experiment.circuit.assign_parameters(values).data
        if one.name == "delay"
    }

    assert lengths == {560, 1136}
