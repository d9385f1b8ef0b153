"""Calls everything that the client offers for jobs, batches and sessions, and checks the answers.

Runs under whatever client is installed, with `QiskitRuntimeService()` and nothing else; needs no
test framework, since the oldest client has an environment of its own. The instance "quick" has an
interactive TTL of two seconds.
"""

import contextlib
import time
import warnings

warnings.filterwarnings("ignore", message="Unverified HTTPS request")

from qiskit import QuantumCircuit  # noqa: E402  the filter above comes first
from qiskit.transpiler import generate_preset_pass_manager  # noqa: E402
from qiskit_ibm_runtime import (  # noqa: E402
    Batch,
    QiskitRuntimeService,
    SamplerV2,
    Session,
    __version__,
)
from qiskit_ibm_runtime.exceptions import (  # noqa: E402
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobNotFound,
)

FIELDS = {
    "id", "backend_name", "interactive_timeout", "max_time", "active_timeout", "state",
    "accepting_jobs", "last_job_started", "last_job_completed", "started_at", "closed_at",
    "activated_at", "mode", "usage_time",
}  # fmt: skip


def wait_for(value, expected, seconds=30):
    """Poll `value` until it is `expected`."""
    deadline = time.monotonic() + seconds
    while (seen := value()) != expected:
        assert time.monotonic() < deadline, f"{seen!r} instead of {expected!r}"
        time.sleep(0.05)


def raises(error, call):
    """The error that `call` raises; fails if it raises none."""
    try:
        call()
    except error as raised:
        return str(raised)
    raise AssertionError(f"{error.__name__} was not raised")


def circuits(backend):
    """A Bell circuit, and one that keeps the simulated QPU busy for seconds."""
    passes = generate_preset_pass_manager(1, backend=backend, seed_transpiler=1)
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    slow = QuantumCircuit(10)
    for layer in range(30):
        slow.sx(range(10))
        for qubit in range(layer % 2, 9, 2):
            slow.cz(qubit, qubit + 1)
    slow.measure_all()
    return passes.run(bell), passes.run(slow)


def walk_backends(service):
    names = {backend.name for backend in service.backends()}
    assert names == {"fake_torino", "fake_fez", "fake_manila"}
    backend = service.backend("fake_torino")
    assert backend.num_qubits == 133
    assert not backend.configuration().simulator
    assert backend.status().operational
    assert backend.properties().backend_name == "fake_torino"
    assert "cz" in backend.target.operation_names
    assert service.least_busy(min_num_qubits=150).name == "fake_fez"


def walk_jobs(service, backend, bell, slow):
    sampler = SamplerV2(mode=backend)
    job = sampler.run([bell], shots=512)
    counts = job.result()[0].data.meas.get_counts()
    assert sum(counts.values()) == 512
    assert counts["00"] + counts["11"] > 350  # noisy qubits
    assert job.status() == "DONE"
    assert job.session_id is None
    assert job.usage() >= 2
    metrics = job.metrics()
    assert set(metrics["timestamps"]) >= {"created", "running", "finished"}
    assert metrics["usage"]["quantum_seconds"] == job.usage()
    assert job.properties().backend_name == backend.name
    assert isinstance(job.logs(), str)
    assert job.inputs["pubs"][0][0].num_clbits == 2
    job.update_tags(["walk", __version__])
    assert sorted(job.tags) == sorted(["walk", __version__])
    assert [j.job_id() for j in service.jobs(job_tags=["walk", __version__])] == [job.job_id()]
    assert service.jobs(job_tags=["walk", "none"]) == []
    assert service.job(job.job_id()).result()[0].data.meas.get_counts() == counts

    slow_job = sampler.run([slow])
    assert slow_job.status() in {"RUNNING", "QUEUED"}
    slow_job.cancel()
    assert slow_job.status() == "CANCELLED"
    raises(RuntimeInvalidStateError, slow_job.result)
    raises(RuntimeInvalidStateError, slow_job.cancel)
    assert slow_job.job_id() in {j.job_id() for j in service.jobs(pending=False)}
    assert service.jobs(pending=True) == []
    raises(RuntimeJobNotFound, lambda: service.job("nosuchjob"))


def walk_batch(service, backend, bell, slow):
    batch = Batch(backend=backend, max_time="25m")
    fresh = batch.details()
    assert set(fresh) >= FIELDS
    assert fresh["mode"] == "batch"
    assert fresh["max_time"] == 1500
    assert fresh["state"] == "open"
    assert fresh["accepting_jobs"]
    for key in ("started_at", "activated_at", "closed_at", "last_job_started", "usage_time"):
        assert fresh[key] is None, key
    assert batch.status() == "Pending"
    job = SamplerV2(mode=batch).run([bell])
    job.result()
    assert job.session_id == batch.session_id
    assert batch.status() == "In progress, accepting new jobs"
    wait_for(batch.status, "Pending")  # two seconds of interactive TTL
    assert batch.details()["state"] == "inactive"
    again = SamplerV2(mode=batch).run([slow])  # comes back through the queue
    again_too = SamplerV2(mode=batch).run([bell])
    batch.close()
    assert batch.status() == "In progress, not accepting new jobs"
    assert "closed" in raises(IBMRuntimeError, lambda: SamplerV2(mode=batch).run([bell]))
    again.result()
    again_too.result()
    assert batch.status() == "Closed"
    done = batch.details()
    for key in ("started_at", "activated_at", "closed_at", "last_job_started"):
        assert done[key] is not None, key
    total = sum(j.usage() for j in (job, again, again_too))
    assert abs(batch.usage() - total) < 1e-6
    same = Batch.from_id(batch.session_id, service=service)
    assert same.status() == "Closed"
    assert len(service.jobs(session_id=batch.session_id)) == 3


def walk_session(service, backend, bell, slow):
    outside = SamplerV2(mode=service.backend(backend.name))
    with Session(backend=backend) as session:
        sampler = SamplerV2(mode=session)
        first = sampler.run([slow])
        wait_for(first.status, "RUNNING")
        with_others = outside.run([bell])
        second = sampler.run([bell])
        second.result()
        assert with_others.status() == "QUEUED"  # the backend is the session's
        assert session.details()["mode"] == "dedicated"
    assert session.status() in {"In progress, not accepting new jobs", "Closed"}
    first.result()
    with_others.result()
    assert session.status() == "Closed"
    assert session.usage() > 0
    cancelled = Session(backend=backend)
    sampler = SamplerV2(mode=cancelled)
    jobs = [sampler.run([slow]) for _ in range(9)]
    cancelled.cancel()
    statuses = [job.status() for job in jobs]
    assert statuses[-1] == "CANCELLED", statuses  # queued ones are cancelled,
    running = [job for job, status in zip(jobs, statuses, strict=True) if status == "RUNNING"]
    assert running  # running ones run on
    assert cancelled.status() == "In progress, not accepting new jobs"
    for job in running:
        with contextlib.suppress(RuntimeInvalidStateError):  # ended meanwhile
            job.cancel()
    assert cancelled.status() == "Closed"


def main():
    service = QiskitRuntimeService(instance="quick")
    walk_backends(service)
    backend = service.backend("fake_torino")
    bell, slow = circuits(backend)
    walk_jobs(service, backend, bell, slow)
    walk_batch(service, backend, bell, slow)
    walk_session(service, backend, bell, slow)
    print(f"qiskit-ibm-runtime {__version__}: all of it works")


if __name__ == "__main__":
    main()
