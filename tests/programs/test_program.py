import json
import pickle

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_ibm_runtime import QuantumProgram
from tests.programs.quantum_programs import body

from queuebit.config import BackendConfig
from queuebit.devices.device import Device
from queuebit.devices.planning import Limits
from queuebit.errors import InvalidInput, NotFound
from queuebit.programs import program
from queuebit.programs.learner import learning
from queuebit.programs.wire import codec


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

    flips = [one.work.done.draws[0][0].flips for one in (first, second)]
    assert (flips[0] != flips[1]).any()


def test_validation_and_preparation_estimate_the_same(encode, bell_state, manila):
    bell_state.measure_all()
    params = encode([(bell_state, None, 1_000)] * 3)

    validated = program.validate("sampler", params, manila)
    told, over = program.estimate("sampler", params, manila)
    program._plans = program._Plans()
    prepared = program.prepare("sampler", params, manila)

    assert validated == told
    assert over == []
    assert told.estimated_ms == prepared.estimated_ms
    assert (told.circuits, told.executions) == (3, 3_000)
    assert told.sizes == [(5, 5)] * 3
    shot_s = manila.duration_s(bell_state) + manila.rep_delay_s
    assert told.estimated_ms == pytest.approx(told.overhead_ms + 3_000 * 1_000 * shot_s, abs=1)


def test_an_estimate_is_made_although_a_limit_is_broken(encode, bell_state, manila):
    bell_state.measure_all()
    params = encode([(bell_state, None, 6_000_000)] * 2)

    told, (over,) = program.estimate("sampler", params, manila)

    assert told.executions == 12_000_000
    assert "12000000 executions" in over.message
    with pytest.raises(InvalidInput, match="12000000 executions"):  # though its plan is known
        program.validate("sampler", params, manila)


def test_what_the_simulator_refuses_is_a_limit_of_an_estimate(encode, torino):
    wide = QuantumCircuit(133)
    for _ in range(40):
        wide.sx(range(133))
        wide.rz(0.3, range(133))
        for one, other in torino.target.build_coupling_map().get_edges():
            wide.cz(one, other)
    wide.measure_all()
    params = encode([(wide, None, 100_000)])

    told, (over,) = program.estimate("sampler", params, torino)

    assert "too big for this simulated QPU" in over.message
    assert told.sizes == [(133, wide.depth())]


def test_an_estimate_of_absurd_loops_names_the_limits(encode, manila):
    loops = "".join(f"for int i{depth} in [0:9998] {{ " for depth in range(20))
    source = f'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; {loops} x $0; {"}" * 20}'

    _, limits = program.estimate("sampler", encode([(source + " c[0] = measure $0;",)]), manila)

    assert "with its loops unrolled" in limits[0].message


def hard(angle: object) -> QuantumCircuit:
    """On fifteen qubits; with angles of 0 it is a Clifford circuit, which is easy."""
    circuit = QuantumCircuit(133, 15)
    for layer in range(8):
        for qubit in range(15):
            circuit.sx(qubit)
            circuit.rz(angle, qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, 14, 2):
            circuit.cz(qubit, qubit + 1)
    circuit.measure(range(15), range(15))
    return circuit


@pytest.mark.parametrize("kind", ["plain", "twirled", "executor"])
def test_what_is_too_hard_with_its_values_is_refused_before_it_is_accepted(encode, kind):
    """Not what is easy: values that will be drawn must not be taken for zeros."""
    little = Limits(memory_bytes=2**23, seconds=2.0)
    device = Device(BackendConfig(name="torino", snapshot="torino"), little)
    angle = Parameter("a")
    for value in (0.0, 0.4):
        if kind == "executor":
            asked = QuantumProgram(shots=4096)
            asked.append_circuit_item(hard(angle), circuit_arguments=np.array([value]))
            program_id, params = "executor", json.dumps(body(asked)).encode()
        else:
            options = {"twirling": {"enable_gates": True, "enable_measure": True}}
            pub = (hard(angle), [value], 4096)
            params = encode([pub], options if kind == "twirled" else None)
            program_id = "sampler"
        if value:
            with pytest.raises(InvalidInput, match="too big for this simulated QPU"):
                program.validate(program_id, params, device)
        else:
            program.validate(program_id, params, device)


def test_learning_is_not_drawn_to_be_estimated(golden, torino, monkeypatch):
    """It takes most of the time, and its circuits are Clifford whatever is drawn."""
    program_id, params = golden("noise_learner-0.51.0.json")
    monkeypatch.setattr(learning, "_sample", None)

    told = program.validate(program_id, params, torino)

    monkeypatch.undo()
    assert program.prepare(program_id, params, torino).estimated_ms == told.estimated_ms
