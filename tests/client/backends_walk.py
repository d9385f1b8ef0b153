"""Asks what the backends are, as users do; prints "all found" at its end."""

import warnings

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.exceptions import IBMInputValueError
from qiskit_ibm_runtime.executor_sampler import Sampler

warnings.filterwarnings("ignore", message="Unverified HTTPS request")


def main() -> None:
    service = QiskitRuntimeService()
    told = {backend.name: backend.physical_qubits for backend in service.backends()}
    assert told == {"fez": 332, "plain": 332, "manila": 5, "old": 5}, told
    dynamic = {backend.name for backend in service.backends(dynamic_circuits=True)}
    static = {backend.name for backend in service.backends(dynamic_circuits=False)}
    assert (dynamic, static) == ({"fez", "plain", "manila"}, {"old"})
    assert service.least_busy(dynamic_circuits=True, min_num_qubits=6).name in ("fez", "plain")
    fractional(service)
    usage = service.usage()
    spans = {key: value for key, value in usage.items() if key.endswith("_seconds")}
    assert spans.keys() >= {"usage_consumed_seconds", "usage_remaining_seconds"}
    assert all(type(value) is int for value in spans.values()), spans
    assert spans["usage_consumed_seconds"] > 0
    print("all found")


def fractional(service: QiskitRuntimeService) -> None:
    """rx and rzz where a user asks for them, together with control flow."""
    assert {"rx", "rzz"}.isdisjoint(service.backend("fez").basis_gates)
    with pytest.raises(IBMInputValueError, match="does not support fractional gates"):
        service.backend("plain", use_fractional_gates=True)
    backend = service.backend("fez", use_fractional_gates=True)
    assert {"rx", "rzz"} <= {*backend.basis_gates}
    assert {"rx", "rzz", "if_else"} <= {*backend.target.operation_names}
    angle = Parameter("angle")
    circuit = QuantumCircuit(2, 2)
    circuit.h([0, 1])
    circuit.rzz(angle, 0, 1)
    circuit.h([0, 1])
    circuit.measure([0, 1], [0, 1])
    passes = generate_preset_pass_manager(3, backend=backend, seed_transpiler=1)
    fitted = passes.run(circuit)
    assert fitted.count_ops()["rzz"] == 1
    angles = [0.0, 0.6, np.pi / 2]
    result = Sampler(mode=backend).run([(fitted, [[one] for one in angles])], shots=4_000).result()
    for index, one in enumerate(angles):
        zeros = result[0].data.c.get_counts(index).get("00", 0) / 4_000
        assert abs(zeros - np.cos(one / 2) ** 2) < 0.06, (one, zeros)


if __name__ == "__main__":
    main()
