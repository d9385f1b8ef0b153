"""Runs the noise learners against a simulated Torino, with the client that it is run by.

`NoiseLearner`, whose result an estimator takes back; and `NoiseLearnerV3`, where the client has it.
"""

import warnings

warnings.filterwarnings("ignore", message="Unverified HTTPS request")
warnings.filterwarnings("ignore", category=DeprecationWarning)

import qiskit_ibm_runtime  # noqa: E402  the filters above come first
from qiskit import QuantumCircuit  # noqa: E402
from qiskit.quantum_info import SparsePauliOp  # noqa: E402
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService  # noqa: E402
from qiskit_ibm_runtime.noise_learner import NoiseLearner  # noqa: E402

OPTIONS = {"num_randomizations": 16, "layer_pair_depths": [0, 2, 8]}
PAIR, OTHER = (0, 1), (2, 3)


def main() -> None:
    backend = QiskitRuntimeService().backend("fake_torino")
    result = learned(backend)
    mitigated(backend, result)
    if hasattr(qiskit_ibm_runtime, "NoiseLearnerV3"):
        boxes(backend)
    print("all learned")


def pauli_error(backend, pair):
    """The chance of a Pauli error that the reported error of a cz means: 5/4 of it."""
    return 1.25 * backend.target["cz"][pair].error


def circuit(backend):
    """Flips a qubit by two cz gates, which an error may undo."""
    made = QuantumCircuit(backend.num_qubits)
    for _ in range(4):
        made.sx(PAIR[1])
        made.cz(*PAIR)
        made.barrier(*PAIR, *OTHER)
    made.cz(*OTHER)
    return made


def learned(backend):
    result = NoiseLearner(backend, OPTIONS).run([circuit(backend)]).result()
    first, second = result.data  # the frequent layer first
    assert first.qubits == list(PAIR), first
    assert second.qubits == [*PAIR, *OTHER], second
    assert dict(first.circuit.count_ops()) == {"cz": 1}, first.circuit
    # The gate's error, and those of the four sx that twirl each of the two qubits.
    told, least = sum(first.error.rates), pauli_error(backend, PAIR)
    assert 0.7 * least < told < 2 * least + 0.01, (told, least)
    assert result.metadata["input_options"]["layer_pair_depths"] == [0, 2, 8], result.metadata
    return result


def mitigated(backend, result) -> None:
    """The result is a noise model for the estimator, which need not learn it then."""
    estimator = EstimatorV2(backend)
    estimator.options.resilience.pec_mitigation = True
    estimator.options.resilience.layer_noise_model = result
    isa = circuit(backend)
    letters = ["I"] * backend.num_qubits
    letters[-1 - PAIR[1]] = "Z"
    observable = SparsePauliOp("".join(letters))
    (pub,) = estimator.run([(isa, observable)], precision=0.03).result()
    assert abs(pub.data.evs - 1) < 5 * pub.data.stds + 0.02, pub


def boxes(backend) -> None:
    from samplomatic import Twirl  # noqa: PLC0415 - not in the oldest client's environment

    made = QuantumCircuit(backend.num_qubits, 2)
    with made.box([Twirl()]):
        made.cz(*PAIR)
    with made.box([Twirl()]):
        made.measure(PAIR, [0, 1])
    learner = qiskit_ibm_runtime.NoiseLearnerV3(backend, OPTIONS)
    gates, readouts = learner.run(list(made.data)).result()
    assert gates.metadata["learning_protocol"] == "lindblad"
    assert readouts.metadata["learning_protocol"] == "trex"
    assert len(gates) == 15, gates
    assert len(readouts) == 2, readouts
    told = sum(term[2] for term in gates.to_pauli_lindblad_map().to_sparse_list())
    assert 0.7 * pauli_error(backend, PAIR) < told < 2 * pauli_error(backend, PAIR) + 0.01, told


if __name__ == "__main__":
    main()
