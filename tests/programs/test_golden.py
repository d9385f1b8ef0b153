"""Bodies that the real clients sent run, and the real client decodes what comes back."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from ibm_quantum_schemas.estimator.version_0_1.primitive_result_resilience_metadata import (
    PrimitiveResultResilienceMetadataModel,
)
from ibm_quantum_schemas.estimator.version_0_1.pub_result_resilience_metadata import (
    PubResultResilienceMetadataModel,
)
from qiskit_ibm_runtime import RuntimeDecoder

FOLDER = Path(__file__).parents[1] / "golden"
# Those of the other programs have tests of their own.
OTHERS = ("executor_", "noise_learner")
NAMES = {path.name for path in FOLDER.glob("*.json") if not path.name.startswith(OTHERS)}
CLIENTS = ("0.43.1", "0.51.0")

# Per body, its fields' shapes and sizes: (shape, {register: (shots, bits)}).
SAMPLED = {
    "sampler_batch": ((), {"meas": (20, 2)}),
    "sampler_bell": ((), {"meas": (4096, 2)}),
    "sampler_dynamic": ((), {"mid": (300, 1), "fin": (300, 3)}),
    "sampler_experimental_seed": ((), {"meas": (10, 2)}),
    "sampler_param_3x2": ((3, 2), {"meas": (512, 2)}),
    "sampler_private_tags_maxtime": ((), {"meas": (10, 2)}),
}
# Two PUBs each, of shapes () and (3, 2).
KERNELED = {
    "sampler_kerneled": [(100, 2), (3, 2, 100, 2)],
    "sampler_avg_kerneled": [(2,), (3, 2, 2)],
}
TWIRLED = ("sampler_twirl_dd",)
ESTIMATED = ("estimator_3x2_default", "estimator_3x2_rl0", "estimator_3x2_rl1")
AVERAGED = ["evs", "stds", "ensemble_standard_error"]
EXTRAPOLATED = [
    "evs",
    "stds",
    "evs_noise_factors",
    "stds_noise_factors",
    "ensemble_stds_noise_factors",
    "evs_extrapolated",
    "stds_extrapolated",
]
# Per body, its fields, its randomizations and what is told of its mitigation.
MITIGATED = {
    "estimator_3x2_rl2": (EXTRAPOLATED, 32, {"zne"}),
    "estimator_pea": (EXTRAPOLATED, 8, {"layer_noise", "zne"}),
    "estimator_pec": (AVERAGED, 9, {"layer_noise", "pec"}),
    "estimator_zne_dd_twirl": (EXTRAPOLATED, 16, {"zne"}),
}


def test_every_recorded_body_is_expected_to_run():
    expected = {
        f"{name}-{client}.json"
        for name in (*SAMPLED, *KERNELED, *TWIRLED, *ESTIMATED, *MITIGATED)
        for client in CLIENTS
    }

    assert expected == NAMES


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", SAMPLED)
def test_a_sampler_body_runs(name, client, golden, run_bytes, torino):
    text = run_bytes(*golden(f"{name}-{client}.json"), torino)

    (pub,) = json.loads(text, cls=RuntimeDecoder)
    shape, fields = SAMPLED[name]
    assert shape == pub.data.shape
    assert fields == {k: (v.num_shots, v.num_bits) for k, v in pub.data.items()}
    assert all(field.shape == shape for field in pub.data.values())


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", KERNELED)
def test_a_kerneled_body_runs(name, client, golden, run_bytes, torino):
    text = run_bytes(*golden(f"{name}-{client}.json"), torino)

    first, second = json.loads(text, cls=RuntimeDecoder)
    assert [first.data.meas.shape, second.data.meas.shape] == KERNELED[name]
    assert (first.data.shape, second.data.shape) == ((), (3, 2))
    assert {pub.data.meas.dtype for pub in (first, second)} == {np.dtype(np.complex128)}
    assert first.metadata == {"circuit_metadata": {"who": "me"}}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", TWIRLED)
def test_a_twirled_body_runs(name, client, golden, run_bytes, torino):
    text = run_bytes(*golden(f"{name}-{client}.json"), torino)

    result = json.loads(text, cls=RuntimeDecoder)
    # 16 randomizations of 64 shots, of which the 1000 that were asked for are told.
    assert [(pub.data.meas.shape, pub.data.meas.num_shots) for pub in result] == [
        ((), 1000),
        ((3, 2), 1000),
    ]
    assert [pub.metadata["num_randomizations"] for pub in result] == [16, 16]
    (span,) = result.metadata["execution"]["execution_spans"]
    slices = json.loads(text)["__value__"]["metadata"]["execution"]["execution_spans"]
    assert slices["__value__"]["spans"][0]["__type__"] == "TwirledSliceSpanV2"
    assert slices["__value__"]["spans"][0]["__value__"]["data_slices"] == {
        "0": [[16, 64], True, 0, 16, 0, 64, 1000],
        "1": [[16, 3, 2, 64], True, 0, 96, 0, 64, 1000],
    }
    assert span.mask(1).shape == (3, 2, 1000)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", ESTIMATED)
def test_an_estimator_body_runs(name, client, golden, run_bytes, torino):
    text = run_bytes(*golden(f"{name}-{client}.json"), torino)

    (pub,) = json.loads(text, cls=RuntimeDecoder)
    assert list(pub.data) == ["evs", "stds", "ensemble_standard_error"]
    assert all(field.shape == (3, 2) for field in pub.data.values())
    # <ZZ> of a state near a Bell state; its other observables are not that plain.
    assert 0.5 < pub.data.evs[1, 0] < 1.2


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", MITIGATED)
def test_a_mitigated_estimator_body_runs(name, client, golden, run_bytes, torino):
    text = run_bytes(*golden(f"{name}-{client}.json"), torino)

    (pub,) = result = json.loads(text, cls=RuntimeDecoder)
    fields, randomizations, told = MITIGATED[name]
    assert list(pub.data) == fields
    assert all(field.shape[:2] == (3, 2) for field in pub.data.values())
    assert pub.metadata["num_randomizations"] == randomizations
    assert set(pub.metadata["resilience"]) == told
    assert result.metadata["resilience"]["measure_mitigation"] is True
    assert 0.4 < pub.data.evs[1, 0] < 1.4
    # What IBM's schema of results knows.
    PubResultResilienceMetadataModel.model_validate(pub.metadata["resilience"], extra="forbid")
    raw = json.loads(text)["__value__"]["metadata"]["resilience"]
    PrimitiveResultResilienceMetadataModel.model_validate(raw, extra="forbid")


def test_the_result_prints_as_the_guide_prints_result1(golden, run_bytes, torino):
    text = run_bytes(*golden("estimator_3x2_default-0.51.0.json"), torino)

    # Guide "Run jobs in a batch", Close a batch, Result1.
    assert str(json.loads(text, cls=RuntimeDecoder)) == (
        "PrimitiveResult([PubResult(data=DataBin(evs=np.ndarray(<shape=(3, 2), dtype=float64>), "
        "stds=np.ndarray(<shape=(3, 2), dtype=float64>), "
        "ensemble_standard_error=np.ndarray(<shape=(3, 2), dtype=float64>), shape=(3, 2)), "
        "metadata={'shots': 4096, 'target_precision': 0.015625, 'circuit_metadata': {}, "
        "'resilience': {}, 'num_randomizations': 32})], metadata={'dynamical_decoupling': "
        "{'enable': False, 'sequence_type': 'XX', 'extra_slack_distribution': 'middle', "
        "'scheduling_method': 'alap'}, 'twirling': {'enable_gates': False, 'enable_measure': True, "
        "'num_randomizations': 'auto', 'shots_per_randomization': 'auto', "
        "'interleave_randomizations': True, 'strategy': 'active-accum'}, 'resilience': "
        "{'measure_mitigation': True, 'zne_mitigation': False, 'pec_mitigation': False}, "
        "'version': 2})"
    )


def test_the_result_prints_as_the_guide_prints_result2(golden, run_bytes, torino):
    text = run_bytes(*golden("sampler_param_3x2-0.43.1.json"), torino)

    printed = re.sub(
        r"'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d'", "'TIME'", str(json.loads(text, cls=RuntimeDecoder))
    )
    assert printed == (
        "PrimitiveResult([SamplerPubResult(data=DataBin(meas=BitArray(<shape=(3, 2), "
        "num_shots=512, num_bits=2>), shape=(3, 2)), metadata={'circuit_metadata': {}})], "
        "metadata={'execution': {'execution_spans': ExecutionSpans([DoubleSliceSpan("
        "<start='TIME', stop='TIME', size=3072>)])}, 'version': 2})"
    )
