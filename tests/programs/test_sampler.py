import json
import re

import numpy as np
import pytest
import qiskit
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Parameter, Qubit

from queuebit.errors import InvalidInput
from queuebit.programs import limits, program
from queuebit.programs.circuits.timing import timing


def turned(*names: str) -> QuantumCircuit:
    """One rotation by each named angle, on qubits 0, 1, ...; all measured into c."""
    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(len(names), "c"))
    for qubit, name in enumerate(names):
        circuit.sx(qubit)
        circuit.rz(Parameter(name), qubit)
        circuit.sx(qubit)
        circuit.measure(qubit, qubit)
    return circuit


def test_a_bell_pair_is_correlated_as_the_devices_errors_let_it(run, manila, bell_state):
    bell_state.measure_all()

    (pub,) = run(
        "sampler", manila, [(bell_state, None, 4000)], {"simulator": {"seed_simulator": 1}}
    )

    counts = pub.data.meas.slice_bits([0, 1]).get_counts()
    assert counts["00"] + counts["11"] > 0.85 * 4000
    assert abs(counts["00"] - counts["11"]) < 0.2 * 4000


def test_a_bell_pair_without_errors_is_correlated_exactly(run, perfect, bell_state):
    bell_state.measure_all()

    (pub,) = run(
        "sampler", perfect, [(bell_state, None, 4000)], {"simulator": {"seed_simulator": 1}}
    )

    counts = pub.data.meas.slice_bits([0, 1]).get_counts()
    assert set(counts) == {"00", "11"}
    assert abs(counts["00"] - 2000) < 5 * np.sqrt(1000)


def test_the_same_seed_gives_the_same_bits(run_bytes, encode, manila, bell_state):
    bell_state.measure_all()

    def bits(seed: int) -> str:
        params = encode([(bell_state, None, 500)], {"simulator": {"seed_simulator": seed}})
        told = json.loads(run_bytes("sampler", params, manila))
        return json.dumps(told["__value__"]["pub_results"])

    assert bits(7) == bits(7)
    assert bits(7) != bits(8)


def test_parameters_are_bound_by_position_in_the_circuits_own_order(run, perfect):
    # circuit.parameters is sorted by name: columns are a (qubit 1), b (qubit 2), z (qubit 0).
    circuit = turned("z", "a", "b")
    values = np.zeros((2, 3, 3))
    values[0, 1, 0] = np.pi
    values[1, 2, 2] = np.pi

    (pub,) = run("sampler", perfect, [(circuit, values, 5)])

    # sx rz(0) sx is x, sx rz(pi) sx does nothing.
    assert pub.data.c.shape == (2, 3)
    assert pub.data.c[0, 0].get_counts() == {"111": 5}
    assert pub.data.c[0, 1].get_counts() == {"101": 5}
    assert pub.data.c[1, 2].get_counts() == {"110": 5}


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (0.5, ()),
        ([0.5], ()),
        ([0.5, 0.6], (2,)),
        ([[0.5], [0.6]], (2,)),
        ([[1, 2], [3, 4]], (2, 2)),
    ],
)
def test_one_parameter_needs_no_axis_of_its_own(run, perfect, values, shape):
    (pub,) = run("sampler", perfect, [(turned("a"), values, 3)])

    assert pub.data.c.shape == shape


def test_every_register_is_told_with_its_own_bits(run, perfect):
    low, high = ClassicalRegister(2, "low"), ClassicalRegister(3, "high")
    circuit = QuantumCircuit(QuantumRegister(5, "q"), low, high)
    circuit.add_register(ClassicalRegister(name="mixed", bits=[high[2], low[0]]))
    circuit.x([1, 3])
    circuit.measure([0, 1], low)
    circuit.measure([2, 3, 4], high)

    (pub,) = run("sampler", perfect, [(circuit, None, 2)])

    assert {name: field.get_bitstrings() for name, field in pub.data.items()} == {
        "low": ["10"] * 2,
        "high": ["010"] * 2,
        "mixed": ["00"] * 2,
    }


def test_more_than_eight_bits_are_packed_in_order(run, torino):
    circuit = QuantumCircuit(133, 11)
    circuit.x([0, 9])
    circuit.measure(range(11), range(11))

    (pub,) = run("sampler", torino, [(circuit, None, 200)])

    field = pub.data.c
    assert (field.num_bits, field.array.shape) == (11, (200, 2))
    assert max(field.get_counts(), key=field.get_counts().get) == "01000000001"


@pytest.mark.parametrize(
    ("given", "shots"),
    [((5, 6, 7), 5), ((None, 6, 7), 6), ((None, None, 7), 7), ((None, None, None), 4096)],
)
def test_shots_come_from_the_pub_then_the_call_then_the_options(run, perfect, given, shots):
    own, common, option = given
    options = {} if option is None else {"default_shots": option}
    others = {} if common is None else {"shots": common}
    circuit = turned("a").assign_parameters([0.0])

    (pub,) = run("sampler", perfect, [(circuit, [], own)], options, **others)

    assert pub.data.c.num_shots == shots


def test_the_spans_tell_which_shots_ran_when(run, perfect):
    circuit = turned("a")

    result = run("sampler", perfect, [(circuit, [0.1, 0.2], 5), (circuit, [0.1], 7)])

    (span,) = result.metadata["execution"]["execution_spans"]
    assert span.size == 2 * 5 + 7
    assert span.mask(0).shape == (2, 5)
    assert span.mask(1).shape == (7,)
    assert span.mask(0).all()
    assert span.start <= span.stop
    assert span.start.utcoffset().total_seconds() == 0


def test_usage_is_what_the_real_qpu_would_take(encode, manila, bell_state):
    bell_state.measure_all()

    def prepared(options: dict) -> program.Prepared:
        return program.prepare("sampler", encode([(bell_state, None, 10_000)], options), manila)

    with_default, with_longer = prepared({}), prepared({"execution": {"rep_delay": 500e-6}})

    # 2 s a job, and 250 us of repetition delay with some microseconds of circuit, each shot.
    assert 4_500 < with_default.estimated_ms < 4_700
    assert with_longer.estimated_ms - with_default.estimated_ms == 2_500
    assert with_default.metrics == {
        "qiskit_version": qiskit.__version__,
        "executions": 10_000,
        "num_circuits": 1,
        "num_qubits": [5],
        "circuit_depths": [5],
    }


def test_what_was_measured_is_charged_as_estimated(encode, manila, bell_state):
    bell_state.measure_all()
    prepared = program.prepare("sampler", encode([(bell_state,)]), manila)

    measured = program.quantum("sampler", prepared.work, manila)

    assert measured.usage_ms == prepared.estimated_ms


@pytest.mark.parametrize(
    ("pub", "message"),
    [
        ([], "PUB 0 has 0 parts"),
        ([1, 2, 3, 4], "PUB 0 has 4 parts"),
        ([5], "PUB 0: this is not a circuit but a number"),
        ([turned("a")], "PUB 0: no values for the parameter a"),
        ([turned("a", "b"), [0.1, 0.2, 0.3]], "PUB 0: parameter values of shape (3,); the last"),
        ([turned("a"), [float("nan")]], "PUB 0: a parameter value is not finite"),
        ([turned("a"), ["x"]], "PUB 0: parameter values must be numbers"),
        ([turned("a"), np.zeros((0, 1))], "PUB 0: there is no set of parameter values"),
        ([turned(), [1.0]], "PUB 0: parameter values of shape (1,); the last axis must have"),
        ([turned("a"), [0.1], 0], "PUB 0, shots: must be a number from 1"),
        ([turned("a"), [0.1], "9"], "PUB 0, shots: must be a number from 1"),
        ([turned("a"), [0.1], True], "PUB 0, shots: must be a number from 1"),
        ([QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, "if"))], "PUB 0: classical reg"),
        ([QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, "keys"))], "PUB 0: classical"),
    ],
)
def test_pubs_that_cannot_run_are_refused(encode, manila, pub, message):
    with pytest.raises(InvalidInput) as refusal:
        program.validate("sampler", encode([pub]), manila)

    assert refusal.value.message.startswith(message)


def rotated() -> QuantumCircuit:
    """With a parameter, and not measured."""
    circuit = QuantumCircuit(5)
    circuit.rz(Parameter("a"), 0)
    return circuit


def loose() -> QuantumCircuit:
    """Measured, but not into a register."""
    circuit = QuantumCircuit([Qubit() for _ in range(5)], [Clbit()])
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


OPTIONS = [
    {},
    {"twirling": {"enable_gates": True, "enable_measure": True}},
    {"dynamical_decoupling": {"enable": True}},
    {"execution": {"meas_type": "kerneled"}},
    {"execution": {"meas_type": "avg_kerneled"}},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_without_a_register_the_result_is_empty(run, manila, options):
    """As the client warns: "the result will be empty"."""
    values = [[0.1], [0.2]]
    pubs = [(loose(), None, 10), (QuantumCircuit(5), None, 10), (rotated(), values)]

    results = run("sampler", manila, pubs, options)

    assert [list(result.data) for result in results] == [[], [], []]
    assert [result.data.shape for result in results] == [(), (), (2,)]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_register_without_bits_is_a_field_without_bits(run, manila, options):
    circuit = QuantumCircuit(
        QuantumRegister(5), ClassicalRegister(0, "c"), ClassicalRegister(1, "d")
    )
    circuit.measure(0, 0)

    (result,) = run("sampler", manila, [(circuit, None, 10)], options)

    assert list(result.data) == ["c", "d"]
    empty = result.data.c
    assert (empty.num_bits if hasattr(empty, "num_bits") else empty.shape[-1]) == 0


SPELLINGS = [
    {"execution": {"scheduler_timing": True, "stretch_values": True}},
    {"scheduler_timing": True},
    {"experimental": {"execution": {"scheduler_timing": True}}},
    {"experimental": {"scheduler_timing": True}},
]


@pytest.mark.parametrize("options", SPELLINGS)
def test_schedules_are_told_of_every_circuit(run, manila, bell_state, options):
    bell_state.measure_all()
    shorter = turned("a").assign_parameters([0.0])

    first, second = run("sampler", manila, [(bell_state,), (shorter,)], options)

    for result, circuit in ((first, bell_state), (second, shorter)):
        told = result.metadata["compilation"]["scheduler_timing"]
        expected = timing(circuit, manila)
        assert told == {"timing": expected.text, "circuit_duration": expected.duration}
    assert "cx_0_1" in first.metadata["compilation"]["scheduler_timing"]["timing"]


def test_no_schedule_is_told_unless_it_is_asked_for(run, manila):
    for options in ({}, {"execution": {"scheduler_timing": False}}):
        (result,) = run("sampler", manila, [(turned(),)], options)

        assert "compilation" not in result.metadata


def test_the_schedule_is_that_of_the_circuit_that_runs(run, manila, bell_state):
    bell_state.measure_all()
    plain, twirled = (
        run("sampler", manila, [(bell_state,)], SPELLINGS[0] | others)[0].metadata["compilation"]
        for others in ({}, {"twirling": {"enable_measure": True}})
    )

    assert (
        twirled["scheduler_timing"]["circuit_duration"]
        > plain["scheduler_timing"]["circuit_duration"]
    )


def test_a_circuit_without_a_fixed_schedule_is_refused(encode, torino):
    circuit = QuantumCircuit(133, 1)
    with circuit.for_loop(range(3)):
        circuit.x(0)
    circuit.measure(0, 0)

    with pytest.raises(InvalidInput, match="has no fixed schedule"):
        program.validate("sampler", encode([(circuit,)], SPELLINGS[0]), torino)


def far() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.cx(0, 4)
    return circuit


def hadamard() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.h(2)
    return circuit


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (far(), "PUB 1: The instruction cx on qubits (0, 4) is not supported by the target system"),
        (hadamard(), "PUB 1: The instruction h on qubits (2,) is not supported by the target"),
        (QuantumCircuit(6, 1), "PUB 1: The circuit has 6 qubits but the target system requires 5"),
    ],
)
def test_circuits_that_do_not_fit_the_device_are_refused(encode, manila, circuit, message):
    fits = turned("a").assign_parameters([0.0])

    with pytest.raises(InvalidInput) as refusal:
        program.validate("sampler", encode([(fits,), (circuit,)]), manila)

    assert refusal.value.message.startswith(message)
    assert refusal.value.code == 1517


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"version": 1}, "params.version is '1', must be 2"),
        ({"version": True}, "params.version is 'True', must be 2"),
        ({"shots": -1}, "params.shots: must be a number from 1"),
        ({"support_qiskit": 1}, "params.support_qiskit must be true or false"),
        ({"precision": 0.1}, "params.precision: there is no such parameter"),
    ],
)
def test_the_frame_is_checked(encode, manila, others, message):
    with pytest.raises(InvalidInput) as refusal:
        program.validate("sampler", encode([(turned(),)], **others), manila)

    assert refusal.value.message.startswith(message)


@pytest.mark.parametrize("kind", ["kerneled", "avg_kerneled"])
@pytest.mark.parametrize("twirled", [False, True])
def test_kerneled_points_classify_to_the_bits_of_the_same_seed(kind, twirled, run, torino):
    circuit = QuantumCircuit(QuantumRegister(133, "q"), ClassicalRegister(2, "a"))
    circuit.add_register(ClassicalRegister(1, "b"))
    circuit.sx(3)
    circuit.rz(Parameter("t"), 3)
    circuit.sx(3)
    circuit.cz(3, 4)
    circuit.measure([3, 4, 5], [1, 0, 2])
    pubs = [(circuit, [[[0.0], [np.pi / 2], [np.pi]]], 1500)]
    options = {
        "simulator": {"seed_simulator": 5},
        "twirling": {"enable_gates": twirled},
    }

    (bits,) = run("sampler", torino, pubs, options)
    (points,) = run("sampler", torino, pubs, options | {"execution": {"meas_type": kind}})

    assert points.data.shape == (1, 3)
    for name, size in (("a", 2), ("b", 1)):
        seen = bits.data[name].to_bool_array(order="little")
        told = points.data[name]
        assert told.dtype == np.complex128
        if kind == "kerneled":
            assert told.shape == (1, 3, 1500, size)
            assert np.array_equal(told.real > 0, seen)
        else:
            assert told.shape == (1, 3, size)
            # The clouds' centres are near -1 and +1 even with their wrong sides cut off.
            assert np.allclose(told.real, 2 * seen.mean(axis=-2) - 1, atol=0.2)
            assert np.allclose(told.imag, 0, atol=0.1)


def test_too_many_points_are_refused_unless_averaged(encode, manila):
    circuit = QuantumCircuit(5, 5)
    circuit.measure(range(5), range(5))
    pubs = [(circuit, None, 1_000_001)]

    with pytest.raises(InvalidInput, match=r"5000005 kerneled points .* limit is 5000000") as told:
        program.validate("sampler", encode(pubs, {"execution": {"meas_type": "kerneled"}}), manila)

    assert told.value.code == 5302
    averaged = {"execution": {"meas_type": "avg_kerneled"}}
    program.validate("sampler", encode(pubs, averaged), manila)


def test_too_many_executions_are_refused(encode, manila):
    pub = (turned("a"), np.zeros((101, 1)), 100_000)

    with pytest.raises(InvalidInput, match=r"asks for 10100000 executions .* limit is 10000000"):
        program.validate("sampler", encode([pub]), manila)


def test_too_many_bits_are_refused(encode, torino):
    circuit = QuantumCircuit(133, 1_000)
    circuit.measure(range(133), range(133))

    with pytest.raises(InvalidInput, match=r"measures 9000000000 bits .* limit is 2000000000"):
        program.validate("sampler", encode([(circuit, None, 3_000_000)] * 3), torino)


@pytest.mark.parametrize("pubs", [[], None, {}, "x"])
def test_there_must_be_pubs(encode, manila, pubs):
    with pytest.raises(InvalidInput, match=r"params.pubs must be a list"):
        program.validate("sampler", encode(pubs), manila)


def test_circuits_too_long_for_the_control_system_are_refused(monkeypatch):
    circuit = QuantumCircuit(2, 1)
    circuit.cz(0, 1)
    circuit.rz(1.0, 1)
    with circuit.for_loop(range(10)):
        circuit.sx(1)
    circuit.measure(0, 0)

    def told():
        return [str(error) for error in limits.sizes([circuit])]

    # Qubit 1: cz 5, rz 1, ten times sx 2; qubit 0: cz 5, measure 10.
    monkeypatch.setattr(limits, "QUBIT_WEIGHT_MAX", 26)
    assert told() == []
    monkeypatch.setattr(limits, "QUBIT_WEIGHT_MAX", 25)
    (message,) = told()
    assert re.search("26 control-system instructions on qubit 1; .* 25", message)
    monkeypatch.setattr(limits, "UNROLLED_MAX", 10)
    assert told()[0].startswith("PUB 0: 14 instructions with its loops unrolled")
