"""Values of parameters that make no angle and no delay are refused before there is a job."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Duration, Parameter
from qiskit.circuit.classical import expr

from queuebit.errors import InvalidInput
from queuebit.programs import program

A, B = Parameter("a"), Parameter("b")
SEED = {"simulator": {"seed_simulator": 1}}


def between_roots(angle) -> QuantumCircuit:
    """The chance to read 1 is cos(angle / 2) squared."""
    circuit = QuantumCircuit(1, 1)
    circuit.sx(0)
    circuit.rz(angle, 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    return circuit


FUNCTIONS = {
    "sign": (A.sign(), np.sign),
    "abs": (A.abs(), np.abs),
    "conjugate": (A.conjugate(), lambda a: a),
    "exp": (A.exp(), np.exp),
    "log of a square": ((A * A + 0.1).log(), lambda a: np.log(a * a + 0.1)),
    "arcsin": (A.arcsin(), np.arcsin),
    "arctan": (A.arctan(), np.arctan),
    "tan": (A.tan(), np.tan),
    "power": (A**3, lambda a: a**3),
    "quotient": (1 / (A + 2), lambda a: 1 / (a + 2)),
    "substituted": (A.subs({A: 2 * B}), lambda b: 2 * b),
    "sum of both kinds": (A.sign() + 0.5 * A, lambda a: np.sign(a) + 0.5 * a),
}


@pytest.mark.parametrize(("angle", "function"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_every_function_of_a_parameter_is_an_angle(angle, function, run, perfect):
    values = np.array([-0.9, -0.2, 0.7])

    (pub,) = run("sampler", perfect, [(between_roots(angle), values[:, None], 4000)], SEED)

    ones = pub.data.c.to_bool_array().mean(axis=(-1, -2))
    assert ones == pytest.approx(np.cos(function(values) / 2) ** 2, abs=0.03)


@pytest.mark.parametrize(
    ("angle", "told"),
    [
        (A.log(), "log(a) is not a real number at a=-3.0"),
        (A.arcsin() + B, "is not a real number at"),
        (B / (A + 1), "is not a real number at"),
        (A**0.5, "a**0.5 is not a real number at a=-3.0"),
    ],
)
@pytest.mark.parametrize("program_id", ["sampler", "estimator"])
def test_what_is_no_real_number_is_refused_by_name(program_id, angle, told, encode, manila):
    circuit = between_roots(angle)
    if program_id == "estimator":
        circuit.remove_final_measurements()
    values = [[-1.0] * circuit.num_parameters, [-3.0] * circuit.num_parameters]
    pub = (circuit, "Z", values) if program_id == "estimator" else (circuit, values)

    with pytest.raises(InvalidInput) as refusal:
        program.validate(program_id, encode([pub]), manila)

    assert refusal.value.message.startswith("PUB 0: The instruction rz on qubits (0,): ")
    assert told in refusal.value.message
    assert refusal.value.code == 1517


def test_variables_of_loops_take_all_their_values(encode, torino):
    turn = Parameter("turn")
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(3), turn):
        circuit.rz(A / (turn - 2), 0)
    circuit.measure(0, 0)

    with pytest.raises(InvalidInput, match=r"is not a real number at .*turn=2.0"):
        program.validate("sampler", encode([(circuit, [[0.5]])]), torino)


def test_loops_with_too_many_values_are_refused(encode, torino):
    turns = [Parameter(f"turn{number}") for number in range(3)]
    circuit = QuantumCircuit(1, 1)
    with (
        circuit.for_loop(range(200), turns[0]),
        circuit.for_loop(range(200), turns[1]),
        circuit.for_loop(range(200), turns[2]),
    ):
        circuit.rz((turns[0] * turns[1] + turns[2]).sin(), 0)
    circuit.measure(0, 0)

    with pytest.raises(InvalidInput, match="have more than 1000000 values"):
        program.validate("sampler", encode([(circuit,)]), torino)


def delayed(length, unit: str | None = "dt") -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.delay(length, 0, unit=unit)
    circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize("microseconds", [0.0, 1.0, 50.0, 100.0, 200.0, 333.3])
def test_delays_made_of_seconds_are_whole_within_a_millionth(microseconds, encode, torino):
    """As transpilation writes them: 100 us are 24999.999999999996 dt of 4 ns."""
    circuit = delayed(A * 1e-6 / 4e-9)

    program.validate("sampler", encode([(circuit, [[microseconds]])]), torino)


@pytest.mark.parametrize("length", [0.5, 1000.00001, -1.0])
def test_other_delays_are_refused(length, encode, torino):
    with pytest.raises(InvalidInput, match="whole numbers of dt, but a delay of"):
        program.validate("sampler", encode([(delayed(A), [[length]])]), torino)


@pytest.mark.parametrize(
    "length",
    [
        Duration.us(200),
        expr.add(Duration.ns(100_000), Duration.ms(0.1)),
        expr.mul(expr.lift(Duration.us(100)), 2.0),
    ],
)
def test_durations_are_as_long_as_they_say(length, run, torino):
    circuit = delayed(expr.lift(length), None)
    plain = delayed(round(200e-6 / torino.dt))

    found, wanted = run("sampler", torino, [(circuit, None, 6000), (plain, None, 6000)], SEED)

    assert found.data.c.to_bool_array().mean() == pytest.approx(
        wanted.data.c.to_bool_array().mean(), abs=0.04
    )


def test_a_negative_duration_is_refused(encode, torino):
    circuit = delayed(expr.sub(Duration.us(1), Duration.us(2)), None)

    with pytest.raises(InvalidInput, match=r"a delay of .* is -250 dt long"):
        program.validate("sampler", encode([(circuit,)]), torino)
