import json
import pickle

import pytest

from queuebit.devices.device import Device
from queuebit.errors import NotFound
from queuebit.programs import codec, program


def test_an_unknown_program_is_named_with_those_there_are(manila):
    with pytest.raises(NotFound, match="program 'circuit-runner' not found; there are: sampler, "):
        program.validate("circuit-runner", b"{}", manila)


def test_the_stages_may_be_on_different_workers(golden, torino):
    program_id, params = golden("estimator_3x2_rl1-0.43.1.json")

    prepared = program.prepare(program_id, params, torino)
    work = pickle.dumps(prepared.work)
    measured = program.quantum(program_id, pickle.loads(work), torino)
    raw = pickle.dumps(measured.raw)
    text = program.finish(program_id, pickle.loads(work), pickle.loads(raw), torino)

    assert json.loads(text)["__type__"] == "PrimitiveResult"


def test_what_validation_decoded_is_used_again(golden, torino, monkeypatch):
    decodes = []
    real = codec.decode
    monkeypatch.setattr(codec, "decode", lambda params: decodes.append(params) or real(params))
    program_id, params = golden("sampler_bell-0.51.0.json")

    program.validate(program_id, params, torino)
    program.prepare(program_id, params, torino)

    assert len(decodes) == 1


def test_a_plan_is_not_used_for_another_program_or_device(golden, torino, manila):
    program_id, params = golden("sampler_bell-0.51.0.json")
    program.validate(program_id, params, torino)

    with pytest.raises(Exception, match="133 qubits"):
        program.validate(program_id, params, manila)
    with pytest.raises(Exception, match="PUB 0: there are no observables"):
        program.validate("estimator", params, torino)


def test_few_plans_are_kept(encode, bell_state, manila, monkeypatch):
    bell_state.measure_all()
    jobs = [encode([(bell_state, None, shots)]) for shots in range(1, 20)]
    for params in jobs:
        program.validate("sampler", params, manila)
    assert len(program._plans._plans) == program.PLANS_MAX

    monkeypatch.setattr(program, "PLANNED_BYTES_MAX", 2 * len(jobs[0]) + 10)
    program.validate("sampler", encode([(bell_state, None, 99)]), manila)

    assert len(program._plans._plans) <= 2


def test_two_jobs_alike_are_not_flipped_alike(encode, bell_state, manila: Device):
    """The same parameters twice, without a seed: the plan is the same, the flips are not."""
    params = encode([(bell_state, "IIIZZ")])

    first = program.prepare("estimator", params, manila)
    second = program.prepare("estimator", params, manila)

    assert (first.work.done.flips[0] != second.work.done.flips[0]).any()
