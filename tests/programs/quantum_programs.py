"""Quantum programs for the executor, as the client makes and writes them."""

from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_ibm_runtime import QuantumProgram
from qiskit_ibm_runtime.options_models import ExecutorOptions
from qiskit_ibm_runtime.quantum_program.params_converters import QUANTUM_PROGRAM_PARAMS_CONVERTERS
from samplomatic import InjectNoise, Twirl, build


def body(quantum_program: QuantumProgram, version: str = "v2.0", **options: Any) -> dict[str, Any]:
    """The parameters of a job, as the client writes them."""
    converter = QUANTUM_PROGRAM_PARAMS_CONVERTERS[version]
    params = converter.encoder(quantum_program, ExecutorOptions()).model_dump(mode="json")
    params["options"] |= options
    return params


def seeded(made: QuantumProgram, seed: int) -> dict[str, Any]:
    return body(made, experimental={"simulator": {"seed_simulator": seed}})


def boxed(num_qubits: int = 5, *, noisy: bool = False) -> Any:
    """A Bell state on Manila's first two qubits, in twirled boxes: a template and its samplex."""
    circuit = QuantumCircuit(num_qubits)
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(np.pi / 2, 0)
    with circuit.box([Twirl(), *([InjectNoise("n", "m")] if noisy else [])]):
        circuit.rx(Parameter("a"), 1)
        circuit.cx(0, 1)
    with circuit.box([Twirl()]):
        circuit.measure_all()
    return build(circuit)


def mixed(shots: int = 100, **others: Any) -> QuantumProgram:
    """A plain circuit, a sweep, and a samplex whose arguments and randomizations span axes."""
    bell = QuantumCircuit(5, 2)
    bell.rz(np.pi / 2, 0)
    bell.sx(0)
    bell.rz(np.pi / 2, 0)
    bell.cx(0, 1)
    bell.measure([0, 1], [0, 1])
    angle = Parameter("a")
    turned = QuantumCircuit(1, 1)
    turned.sx(0)
    turned.rz(angle, 0)
    turned.sx(0)
    turned.measure(0, 0)
    template, samplex = boxed()
    made = QuantumProgram(shots=shots, **others)
    made.append_circuit_item(bell)
    made.append_circuit_item(turned, circuit_arguments=np.linspace(0, np.pi, 6).reshape(3, 2, 1))
    made.append_samplex_item(
        template,
        samplex=samplex,
        samplex_arguments={"parameter_values": np.array([[0.0], [np.pi], [0.1]])},
        shape=(4, 3),
    )
    return made
