"""The executor: every version of IBM's schema, and the results that the real client makes of it."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit.quantum_info import PauliLindbladMap
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.decoders.executor.decoder import ExecutorResultDecoder
from qiskit_ibm_runtime.decoders.executor_estimator.decoder import ClientSideEstimatorDecoder
from qiskit_ibm_runtime.decoders.executor_noise_learner.decoder import (
    ClientSideNoiseLearnerResultDecoder,
)
from qiskit_ibm_runtime.decoders.executor_sampler.decoder import ClientSideSamplerResultDecoder
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.fake_provider.executor.run_quantum_program import run_quantum_program
from qiskit_ibm_runtime.options_models import SimulatorOptions
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from scipy.stats import chi2_contingency
from tests.programs.quantum_programs import body, boxed, mixed, seeded

from queuebit.devices.isa import Isa
from queuebit.programs import program

VERSIONS = list(QUANTUM_PROGRAM_PARAMS_CONVERTERS)
GOLDEN = Path(__file__).parents[1] / "golden"
ROLES = {
    "executor_estimator_3x2_rl0": ClientSideEstimatorDecoder,
    "executor_estimator_3x2_rl1": ClientSideEstimatorDecoder,
    "executor_estimator_3x2_rl2": ClientSideEstimatorDecoder,
    "executor_estimator_pec": ClientSideEstimatorDecoder,
    "executor_mixed": None,
    "executor_noise_learner_v3": ClientSideNoiseLearnerResultDecoder,
    "executor_sampler_avg_kerneled": ClientSideSamplerResultDecoder,
    "executor_sampler_bell": ClientSideSamplerResultDecoder,
    "executor_sampler_kerneled": ClientSideSamplerResultDecoder,
    "executor_sampler_param_3x2": ClientSideSamplerResultDecoder,
    "executor_sampler_twirl_dd": ClientSideSamplerResultDecoder,
}


@pytest.fixture(scope="module")
def executed(run_bytes):
    """Runs a job; returns its result as the client decodes it."""

    def ran(params: dict[str, Any], device: Any) -> Any:
        text = run_bytes("executor", json.dumps(params).encode(), device)
        assert json.loads(text)["schema_version"] == params["schema_version"]
        return ExecutorResultDecoder.decode(text.decode())

    return ran


@pytest.mark.parametrize("name", ROLES)
def test_a_recorded_body_runs(name, golden, executed, torino):
    program_id, params = golden(f"{name}-0.51.0.json")
    assert program_id == "executor"

    result = executed(json.loads(params), torino)

    decoder = ROLES[name]
    if decoder is None:
        assert [len(item) for item in result] == [1, 1, 2]
        return
    assert decoder.is_applicable(result)
    final = decoder.decode(result)
    if name == "executor_noise_learner_v3":
        (noise,) = final.to_pauli_lindblad_maps()
        assert noise.num_qubits == 2
    elif "estimator" in name:
        assert final[0].data.evs.shape == (3, 2)
        assert 0.5 < final[0].data.evs[1, 0] < 1.3  # <ZZ> near a Bell state
    else:
        assert isinstance(final, PrimitiveResult)


def test_all_recorded_bodies_are_run():
    assert {f"{name}-0.51.0.json" for name in ROLES} == {
        path.name for path in GOLDEN.glob("executor_*")
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_program_runs_in_the_version_in_which_it_comes(version, executed, perfect):
    passed = {"tensor": np.arange(3.0), "list": [1, 2.5, None, True, {"x": "y"}]}
    made = mixed(passthrough_data=passed)
    made._semantic_role = "mine"

    result = executed(body(made, version), perfect)

    plain, sweep, twirled = result
    assert (plain["c"][:, 0] == plain["c"][:, 1]).all()
    assert sweep["c"].shape == (3, 2, 100, 1)
    assert sweep["c"][0, 0].all()  # two sx: always 1
    assert not sweep["c"][2, 1].any()
    assert twirled["meas"].shape == (4, 3, 100, 5)
    flips = twirled["measurement_flips.meas"]
    assert flips.shape == (4, 3, 1, 5)
    outcomes = twirled["meas"] ^ flips
    assert (outcomes[:, 0, :, 0] == outcomes[:, 0, :, 1]).all()
    assert (outcomes[:, 1, :, 0] != outcomes[:, 1, :, 1]).all()  # rx(pi) before the cx
    assert not outcomes[..., 2:].any()
    if version != "v0.1":
        assert result.passthrough_data["list"] == passed["list"]
        assert result.passthrough_data["tensor"].tolist() == [0, 1, 2]
        assert plain.metadata.scheduler_timing is None
    if version >= "v1":
        assert result._semantic_role == "mine"
    for span in result.metadata.chunk_timing:
        assert datetime.now(UTC).timestamp() - span.stop.timestamp() < 600
        assert [(part.idx_item, part.size) for part in span.parts] == [(0, 1), (1, 6), (2, 12)]


def test_noise_is_injected_and_its_signs_are_returned(executed, perfect):
    template, samplex = boxed(noisy=True)
    made = QuantumProgram(shots=1, noise_maps={"n": PauliLindbladMap([("XI", 0.2)])})
    arguments = {"parameter_values": [0.0], "noise_scales.m": -1.0}
    made.append_samplex_item(template, samplex=samplex, samplex_arguments=arguments, shape=(4000,))

    (item,) = executed(body(made), perfect)

    # Inverting a map of rate r: X with the chance (1 - exp(-2 r)) / 2, and then the sign is -1.
    wrong = (item["meas"] ^ item["measurement_flips.meas"])[:, 0, :2]
    differ = wrong[:, 0] ^ wrong[:, 1]
    assert (differ == item["pauli_signs"][:, 0]).all()
    chance = (1 - np.exp(-0.4)) / 2
    assert abs(differ.mean() - chance) < 5 * np.sqrt(chance / 4000)


def test_axes_of_an_item_may_be_replications(executed, perfect):
    params = body(mixed())
    params["quantum_program"]["items"][1]["shape"] = [5, 1, 2]

    assert executed(params, perfect)[1]["c"].shape == (5, 3, 2, 100, 1)


def test_same_seed_same_bits_and_none_other_bits(executed, manila):
    runs = [
        [array.tobytes() for item in executed(params, manila) for array in item.values()]
        for params in (seeded(mixed(), 5), seeded(mixed(), 5), seeded(mixed(), 6), body(mixed()))
    ]
    again = executed(body(mixed()), manila)

    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert runs[3] != [array.tobytes() for item in again for array in item.values()]


def test_the_seed_of_a_client_side_primitive_counts(executed, manila):
    made = mixed(
        passthrough_data={"post_processor": {"options": {"simulator": {"seed_simulator": 5}}}}
    )

    first, second = (executed(body(made), manila) for _ in range(2))

    assert all((a[name] == b[name]).all() for a, b in zip(first, second, strict=True) for name in a)


def counts(item: Any) -> np.ndarray:
    """How often each outcome of the first two bits came, per set of arguments: shape (n, 4)."""
    name = next(name for name in item if "." not in name)
    flips = item.get("measurement_flips.meas", np.zeros(1, dtype=bool))
    bits = (item[name] ^ flips)[..., :2]
    if flips.ndim > 1:  # randomizations are more shots of one set
        bits = bits.reshape(1, -1, 2)
    numbers = bits.reshape(-1, *bits.shape[-2:]) @ (1 << np.arange(bits.shape[-1]))
    return np.array([np.bincount(row, minlength=4) for row in numbers])


def aers(device: Any) -> AerSimulator:
    """Aer with the noise of Manila; its own readout errors are the mean of those of 0 and 1."""
    model = NoiseModel.from_backend(FakeManilaV2())
    for qubit in range(5):
        up, down = device.noise.readout(qubit)
        model.add_readout_error([[1 - up, up], [down, 1 - down]], [qubit], warnings=False)
    return AerSimulator(noise_model=model)


def test_it_agrees_with_the_clients_local_mode(executed, manila):
    """Same payload, same snapshot, same noise."""
    backend = aers(manila)
    plain = mixed(shots=4000)
    del plain.items[2]
    template, samplex = boxed()
    twirled = QuantumProgram(shots=16)  # few: readout errors depend on the flips that were drawn
    arguments = {"parameter_values": [0.7]}
    twirled.append_samplex_item(template, samplex, samplex_arguments=arguments, shape=(150,))
    compared = 0
    for made in (plain, twirled):
        ours = executed(seeded(made, 1), manila)
        local = run_quantum_program(backend, made, SimulatorOptions(seed_simulator=2))
        for mine, theirs in zip(ours, local, strict=True):
            for table in np.stack([counts(mine), counts(theirs)], axis=1):
                seen = table[:, table.sum(axis=0) >= 20]
                assert seen.shape[1] > 1
                assert chi2_contingency(seen).pvalue > 1e-3, table
                compared += 1
    assert compared == 8  # one Bell state, six angles, one twirled


@pytest.mark.parametrize(
    ("level", "fields"),
    [
        ("kerneled", {"c_iq": (100, 2)}),
        ("avg_kerneled", {"c_avg_iq": (2,)}),
        ("both", {"c": (100, 2), "c_iq": (100, 2)}),
    ],
)
def test_measurements_come_as_points(level, fields, executed, manila):
    result = executed(body(mixed(meas_level=level)), manila)[0]

    assert {name: array.shape for name, array in result.items()} == fields
    if level == "both":
        assert ((result["c_iq"].real > 0) == result["c"]).all()
    if level == "avg_kerneled":
        assert (abs(result["c_avg_iq"]) < 0.7).all()  # halfway between the states


def test_chunks_share_the_time_and_cover_the_items(executed, perfect):
    made = mixed()
    for item, size in zip(made.items, (1, 4, 5), strict=True):
        item.chunk_size = size
    params = body(made)

    spans = executed(params, perfect).metadata.chunk_timing

    parts = [[(part.idx_item, part.size) for part in span.parts] for span in spans]
    assert parts == [[(0, 1)], [(1, 4)], [(1, 2)], [(2, 5)], [(2, 5)], [(2, 2)]]
    assert all(a.stop == b.start for a, b in pairwise(spans))
    assert spans[1].stop - spans[1].start > spans[2].stop - spans[2].start


def test_a_schedule_is_told(executed, manila):
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.barrier()
    circuit.cx(0, 1)
    circuit.delay(160, 1)
    circuit.rz(0.1, 1)
    circuit.measure(1, 0)
    made = QuantumProgram(shots=1)
    made.append_circuit_item(circuit)

    (item,) = executed(body(made, scheduler_timing=True, stretch_values=True), manila)

    told = item.metadata.scheduler_timing
    lines = [line.split(",") for line in told.timing.split("\n")]
    dt, cx = manila.dt, round(manila.target["cx"][0, 1].duration / manila.dt)
    x = round(manila.target["x"][0,].duration / dt)
    read = round(manila.target["measure"][1,].duration / dt)
    assert lines == [
        ["main", "x_0", "Qubit 0", "0", str(x), "play"],
        ["main", "barrier", "Qubit 0", str(x), "0", "barrier"],
        ["main", "barrier", "Qubit 1", str(x), "0", "barrier"],
        ["main", "cx_0_1", "Qubit 0", str(x), str(cx), "play"],
        ["main", "cx_0_1", "Qubit 1", str(x), str(cx), "play"],
        ["main", "delay_1", "Qubit 1", str(x + cx), "160", "delay"],
        ["main", "rz_1", "Qubit 1", str(x + cx + 160), "0", "shift_phase"],
        ["main", "measure_1", "AWGR1", str(x + cx + 160), str(read), "capture"],
        ["main", "measure_1", "Qubit 1", str(x + cx + 160), str(read), "play"],
    ]
    assert told.circuit_duration == x + cx + 160 + read
    assert told.circuit_duration == pytest.approx(Isa(manila.target).duration_s(circuit) / dt)
    assert not item.metadata.stretch_values


def test_branches_are_in_a_schedule(executed, torino):
    circuit = QuantumCircuit(2, 1)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.x(1)
    with otherwise:
        circuit.sx(1)
        circuit.sx(1)
    circuit.x(1)
    made = QuantumProgram(shots=1)
    made.append_circuit_item(circuit)

    (item,) = executed(body(made, scheduler_timing=True), torino)

    lines = [line.split(",") for line in item.metadata.scheduler_timing.timing.split("\n")]
    starts = {(branch, name): int(start) for branch, name, _, start, *_ in lines}
    assert starts["then", "x_1"] < starts["else", "sx_1"] < starts["main", "x_1"]


def test_circuits_may_come_as_openqasm(executed, perfect):
    text = "OPENQASM 3.0; include 'stdgates.inc'; qubit[2] q; bit[2] c; x q[0]; c = measure q;"
    params = body(mixed())
    params["quantum_program"] |= {
        "items": params["quantum_program"]["items"][:1],
        "circuits": {"data": [text]},
    }

    (item,) = executed(params, perfect)

    assert item["c"].tolist() == [[True, False]] * 100


def test_the_estimate_is_a_samplers(golden, torino, encode):
    _, executor = golden("executor_sampler_param_3x2-0.51.0.json")
    _, sampler = golden("sampler_param_3x2-0.51.0.json")

    one, other = (
        program.validate(name, params, torino)
        for name, params in (("executor", executor), ("sampler", sampler))
    )

    assert one.circuits == other.circuits == 6
    shots = json.loads(executor)["quantum_program"]["shots"]
    assert one.executions == 6 * shots
    assert one.overhead_ms == other.overhead_ms
