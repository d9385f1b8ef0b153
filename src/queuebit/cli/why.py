"""`queuebit why` and `watch`: what a job or workload waits for, once or until its end."""

import time
from contextlib import nullcontext
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from queuebit.cli.connection import Connection, Json, asks_service, segment
from queuebit.cli.jobs import Id
from queuebit.cli.output import console, fields_table, local_time, print_json, printable
from queuebit.core.model import FINAL, WorkloadState
from queuebit.errors import NotFound

AHEAD = {
    "session": "of a session",
    "batches": "of active batches",
    "queue": "in the queue",
    "ready": "ready for the QPU",
}
OVER = {*FINAL, WorkloadState.CLOSED}


@asks_service
def why(connection: Connection, *, job_or_workload_id: Id, as_json: Json = False) -> None:
    """Tell why a job, batch or session waits, what goes first, and when it should start."""
    told = _ask(connection, job_or_workload_id)
    if as_json:
        print_json(told)
    else:
        console().print(_picture(told))


@asks_service
def watch(
    connection: Connection,
    *,
    job_or_workload_id: Id,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Follow a job, batch or session to its end: its status and why it waits. Ctrl-C leaves it."""
    told = _ask(connection, job_or_workload_id)
    out = console()
    live = Live(_picture(told), console=out, auto_refresh=False) if out.is_terminal else None
    with live or nullcontext():
        shown = None
        while True:
            if live is not None:
                live.update(_picture(told), refresh=True)
            elif shown != (line := f"{told['status']}: {told['reason']}"):
                out.print(printable(line), soft_wrap=True, markup=False)
                shown = line
            if told["status"] in OVER:
                return
            time.sleep(every)
            told = _ask(connection, job_or_workload_id)


def _ask(connection: Connection, record_id: str) -> dict[str, Any]:
    name = segment(record_id)
    for kind in ("jobs", "sessions"):
        try:
            return connection.get(f"/queuebit/{kind}/{name}/why")
        except NotFound:
            continue
    raise NotFound(f"there is no job or workload {record_id}")


def _picture(told: dict[str, Any]) -> Table:
    ahead = told["ahead"] or {"jobs": []}
    counts = [f"{ahead[key]} {what}" for key, what in AHEAD.items() if ahead.get(key)]
    is_over = told["status"] in OVER
    return fields_table(
        [
            ("ID", told["id"]),
            ("Status", told["status"]),
            ("Why", told["reason"]),
            ("Rule", told["rule"] and f"{told['rule']} ({told['source']})"),
            ("Until", local_time(told["until"])),
            ("Position", told["position"]),
            ("Ahead", ", ".join(counts) or None),
            ("of yours", " ".join(ahead["jobs"]) or None),
            ("Started" if is_over else "Start", local_time(told["estimated_start"])),
            ("Ended" if is_over else "End", local_time(told["estimated_completion"])),
            ("No estimate", told["no_estimate"]),
        ]
    )
