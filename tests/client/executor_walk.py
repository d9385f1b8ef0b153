"""Runs the executor and the client-side primitives on it, and checks their physics.

With the newest client and `QiskitRuntimeService()`; the backend is a simulated Torino. Exact values
are of the noiseless circuits; what noise takes from them is bounded from its error rates.
"""

import warnings
from itertools import pairwise

warnings.filterwarnings("ignore", message="Unverified HTTPS request")
warnings.filterwarnings("ignore", category=DeprecationWarning)

import numpy as np  # noqa: E402  the filters above come first
from qiskit import QuantumCircuit  # noqa: E402
from qiskit.circuit import Parameter  # noqa: E402
from qiskit.quantum_info import SparsePauliOp, Statevector  # noqa: E402
from qiskit.transpiler import generate_preset_pass_manager  # noqa: E402
from qiskit_ibm_runtime import Executor, QiskitRuntimeService, QuantumProgram  # noqa: E402
from qiskit_ibm_runtime.exceptions import IBMRuntimeError  # noqa: E402
from qiskit_ibm_runtime.executor_estimator import Estimator  # noqa: E402
from qiskit_ibm_runtime.executor_noise_learner import NoiseLearnerV3  # noqa: E402
from qiskit_ibm_runtime.executor_sampler import Sampler  # noqa: E402
from samplomatic import Twirl, build  # noqa: E402

SEED = 7
SHOTS = 4096


def main() -> None:
    service = QiskitRuntimeService()
    backend = service.backend("fake_torino")
    passes = generate_preset_pass_manager(3, backend=backend, seed_transpiler=1)
    sampled(backend, passes)
    estimated(backend, passes)
    executed(backend)
    refused(backend)
    print("all executed")


def sampled(backend, passes) -> None:
    """GHZ: nearly all shots agree, twirled or not; same seed, same bits."""
    ghz = QuantumCircuit(3)
    ghz.h(0)
    ghz.cx(0, 1)
    ghz.cx(1, 2)
    ghz.measure_all()
    isa = passes.run(ghz)
    agree = {}
    for twirled in (False, True):
        sampler = Sampler(backend)
        sampler.options.twirling.enable_gates = twirled
        sampler.options.twirling.enable_measure = twirled
        sampler.options.simulator.seed_simulator = SEED
        results = [sampler.run([isa], shots=SHOTS).result() for _ in range(2)]
        counts = [result[0].data.meas.get_counts() for result in results]
        assert counts[0] == counts[1], "same seed, other bits"
        agree[twirled] = (counts[0]["000"] + counts[0]["111"]) / SHOTS
        # A fair coin, but for readout errors, which favour 0.
        assert abs(counts[0]["000"] - counts[0]["111"]) < 0.15 * SHOTS, counts[0]
        (span,) = results[0].metadata["executor"].chunk_timing
        assert span.stop > span.start
    assert min(agree.values()) > 0.8, agree
    assert abs(agree[True] - agree[False]) < 0.05, agree  # readout errors average out differently

    sampler.options.execution.meas_type = "kerneled"
    sampler.options.twirling.enable_gates = sampler.options.twirling.enable_measure = False
    points = sampler.run([isa], shots=SHOTS).result()[0].data.meas
    assert points.shape == (SHOTS, 3)
    ones = points.real > 0
    assert abs(np.mean(ones.all(axis=1) | ~ones.any(axis=1)) - agree[False]) < 0.05


def estimated(backend, passes) -> None:
    """A sweep of one angle: each level of resilience is near the exact values, and none cheats."""
    angle = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    observables = [SparsePauliOp("ZZ"), SparsePauliOp("XX"), SparsePauliOp("IZ")]
    angles = np.array([0.4, 1.3])
    isa = passes.run(circuit)
    mapped = [[observable.apply_layout(isa.layout)] for observable in observables]
    exact = np.array(
        [
            [Statevector(circuit.assign_parameters([a])).expectation_value(o).real for a in angles]
            for o in observables
        ]
    )

    def run(**options):
        estimator = Estimator(backend)
        for name, value in options.pop("resilience", {}).items():
            setattr(estimator.options.resilience, name, value)
        estimator.options.simulator.seed_simulator = SEED
        estimator.options.resilience_level = options["level"]
        data = estimator.run([(isa, mapped, angles[:, None])], precision=1 / 64).result()[0].data
        return data.evs, data.stds

    # The readout of the two qubits is right to about 5 %, one cz to 1 %; TREX takes the readout
    # away, extrapolation and cancellation the gate; what is left is sampled: 5 standard errors.
    biases = {0: 0.2, 1: 0.05, 2: 0.05}
    for level, bias in biases.items():
        evs, stds = run(level=level)
        assert evs.shape == (3, 2)
        assert (abs(evs - exact) < bias + 5 * stds + 1e-3).all(), (level, evs, exact, stds)

    estimator = Estimator(backend)
    estimator.options.resilience.pec_mitigation = True
    pubs = [(isa, mapped, angles[:, None])]
    layers = estimator.find_unique_layers(pubs)
    learner = NoiseLearnerV3(backend)
    learner.options.num_randomizations = 8
    learner.options.layer_pair_depths = [0, 2, 8]
    learner.options.simulator.seed_simulator = SEED
    maps = learner.run(layers).result().to_pauli_lindblad_maps()
    # The learned rates are an error of the gate that is of the snapshot's size.
    (cz,) = {i.operation.name: backend.target["cz"][q] for q, i in gates(isa)}.values()
    total = sum(rate for one in maps for rate in one.rates)
    assert 0.2 * cz.error < total < 10 * cz.error + 0.01, (total, cz.error)
    evs, stds = run(
        level=1,
        resilience={
            "pec_mitigation": True,
            "layer_noise_model": list(zip(layers, maps, strict=True)),
        },
    )
    assert (abs(evs - exact) < 0.05 + 5 * stds).all(), (evs, exact, stds)


def gates(circuit):
    for instruction in circuit.data:
        if len(instruction.qubits) == 2 and instruction.name != "barrier":
            yield tuple(circuit.find_bit(q).index for q in instruction.qubits), instruction


def executed(backend) -> None:
    """The executor itself: a sweep, and a twirled box; all that it returns."""
    misread = {qubit: known.error for (qubit,), known in backend.target["measure"].items()}
    pair = min(backend.target["cz"], key=lambda pair: sum(map(misread.get, pair)))
    angle = Parameter("a")
    circuit = QuantumCircuit(backend.num_qubits, 1)
    circuit.sx(pair[0])
    circuit.rz(angle, pair[0])
    circuit.sx(pair[0])
    circuit.measure(pair[0], 0)
    angles = np.array([[0.0], [np.pi / 2], [np.pi]])
    boxed = QuantumCircuit(backend.num_qubits)
    with boxed.box([Twirl()]):
        boxed.cz(*pair)
    with boxed.box([Twirl()]):
        boxed.measure_all()
    template, samplex = build(boxed)

    program = QuantumProgram(shots=512, passthrough_data={"mine": [1, 2.5, None, "x"]})
    program.append_circuit_item(circuit, circuit_arguments=angles, chunk_size=2)
    program.append_samplex_item(template, samplex=samplex, shape=(6,), chunk_size=4)
    executor = Executor(backend, {"experimental": {"simulator": {"seed_simulator": SEED}}})
    executor.options.execution.scheduler_timing = True
    executor.options.execution.stretch_values = True
    results = [executor.run(program).result() for _ in range(2)]

    sweep, twirled = results[0]
    # Two sx with an angle between them: the chance of 1 is cos^2(angle / 2).
    chances = sweep["c"].mean(axis=(1, 2))
    assert (abs(chances - [1, 0.5, 0]) < 0.11).all(), chances  # 5 standard errors
    flips = twirled["measurement_flips.meas"]
    assert flips.shape == (6, 1, backend.num_qubits)
    outcomes = twirled["meas"] ^ flips
    assert outcomes.shape == (6, 512, backend.num_qubits)
    assert outcomes[..., pair].mean() < 0.05
    assert 0.1 < twirled["meas"][..., pair].mean() < 0.9
    assert results[0].passthrough_data == {"mine": [1, 2.5, None, "x"]}
    spans = results[0].metadata.chunk_timing
    parts = [(part.idx_item, part.size) for span in spans for part in span.parts]
    assert parts == [(0, 2), (0, 1), (1, 4), (1, 2)]
    assert all(a.stop <= b.start for a, b in pairwise(spans))
    assert sweep.metadata.scheduler_timing.timing.startswith(f"main,sx_{pair[0]},")
    assert sweep.metadata.scheduler_timing.circuit_duration > 0
    for one, other in zip(*results, strict=True):
        assert all((one[name] == other[name]).all() for name in one)


def refused(backend) -> None:
    """What cannot be honoured is named."""
    program = QuantumProgram(shots=10)
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    program.append_circuit_item(circuit)
    executor = Executor(backend)
    executor.options.execution.rep_delay = 1.0
    told = ""
    try:
        executor.run(program)
    except IBMRuntimeError as error:
        told = str(error)
    assert "rep_delay: 1 s is outside" in told, told


main()
