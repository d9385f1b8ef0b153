"""Uses a service through QRMI, the client that Slurm's plugin has; prints "all done" at its end.

Arguments: URL of the service, API key, CRN. Both of QRMI's resource types for IBM's runtime API are
walked through; the third, ibm-quantum-system, speaks another API (docs/connecting.md).
"""

import json
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore", category=DeprecationWarning)

import numpy as np  # noqa: E402  the filter comes first
from qiskit import QuantumCircuit, transpile  # noqa: E402
from qiskit.circuit import Parameter  # noqa: E402
from qiskit.quantum_info import SparsePauliOp  # noqa: E402
from qrmi import (  # noqa: E402
    Payload,
    QRMIService,
    QuantumResource,
    ResourceProvider,
    ResourceType,
    TaskStatus,
)
from qrmi.primitives.ibm import EstimatorV2, SamplerV2, get_backend, get_target  # noqa: E402

BACKENDS = {"fake_torino": 133, "fake_fez": 156, "fake_manila": 5}
FINAL = (TaskStatus.Completed, TaskStatus.Failed, TaskStatus.Cancelled)
TYPES = {
    "QRS": (ResourceType.IBMQiskitRuntimeService, "qiskit-runtime-service"),
    "QCS": (ResourceType.IBMQuantumComputeService, "ibm-quantum-compute-service"),
}
# A Bell state in Torino's gates, on two of its qubits that read well.
BELL = """OPENQASM 3.0;
include "stdgates.inc";
bit[2] c;
rz(pi/2) $28; sx $28; rz(pi/2) $28;
rz(pi/2) $29; sx $29; rz(pi/2) $29;
cz $28, $29;
rz(pi/2) $29; sx $29; rz(pi/2) $29;
c[0] = measure $28;
c[1] = measure $29;
"""


def main(url: str, key: str, crn: str) -> None:
    for short, (kind, name) in TYPES.items():
        settings = {
            f"QRMI_IBM_{short}_ENDPOINT": f"{url}/api/v1",
            # With and without a slash at its end: QRMI puts /identity/token behind it.
            f"QRMI_IBM_{short}_IAM_ENDPOINT": f"{url}/" if short == "QRS" else url,
            f"QRMI_IBM_{short}_IAM_APIKEY": key,
            f"QRMI_IBM_{short}_SERVICE_CRN": crn,
            f"QRMI_IBM_{short}_SESSION_MODE": "dedicated" if short == "QRS" else "batch",
            f"QRMI_IBM_{short}_SESSION_MAX_TTL": "600",
        }
        listed(kind, settings)
        for setting, value in settings.items():
            os.environ[f"fake_torino_{setting}"] = value
        resource = QuantumResource("fake_torino", kind)
        described(resource, kind)
        acquired(resource)
        stopped(resource)
        with_primitives(name)
    print("all done")


def listed(kind: ResourceType, settings: dict[str, str]) -> None:
    provider = ResourceProvider(kind, settings)
    names = {one.resource_id() for one in provider.resources()}
    assert names == {*BACKENDS}, names
    (wide,) = provider.resources("num_qubits=150&status=online")
    assert wide.resource_id() == "fake_fez"
    assert provider.least_busy("name=*manila").resource_id() == "fake_manila"


def described(resource: QuantumResource, kind: ResourceType) -> None:
    assert resource.resource_type() == kind
    assert resource.is_accessible()
    told = json.loads(resource.target().value)
    assert told["configuration"]["n_qubits"] == 133
    assert len(told["properties"]["qubits"]) == 133
    assert get_target(resource).num_qubits == 133
    assert get_backend(resource).status().operational


def ended(resource: QuantumResource, task: str) -> TaskStatus:
    deadline = time.monotonic() + 120
    while (status := resource.task_status(task)) not in FINAL:
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status


def acquired(resource: QuantumResource) -> None:
    token = resource.acquire()
    assert token
    params = {"pubs": [[BELL, None, 500]], "version": 2, "support_qiskit": False, "options": {}}
    task = resource.task_start(
        Payload.QiskitPrimitive(input=json.dumps(params), program_id="sampler")
    )
    assert ended(resource, task) == TaskStatus.Completed
    told = json.loads(resource.task_result(task).value)
    samples = told["results"][0]["data"]["c"]["samples"]
    assert len(samples) == 500
    assert sum(sample in ("0x0", "0x3") for sample in samples) > 400
    assert isinstance(resource.task_logs(task), str)
    resource.release(token)


def stopped(resource: QuantumResource) -> None:
    params = {"pubs": [[BELL, None, 4_000_000]], "version": 2, "support_qiskit": False}
    payload = Payload.QiskitPrimitive(input=json.dumps(params), program_id="sampler")
    tasks = [resource.task_start(payload) for _ in range(2)]
    for task in tasks:
        resource.task_stop(task)
        assert ended(resource, task) == TaskStatus.Cancelled


def with_primitives(name: str) -> None:
    os.environ["QRMI_JOB_QPU_RESOURCES"] = "fake_torino"
    os.environ["QRMI_JOB_QPU_TYPES"] = name
    (resource,) = QRMIService().resources()
    angle = Parameter("angle")
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    target = get_target(resource)
    fitted = transpile(circuit, target=target, optimization_level=3, seed_transpiler=1)
    measured = transpile(
        circuit.measure_all(inplace=False), target=target, optimization_level=3, seed_transpiler=1
    )
    angles = [0.0, np.pi / 2, np.pi]

    job = SamplerV2(resource, options={"default_shots": 2_000}).run(
        [(measured, [[value] for value in angles])]
    )
    counts = [job.result()[0].data.meas.get_counts(index) for index in range(3)]
    assert job.done()
    ones = [one.get("11", 0) / 2_000 for one in counts]
    assert np.allclose(ones, [0, 0.5, 1], atol=0.12), ones

    observable = SparsePauliOp("ZI").apply_layout(fitted.layout)
    job = EstimatorV2(resource).run([(fitted, observable, [[value] for value in angles], 0.05)])
    values = job.result()[0].data.evs
    assert np.allclose(values, [1, 0, -1], atol=0.25), values


if __name__ == "__main__":
    main(*sys.argv[1:])
