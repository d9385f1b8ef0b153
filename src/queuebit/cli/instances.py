"""`queuebit instances`: who is charged, and who may use it."""

from typing import Annotated, Any

import typer

from queuebit.cli.connection import Connection, Json, administers, segment
from queuebit.cli.output import print_json, print_table, seconds
from queuebit.tenancy import Role

Which = Annotated[str, typer.Argument(metavar="INSTANCE", show_default=False)]
User = Annotated[str, typer.Argument(metavar="USER", show_default=False)]
Plan = Annotated[str | None, typer.Option(help="Name of a configured plan.", show_default=False)]
Account = Annotated[str | None, typer.Option(help="Whose it is.", show_default=False)]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="What a client finds it by; repeatable.", show_default=False),
]
Allocation = Annotated[
    float | None,
    typer.Option("--allocation-s", min=0, help="Weight in the fair share.", show_default=False),
]
Limit = Annotated[
    float | None,
    typer.Option("--limit-s", min=0, help="Most QPU time in the window.", show_default=False),
]

app = typer.Typer(help="Instances: who is charged, and who may use them.", no_args_is_help=True)


@administers
def list_(connection: Connection, *, as_json: Json = False) -> None:
    """List your instances; an administrator sees all."""
    found = connection.get("/queuebit/instances")
    if as_json:
        print_json(found)
        return
    print_table(
        ["Name", "Plan", "Account", "Allocation", "Limit", "Your role", "Users"],
        [
            (
                one["name"],
                one["plan"],
                one["account"],
                seconds(one["allocation_seconds"]),
                "the plan's" if one["limit_seconds"] is None else seconds(one["limit_seconds"]),
                one["role"],
                None
                if one["users"] is None
                else ", ".join(f"{user['name']} ({user['role']})" for user in one["users"]),
            )
            for one in found["instances"]
        ],
        empty="No instances.",
    )


@administers
def add(  # noqa: PLR0913 - each is an option of the command
    connection: Connection,
    *,
    which: Which,
    plan: Plan = None,
    account: Account = None,
    tags: Tags = None,
    allocation_s: Allocation = None,
    limit_s: Limit = None,
) -> None:
    """Add an instance; for administrators."""
    given = _settings(plan, account, tags, allocation_s, limit_s)
    made = connection.post("/queuebit/instances", {"name": which} | given)
    typer.echo(f"Added instance {which}: {made['crn']}")


@administers
def change(  # noqa: PLR0913 - as above
    connection: Connection,
    *,
    which: Which,
    plan: Plan = None,
    account: Account = None,
    tags: Tags = None,
    allocation_s: Allocation = None,
    limit_s: Limit = None,
) -> None:
    """Change an instance; what is not given stays as it is."""
    given = _settings(plan, account, tags, allocation_s, limit_s)
    connection.change("PATCH", f"/queuebit/instances/{segment(which)}", given)
    typer.echo(f"Changed instance {which}.")


@administers
def remove(connection: Connection, *, which: Which) -> None:
    """Remove an instance that has nothing queued, running or open; its jobs stay on record."""
    connection.change("DELETE", f"/queuebit/instances/{segment(which)}")
    typer.echo(f"Removed instance {which}.")


@administers
def grant(
    connection: Connection,
    *,
    which: Which,
    user: User,
    role: Annotated[Role, typer.Option(help="What the user may do there.")] = Role.MEMBER,
) -> None:
    """Let a user use an instance; for its managers and administrators."""
    connection.change("PUT", _role(which, user), {"role": role.value})
    typer.echo(f"User {user} is now {role.value} in instance {which}.")


@administers
def revoke(connection: Connection, *, which: Which, user: User) -> None:
    """Let a user use an instance no longer."""
    connection.change("DELETE", _role(which, user))
    typer.echo(f"User {user} may no longer use instance {which}.")


app.command("list")(list_)
for command in (add, change, remove, grant, revoke):
    app.command()(command)


def _role(which: str, user: str) -> str:
    return f"/queuebit/instances/{segment(which)}/users/{segment(user)}"


def _settings(
    plan: str | None,
    account: str | None,
    tags: list[str] | None,
    allocation_s: float | None,
    limit_s: float | None,
) -> dict[str, Any]:
    given = {
        "plan": plan,
        "account": account,
        "tags": tags or None,
        "allocation_seconds": allocation_s,
        "limit_seconds": limit_s,
    }
    return {name: value for name, value in given.items() if value is not None}
