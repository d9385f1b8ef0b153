"""What each program computes, in the form in which the client gives it."""

import numpy as np
import qiskit_ibm_runtime
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import EstimatorV2, SamplerV2
from qiskit_ibm_runtime.noise_learner import NoiseLearner
from steps import RELEASE, Absent, fitted, step

SHOTS = 2_000
LEARNING = {"num_randomizations": 4, "layer_pair_depths": [0, 2], "shots_per_randomization": 64}


def turned(backend, *, measured):
    """A qubit turned by an angle, beside one that is left alone."""
    angle = Parameter("a")
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    if measured:
        circuit.measure_all()
    return fitted(circuit, backend)


@step
def sweeps_with_the_sampler(desk):
    angles = np.array([[0.0], [np.pi / 2], [np.pi]])
    job = SamplerV2(mode=desk.backend).run(
        [(turned(desk.backend, measured=True), angles)], shots=SHOTS
    )
    result = job.result()
    bits = result[0].data.meas
    assert bits.shape == (3,)
    assert (bits.num_shots, bits.num_bits) == (SHOTS, 2)
    ones = [sum(n for key, n in bits.get_counts(i).items() if key[-1] == "1") for i in range(3)]
    assert ones[0] < 0.15 * SHOTS, ones
    assert abs(ones[1] - SHOTS / 2) < 0.15 * SHOTS, ones
    assert ones[2] > 0.85 * SHOTS, ones
    (span,) = result.metadata["execution"]["execution_spans"]
    assert span.size == 3 * SHOTS
    assert span.stop > span.start


@step
def samples_dynamic_circuits(desk):
    circuit = QuantumCircuit(1, 2)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    circuit.measure(0, 1)
    sampler = SamplerV2(mode=desk.backend)
    data = sampler.run([fitted(circuit, desk.backend)], shots=SHOTS).result()[0].data
    counts = data.c.get_counts()
    assert counts["01"] > 0.75 * SHOTS, counts


@step
def averages_with_the_estimator(desk):
    angles = np.array([0.0, np.pi / 3, np.pi])
    circuit = turned(desk.backend, measured=False)
    observables = [
        [SparsePauliOp(label).apply_layout(circuit.layout)] for label in ("IZ", "IX", "ZI")
    ]
    exact = np.array([np.cos(angles), np.sin(angles), np.ones(3)])
    for level, bias in ((0, 0.2), (1, 0.06)):  # readout errors; without them
        estimator = EstimatorV2(mode=desk.backend, options={"resilience_level": level})
        estimator.options.seed_estimator = 5
        result = estimator.run([(circuit, observables, angles[:, None])], precision=0.02).result()
        data = result[0].data
        assert data.evs.shape == data.stds.shape == (3, 3)
        assert (abs(data.evs - exact) < bias + 5 * data.stds).all(), (level, data.evs, exact)
        assert result[0].metadata["target_precision"] == 0.02
        assert result.metadata["resilience"]["measure_mitigation"] is bool(level)


@step
def learns_noise(desk):
    circuit = QuantumCircuit(desk.backend.num_qubits)
    circuit.cz(0, 1)
    (layer,) = NoiseLearner(desk.backend, LEARNING).run([circuit]).result().data
    assert list(layer.qubits) == [0, 1]
    assert 0 < sum(layer.error.rates) < 0.3


@step
def runs_the_executor(desk):
    if not hasattr(qiskit_ibm_runtime, "Executor"):
        raise Absent("Executor")
    program = qiskit_ibm_runtime.QuantumProgram(shots=SHOTS)
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    circuit = fitted(circuit, desk.backend)
    program.append_circuit_item(circuit)
    (item,) = qiskit_ibm_runtime.Executor(desk.backend).run(program).result()
    assert item["c"].shape == (SHOTS, 1)
    assert item["c"].mean() > 0.85


@step
def learns_noise_of_boxes(desk):
    if not hasattr(qiskit_ibm_runtime, "NoiseLearnerV3"):
        raise Absent("NoiseLearnerV3")
    from samplomatic import Twirl  # noqa: PLC0415 - older releases come without it

    circuit = QuantumCircuit(desk.backend.num_qubits)
    with circuit.box([Twirl()]):
        circuit.cz(0, 1)
    learner = qiskit_ibm_runtime.NoiseLearnerV3(desk.backend)
    for name, value in LEARNING.items():
        setattr(learner.options, name, value)
    (gate,) = learner.run(list(circuit.data)).result()
    assert gate.metadata["learning_protocol"] == "lindblad"


@step
def samples_on_the_executor(desk):
    if RELEASE < (0, 47):
        raise Absent("executor_sampler")
    from qiskit_ibm_runtime.executor_sampler import SamplerV2 as OnExecutor  # noqa: PLC0415

    (pub,) = OnExecutor(desk.backend).run([desk.bell], shots=SHOTS).result()
    counts = pub.data.meas.get_counts()
    assert sum(counts.values()) == SHOTS
    assert counts["00"] + counts["11"] > 0.75 * SHOTS, counts


@step
def averages_on_the_executor(desk):
    if RELEASE < (0, 48):
        raise Absent("executor_estimator")
    from qiskit_ibm_runtime.executor_estimator import estimator as there  # noqa: PLC0415

    circuit = turned(desk.backend, measured=False)
    observable = SparsePauliOp("IZ").apply_layout(circuit.layout)
    on_executor = getattr(there, "Estimator", None) or there.EstimatorV2  # renamed in 0.50
    estimator = on_executor(desk.backend)
    (pub,) = estimator.run([(circuit, observable, [np.pi])], precision=0.05).result()
    assert abs(pub.data.evs + 1) < 0.1 + 5 * pub.data.stds, pub.data
