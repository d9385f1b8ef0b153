"""`queuebit users` and `queuebit keys`: who may use the service, and with which API keys."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from queuebit.cli.connection import Connection, Json, administers, segment
from queuebit.cli.output import local_time, print_json, print_table

User = Annotated[str, typer.Argument(metavar="USER", show_default=False)]
Of = Annotated[str, typer.Option("--user", help="Whose; for administrators.")]
Label = Annotated[str, typer.Option(help="What to know the key by.", show_default=False)]

users = typer.Typer(help="Users; for administrators.", no_args_is_help=True)
keys = typer.Typer(help="Your API keys, or a user's.", no_args_is_help=True)


@administers
def list_users(connection: Connection, *, as_json: Json = False) -> None:
    """List all users, with their roles in instances."""
    found = connection.get("/queuebit/users")
    if as_json:
        print_json(found)
        return
    print_table(
        ["Name", "Administrator", "Roles", "Keys", "From", "Created"],
        [
            (
                user["name"],
                "yes" if user["admin"] else None,
                ", ".join(f"{role['instance']} ({role['role']})" for role in user["roles"]),
                user["keys"],
                "configuration" if user["declared"] else "administrator",
                local_time(user["created"]),
            )
            for user in found["users"]
        ],
        empty="No users.",
    )


@administers
def add_user(
    connection: Connection,
    *,
    user: User,
    admin: Annotated[bool, typer.Option("--admin", help="Administers the service.")] = False,
) -> None:
    """Add a user, and make and print an API key: the only time that it is shown."""
    connection.post("/queuebit/users", {"name": user, "admin": admin})
    made = connection.post(f"/queuebit/users/{segment(user)}/keys", {"label": "first"})
    typer.echo(f"Added user {user}, with the API key", err=True)
    typer.echo(made["key"])


@administers
def change_user(
    connection: Connection,
    *,
    user: User,
    admin: Annotated[
        bool,
        typer.Option("--admin/--no-admin", help="Administers the service.", show_default=False),
    ],
) -> None:
    """Make a user an administrator, or no longer one."""
    connection.change("PATCH", f"/queuebit/users/{segment(user)}", {"admin": admin})
    typer.echo(f"User {user} is {'now' if admin else 'no longer'} an administrator.")


@administers
def remove_user(connection: Connection, *, user: User) -> None:
    """Remove a user, with keys and roles; the jobs stay with their instances."""
    connection.change("DELETE", f"/queuebit/users/{segment(user)}")
    typer.echo(f"Removed user {user}.")


@administers
def list_keys(connection: Connection, *, user: Of = "me", as_json: Json = False) -> None:
    """List API keys, by what can be told of them."""
    found = connection.get(f"/queuebit/users/{segment(user)}/keys")
    if as_json:
        print_json(found)
        return
    print_table(
        ["ID", "Label", "From", "Created", "Expires"],
        [
            (
                key["id"],
                key["label"],
                "configuration" if key["declared"] else "service",
                local_time(key["created"]),
                local_time(key["expires"]),
            )
            for key in found["keys"]
        ],
        empty="No keys.",
    )


@administers
def add_key(
    connection: Connection,
    *,
    user: Of = "me",
    label: Label = "",
    days: Annotated[
        float | None,
        typer.Option("--days", min=0.001, help="Days until it expires; default: never."),
    ] = None,
) -> None:
    """Make and print an API key: the only time that it is shown."""
    expires = None if days is None else (datetime.now(UTC) + timedelta(days=days)).isoformat()
    made = connection.post(
        f"/queuebit/users/{segment(user)}/keys", {"label": label, "expires": expires}
    )
    typer.echo(f"Key {made['id']}:", err=True)
    typer.echo(made["key"])


@administers
def revoke_key(
    connection: Connection,
    *,
    key: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    user: Of = "me",
    keep_made: Annotated[
        bool, typer.Option("--keep-made", help="Keep the keys that were made with it.")
    ] = False,
) -> None:
    """Revoke an API key at once, with its tokens and the keys that were made with it."""
    path = f"/queuebit/users/{segment(user)}/keys/{segment(key)}"
    connection.change("DELETE", f"{path}?keep_made=true" if keep_made else path)
    typer.echo(f"Revoked key {key}.")


for name, command in (
    ("list", list_users),
    ("add", add_user),
    ("change", change_user),
    ("remove", remove_user),
):
    users.command(name)(command)
for name, command in (("list", list_keys), ("add", add_key), ("revoke", revoke_key)):
    keys.command(name)(command)
