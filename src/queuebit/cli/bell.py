"""A Bell pair through the real client."""

from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2

from queuebit.cli.connection import account_file

SHOTS = 1_000
TIMEOUT_S = 120  # others' jobs may go first


def saved_runtime(name: str) -> QiskitRuntimeService:
    """Connect with the saved account `name`."""
    return QiskitRuntimeService(filename=str(account_file()), name=name)


def run(runtime: QiskitRuntimeService) -> tuple[str, float]:
    """Run it where the queue is shortest; the backend, and how often both qubits agreed."""
    backend = runtime.least_busy()
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    isa = generate_preset_pass_manager(backend=backend, optimization_level=3).run(circuit)
    job = SamplerV2(mode=backend).run([isa], shots=SHOTS)
    try:
        counts = job.result(timeout=TIMEOUT_S)[0].data.meas.get_counts()
    except BaseException:
        job.cancel()
        raise
    return backend.name, (counts.get("00", 0) + counts.get("11", 0)) / SHOTS
