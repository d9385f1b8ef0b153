import json

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.primitives import StatevectorEstimator
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit_ibm_runtime import RuntimeEncoder

from queuebit.errors import InvalidInput
from queuebit.programs import program

SEEDED = {"seed_estimator": 11}
RAW = {"resilience_level": 0}


def exact(circuit: QuantumCircuit, observables, values=None) -> np.ndarray:
    """Ideal expectation values."""
    return StatevectorEstimator().run([(circuit, observables, values)]).result()[0].data.evs


def ansatz() -> QuantumCircuit:
    """An entangled state of five qubits with complex amplitudes, of two parameters."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(5)
    for qubit in range(5):
        circuit.sx(qubit)
        circuit.rz(a + 0.3 * qubit, qubit)
        circuit.sx(qubit)
    for qubit in range(4):
        circuit.cx(qubit, qubit + 1)
        circuit.rz(b, qubit + 1)
    circuit.sx(2)
    return circuit


OBSERVABLES = [
    "ZZIII",
    "IXYZI",
    {"XXIII": 0.5, "IIYIX": -1.5, "ZIZIZ": 0.25, "IIIII": 2.0},
    "YIIII",
    {"ZIIII": 1.0, "IZIII": 1.0, "IIIIZ": 1.0},
]


@pytest.mark.parametrize("level", [0, 1])
def test_expectation_values_and_their_errors_are_right(run, perfect, level):
    values = np.array([[0.3, 0.7], [1.1, -0.4], [2.0, 2.5]])
    observables = [[one] for one in OBSERVABLES]
    pub = (ansatz(), observables, values)

    (result,) = run("estimator", perfect, [pub], SEEDED, resilience_level=level)

    expected = exact(*pub)
    deviation = (result.data.evs - expected) / result.data.ensemble_standard_error
    assert result.data.evs.shape == (5, 3)
    assert np.abs(deviation).max() < 4.5
    # Were the errors told too small or too large, this would be far from 1.
    assert 0.35 < (deviation**2).mean() < 2.2
    assert 0.6 < (result.data.stds / result.data.ensemble_standard_error).mean() < 1.4


def test_twirled_and_untwirled_readouts_agree(run, perfect):
    pub = (ansatz(), OBSERVABLES, [0.4, 0.9])
    twirled = {**SEEDED, "twirling": {"enable_measure": True}}

    (with_twirling,) = run("estimator", perfect, [pub], twirled, **RAW)
    (without,) = run("estimator", perfect, [pub], SEEDED, **RAW)

    difference = with_twirling.data.evs - without.data.evs
    error = np.hypot(with_twirling.data.stds, without.data.stds)
    assert (np.abs(difference) < 5 * error).all()
    assert with_twirling.metadata["num_randomizations"] == 32
    assert without.metadata["num_randomizations"] == 1


def test_mitigation_removes_the_bias_of_the_readout(run, misreading):
    """Asymmetric errors of 1 to 20 %: TREX gives the true values, within its errors.

    Those between randomizations: 32 flips of a qubit are seldom half zeros and half ones, so what
    is asymmetric does not quite average out. The shots alone do not tell it.
    """
    options = {**SEEDED, "default_precision": 0.005}
    pub = (ansatz(), OBSERVABLES, [0.4, 0.9])

    (mitigated,) = run("estimator", misreading, [pub], options)
    (raw,) = run("estimator", misreading, [pub], options, **RAW)

    expected = exact(*pub)
    assert (np.abs(mitigated.data.evs - expected) < 4.5 * mitigated.data.stds).all()
    assert (np.abs(raw.data.evs - expected) > 10 * raw.data.ensemble_standard_error).sum() >= 3


def test_a_short_calibration_makes_the_errors_larger(run, misreading):
    """Qubit 3 is misread in 10 % of all shots, which 128 shots tell badly and 4096 use."""
    learning = {"num_randomizations": 32, "shots_per_randomization": 4}
    options = {"resilience": {"measure_noise_learning": learning}}
    pub = (QuantumCircuit(5), "IZIII")

    results = [
        run("estimator", misreading, [pub], {**options, "seed_estimator": i}) for i in range(60)
    ]

    deviations = [(r[0].data.evs - 1) / r[0].data.ensemble_standard_error for r in results]
    assert 0.5 < np.mean(np.square(deviations)) < 1.8


@pytest.mark.parametrize("ones", [False, True])
def test_mitigation_brings_noisy_readouts_closer_to_one(run, manila, ones):
    circuit = QuantumCircuit(5)
    if ones:
        circuit.x(range(5))
    pub = (circuit, ["IIIIZ", "IIIZI", "IIZII", "IZIII", "ZIIII", "ZZZZZ"])

    (mitigated,) = run("estimator", manila, [pub], SEEDED)
    (raw,) = run("estimator", manila, [pub], SEEDED, **RAW)

    signs = -1 if ones else 1
    assert (np.abs(signs * mitigated.data.evs - 1) < 0.05).all()
    assert np.abs(signs * raw.data.evs - 1).max() > 0.08
    assert (
        np.abs(signs * raw.data.evs - 1).mean() > 4 * np.abs(signs * mitigated.data.evs - 1).mean()
    )


def test_a_noisy_devices_values_are_near_the_ideal_ones(run, manila, bell_state):
    pub = (bell_state, ["IIIZZ", "IIIXX", "IIIYY", "IIIZI"])

    (result,) = run("estimator", manila, [pub], SEEDED)

    assert result.data.evs == pytest.approx([1, 1, -1, 0], abs=0.1)


@pytest.mark.parametrize(("value", "letters"), [(1, "0Z"), (0.5, "+1"), (0.5, "rl"), (0, "1Z")])
def test_projectors_are_measured(run, perfect, value, letters):
    # |0> on all qubits.
    observable = "I" * 3 + letters[0] + "I"
    other = "I" * 3 + letters[1] + "I"

    (result,) = run("estimator", perfect, [(QuantumCircuit(5), [observable, other])], SEEDED)

    assert result.data.evs[0] == pytest.approx(value, abs=5 * 0.5 / 64)


def test_observables_and_values_are_broadcast(run, perfect):
    circuit = QuantumCircuit(5)
    for qubit, angle in enumerate(ParameterVector("t", 2)):
        circuit.sx(qubit)
        circuit.rz(angle, qubit)
        circuit.sx(qubit)
    values = np.zeros((2, 1, 2))
    values[1, 0] = np.pi
    observables = ["IIIIZ", "IIIZI", "IIIZZ"]

    (result,) = run("estimator", perfect, [(circuit, observables, values)], SEEDED)

    # sx rz(0) sx is x, sx rz(pi) sx is nothing.
    assert result.data.evs == pytest.approx(np.array([[-1, -1, 1], [1, 1, 1]]), abs=1e-9)
    assert result.data.stds == pytest.approx(np.zeros((2, 3)), abs=1e-9)


@pytest.mark.parametrize("observable", ["IIIII", {"IIIII": 1.0}])
def test_the_identity_needs_no_measurement(run, encode, perfect, observable):
    pub = (QuantumCircuit(5), observable)

    (result,) = run("estimator", perfect, [pub])

    assert result.data.evs.shape == ()
    assert (result.data.evs, result.data.stds) == (1, 0)
    prepared = program.prepare("estimator", encode([pub]), perfect)
    assert prepared.metrics["executions"] == 0


def test_pubs_of_one_job_are_told_apart(run, perfect):
    one = QuantumCircuit(5)
    one.x(4)
    pubs = [(one, "ZIIII", None, 0.1), (one, "IIIII"), (one, "IIZII", None, 0.05)]

    results = run("estimator", perfect, pubs, SEEDED)

    assert [float(r.data.evs) for r in results] == pytest.approx([-1, 1, 1])
    assert [r.metadata["shots"] for r in results] == [128, 4096, 448]
    assert [r.metadata["target_precision"] for r in results] == [0.1, 0.015625, 0.05]


@pytest.mark.parametrize(
    ("options", "others", "metadata"),
    [
        ({}, {}, (4096, 0.015625, 32)),
        ({"default_precision": 0.1}, {}, (128, 0.1, 2)),
        ({"default_shots": 1000}, {}, (1024, 1000**-0.5, 16)),
        ({"default_shots": 1000}, {"precision": 0.1}, (128, 0.1, 2)),
        ({"default_shots": 1000}, RAW, (1000, 1000**-0.5, 1)),
        ({"twirling": {"num_randomizations": 10}}, {}, (4100, 0.015625, 10)),
    ],
)
def test_shots_follow_from_precision_or_options(run, perfect, options, others, metadata):
    pub = (QuantumCircuit(5), "IIIIZ")

    (result,) = run("estimator", perfect, [pub], options, **others)

    told = result.metadata
    names = ("shots", "target_precision", "num_randomizations")
    assert tuple(told[name] for name in names) == pytest.approx(metadata)


def test_circuits_are_counted_with_the_calibration(encode, manila):
    def executions(**others) -> int:
        params = encode([(QuantumCircuit(5), [["IIIIZ"], ["IIIIX"], ["IIIXI"]])], **others)
        return program.prepare("estimator", params, manila).metrics["executions"]

    # X on one qubit and on another are read together, Z is not.
    assert executions(resilience_level=0) == 2 * 4096
    assert executions(resilience_level=1) == 3 * 4096
    mitigated = {"resilience": {"measure_mitigation": False}}
    assert executions(options=mitigated) == 2 * 4096


def test_the_calibration_can_be_sized(encode, manila):
    learning = {"num_randomizations": 5, "shots_per_randomization": 100}
    options = {"resilience": {"measure_noise_learning": learning}}

    prepared = program.prepare("estimator", encode([(QuantumCircuit(5), "IIIIZ")], options), manila)

    assert prepared.metrics["executions"] == 4096 + 500


def test_the_same_seed_gives_the_same_values(run_bytes, encode, manila, bell_state):
    def values(seed: int) -> bytes:
        params = encode([(bell_state, ["IIIZZ", "IIIXX"])], {"seed_estimator": seed})
        return run_bytes("estimator", params, manila)

    assert values(5) == values(5)
    assert values(5) != values(6)


def test_the_users_own_bits_and_names_do_not_disturb(run, perfect):
    """A measurement before the end, and names like those that the service adds."""
    circuit = QuantumCircuit(5, 2)
    circuit.sx(1)
    circuit.rz(Parameter("_a1"), 1)
    circuit.sx(1)
    circuit.measure(1, 1)
    circuit.x(0)

    (result,) = run("estimator", perfect, [(circuit, ["IIIIZ", "IIIZI"], [0.0])], SEEDED)

    assert result.data.evs == pytest.approx([-1, -1])


def test_a_readout_that_tells_nothing_gives_a_value_with_an_error_of_1_or_more(
    run, perfect, monkeypatch
):
    monkeypatch.setattr(perfect.noise, "misread", [(0.0, 0.0), (0.5, 0.5), *[(0.0, 0.0)] * 3])

    pubs = [(QuantumCircuit(5), ["IIIIZ", "IIIZI"]), (QuantumCircuit(5), "IIIIZ")]
    first, second = run("estimator", perfect, pubs, SEEDED)

    assert first.data.evs[0] == second.data.evs == 1
    assert first.data.stds[0] == second.data.stds == 0
    assert 0.5 < first.data.stds[1] < 4
    assert abs(first.data.evs[1] - 1) < 3 * first.data.stds[1]


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("qubits", [40, 70, 100, 133])
def test_heavy_observables_have_values_with_honest_errors(run, torino, qubits, level):
    """The true value is 1; the more qubits, the less is left of it in what is read."""
    heavy = "I" * (133 - qubits) + "Z" * qubits
    pubs = [(QuantumCircuit(133), [heavy, "I" * 132 + "Z"])] * 2

    results = run("estimator", torino, pubs, SEEDED, resilience_level=level)

    for result in results:
        assert (np.abs(result.data.evs - 1) < 4 * result.data.stds).all()
        assert result.data.stds[0] > (0.5 if qubits == 133 else 0.02)
        assert result.data.stds[1] < 0.05


def test_a_device_without_the_gates_to_measure_with_is_refused(encode, perfect, monkeypatch):
    monkeypatch.setattr(perfect, "target", GenericBackendV2(5, ["h", "cx"]).target)

    with pytest.raises(InvalidInput, match="the gates rz and sx, or u3, and the backend has cx"):
        program.validate("estimator", encode([(QuantumCircuit(5), "ZZZZZ")]), perfect)


def test_plain_results_hold_lists(run_bytes, encode, perfect):
    params = encode([(QuantumCircuit(5), [["IIIIZ"], ["IIIZI"]])], SEEDED, support_qiskit=False)

    told = json.loads(run_bytes("estimator", params, perfect))

    assert told["results"][0]["data"]["evs"] == [[1.0], [1.0]]
    assert told["results"][0]["metadata"]["shots"] == 4096


@pytest.mark.parametrize(
    ("pub", "message"),
    [
        ([QuantumCircuit(5)], "PUB 0 has 1 parts"),
        ([QuantumCircuit(5), "ZZ"], "PUB 0: the observables are of 2 qubits, the circuit of 5"),
        ([QuantumCircuit(5), ["ZIIII", "Z"]], "PUB 0: the observables cannot be read"),
        ([QuantumCircuit(5), "IIIIA"], "PUB 0: the observables cannot be read"),
        ([QuantumCircuit(5), 5], "PUB 0: the observables cannot be read"),
        ([QuantumCircuit(5), None], "PUB 0: the observables cannot be read"),
        ([QuantumCircuit(5), {"IIIIZ": "1"}], "PUB 0: the observables cannot be read"),
        ([QuantumCircuit(5), {"IIIIZ": 1j}], "PUB 0: the observables cannot be read"),
        ([QuantumCircuit(5), {"IIIIZ": 0.0}], "PUB 0: the observables cannot be read"),
        ([QuantumCircuit(5), {"IIIIZ": float("nan")}], "PUB 0: an observable's coefficient is n"),
        ([QuantumCircuit(5), {"IIIIZ": 1e300}], "PUB 0: an observable's coefficient is not fini"),
        ([QuantumCircuit(5), []], "PUB 0: there are no observables"),
        ([QuantumCircuit(5), "IIIIZ", None, 0], "PUB 0, precision: must be a number greater"),
        ([QuantumCircuit(5), "IIIIZ", None, "1"], "PUB 0, precision: must be a number greater"),
        ([QuantumCircuit(5), "IIIIZ", None, 1e-9], "PUB 0: precision 1e-09 needs more than"),
        ([ansatz(), ["IIIIZ"] * 2, np.zeros((3, 2))], "PUB 0: observables of shape (2,) and par"),
        ([ansatz(), "IIIIZ"], "PUB 0: no values for the parameters "),
        ([QuantumCircuit(6), "IIIIIZ"], "PUB 0: The circuit has 6 qubits but"),
    ],
)
def test_pubs_that_cannot_run_are_refused(encode, manila, pub, message):
    with pytest.raises(InvalidInput) as refusal:
        program.validate("estimator", encode([pub]), manila)

    assert refusal.value.message.startswith(message)


@pytest.mark.parametrize("level", [-1, 3, "1", True, 1.0])
def test_the_level_is_checked(encode, manila, level):
    params = encode([(QuantumCircuit(5), "IIIIZ")], resilience_level=level)

    with pytest.raises(InvalidInput, match="resilience_level must be 0, 1 or 2"):
        program.validate("estimator", params, manila)


@pytest.mark.parametrize(
    ("observables", "rows", "pubs"), [(10_000, 10_000, 1), (1_000, 1_000, 3), (1, 2_100_000, 1)]
)
def test_values_are_counted_before_they_are_planned(perfect, observables, rows, pubs):
    circuit = QuantumCircuit(5)
    circuit.rz(Parameter("a"), 0)
    pub = [circuit, [["ZZZZZ"] * observables], np.zeros((rows, 1, 1))]
    params = {"version": 2, "pubs": [pub] * pubs}

    with pytest.raises(InvalidInput, match="expectation values"):
        program.validate("estimator", json.dumps(params, cls=RuntimeEncoder).encode(), perfect)
