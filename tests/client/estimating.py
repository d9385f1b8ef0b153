"""Every option of the estimator, through the client, checked by physics. Run by
test_estimator_options.

Knows nothing of Queuebit. Prints the checks that held; a failing one ends it.
"""

import sys

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService
from qiskit_ibm_runtime.exceptions import IBMRuntimeError
from qiskit_ibm_runtime.noise_learner import NoiseLearner

service = QiskitRuntimeService()
backend = service.backend(sys.argv[1])
manager = generate_preset_pass_manager(
    backend=backend, optimization_level=1, seed_transpiler=3, initial_layout=[0, 1]
)
TIMEOUT = 300
LEARNING = {"layer_pair_depths": [0, 4], "num_randomizations": 8, "shots_per_randomization": 64}


def echoes():
    """Two qubits, ten two-qubit gates, one parameter."""
    angle = Parameter("t")
    circuit = QuantumCircuit(2)
    for step in range(10):
        circuit.rx(angle, 0)
        circuit.ry(0.2 + 0.1 * step, 1)
        circuit.cx(0, 1)
    return circuit


ideal_circuit = echoes()
circuit = manager.run(ideal_circuit)
OPERATORS = [
    SparsePauliOp("ZZ"),
    SparsePauliOp(["XY", "IZ"], [0.5, 1.5]),
    SparsePauliOp("ZI"),
]
OBSERVABLES = [[operator.apply_layout(circuit.layout)] for operator in OPERATORS]
VALUES = np.array([[0.4], [0.9]])
IDEAL = (
    (StatevectorEstimator().run([(ideal_circuit, [[o] for o in OPERATORS], VALUES)]))
    .result()[0]
    .data.evs
)


def submit(level=1, precision=None, **options):
    """A job with a seed, so that it tells the same every time."""
    estimator = EstimatorV2(backend, options={"seed_estimator": 17, "resilience_level": level})
    estimator.options.update(**options)
    return estimator.run([(circuit, OBSERVABLES, VALUES)], precision=precision)


def layers():
    learner = NoiseLearner(backend, options=LEARNING)
    return learner.run([circuit])


ways = {
    "none": submit(0),
    "again": submit(0),
    "trex": submit(1),
    "twirled": submit(1, twirling={"enable_gates": True, "strategy": "active-circuit"}),
    "zne": submit(2),
    "folded": submit(
        1,
        resilience={
            "zne_mitigation": True,
            "zne": {
                "amplifier": "gate_folding_front",
                "noise_factors": (1, 2, 3, 4),
                "extrapolator": ("double_exponential", "polynomial_degree_3", "linear"),
                "extrapolated_noise_factors": (0, 0.5),
            },
        },
    ),
    "decoupled": submit(1, 0.05, dynamical_decoupling={"enable": True, "sequence_type": "XY4"}),
    "pea": submit(
        1,
        0.02,
        resilience={
            "zne_mitigation": True,
            "zne": {"amplifier": "pea"},
            "layer_noise_learning": LEARNING,
        },
    ),
    "pec": submit(
        1,
        0.02,
        resilience={"pec_mitigation": True, "layer_noise_learning": LEARNING},
        twirling={"shots_per_randomization": 16},
    ),
}
learned = layers().result(timeout=TIMEOUT)
ways["given"] = submit(
    1,
    0.02,
    resilience={"pec_mitigation": True, "layer_noise_model": learned},
    twirling={"shots_per_randomization": 16},
)
results = {name: job.result(timeout=TIMEOUT) for name, job in ways.items()}
data = {name: result[0].data for name, result in results.items()}


def error(name):
    return float(np.sqrt(np.mean((data[name].evs - IDEAL) ** 2)))


assert all(one.evs.shape == one.stds.shape == (3, 2) for one in data.values())
assert (data["none"].evs == data["again"].evs).all()
print("shapes, same seed same values")

assert error("trex") < error("none"), (error("trex"), error("none"))
assert results["trex"].metadata["resilience"]["measure_mitigation"] is True
difference = data["twirled"].evs - data["trex"].evs
assert (np.abs(difference) < 5 * np.hypot(data["twirled"].stds, data["trex"].stds) + 0.03).all()
assert results["twirled"].metadata["twirling"]["strategy"] == "active-circuit"
assert np.abs(data["decoupled"].evs - IDEAL).max() < 0.5
print("readout, twirling, decoupling")

assert error("zne") < error("none") / 2, (error("zne"), error("none"))
assert data["zne"].evs_noise_factors.shape == (3, 2, 3)
assert data["zne"].evs_extrapolated.shape == (3, 2, 2, 4)
assert data["folded"].evs_extrapolated.shape == (3, 2, 3, 2)
assert error("folded") < 0.5
told = results["folded"].metadata["resilience"]["zne"]
assert list(told["noise_factors"]) == [1, 2, 3, 4], told
print("extrapolation")

for name in ("pea", "pec", "given"):
    assert error(name) < error("none"), (name, error(name), error("none"))
    told = results[name][0].metadata["resilience"]["layer_noise"]
    assert told["total_mitigated_layers"] == 10, told
    assert 1.02 < told["noise_overhead"] < 5, told
for name in ("pec", "given"):
    scaling = results[name][0].metadata["resilience"]["pec"]["num_randomizations_scaling"]
    assert 1 < scaling < 5
    assert (np.abs(data[name].evs - IDEAL) < 5 * data[name].stds).all()
print("learned and given noise")


def refusal(**options):
    """What the service says to these options, which the client lets pass."""
    try:
        submit(**options)
    except IBMRuntimeError as refused:
        return str(refused)
    raise AssertionError(f"{options} was accepted")


told = refusal(level=2, resilience={"pec_mitigation": True})
assert "resilience.pec_mitigation and resilience.zne_mitigation" in told, told
assert "1208" in told, told
told = refusal(resilience={"zne_mitigation": True, "zne": {"noise_factors": (1, 10**6)}})
assert "PUB 0: option resilience.zne.noise_factors" in told, told
print("refusals")
