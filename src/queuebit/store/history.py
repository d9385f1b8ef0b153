"""Everything that a service has on record, read from its database beside a running service."""

import asyncio
from pathlib import Path

import sqlalchemy as sa

from queuebit.core.model import Job, Workload
from queuebit.errors import QueuebitError
from queuebit.store.connect import connect
from queuebit.store.tables import JOB_RECORD, WORKLOAD_RECORD, jobs, workloads
from queuebit.store.tenants import Tenants
from queuebit.tenancy import InstanceRecord


def read_history(url: str) -> tuple[list[Job], list[Workload], list[InstanceRecord]]:
    """All jobs, workloads and instances at the SQLAlchemy URL; nothing is changed.

    QueuebitError if there is no database, or it is of another version of Queuebit.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise QueuebitError(f"no service has kept anything in {parsed.database}")
    try:
        return asyncio.run(_read(url))
    except (sa.exc.SQLAlchemyError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise QueuebitError(
            f"the history in {parsed.render_as_string()} cannot be read; a service of this version "
            f"brings an older database up to date when it starts ({cause})"
        ) from None


async def _read(url: str) -> tuple[list[Job], list[Workload], list[InstanceRecord]]:
    of_jobs = sa.select(*(jobs.c[name] for name in JOB_RECORD)).order_by(jobs.c.seq)
    of_workloads = sa.select(*(workloads.c[name] for name in WORKLOAD_RECORD))
    engines = connect(url)
    try:
        async with engines.reader.connect() as connection:
            job_rows = (await connection.execute(of_jobs)).all()
            # Read after the jobs: each job's workload is there.
            workload_rows = (await connection.execute(of_workloads)).all()
        instances = (await Tenants(engines).read()).instances.values()
    finally:
        await engines.dispose()
    return (
        [Job(**row._asdict()) for row in job_rows],
        [Workload(**row._asdict()) for row in workload_rows],
        list(instances),
    )
