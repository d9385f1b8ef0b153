"""`queuebit jobs`, `job` and `cancel`."""

import time
from typing import Annotated, Any

import typer

from queuebit.cli.connection import Connection, Json, asks_service, segment
from queuebit.cli.output import local_time, print_fields, print_json, print_table, seconds
from queuebit.cli.timeline import spans
from queuebit.errors import NotFound

PAGE_MAX = 200  # jobs in one answer of the API

Id = Annotated[str, typer.Argument(metavar="ID", show_default=False)]


@asks_service
def jobs(  # noqa: PLR0913 - each is an option
    connection: Connection,
    *,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="How many at most.")] = 20,
    pending: Annotated[
        bool | None, typer.Option("--pending/--final", help="Only those not ended, or ended.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Only those of this backend.")] = None,
    workload: Annotated[str | None, typer.Option(help="Only those of this workload.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only those with all these tags.")] = None,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first."""
    found = connection.get(
        "/jobs",
        limit=limit,
        sort="DESC",
        pending=pending,
        backend=backend,
        session_id=workload,
        tags=tag or None,
        include_mocks=True,
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ["ID", "Status", "Program", "Backend", "Workload", "Created", "Tags"],
        [
            (
                job["id"],
                _status(job),
                job.get("program", {}).get("id"),
                job.get("backend"),
                job.get("session_id"),
                local_time(job.get("created")),
                " ".join(job.get("tags") or ()),
            )
            for job in found["jobs"]
        ],
        empty="No jobs.",
    )
    left_out = found.get("count", 0) - len(found["jobs"])
    if left_out > 0:
        typer.echo(f"and {left_out} more: --limit", err=True)


@asks_service
def job(connection: Connection, *, job_id: Id, as_json: Json = False) -> None:
    """Show one job: what it is, when it did what, why it ended."""
    path = f"/jobs/{segment(job_id)}"
    found = connection.get(path, exclude_params="true")
    metrics = connection.get(f"{path}/metrics")
    if as_json:
        print_json({"job": found, "metrics": metrics})
        return
    state = found.get("state", {})
    stamps = metrics.get("timestamps") or {}
    print_fields(
        [
            ("ID", found["id"]),
            ("Status", _status(found)),
            ("Reason", _reason(state)),
            ("Program", found.get("program", {}).get("id")),
            ("Backend", found.get("backend")),
            ("Workload", found.get("session_id")),
            ("Tags", " ".join(found.get("tags") or ()) or None),
            ("Created", local_time(stamps.get("created"))),
            ("Started", local_time(stamps.get("running"))),
            ("Ended", local_time(stamps.get("finished"))),
            ("Stages", _stages(metrics)),
            ("QPU time", seconds((metrics.get("usage") or {}).get("quantum_seconds"))),
        ]
    )


@asks_service
def cancel(connection: Connection, *, job_or_workload_id: Id) -> None:
    """Cancel a job, or a batch or session with the jobs that it has queued."""
    name = segment(job_or_workload_id)
    try:
        connection.change("POST", f"/jobs/{name}/cancel")
    except NotFound:
        try:
            connection.change("DELETE", f"/sessions/{name}/close")
        except NotFound:
            raise NotFound(f"there is no job or workload {job_or_workload_id}") from None
        typer.echo(f"Cancelled workload {job_or_workload_id}.")
    else:
        typer.echo(f"Cancelled job {job_or_workload_id}.")


def _stages(metrics: dict[str, Any]) -> str | None:
    """How long the job was in each stage; None if it has not started."""
    if not metrics["timestamps"].get("running"):
        return None
    return ", ".join(
        f"{span.stage} {span.end - span.start:.2f} s" for span in spans(metrics, time.time())
    )


def _status(found: dict[str, Any]) -> str:
    return str(found.get("status") or found.get("state", {}).get("status"))


def _reason(state: dict[str, Any]) -> str | None:
    """Why it ended so, what to do, and the number."""
    if not state.get("reason"):
        return None
    number = f" (code {state['reason_code']})" if state.get("reason_code") else ""
    return f"{state['reason']}{number}"
