"""Results as IBM's own models of them have them (ibm_quantum_schemas)."""

import json

import pytest
from ibm_quantum_schemas.estimator.version_0_1.primitive_result import (
    PrimitiveResultWrapperModel as EstimatorResult,
)
from ibm_quantum_schemas.noise_learner_v2.version_0_1.models import ResultsModel
from ibm_quantum_schemas.sampler.version_0_1.primitive_result import (
    PrimitiveResultWrapperModel as SamplerResult,
)
from pydantic import BaseModel
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeEncoder

LEARNING = {"layer_pair_depths": [0, 1], "num_randomizations": 4, "shots_per_randomization": 16}
PEC = {"pec_mitigation": True, "layer_noise_learning": LEARNING}
PEA = {
    "zne_mitigation": True,
    "zne": {"amplifier": "pea"},
    "layer_noise_learning": LEARNING,
}


def circuit(*, measured: bool) -> QuantumCircuit:
    made = QuantumCircuit(5)
    made.sx(0)
    made.cx(0, 1)
    made.cx(0, 1)
    if measured:
        made.measure_all()
    return made


def beyond(model: object, raw: object, path: str = "") -> list[str]:
    """Names in `raw` that the model does not know: Pydantic drops them in silence."""
    if isinstance(model, BaseModel) and isinstance(raw, dict):
        names = {(field.alias or name): name for name, field in type(model).model_fields.items()}
        found = [f"{path}.{key}" for key in raw if key not in names]
        for key in raw.keys() & names.keys():
            found += beyond(getattr(model, names[key]), raw[key], f"{path}.{key}")
        return found
    if isinstance(model, list) and isinstance(raw, list):
        return [one for both in zip(model, raw, strict=True) for one in beyond(*both, path)]
    return []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"twirling": {"enable_gates": True, "enable_measure": True}},
        {"execution": {"meas_type": "kerneled"}},
        {"execution": {"meas_type": "avg_kerneled"}},
        {"dynamical_decoupling": {"enable": True}},
    ],
)
def test_results_of_the_sampler(run_bytes, encode, manila, options):
    params = encode([(circuit(measured=True), None, 20)], options)
    raw = json.loads(run_bytes("sampler", params, manila))

    assert beyond(SamplerResult.model_validate(raw), raw) == []


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({}, 0),
        ({}, 1),
        ({}, 2),
        ({"dynamical_decoupling": {"enable": True}}, 1),
        ({"resilience": PEC}, 1),
        ({"resilience": PEA}, 1),
    ],
)
def test_results_of_the_estimator(run_bytes, encode, manila, options, level):
    pubs = [(circuit(measured=False), [["IIIZZ"], ["IIIXX"]], None, 0.2)]
    params = encode(pubs, options, resilience_level=level)
    raw = json.loads(run_bytes("estimator", params, manila))

    assert beyond(EstimatorResult.model_validate(raw), raw) == []


def test_results_of_the_noise_learner(run_bytes, manila):
    frame = {"circuits": [circuit(measured=False)], "options": LEARNING, "version": 2}
    params = json.dumps(frame, cls=RuntimeEncoder).encode()
    raw = json.loads(run_bytes("noise-learner", params, manila))

    assert beyond(ResultsModel.model_validate(raw), raw) == []
