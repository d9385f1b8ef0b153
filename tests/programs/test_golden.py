"""Bodies that the real clients sent run, and the real client decodes what comes back."""

import json
import re
from pathlib import Path

import pytest
from qiskit_ibm_runtime import RuntimeDecoder

from queuebit.errors import InvalidInput
from queuebit.programs import program

NAMES = sorted(path.name for path in (Path(__file__).parents[1] / "golden").glob("*.json"))
CLIENTS = ("0.43.1", "0.51.0")

# Per body, its fields' shapes and sizes per PUB: (shape, {register: (shots, bits)}).
SAMPLED = {
    "sampler_batch": ((), {"meas": (20, 2)}),
    "sampler_bell": ((), {"meas": (4096, 2)}),
    "sampler_dynamic": ((), {"mid": (300, 1), "fin": (300, 3)}),
    "sampler_param_3x2": ((3, 2), {"meas": (512, 2)}),
    "sampler_private_tags_maxtime": ((), {"meas": (10, 2)}),
}
ESTIMATED = ("estimator_3x2_default", "estimator_3x2_rl0", "estimator_3x2_rl1")
REFUSED = {
    "estimator_3x2_rl2": ["resilience_level 2"],
    "estimator_pea": ["resilience.zne_mitigation"],
    "estimator_pec": ["resilience.pec_mitigation"],
    "estimator_zne_dd_twirl": [
        "dynamical_decoupling.enable",
        "resilience.zne_mitigation",
        "twirling.enable_gates",
    ],
    "sampler_avg_kerneled": ["execution.init_qubits", "execution.meas_type"],
    "sampler_kerneled": ["execution.init_qubits", "execution.meas_type"],
    "sampler_experimental_seed": ["experimental.foo"],
    "sampler_twirl_dd": [
        "dynamical_decoupling.enable",
        "twirling.enable_gates",
        "twirling.enable_measure",
    ],
}


def test_every_recorded_body_is_expected_to_run_or_to_be_refused():
    expected = {
        f"{name}-{client}.json" for name in (*SAMPLED, *ESTIMATED, *REFUSED) for client in CLIENTS
    }

    assert expected == set(NAMES)


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
@pytest.mark.parametrize("name", ESTIMATED)
def test_an_estimator_body_runs(name, client, golden, run_bytes, torino):
    text = run_bytes(*golden(f"{name}-{client}.json"), torino)

    (pub,) = json.loads(text, cls=RuntimeDecoder)
    assert list(pub.data) == ["evs", "stds", "ensemble_standard_error"]
    assert all(field.shape == (3, 2) for field in pub.data.values())
    # <ZZ> of a state near a Bell state; its other observables are not that plain.
    assert 0.5 < pub.data.evs[1, 0] < 1.2


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


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused_by_name(name, client, golden, torino):
    with pytest.raises(InvalidInput) as refusal:
        program.validate(*golden(f"{name}-{client}.json"), torino)

    assert all(option in refusal.value.message for option in REFUSED[name])
    assert refusal.value.code == 1208
