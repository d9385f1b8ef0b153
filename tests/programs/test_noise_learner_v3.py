"""Layers given as boxes are learned, and told in the schema in which they came."""

import json

import numpy as np
import pytest
from ibm_quantum_schemas.common import QpyModel
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import CircuitInstruction
from qiskit_ibm_runtime.decoders.noise_learner_v3.decoder import NoiseLearnerV3ResultDecoder
from qiskit_ibm_runtime.noise_learner_v3.params_converters import NOISE_LEARNER_V3_PARAMS_CONVERTERS
from qiskit_ibm_runtime.options_models import NoiseLearnerV3Options
from samplomatic import Twirl

from queuebit.errors import InvalidInput
from queuebit.programs import program

# Nothing seeds these jobs, so they have shots enough to be sure.
FEW = {"num_randomizations": 8, "shots_per_randomization": 512, "layer_pair_depths": [2, 0, 2]}


def layers():
    """A layer of gates and one of readouts."""
    circuit = QuantumCircuit(QuantumRegister(133, "q"))
    circuit.add_bits(QuantumCircuit(2, 2).clbits)
    with circuit.box([Twirl()]):
        circuit.sx(4)
        circuit.cz(3, 4)
        circuit.noop(5)
    with circuit.box([Twirl()]):
        circuit.measure([9, 8], [0, 1])
    return list(circuit.data)


def params(instructions, version="v0.3", **options):
    """What the client sends."""
    given = NoiseLearnerV3Options(**(FEW | options))
    model = NOISE_LEARNER_V3_PARAMS_CONVERTERS[version].encoder(instructions, given)
    return model.model_dump(mode="json") | {"version": 3}


def refused(given, device):
    with pytest.raises(InvalidInput) as refusal:
        program.validate("noise-learner", json.dumps(given).encode(), device)
    return refusal.value.message


def test_the_recorded_body_runs(golden, run_bytes, torino):
    text = run_bytes(*golden("noise_learner_v3-0.51.0.json"), torino)

    (layer,) = NoiseLearnerV3ResultDecoder.decode(text.decode())
    assert len(layer) == 15
    assert 0.002 < sum(layer._rates) < 0.02


@pytest.mark.parametrize("version", NOISE_LEARNER_V3_PARAMS_CONVERTERS)
def test_every_schema_is_answered_in_itself(version, run_bytes, torino):
    text = run_bytes("noise-learner", json.dumps(params(layers(), version)).encode(), torino)

    assert json.loads(text)["schema_version"] == version
    gates, readouts = NoiseLearnerV3ResultDecoder.decode(text.decode())
    assert gates.to_pauli_lindblad_map().num_qubits == 3
    assert len(gates) == 3 * 3 + 2 * 9  # each qubit, and the pairs (3, 4) and (4, 5)
    assert {term[:1] for term in readouts.to_pauli_lindblad_map().to_sparse_list()} == {("X",)}
    assert readouts._rates_std.any()
    assert gates.metadata["learning_protocol"] == "lindblad"
    assert gates.metadata["post_selection"]["fraction_kept"] == {0: 1.0, 2: 1.0}
    assert readouts.metadata["learning_protocol"] == "trex"
    assert readouts.metadata["post_selection"]["fraction_kept"] == 1.0
    assert ("success_rates" in readouts.metadata["post_selection"]) == (version != "v0.1")


def test_readouts_are_those_of_the_qubits_in_ascending_order(run_bytes, torino):
    _, measure = layers()
    job = params([measure], num_randomizations=4096, shots_per_randomization=32)

    text = run_bytes("noise-learner", json.dumps(job).encode(), torino)

    (found,) = NoiseLearnerV3ResultDecoder.decode(text.decode()).to_pauli_lindblad_maps()
    rates = {tuple(qubits): rate for _, qubits, rate in found.to_sparse_list()}
    for place, qubit in enumerate((8, 9)):
        wrong = sum(torino.noise.readout(qubit)) / 2
        assert -np.expm1(-2 * rates[(place,)]) / 2 == pytest.approx(wrong, abs=0.005)


def test_the_repetition_delay_counts(torino):
    def estimated_ms(delay_s):
        job = json.dumps(params(layers(), execution={"rep_delay": delay_s})).encode()
        return program.validate("noise-learner", job, torino).estimated_ms

    assert estimated_ms(500e-6) > estimated_ms(100e-6)
    assert "rep_delay" in refused(params(layers(), execution={"rep_delay": 1.0}), torino)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (
            {"bit_flip_checks": {"pre_circuit": {"enable": True}}},
            "bit_flip_checks.pre_circuit.enable",
        ),
        (
            {"bit_flip_checks": {"post_circuit": {"enable": True}}},
            "bit_flip_checks.post_circuit.enable",
        ),
    ],
)
def test_options_that_are_not_honoured_are_refused_by_name(options, name, torino):
    message = refused(params(layers(), **options), torino)

    assert f"option {name} is not supported by this service yet" in message


def test_post_selection_is_refused(torino):
    job = params(layers(), "v0.2")
    job["options"]["post_selection"]["enable"] = True

    assert "option post_selection.enable is not supported" in refused(job, torino)


def on(register, gate="cz"):
    circuit = QuantumCircuit(register)
    with circuit.box([Twirl()]):
        getattr(circuit, gate)(0, 1)
    return circuit.data[0]


STRANGE = {
    "expected a 'box' but found 'cz'": on(QuantumRegister(133, "q")).operation.body.data[0],
    "every qubit must be part of QuantumRegister(133, 'q')": on(QuantumRegister(2, "other")),
    "The instruction cx on qubits (0, 1) is not supported": on(QuantumRegister(133, "q"), "cx"),
}


@pytest.mark.parametrize("why", STRANGE)
def test_strange_layers_are_refused_and_numbered(why, torino):
    strange = STRANGE[why]
    if strange.name != "box":
        strange = CircuitInstruction(strange.operation, list(QuantumRegister(133, "q"))[:2])

    message = refused(params([layers()[0], strange]), torino)

    assert message.startswith("layer 1: ")
    assert why in message


def test_strange_parameters_are_refused(torino):
    good = params(layers())

    for change, why in (
        ({"schema_version": "v0.4"}, "must be one of v0.1, v0.2, v0.3"),
        ({"schema_version": ["v0.3"]}, "must be one of v0.1, v0.2, v0.3"),
        ({"version": 2}, "params.version is '2', must be 3"),
        ({"foo": 1}, "params.foo: there is no such parameter"),
        ({"instructions": "x"}, "must have circuit_b64"),
        ({"instructions": good["instructions"] | {"circuit_b64": "?"}}, "circuit_b64: "),
        ({"instructions": good["instructions"] | {"qpy_version": 14}}, "the circuit's is 17"),
        (
            {"instructions": QpyModel.from_quantum_circuit(QuantumCircuit(2)).model_dump()},
            "has no layers",
        ),
    ):
        assert why in refused(good | change, torino)
