"""Finding a service: instances by name, CRN, tag, plan and region; backends by what they are.

Three instances: "quick" of the plan quick, tagged team-a; "local" of the plan premium, tagged
physics and team-a; "spare" of the plan open, which is free, tagged physics.
"""

from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2
from qiskit_ibm_runtime.accounts.exceptions import InvalidAccountError
from qiskit_ibm_runtime.exceptions import IBMInputValueError, IBMNotAuthorizedError
from steps import RELEASE, Absent, connect, fitted, raises, step


def crns(service):
    return {instance["name"]: instance["crn"] for instance in service.instances()}


def charged(service):
    """The name of the instance that a job is charged to."""
    backend = service.backend("fake_manila")
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    job = SamplerV2(mode=backend).run([fitted(circuit, backend)], shots=10)
    job.result()
    names = {crn: name for name, crn in crns(service).items()}
    return names[job.instance]


@step
def finds_the_saved_account(desk):
    known = {instance["name"]: instance for instance in desk.service.instances()}
    assert set(known) == {"quick", "local", "spare"}
    assert {name: one["plan"] for name, one in known.items()} == {
        "quick": "quick",
        "local": "premium",
        "spare": "open",
    }
    assert sorted(known["local"]["tags"]) == ["physics", "team-a"]
    assert desk.service.active_instance() == known["quick"]["crn"]
    assert desk.service.channel == "ibm_quantum_platform"
    assert desk.service.active_account()["channel"] == "ibm_quantum_platform"


@step
def takes_instances_by_name_and_crn(desk):
    local = crns(desk.service)["local"]
    assert connect(instance="local").active_instance() == local
    assert QiskitRuntimeService(instance=local).active_instance() == local
    assert charged(connect(instance=local)) == "local"


@step
def chooses_free_instances_first(desk):
    assert charged(connect()) == "spare"


@step
def chooses_instances_by_plan(desk):
    assert charged(connect(plans_preference=["premium"])) == "local"
    assert charged(connect(plans_preference=["Quick", "open"])) == "quick"


@step
def chooses_instances_by_tag(desk):
    assert charged(connect(tags=["team-a", "physics"])) == "local"
    told = raises(IBMInputValueError, lambda: connect(tags=["chemistry"]))
    assert "No matching instances" in told, told


@step
def chooses_instances_by_region(desk):
    assert connect(region="us-east").backend("fake_manila").name == "fake_manila"
    told = raises(IBMInputValueError, lambda: connect(region="eu-de"))
    assert "region: eu-de" in told, told


@step
def chooses_by_itself(desk):
    if RELEASE < (0, 48):
        raise Absent('instance="auto"')
    assert charged(connect(instance="auto")) == "spare"


@step
def refuses_wrong_instances_and_keys(desk):
    told = raises(IBMInputValueError, lambda: connect(instance="nobody's"))
    assert "nobody's" in told, told
    stranger = crns(desk.service)["local"].replace("local", "stranger")
    raises((IBMInputValueError, IBMNotAuthorizedError), lambda: connect(instance=stranger + "x"))
    told = raises(InvalidAccountError, lambda: connect(token="wrong", instance="local"))
    assert "Unable to retrieve instances" in told, told


@step
def lists_backends(desk):
    service = desk.service
    names = {backend.name for backend in service.backends()}
    assert names == {"fake_torino", "fake_fez", "fake_manila"}
    assert {b.name for b in connect().backends()} == names  # three instances, each backend once
    assert [b.name for b in service.backends(min_num_qubits=150)] == ["fake_fez"]
    assert [b.name for b in service.backends("fake_fez", operational=True)] == ["fake_fez"]
    assert service.backends(simulator=True) == []
    small = service.backends(filters=lambda backend: backend.num_qubits < 10)
    assert [b.name for b in small] == ["fake_manila"]
    local = crns(service)["local"]
    assert {b.name for b in connect().backends(instance=local)} == names
    dynamic = {b.name for b in service.backends(dynamic_circuits=True)}
    assert dynamic == names
    assert not {b.name for b in service.backends(dynamic_circuits=False)}


@step
def knows_a_backend(desk):
    backend = desk.backend
    assert backend.num_qubits == 133
    assert not backend.configuration().simulator
    status = backend.status()
    assert status.operational
    assert status.pending_jobs == 0
    assert backend.properties().backend_name == "fake_torino"
    assert "cz" in backend.target.operation_names
    both = desk.service.backend("fake_torino", use_fractional_gates=None)
    assert both.num_qubits == 133


@step
def finds_the_least_busy(desk):
    service = desk.service
    assert service.least_busy(min_num_qubits=150).name == "fake_fez"
    few = service.least_busy(operational=True, filters=lambda b: b.num_qubits < 10)
    assert few.name == "fake_manila"
    jobs = [SamplerV2(mode=desk.backend).run([desk.endless]) for _ in range(6)]  # five lanes
    # A client with an instance asks for the lengths of queues once; so it has to be another one.
    assert QiskitRuntimeService().least_busy().name != "fake_torino"
    assert desk.backend.status().pending_jobs == 1
    for job in jobs:
        job.cancel()


@step
def tells_the_usage(desk):
    told = desk.service.usage()
    assert told["usage_consumed_seconds"] >= 0
    assert told["instance_id"] == desk.service.active_instance()
    open_plan = connect(instance="spare").usage()
    assert open_plan["usage_limit_seconds"] == 600
    assert open_plan["usage_remaining_seconds"] <= 600
