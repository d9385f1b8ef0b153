"""Batches and sessions: their lives as the client sees them.

The plan quick has an interactive TTL of two seconds.
"""

import contextlib

from qiskit_ibm_runtime import Batch, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import IBMRuntimeError, RuntimeInvalidStateError
from steps import raises, step, wait_for

FIELDS = {
    "id", "backend_name", "interactive_timeout", "max_time", "active_timeout", "state",
    "accepting_jobs", "last_job_started", "last_job_completed", "started_at", "closed_at",
    "activated_at", "mode", "usage_time",
}  # fmt: skip


@step
def opens_a_batch(desk):
    batch = Batch(backend=desk.backend, max_time="25m")
    fresh = batch.details()
    assert set(fresh) >= FIELDS
    assert fresh["mode"] == "batch"
    assert fresh["max_time"] == 1500
    assert fresh["state"] == "open"
    assert fresh["accepting_jobs"]
    for key in ("started_at", "activated_at", "closed_at", "last_job_started", "usage_time"):
        assert fresh[key] is None, key
    assert batch.status() == "Pending"
    assert batch.backend() == "fake_torino"
    batch.cancel()
    assert batch.status() == "Closed"


@step
def lives_with_a_batch(desk):
    batch = Batch(backend=desk.backend)
    job = SamplerV2(mode=batch).run([desk.bell])
    job.result()
    assert job.session_id == batch.session_id
    wait_for(batch.status, "Pending")  # two seconds of interactive TTL
    assert batch.details()["state"] == "inactive"
    again = SamplerV2(mode=batch).run([desk.slow])  # comes back through the queue
    again_too = SamplerV2(mode=batch).run([desk.bell])
    batch.close()
    assert batch.status() == "In progress, not accepting new jobs"
    # The client's object refuses by itself; one made from the id asks the service.
    assert "closed" in raises(IBMRuntimeError, lambda: SamplerV2(mode=batch).run([desk.bell]))
    again.result()
    again_too.result()
    wait_for(batch.status, "Closed")
    done = batch.details()
    for key in ("started_at", "activated_at", "closed_at", "last_job_started"):
        assert done[key] is not None, key
    jobs = (job, again, again_too)
    assert abs(batch.usage() - sum(j.usage() for j in jobs)) < 1e-6
    found = desk.service.jobs(session_id=batch.session_id)
    assert {j.job_id() for j in found} == {j.job_id() for j in jobs}


@step
def finds_a_batch_again(desk):
    with Batch(backend=desk.backend) as batch:
        first = SamplerV2(mode=batch).run([desk.slow])
        same = Batch.from_id(batch.session_id, service=desk.service)
        assert same.session_id == batch.session_id
        second = SamplerV2(mode=same).run([desk.bell])
        assert second.session_id == batch.session_id
    same = Batch.from_id(batch.session_id, service=desk.service)
    told = raises(IBMRuntimeError, lambda: SamplerV2(mode=same).run([desk.bell]))
    assert "closed" in told, told
    for job in (first, second):
        job.result()
    wait_for(same.status, "Closed")


@step
def a_batch_is_default_inside_its_with(desk):
    with Batch(backend=desk.backend) as batch:
        job = SamplerV2().run([desk.bell])
    assert job.session_id == batch.session_id
    job.result()


@step
def a_session_has_the_backend_to_itself(desk):
    outside = SamplerV2(mode=desk.service.backend(desk.backend.name))
    with Session(backend=desk.backend, max_time=900) as session:
        sampler = SamplerV2(mode=session)
        first = sampler.run([desk.slow])
        wait_for(lambda: session.details()["state"], "active")
        with_others = outside.run([desk.bell])
        second = sampler.run([desk.bell])
        second.result()
        assert with_others.status() == "QUEUED"
        details = session.details()
        assert (details["mode"], details["max_time"]) == ("dedicated", 900)
        assert Session.from_id(session.session_id, service=desk.service).details()["state"] == (
            "active"
        )
    assert session.status() in {"In progress, not accepting new jobs", "Closed"}
    first.result()
    with_others.result()
    wait_for(session.status, "Closed")
    assert session.usage() > 0


@step
def cancels_a_session(desk):
    session = Session(backend=desk.backend)
    sampler = SamplerV2(mode=session)
    jobs = [sampler.run([desk.endless]) for _ in range(7)]  # five lanes
    session.cancel()
    statuses = [job.status() for job in jobs]
    assert statuses[-1] == "CANCELLED", statuses  # queued ones are cancelled,
    running = [job for job, status in zip(jobs, statuses) if status == "RUNNING"]  # noqa: B905
    assert running, statuses  # running ones run on
    assert session.status() == "In progress, not accepting new jobs"
    for job in running:
        with contextlib.suppress(RuntimeInvalidStateError):  # ended meanwhile
            job.cancel()
    wait_for(session.status, "Closed")
