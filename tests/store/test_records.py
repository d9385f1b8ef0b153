"""Whatever a record holds comes back; a field that no column stores is found here."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.records import any_of, fresh_id

from queuebit.core.model import BackendState, Job, Workload
from queuebit.store.database import Database, StoredJob, StoredWorkload
from queuebit.store.details import JobDetails, WorkloadDetails
from queuebit.store.tables import (
    BACKEND_RECORD,
    JOB_CHANGES,
    JOB_DETAILS,
    JOB_RECORD,
    WORKLOAD_CHANGES,
    WORKLOAD_DETAILS,
    WORKLOAD_RECORD,
    backends,
    jobs,
    workloads,
)

no_workload = st.none()
examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def opened(url: str, runner: asyncio.Runner) -> Iterator[Database]:
    database = Database(url)
    runner.run(database.open())
    yield database
    runner.run(database.close())


def test_a_column_for_every_field_and_a_field_for_every_column():
    assert {column.name for column in jobs.c} == {
        *JOB_RECORD,
        *JOB_DETAILS,
        "metrics",
        "result_bytes",
    }
    assert {column.name for column in workloads.c} == {*WORKLOAD_RECORD, *WORKLOAD_DETAILS}
    assert {column.name for column in backends.c} == {*BACKEND_RECORD}


@examples
@given(
    record=any_of(Job, workload_id=no_workload),
    details=any_of(JobDetails, submitted=st.none()),
    changed=any_of(Job, workload_id=no_workload),
)
def test_any_job_comes_back(
    opened: Database, runner: asyncio.Runner, record: Job, details: JobDetails, changed: Job
):
    key = fresh_id()
    record, details = replace(record, id=key), replace(details, id=key)
    changes = {name: getattr(changed, name) for name in JOB_CHANGES}
    changed = replace(record, **changes)

    async def stored(record: Job, *details: JobDetails) -> StoredJob | None:
        await opened.save([record], details)
        return await opened.job(key)

    assert runner.run(stored(record, details)) == StoredJob(
        record=record, details=details, metrics={}
    )
    assert runner.run(stored(changed)) == StoredJob(record=changed, details=details, metrics={})


@examples
@given(record=any_of(Workload), details=any_of(WorkloadDetails), changed=any_of(Workload))
def test_any_workload_comes_back(
    opened: Database,
    runner: asyncio.Runner,
    record: Workload,
    details: WorkloadDetails,
    changed: Workload,
):
    key = fresh_id()
    record, details = replace(record, id=key), replace(details, id=key)
    changes = {name: getattr(changed, name) for name in WORKLOAD_CHANGES}
    changed = replace(record, **changes)

    async def stored(record: Workload, *details: WorkloadDetails) -> StoredWorkload | None:
        await opened.save([record], details)
        return await opened.workload(key)

    assert runner.run(stored(record, details)) == StoredWorkload(record=record, details=details)
    assert runner.run(stored(changed)) == StoredWorkload(record=changed, details=details)


@examples
@given(state=any_of(BackendState), changed=any_of(BackendState))
def test_any_state_of_a_backend_comes_back(
    opened: Database, runner: asyncio.Runner, state: BackendState, changed: BackendState
):
    key = fresh_id()
    state, changed = replace(state, id=key), replace(changed, id=key)

    async def stored(state: BackendState) -> BackendState:
        await opened.save([state], [])
        return (await opened.backend_states())[key]

    assert runner.run(stored(state)) == state
    assert runner.run(stored(changed)) == changed
