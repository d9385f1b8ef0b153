"""`queuebit audit`."""

from typing import Annotated

import typer

from queuebit.cli.connection import Connection, Json, administers
from queuebit.cli.output import local_time, print_json, print_table

PAGE_MAX = 1_000  # entries in one answer of the API


@administers
def audit(  # noqa: PLR0913 - each is an option
    connection: Connection,
    *,
    limit: Annotated[int, typer.Option(min=1, max=PAGE_MAX, help="How many at most.")] = 50,
    before: Annotated[int | None, typer.Option(help="Only those before this number.")] = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    of_instance: Annotated[
        str | None, typer.Option("--of-instance", help="Only in this instance.")
    ] = None,
    action: Annotated[str | None, typer.Option(help="Such as job.submit, or job for all.")] = None,
    target: Annotated[str | None, typer.Option(help="Id or name of what was changed.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    since: Annotated[str | None, typer.Option(help="From this instant on, in UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this instant, in UTC.")] = None,
    as_json: Json = False,
) -> None:
    """List who changed what, and who was refused, the newest first."""
    found = connection.get(
        "/queuebit/audit",
        limit=limit,
        before=before,
        user=user,
        instance=of_instance,
        action=action,
        target=target,
        outcome="refused" if refused else None,
        since=since,
        until=until,
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ["No.", "When", "Who", "Key", "From", "Instance", "What", "Of", "Outcome"],
        [
            (
                entry["id"],
                local_time(entry["at"]),
                entry["user"],
                entry["key_id"],
                entry["address"],
                entry["instance"],
                f"{entry['action']} {entry['detail']}".strip(),
                entry["target"],
                entry["outcome"] + (f" {entry['times']} times" if entry["times"] > 1 else ""),
            )
            for entry in found["entries"]
        ],
        empty="Nothing is recorded.",
    )
