"""Jobs in job mode: everything that a job tells, and the ways to find it again."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

from qiskit import QuantumCircuit
from qiskit_ibm_runtime import EstimatorV2, SamplerV2
from qiskit_ibm_runtime.exceptions import (
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
)
from steps import Absent, fitted, raises, step

ELSEWHERE = """
import sys, warnings
warnings.simplefilter("ignore")
from qiskit_ibm_runtime import QiskitRuntimeService
job = QiskitRuntimeService().job(sys.argv[1])
print(job.status(), sum(job.result()[0].data.meas.get_counts().values()))
"""


def ids(jobs):
    return [job.job_id() for job in jobs]


@step
def runs_a_job(desk):
    job = SamplerV2(mode=desk.backend).run([desk.bell], shots=512)
    counts = job.result()[0].data.meas.get_counts()
    assert sum(counts.values()) == 512
    assert counts["00"] + counts["11"] > 350, counts  # noisy qubits
    assert job.status() == "DONE"
    assert job.done()
    assert job.in_final_state()
    assert not any((job.running(), job.cancelled(), job.errored()))
    assert job.error_message() is None
    assert job.session_id is None
    assert job.primitive_id == "sampler"
    assert job.backend().name == "fake_torino"
    assert not job.private
    assert abs(datetime.now(UTC) - job.creation_date) < timedelta(minutes=5)
    assert job.instance == desk.service.active_instance()
    assert job.inputs["pubs"][0][0].num_clbits == 2
    assert isinstance(job.logs(), str)
    assert job.properties().backend_name == "fake_torino"
    again = desk.service.job(job.job_id())
    assert again.result()[0].data.meas.get_counts() == counts
    assert again.inputs["pubs"][0][0].num_clbits == 2


@step
def tells_usage_and_metrics(desk):
    job = SamplerV2(mode=desk.backend).run([desk.bell], shots=512)
    job.wait_for_final_state(timeout=60)
    assert job.usage() >= 2
    metrics = job.metrics()
    assert set(metrics["timestamps"]) >= {"created", "running", "finished"}
    assert metrics["usage"]["quantum_seconds"] == job.usage()
    assert job.usage_estimation["quantum_seconds"] == job.usage()


@step
def changes_tags(desk):
    sampler = SamplerV2(mode=desk.backend)
    sampler.options.environment.job_tags = [desk.tag, "first"]
    job = sampler.run([desk.bell])
    assert sorted(job.tags) == sorted([desk.tag, "first"])
    job.update_tags([desk.tag, "second"])
    assert sorted(desk.service.job(job.job_id()).tags) == sorted([desk.tag, "second"])
    assert ids(desk.service.jobs(job_tags=[desk.tag, "second"])) == [job.job_id()]
    assert desk.service.jobs(job_tags=[desk.tag, "first"]) == []
    job.result()


@step
def finds_jobs(desk):
    tag, service = f"{desk.tag}-jobs", desk.service
    sampler, estimator = SamplerV2(mode=desk.backend), EstimatorV2(mode=desk.backend)
    sampler.options.environment.job_tags = estimator.options.environment.job_tags = [tag]
    before = datetime.now(UTC)
    bare = desk.bell.remove_final_measurements(inplace=False)
    jobs = [sampler.run([desk.bell]), estimator.run([(bare, "I" * bare.num_qubits)])]
    for job in jobs:
        job.result()
    jobs.append(sampler.run([desk.endless]))
    after = datetime.now(UTC)
    first, second, third = ids(jobs)

    def found(**filters):
        return ids(service.jobs(job_tags=[tag], **filters))

    assert found() == [third, second, first]
    assert found(descending=False) == [first, second, third]
    assert found(limit=1) == [third]
    assert found(limit=1, skip=1) == [second]
    assert found(limit=None, skip=2) == [first]
    assert found(backend_name="fake_torino") == [third, second, first]
    assert found(backend_name="fake_fez") == []
    assert found(program_id="estimator") == [second]
    assert found(pending=True) == [third]
    assert found(pending=False) == [second, first]
    assert found(created_after=before, created_before=after) == [third, second, first]
    assert found(created_after=after) == found(created_before=before) == []
    instance = service.active_instance()
    assert found(instance=instance) == [third, second, first]
    jobs[2].cancel()
    assert found(pending=True) == []


@step
def finds_a_job_in_another_process(desk):
    job = SamplerV2(mode=desk.backend).run([desk.bell], shots=100)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, job.job_id()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split()[1:] == ["100"], done.stdout + done.stderr[-2000:]


@step
def cancels_jobs(desk):
    sampler = SamplerV2(mode=desk.backend)
    job = sampler.run([desk.endless])
    assert job.status() in {"RUNNING", "QUEUED"}
    job.cancel()
    assert job.status() == "CANCELLED"
    assert job.cancelled()
    raises(RuntimeInvalidStateError, job.result)
    raises(RuntimeInvalidStateError, job.cancel)
    assert job.job_id() in ids(desk.service.jobs(pending=False))


@step
def deletes_jobs(desk):
    job = SamplerV2(mode=desk.backend).run([desk.bell])
    job.result()
    if not hasattr(desk.service, "delete_job"):
        raise Absent("delete_job")
    desk.service.delete_job(job.job_id())
    raises(RuntimeJobNotFound, lambda: desk.service.job(job.job_id()))
    raises(RuntimeJobNotFound, lambda: desk.service.delete_job(job.job_id()))


@step
def keeps_private_jobs_private(desk):
    sampler = SamplerV2(mode=desk.backend)
    sampler.options.environment.private = True
    job = sampler.run([desk.bell], shots=64)
    assert job.private
    assert sum(job.result()[0].data.meas.get_counts().values()) == 64
    again = desk.service.job(job.job_id())
    assert again.private
    assert "pubs" not in again.inputs
    # It was given once; what the client makes of an empty answer differs.
    raises(Exception, lambda: again.result()[0])


@step
def stops_jobs_over_their_limit(desk):
    sampler = SamplerV2(mode=desk.manila)
    sampler.options.max_execution_time = 40
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    job = sampler.run([fitted(circuit, desk.manila)], shots=400_000)  # 100 s of a QPU
    told = raises((RuntimeJobMaxTimeoutError, RuntimeJobFailureError), job.result)
    assert "ran too long" in told.lower(), told
    assert job.status() == "ERROR"
    assert job.errored()
    assert "longer than maximum execution time" in job.error_message(), job.error_message()
    assert job.usage() == 40
