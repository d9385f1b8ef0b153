import json

import pytest

from queuebit.errors import InvalidInput
from queuebit.programs import program
from queuebit.programs.options import EstimatorOptions, SamplerOptions, Twirling, parse


def test_options_that_change_nothing_are_accepted():
    options = {
        "default_shots": 10,
        "dynamical_decoupling": {"enable": False, "sequence_type": "XY4"},
        "execution": {"init_qubits": False, "meas_type": "classified", "rep_delay": None},
        "twirling": {"enable_gates": False, "num_randomizations": 7, "strategy": "all"},
        "simulator": {"noise_model": None, "basis_gates": ["x"], "seed_simulator": 3},
        "experimental": {"foo": {"bar": 1}, "execution": {}},
    }

    assert parse(SamplerOptions, options).default_shots == 10


def test_mitigation_that_is_off_may_be_tuned():
    options = {
        "resilience": {
            "zne_mitigation": False,
            "zne": {"amplifier": "pea", "noise_factors": [1, 2]},
            "pec": {"max_overhead": None},
            "layer_noise_learning": {"num_randomizations": 5},
        }
    }

    assert parse(EstimatorOptions, options).resilience.zne.amplifier == "pea"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foo": 1}, "options.foo: there is no such option"),
        ({"twirling": {"foo": 1}}, "options.twirling.foo: there is no such option"),
        ({"default_shots": 0}, "options.default_shots: Input should be greater than"),
        ({"default_shots": "10"}, "options.default_shots: Input should be a valid integer"),
        ({"default_shots": True}, "options.default_shots: Input should be a valid integer"),
        ({"execution": {"meas_type": "raw"}}, "options.execution.meas_type: "),
        ([], "options: Input should be a valid dictionary"),
        ({"simulator": {"seed_simulator": -1}}, "options.simulator.seed_simulator: "),
        ({"simulator": {"noise_model": {}}}, "option simulator.noise_model is not supported"),
        ({"simulator": {"coupling_map": []}}, "option simulator.coupling_map is not supported"),
        (
            {"experimental": {"execution": {"fast_parametric_update": True}}},
            "option experimental.execution.fast_parametric_update is not supported",
        ),
        ({"experimental": {"twirling": 1}}, "option experimental.twirling is not supported"),
    ],
)
def test_options_that_cannot_stand_are_named(options, message):
    with pytest.raises(InvalidInput) as refusal:
        parse(SamplerOptions, options)

    assert refusal.value.message.startswith(message)
    assert refusal.value.code == 1208


@pytest.mark.parametrize("model", [SamplerOptions, EstimatorOptions])
def test_all_unsupported_options_are_named_together(model):
    options = {
        "simulator": {"noise_model": {}, "coupling_map": [[0, 1]]},
        "experimental": {"transpilation": {"skip": True}},
    }

    with pytest.raises(InvalidInput) as refusal:
        parse(model, options)

    assert refusal.value.message == (
        "options simulator.noise_model, simulator.coupling_map and experimental.transpilation.skip "
        "are not supported by this service yet."
    )


@pytest.mark.parametrize(
    ("twirling", "shots", "split"),
    [
        ({}, 4096, (32, 128)),
        ({}, 1000, (16, 64)),
        ({}, 1, (1, 64)),
        ({"num_randomizations": 10}, 1001, (10, 101)),
        ({"shots_per_randomization": 100}, 1001, (11, 100)),
        ({"num_randomizations": 3, "shots_per_randomization": 5}, 1001, (3, 5)),
    ],
)
def test_shots_are_split_over_randomizations(twirling, shots, split):
    assert Twirling(**twirling).split(shots) == split


SEEDED = {"simulator": {"seed_simulator": 7}}


@pytest.mark.parametrize(
    ("name", "seeded"),
    [
        ("sampler_bell", SEEDED),
        ("estimator_3x2_rl1", SEEDED),
        ("executor_mixed", {"experimental": SEEDED}),
        ("noise_learner_v3", None),  # its client sends no seed
    ],
)
def test_shots_without_reset_are_shots_with_reset_in_every_program(golden, torino, name, seeded):
    program_id, recorded = golden(f"{name}-0.51.0.json")
    told = []
    for is_reset in (True, False):
        params = json.loads(recorded)
        options = params["options"] | (seeded or {})
        where = "execution" if program_id in {"sampler", "estimator"} else None
        options |= {where: {"init_qubits": is_reset}} if where else {"init_qubits": is_reset}
        text = json.dumps(params | {"options": options}).encode()
        prepared = program.prepare(program_id, text, torino)
        bits = program.quantum(program_id, prepared.work, torino).raw.bits if seeded else None
        told.append((prepared.estimated_ms, prepared.metrics, bits))

    (_, _, bits), (_, _, others) = told
    assert told[0][:2] == told[1][:2]
    if seeded:
        assert all((one == other).all() for (_, one), (_, other) in zip(bits, others, strict=True))
