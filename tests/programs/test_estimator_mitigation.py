"""Twirling, ZNE, PEA and PEC on devices whose noise is known."""

import json
from math import log

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import PauliList, pauli_basis
from qiskit_ibm_runtime import RuntimeDecoder
from qiskit_ibm_runtime.results import LayerError, NoiseLearnerResult, PauliLindbladError

from queuebit.config import BackendConfig
from queuebit.devices import ptm
from queuebit.devices.device import Device
from queuebit.devices.noise import Noise
from queuebit.errors import InvalidInput
from queuebit.programs import limits, program

SEEDED = {"seed_estimator": 7}
GATES = 8  # of two qubits, in `echoes`
LOSS = 0.06  # what a gate's error takes from every Pauli
LEARNING = {"layer_pair_depths": [0, 4], "num_randomizations": 8, "shots_per_randomization": 64}


class _Depolarizing(Noise):
    """Gates of two qubits lose a part of every Pauli; all else is perfect."""

    loss = LOSS

    def error(self, name, qubits):
        return ptm.depolarizing(self.loss, 2) if len(qubits) == 2 else None

    def readout(self, qubit, name="measure"):
        return (0.0, 0.0)


def depolarizing(loss: float = LOSS) -> Device:
    device = Device(BackendConfig(name="depolarizing", snapshot="manila"))
    device.noise = _Depolarizing(device.target, device.snapshot)
    device.noise.loss = loss
    return device


@pytest.fixture(scope="module")
def noisy() -> Device:
    return depolarizing()


def echoes() -> QuantumCircuit:
    """Two qubits, eight gates, and a state that is no Clifford circuit's."""
    circuit = QuantumCircuit(5)
    for step in range(GATES):
        for qubit in (0, 1):
            circuit.sx(qubit)
            circuit.rz(0.3 + 0.2 * step + 0.5 * qubit, qubit)
            circuit.sx(qubit)
        circuit.cx(0, 1)
    return circuit


OBSERVABLES = ["IIIIZ", "IIIZI", "IIIXX", {"IIIZZ": 0.5, "IIIYX": -1.0, "IIIII": 2.0}]


def exact(circuit, observables, values=None) -> np.ndarray:
    return StatevectorEstimator().run([(circuit, observables, values)]).result()[0].data.evs


def damped(factor: float) -> np.ndarray:
    """The values of `echoes` where as many gates as `factor` times its own lose their part."""
    constant = np.array([0, 0, 0, 2.0])
    return constant + (exact(echoes(), OBSERVABLES) - constant) * (1 - LOSS) ** (GATES * factor)


def model() -> NoiseLearnerResult:
    """The true noise of a gate, as the noise learner would tell it."""
    paulis = PauliList(pauli_basis(2)[1:])
    # Each Pauli is damped by the eight of fifteen that anticommute with it, by e^-2 rate each.
    error = PauliLindbladError(paulis, np.full(15, -log(1 - LOSS) / 16))
    gate = QuantumCircuit(2)
    gate.cx(0, 1)
    return NoiseLearnerResult([LayerError(gate, [0, 1], error)], {})


def pec(**others) -> dict:
    return {"resilience": {"pec_mitigation": True, **others}, **SEEDED}


def zne(amplifier: str, factors, extrapolator="exponential", **others) -> dict:
    options = {"amplifier": amplifier, "noise_factors": factors, "extrapolator": extrapolator}
    return {"resilience": {"zne_mitigation": True, "zne": options, **others}, **SEEDED}


def test_pec_cancels_the_noise_that_it_is_told(run, noisy):
    options = pec(layer_noise_model=model()) | {"default_precision": 0.03}
    (result,) = run("estimator", noisy, [(echoes(), OBSERVABLES)], options)
    (raw,) = run("estimator", noisy, [(echoes(), OBSERVABLES)], SEEDED)

    expected = exact(echoes(), OBSERVABLES)
    assert (np.abs(result.data.evs - expected) < 4.5 * result.data.stds).all()
    assert np.abs((raw.data.evs - expected) / raw.data.stds).max() > 10
    told = result.metadata["resilience"]
    overhead = (1 - LOSS) ** (-GATES * 15 / 4)
    assert told["layer_noise"]["noise_overhead"] == pytest.approx(overhead)
    assert told["layer_noise"]["total_mitigated_layers"] == GATES
    assert told["layer_noise"]["unique_mitigated_layers"] == 1
    assert told["pec"]["num_randomizations_scaling"] == pytest.approx(overhead)
    count = result.metadata["num_randomizations"]
    assert count == int(np.ceil(np.ceil(1112 / 64) * overhead))
    assert result.metadata["shots"] == 64 * count


def test_pec_leaves_the_noise_that_it_is_asked_to_leave(run, noisy):
    options = pec(layer_noise_model=model(), pec={"noise_gain": 0.5}) | {
        "default_shots": 4096,
        "twirling": {"shots_per_randomization": 4},
    }
    (result,) = run("estimator", noisy, [(echoes(), OBSERVABLES)], options)

    assert (np.abs(result.data.evs - damped(0.5)) < 4.5 * result.data.stds).all()


def test_pec_cuts_its_overhead_at_the_cost_of_noise(run, noisy):
    options = pec(layer_noise_model=model(), pec={"max_overhead": 2.0})
    (result,) = run("estimator", noisy, [(echoes(), OBSERVABLES)], options)

    assert result.metadata["resilience"]["pec"]["num_randomizations_scaling"] == pytest.approx(2)
    gain = 1 - log(2) / (-log(1 - LOSS) * GATES * 15 / 4)
    assert (np.abs(result.data.evs - damped(gain)) < 4.5 * result.data.stds).all()


def test_pea_amplifies_the_noise_by_its_factors(run, noisy):
    factors = [1, 1.7, 3]
    options = zne("pea", factors, layer_noise_model=list(model()))
    (result,) = run("estimator", noisy, [(echoes(), OBSERVABLES)], options)

    expected = np.array([damped(factor) for factor in factors]).T
    data = result.data
    assert (np.abs(data.evs_noise_factors - expected) < 4.7 * data.stds_noise_factors).all()
    assert np.abs(data.evs - exact(echoes(), OBSERVABLES)).max() < 0.2


@pytest.mark.parametrize("amplifier", ["gate_folding", "gate_folding_front", "gate_folding_back"])
def test_folding_amplifies_the_noise_by_its_factors(run, noisy, amplifier):
    factors = [1, 1.5, 3]
    options = zne(amplifier, factors) | {"default_precision": 0.005}
    (result,) = run("estimator", noisy, [(echoes(), OBSERVABLES)], options)

    data, truth = result.data, exact(echoes(), OBSERVABLES)
    expected = np.array([damped(factor) for factor in factors]).T
    deviation = (data.evs_noise_factors - expected) / data.ensemble_stds_noise_factors
    assert np.abs(deviation).max() < 4.7
    assert np.abs(data.evs - truth).max() < 0.1 < np.abs(damped(1) - truth).max()


def test_the_data_of_zne_have_the_shapes_that_the_client_tells(run, noisy):
    extrapolators = ["double_exponential", "polynomial_degree_3", "fallback"]
    options = zne("gate_folding", [1, 2, 3, 4], extrapolators)
    options["resilience"]["zne"]["extrapolated_noise_factors"] = [0, 1]
    pub = (echoes(), [["IIIIZ", "IIIZI"], ["IIIXX", "IIIII"]])
    (result,) = run("estimator", noisy, [pub], options)

    shapes = {name: field.shape for name, field in result.data.items()}
    assert shapes == {
        "evs": (2, 2),
        "stds": (2, 2),
        "evs_noise_factors": (2, 2, 4),
        "stds_noise_factors": (2, 2, 4),
        "ensemble_stds_noise_factors": (2, 2, 4),
        "evs_extrapolated": (2, 2, 3, 2),
        "stds_extrapolated": (2, 2, 3, 2),
    }
    data = result.data
    assert data.evs[1, 1] == 1
    # What falls back is what was measured, with its error.
    assert data.evs_extrapolated[..., 2, 0] == pytest.approx(data.evs_noise_factors[..., 0])
    spread = np.maximum(data.stds_noise_factors, data.ensemble_stds_noise_factors)
    assert data.stds_extrapolated[..., 2, 0] == pytest.approx(spread[..., 0])
    used = result.metadata["resilience"]["zne"]["extrapolator"]
    assert set([used] if isinstance(used, str) else used) <= set(extrapolators)


def test_a_line_through_two_points_has_an_error(run, noisy):
    """3/2 and 1/2 of two independent values with nearly the same error."""
    options = zne("gate_folding", [1, 3], "linear")
    (result,) = run("estimator", noisy, [(echoes(), "IIIIZ")], options)

    low, high = result.data.evs_noise_factors
    errors = np.maximum(result.data.stds_noise_factors, result.data.ensemble_stds_noise_factors)
    assert result.data.evs == pytest.approx(1.5 * low - 0.5 * high)
    assert result.data.stds == pytest.approx(np.hypot(1.5 * errors[0], 0.5 * errors[1]), rel=0.01)


def test_the_noise_of_layers_is_learned_when_none_is_given(run, noisy):
    options = pec(layer_noise_learning=LEARNING) | {"default_precision": 0.05}
    pub = (echoes(), OBSERVABLES)
    (result,) = run("estimator", noisy, [pub], options)

    told = result.metadata["resilience"]["layer_noise"]
    assert log(told["noise_overhead"]) == pytest.approx(-log(1 - LOSS) * GATES * 15 / 4, rel=0.15)
    assert told["total_mitigated_layers"] == GATES
    assert (np.abs(result.data.evs - exact(*pub)) < 5 * result.data.stds).all()


def test_the_layers_that_occur_most_are_learned(run, noisy):
    circuit = QuantumCircuit(5)
    circuit.cx(1, 2)
    for _ in range(3):
        circuit.cx(0, 1)
    learning = LEARNING | {"max_layers_to_learn": 1}
    options = pec(layer_noise_learning=learning) | {
        "default_shots": 64,
        "twirling": {"strategy": "active"},
    }

    (result,) = run("estimator", noisy, [(circuit, "IIIIZ")], options)

    told = result.metadata["resilience"]["layer_noise"]
    assert (told["total_mitigated_layers"], told["unique_mitigated_layers"]) == (3, 1)


def test_the_second_round_is_charged_as_it_came_out(encode, noisy):
    """Manila reports errors of 1 %; that these are of 6 % is not known before they are learned."""
    params = encode([(echoes(), "IIIIZ")], pec(layer_noise_learning=LEARNING))
    prepared = program.prepare("estimator", params, noisy)
    measured = program.quantum("estimator", prepared.work, noisy)

    assert measured.usage_ms > prepared.estimated_ms + 500
    text = program.finish("estimator", prepared.work, measured.raw, noisy)
    (result,) = json.loads(text, cls=RuntimeDecoder)
    assert result.metadata["num_randomizations"] > 64


@pytest.mark.parametrize("loss", [0.3, 0.5])
def test_a_second_round_is_as_large_as_the_limits_allow(run, monkeypatch, loss):
    """What was learned asks for e^11, and for e^21 times the shots; the job has run, and ends."""
    monkeypatch.setattr(limits, "VALUES_MAX", 2**19)
    learning = LEARNING | {"layer_pair_depths": [0, 1]}
    options = pec(layer_noise_learning=learning, pec={"max_overhead": None})
    circuit = echoes()

    (result,) = run("estimator", depolarizing(loss), [(circuit, "IIIIZ", None, 0.1)], options)

    told = result.metadata["resilience"]["pec"]["num_randomizations_scaling"]
    count = result.metadata["num_randomizations"]
    assert 100 < told < 1e5
    assert count == pytest.approx(2 * told, rel=0.02)
    assert result.data.stds > 0.3
    assert abs(result.data.evs - exact(circuit, "IIIIZ")) < 5 * result.data.stds


def test_a_second_round_that_the_device_refuses_is_smaller(run, noisy, monkeypatch):
    check, most = noisy.check, 3000

    def small(experiments):
        if sum(len(one.values) for one in experiments) > most:
            raise InvalidInput("too much", 3248)
        check(experiments)

    monkeypatch.setattr(noisy, "check", small)
    options = pec(layer_noise_learning=LEARNING) | {"default_precision": 0.02}

    (result,) = run("estimator", noisy, [(echoes(), "IIIIZ")], options)

    assert 39 <= result.metadata["num_randomizations"] <= most
    assert abs(result.data.evs - exact(echoes(), "IIIIZ")) < 5 * result.data.stds


@pytest.mark.parametrize("options", [pec(layer_noise_learning=LEARNING), {"resilience_level": 2}])
def test_the_same_seed_gives_the_same_values_in_both_rounds(run_bytes, encode, manila, options):
    def values(seed: int) -> bytes:
        level = {"resilience_level": options.get("resilience_level", 1)}
        given = {k: v for k, v in options.items() if k not in level} | {"seed_estimator": seed}
        params = encode([(echoes(), ["IIIZZ", "IIIXX"], None, 0.1)], given, **level)
        return run_bytes("estimator", params, manila)

    assert values(5) == values(5)
    assert values(5) != values(6)


def test_mitigation_lowers_the_error(run, manila):
    """A seeded case of the table in docs/programs.md."""
    circuit = QuantumCircuit(5)
    for step in range(6):
        for qubit in range(3):
            circuit.sx(qubit)
            circuit.rz(np.pi + 0.3 + 0.1 * step, qubit)
            circuit.sx(qubit)
        circuit.cx(0, 1)
        circuit.cx(1, 2)
    observables = ["IIIIZ", "IIIZI", "IIZII", "IIIZZ", "IIZZI", "IIXII"]
    truth = exact(circuit, observables)

    def error(options, level):
        given = {**SEEDED, "default_precision": 0.005, **options}
        (result,) = run(
            "estimator", manila, [(circuit, observables)], given, resilience_level=level
        )
        return np.sqrt(np.mean((result.data.evs - truth) ** 2))

    none, trex, extrapolated = error({}, 0), error({}, 1), error({}, 2)
    assert extrapolated < trex < none
    assert extrapolated < none / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (pec(zne_mitigation=True), "options resilience.pec_mitigation and resilience.zne_mit"),
        (zne("pea", [1, 2], "polynomial_degree_2"), "polynomial_degree_2 requires at least 3"),
        (zne("pea", [1, 1], "linear"), "linear requires at least 2 different noise_factors"),
        (zne("gate_folding", [1e6], "fallback"), "PUB 0: option resilience.zne.noise_factors: "),
        (zne("gate_folding", [0.5, 2]), "options.resilience.zne.noise_factors.0: "),
        (zne("local", [1, 2]), "options.resilience.zne.amplifier: "),
        (zne("pea", [1, 2], ["linear", "cubic"]), "options.resilience.zne.extrapolator"),
        (pec(pec={"max_overhead": 0}), "options.resilience.pec.max_overhead: "),
        (pec(pec={"noise_gain": -0.1}), "options.resilience.pec.noise_gain: "),
        (
            pec(layer_noise_model=model(), pec={"max_overhead": None, "noise_gain": 0})
            | {"default_precision": 0.0001},
            "the job's random circuits have",
        ),
        (pec(layer_noise_learning={"layer_pair_depths": [2]}), "option layer_pair_depths needs"),
        (
            pec(layer_noise_learning={"num_randomizations": 10**6}),
            "the circuits that learn the job's layers have",
        ),
        (pec(layer_noise_model={"a": 1}), "option resilience.layer_noise_model: must be a Noise"),
        (
            pec(layer_noise_model=[QuantumCircuit(1)]),
            "option resilience.layer_noise_model: layer 0",
        ),
    ],
)
def test_what_cannot_be_mitigated_is_refused(encode, manila, options, message):
    with pytest.raises(InvalidInput) as refusal:
        program.validate("estimator", encode([(echoes(), "IIIIZ")], options), manila)

    assert message in refusal.value.message
    assert refusal.value.code in (1208, 5302, 8031)


@pytest.mark.parametrize("qubits", [[0, 0], [0, 7], [0]])
def test_a_noise_model_of_other_qubits_is_refused(encode, manila, qubits):
    layer = model().data[0]
    layer._qubits = qubits
    params = encode([(echoes(), "IIIIZ")], pec(layer_noise_model=[layer]))

    with pytest.raises(InvalidInput, match="layer 0: qubits must be 2 different qubits"):
        program.validate("estimator", params, manila)


def test_an_unknown_layer_is_taken_as_noiseless(run, noisy):
    """The model knows of a gate on qubits 0 and 1 only."""
    circuit = QuantumCircuit(5)
    circuit.cx(1, 2)
    (result,) = run("estimator", noisy, [(circuit, "IIIZZ")], pec(layer_noise_model=model()))

    assert result.metadata["resilience"]["layer_noise"] == {
        "noise_overhead": 1.0,
        "total_mitigated_layers": 0,
        "unique_mitigated_layers": 0,
        "unique_mitigated_layers_noise_overhead": [],
    }
    assert result.metadata["resilience"]["pec"] == {"num_randomizations_scaling": 1.0}


def same(one: LayerError, other: LayerError) -> bool:
    return (
        one.circuit == other.circuit
        and one.qubits == other.qubits
        and (one.error is None) == (other.error is None)
        and (
            one.error is None
            or (
                one.error.generators == other.error.generators
                and np.array_equal(one.error.rates, other.error.rates)
            )
        )
    )


INJECTIONS = {
    "pec": pec(layer_noise_learning=LEARNING),
    "pea": zne("pea", [1, 2, 3], layer_noise_learning=LEARNING),
}


@pytest.mark.parametrize("kind", INJECTIONS)
def test_the_noise_of_layers_is_told_as_it_was_given(run, noisy, kind):
    """Also what the circuits have no use for, or what is not known."""
    swapped = QuantumCircuit(2)
    swapped.cx(1, 0)
    gate = QuantumCircuit(3)
    gate.cx(0, 1)
    error = PauliLindbladError(PauliList(["ZX", "IY"]), [0.1, 0.02])
    unknown = LayerError(gate, [4, 2, 3], None)
    layers = [*model(), LayerError(swapped, [3, 1], error), unknown]
    options = INJECTIONS[kind] | {"default_precision": 0.2}
    options = options | {"resilience": options["resilience"] | {"layer_noise_model": layers}}

    result = run("estimator", noisy, [(echoes(), "IIIIZ")], options)

    told = result.metadata["resilience"]["layer_noise_model"]
    assert len(told) == 3
    assert all(map(same, told, layers))


@pytest.mark.parametrize("kind", INJECTIONS)
def test_the_noise_of_layers_is_told_as_it_was_learned(run, noisy, kind):
    options = INJECTIONS[kind] | {"default_precision": 0.2}
    result = run("estimator", noisy, [(echoes(), "IIIIZ")], options)

    (told,) = result.metadata["resilience"]["layer_noise_model"]
    gate = QuantumCircuit(2)
    gate.cx(0, 1)
    assert (told.circuit, told.qubits) == (gate, [0, 1])
    assert told.error.rates.sum() == pytest.approx(-15 / 16 * log(1 - LOSS), rel=0.3)
    again = {**options["resilience"], "layer_noise_model": [told]}
    other = run("estimator", noisy, [(echoes(), "IIIIZ")], {**options, "resilience": again})
    assert same(other.metadata["resilience"]["layer_noise_model"][0], told)


def test_the_noise_of_layers_is_told_without_qiskit(run_bytes, encode, noisy):
    options = INJECTIONS["pec"] | {"default_precision": 0.2}
    params = encode([(echoes(), "IIIIZ")], options, support_qiskit=False)

    (told,) = json.loads(run_bytes("estimator", params, noisy))["metadata"]["resilience"][
        "layer_noise_model"
    ]

    assert "cx q[0], q[1];" in told["circuit"]
    assert told["qubits"] == [0, 1]
    assert len(told["error"]["generators"]) == len(told["error"]["rates"]) == 15


def flip() -> QuantumCircuit:
    circuit = QuantumCircuit(5)
    circuit.x(0)
    return circuit


def waiting() -> QuantumCircuit:
    circuit = QuantumCircuit(5, 1)
    circuit.measure(2, 0)
    circuit.delay(160, 0)
    circuit.x(0)
    return circuit


@pytest.mark.parametrize("learned", [4, 0])
@pytest.mark.parametrize("kind", INJECTIONS)
def test_circuits_without_gates_of_two_qubits_have_no_noise_to_mitigate(run, noisy, kind, learned):
    learning = LEARNING | {"max_layers_to_learn": learned}
    options = INJECTIONS[kind] | {"default_precision": 0.1}
    options = options | {"resilience": options["resilience"] | {"layer_noise_learning": learning}}
    bell = QuantumCircuit(5)
    bell.sx(0)
    bell.cx(0, 1)
    jobs = [[flip()], [waiting()], [QuantumCircuit(5)], [bell, flip(), QuantumCircuit(5)]]

    for circuits in jobs:
        results = run("estimator", noisy, [(circuit, "IIIIZ") for circuit in circuits], options)

        values = [float(result.data.evs) for result in results]
        errors = [float(result.data.stds) for result in results]
        expected = [
            {"sx": 0, "x": -1, "measure": -1}.get(c.data[0].name if c.data else "", 1)
            for c in circuits
        ]
        assert values == pytest.approx(expected, abs=4.5 * max(0.05, *errors))
        if len(circuits) == 1:
            assert results.metadata["resilience"]["layer_noise_model"] == []


def test_the_simulators_seed_seeds_everything(run, manila):
    options = zne("gate_folding", [1, 1.5, 2], "linear") | {"simulator": {"seed_simulator": 3}}
    del options["seed_estimator"]
    pub = (echoes(), OBSERVABLES, None, 0.05)

    (first,) = run("estimator", manila, [pub], options)
    program._plans = program._Plans()
    (second,) = run("estimator", manila, [pub], options)

    assert (first.data.evs_noise_factors == second.data.evs_noise_factors).all()
