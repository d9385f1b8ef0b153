"""Mistakes, as the client shows what the service says of them."""

from qiskit import QuantumCircuit
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import Batch, SamplerV2, Session
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import IBMInputValueError, IBMRuntimeError, RuntimeJobNotFound
from steps import connect, raises, step


@step
def refuses_circuits_of_another_gate_set(desk):
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.measure_all()
    told = raises(IBMInputValueError, lambda: SamplerV2(mode=desk.backend).run([circuit]))
    assert "h" in told, told


@step
def refuses_what_the_client_lets_pass(desk):
    told = raises(
        IBMRuntimeError, lambda: SamplerV2(mode=desk.backend).run([desk.bell], shots=10**9)
    )
    assert "shots" in told, told


@step
def refuses_unknown_names(desk):
    raises(QiskitBackendNotFoundError, lambda: desk.service.backend("ibm_nowhere"))
    raises(QiskitBackendNotFoundError, lambda: desk.service.least_busy(min_num_qubits=10_000))
    raises(RuntimeJobNotFound, lambda: desk.service.job("nosuchjob"))
    unknown = "00000000-0000-4000-8000-000000000000"
    raises(IBMInputValueError, lambda: Session.from_id(unknown, service=desk.service))


@step
def refuses_sessions_on_the_open_plan(desk):
    backend = connect(instance="spare").backend("fake_manila")
    told = raises(RequestsApiError, lambda: Session(backend=backend))
    assert "1352" in told, told
    assert "not authorized to run a session when using the open plan" in told, told
    with Batch(backend=backend) as batch:
        assert batch.details()["max_time"] == 600
    told = raises(RequestsApiError, lambda: Batch(backend=backend, max_time="11m"))
    assert "660" in told, told
