"""`queuebit workloads` and `close`."""

from typing import Annotated

import typer

from queuebit.cli.connection import Connection, Json, asks_service, segment
from queuebit.cli.jobs import Id
from queuebit.cli.output import local_time, print_json, print_table, seconds
from queuebit.errors import NotFound

PAGE_MAX = 50  # workloads in one answer of the API


@asks_service
def workloads(
    connection: Connection,
    *,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List workloads (batches, sessions, jobs of their own), the newest first."""
    found = connection.get("/workloads", limit=limit, sort="-createdAt")
    if as_json:
        print_json(found)
        return
    print_table(
        ["ID", "Mode", "Status", "Accepts jobs", "Backend", "Created", "Ended", "QPU time"],
        [
            (
                workload["id"],
                workload["mode"],
                workload["status"],
                {True: "yes", False: "no"}.get(workload.get("accepting_jobs")),
                workload.get("backend"),
                local_time(workload.get("created")),
                local_time(workload.get("ended")),
                seconds((workload.get("usage") or {}).get("qpu_charge_time_seconds")),
            )
            for workload in found["workloads"]
        ],
        empty="No workloads.",
    )


@asks_service
def close(connection: Connection, *, workload_id: Id) -> None:
    """Close a batch or session: it takes no more jobs, and ends with those that it has."""
    try:
        connection.change("PATCH", f"/sessions/{segment(workload_id)}", {"accepting_jobs": False})
    except NotFound:
        raise NotFound(f"there is no batch or session {workload_id}") from None
    typer.echo(f"Closed workload {workload_id}; jobs that it has run on.")
