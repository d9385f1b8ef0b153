"""The noise learner finds the layers of circuits, and answers as its client reads."""

import base64
import json
import zlib

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm3
from qiskit_ibm_runtime import RuntimeEncoder
from qiskit_ibm_runtime.decoders.noise_learner import NoiseLearnerResultDecoder

from queuebit.errors import InvalidInput, RequestError
from queuebit.programs import program

SEEDED = {"simulator": {"seed_simulator": 7}}
FEW = {"num_randomizations": 2, "shots_per_randomization": 64, "layer_pair_depths": [0, 1]} | SEEDED


def encode(circuits, options=None, **others):
    params = {"circuits": circuits, "options": FEW | (options or {}), **others}
    return json.dumps(params, cls=RuntimeEncoder).encode()


@pytest.fixture
def learn(torino, run_bytes):
    def learned(circuits, **options):
        text = run_bytes("noise-learner", encode(circuits, options), torino)
        return NoiseLearnerResultDecoder.decode(text.decode())

    return learned


def on_torino(*gates):
    """A circuit of cz gates (pairs) and barriers (None)."""
    circuit = QuantumCircuit(133)
    for gate in gates:
        if gate is None:
            circuit.barrier(0, 1, 2, 3, 4)
        else:
            circuit.sx(gate[0])
            circuit.cz(*gate)
    return circuit


def told(result):
    """Per layer its physical gates and its qubits."""
    return [
        (
            {
                tuple(sorted(layer.qubits[layer.circuit.find_bit(bit).index] for bit in one.qubits))
                for one in layer.circuit.data
            },
            layer.qubits,
        )
        for layer in result.data
    ]


@pytest.mark.parametrize("client", ["0.43.1", "0.51.0"])
def test_a_recorded_body_runs_and_its_client_can_read_the_circuits(
    client, golden, run_bytes, torino
):
    program_id, params = golden(f"noise_learner-{client}.json")

    text = run_bytes(program_id, params, torino)

    def version(circuit):
        return zlib.decompress(base64.b64decode(circuit["__value__"]))[6]

    (sent,) = json.loads(params)["circuits"]
    (layer,) = json.loads(text)["data"]
    assert version(layer["__value__"]["circuit"]) == version(sent)
    result = NoiseLearnerResultDecoder.decode(text.decode())
    assert told(result) == [({(0, 1)}, [0, 1])]
    assert result.data[0].error.num_qubits == 2
    assert len(result.data[0].error.generators) == 15
    assert 0.002 < sum(result.data[0].error.rates) < 0.02
    assert result.metadata == {
        "backend": "fake_torino",
        "input_options": {
            "max_layers_to_learn": 4,
            "shots_per_randomization": 128,
            "num_randomizations": 4,
            "layer_pair_depths": [0, 2, 4],
            "twirling_strategy": "active-accum",
        },
    }


def test_the_most_frequent_layers_come_first_then_the_largest(learn):
    twice = on_torino((3, 4), None, (0, 1), (2, 3), None, (3, 4))
    once = on_torino((1, 2), None, (3, 4), (0, 1))

    result = learn([twice, once], twirling_strategy="active")
    three = learn([twice, once], twirling_strategy="active", max_layers_to_learn=3)

    assert told(result) == [
        ({(3, 4)}, [3, 4]),
        ({(0, 1), (2, 3)}, [0, 1, 2, 3]),
        ({(0, 1), (3, 4)}, [0, 1, 3, 4]),
        ({(1, 2)}, [1, 2]),
    ]
    assert told(three) == told(result)[:3]
    assert learn([twice], max_layers_to_learn=0).data == []


@pytest.mark.parametrize(
    ("strategy", "qubits"),
    [
        ("active", [[0, 1], [2, 3]]),
        ("active-accum", [[0, 1], [0, 1, 2, 3]]),
        ("active-circuit", [[0, 1, 2, 3]] * 2),
        ("all", [[0, 1, 2, 3]] * 2),
    ],
)
def test_the_strategy_says_which_qubits_idle_in_a_layer(strategy, qubits, learn):
    result = learn([on_torino((0, 1), None, (2, 3))], twirling_strategy=strategy)

    assert [layer.qubits for layer in result.data] == qubits


def test_measurements_and_parameters_are_no_layers(learn):
    circuit = on_torino((0, 1))
    circuit.rz(0.5, 3)
    circuit.measure_active()

    assert told(learn([circuit, on_torino()])) == [({(0, 1)}, [0, 1])]


def test_openqasm_and_plain_results_serve_users_without_qiskit(run_bytes, torino):
    text = 'OPENQASM 3.0; include "stdgates.inc"; cz $1, $0; bit[2] c; c[0] = measure $0;'

    options = {"support_qiskit": False}
    result = json.loads(run_bytes("noise-learner", encode([text], options), torino))

    (layer,) = result["data"]
    assert layer["qubits"] == [0, 1]
    assert qasm3.loads(layer["circuit"]).count_ops() == {"cz": 1}
    assert len(layer["error"]["generators"]) == len(layer["error"]["rates"]) == 15


def test_the_seed_makes_a_job_repeatable(learn):
    rates = [learn([on_torino((0, 1))], **SEEDED).data[0].error.rates for _ in range(2)]
    other = learn([on_torino((0, 1))], simulator={"seed_simulator": 8}).data[0].error.rates

    assert np.array_equal(*rates)
    assert not np.array_equal(rates[0], other)


def test_an_estimate_counts_the_circuits_that_learn(torino):
    # Nine bases at depths 0 and 3, and the readout; each with five randomizations.
    options = {"layer_pair_depths": [0, 3], "num_randomizations": 5}
    layers = encode([on_torino((0, 1))], options)

    told = program.validate("noise-learner", layers, torino)

    assert told.circuits == 5 * (2 * 9 + 1)
    assert told.executions == 64 * told.circuits
    assert told.sizes[0][0] == 2
    assert max(depth for _, depth in told.sizes) > 3 * 2


def branching():
    circuit = QuantumCircuit(133, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    return circuit


REFUSED = {
    "options.layer_pair_depths.0": ([on_torino()], {"layer_pair_depths": [-1, 2]}),
    "options.twirling_strategy": ([on_torino()], {"twirling_strategy": "none"}),
    "options.foo: there is no such option": ([on_torino()], {"foo": 1}),
    "option simulator.noise_model is not supported": (
        [on_torino()],
        {"simulator": {"noise_model": {}}},
    ),
    "option experimental.foo is not supported": ([on_torino()], {"experimental": {"foo": 1}}),
    "needs two different depths": ([on_torino((0, 1))], {"layer_pair_depths": [5]}),
    "executions (circuits x shots); the limit is": (
        [on_torino((0, 1))],
        {"shots_per_randomization": 10**6},
    ),
    "must be a list of one or more circuits": ([], {}),
    "circuit 0: this is not a circuit": ([{}], {}),
    "circuit 1: The instruction cz on qubits (0, 2)": ([on_torino(), on_torino((0, 2))], {}),
    "circuit 0: gate twirling cannot be used with dynamic circuits": ([branching()], {}),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_learned_is_refused(why, torino):
    circuits, options = REFUSED[why]

    with pytest.raises(RequestError) as refusal:
        program.validate("noise-learner", encode(circuits, options), torino)

    assert why in refusal.value.message


@pytest.mark.parametrize("others", [{"version": 3}, {"schema_version": "v9"}, {"foo": 1}])
def test_strange_parameters_are_refused(others, torino):
    with pytest.raises(InvalidInput, match=r"params\."):
        program.validate("noise-learner", encode([on_torino((0, 1))], **others), torino)
