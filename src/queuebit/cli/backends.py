"""`queuebit backends`, `pause`, `maintenance` and `resume`."""

from typing import Annotated, Any

import typer

from queuebit.cli.connection import Connection, Json, administers, segment
from queuebit.cli.output import local_time, print_json, print_table

Backend = Annotated[str, typer.Argument(metavar="BACKEND", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="What users are told.", show_default=False)]


@administers
def backends(
    connection: Connection,
    *,
    mocks: Annotated[bool, typer.Option("--mocks", help="And those of dry runs.")] = False,
    as_json: Json = False,
) -> None:
    """List the backends: whether they start jobs, how full they are, their next calibration."""
    found = connection.get("/queuebit/backends", include_mocks=mocks or None)
    if as_json:
        print_json(found)
        return
    print_table(
        ["Name", "Qubits", "Status", "Running", "Queued", "Calibration", "Reason"],
        [
            (
                backend["name"],
                backend["qubits"],
                backend["status"],
                f"{backend['running']} of {backend['lanes']}",
                backend["queued"],
                _calibration(backend["calibration"]),
                None if backend["status"] == "online" else backend["reason"],
            )
            for backend in found["backends"]
        ],
        empty="No backends.",
    )


@administers
def pause(connection: Connection, *, backend: Backend, reason: Reason = None) -> None:
    """Have a backend start no jobs; it accepts them, and what runs runs on."""
    _set_status(connection, backend, "paused", reason)
    typer.echo(f"Paused {backend}; jobs that run, and an active session, run on.")


@administers
def maintenance(connection: Connection, *, backend: Backend, reason: Reason = None) -> None:
    """Take a backend offline; as when paused, it accepts jobs and starts none."""
    _set_status(connection, backend, "offline", reason)
    typer.echo(f"{backend} is in maintenance; jobs that run, and an active session, run on.")


@administers
def resume(connection: Connection, *, backend: Backend) -> None:
    """Have a backend start jobs again."""
    _set_status(connection, backend, "online", None)
    typer.echo(f"Resumed {backend}.")


def _set_status(connection: Connection, backend: str, status: str, reason: str | None) -> None:
    wish = {"status": status} if reason is None else {"status": status, "reason": reason}
    connection.change("PATCH", f"/queuebit/backends/{segment(backend)}", wish)


def _calibration(told: dict[str, Any]) -> str | None:
    """The calibration that runs, or is due, or comes next; None if none ever does."""
    if told["running"]:
        return f"{told['running']} runs"
    if told["due"]:
        return f"{told['due'][0]} is due"
    return next((f"{one['kind']} {local_time(one['at'])}" for one in told["scheduled"]), None)
