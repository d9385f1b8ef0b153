"""`queuebit serve`."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from queuebit import logs
from queuebit.config import BackendConfig, Config, is_loopback, mock_name
from queuebit.errors import QueuebitError
from queuebit.sources import load

if TYPE_CHECKING:
    from queuebit.app import Service

TERMINATED = 143  # exit code of a shell's command that SIGTERM ended

DEFAULTS = Config.model_fields


def serve(  # noqa: PLR0913 - each is an option
    *,
    port: Annotated[
        int | None, typer.Option(help=f"0: any free one. [default: {DEFAULTS['port'].default}]")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help=f"Address. [default: {DEFAULTS['host'].default}]")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help=f"Folder of all that is kept. [default: {DEFAULTS['data'].default}]"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(envvar="QUEUEBIT_CONFIG", help="TOML file of settings.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="How much faster than the wall clock it lives.")
    ] = None,
    database: Annotated[str | None, typer.Option(help="SQLAlchemy URL.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; 0: by the processors.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file of a certificate: the port speaks TLS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Let other machines in without TLS: keys cross the network in the clear.",
        ),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens.")] = False,
) -> None:
    """Run a service until Ctrl-C. Jobs and results are kept in the data folder."""
    settings = load(
        config,
        port=port,
        host=host,
        data=data,
        speed=speed,
        database=database,
        workers=workers,
        tls_cert=tls_cert,
        tls_key=tls_key,
        insecure=insecure or None,
    )
    if verbose and settings.log_level != "debug":
        settings = settings.model_copy(update={"log_level": "info"})
    os.umask(0o077)  # what it keeps is nobody else's, whatever the mode of the data folder
    logs.configure(settings.log_format, settings.log_level)
    # They take seconds to import, which no other command should cost.
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from queuebit.app import run  # noqa: PLC0415
    from queuebit.store.faults import said  # noqa: PLC0415

    try:
        run(_serve(settings))
    except SQLAlchemyError as error:
        raise QueuebitError(f"database {settings.shown_database_url}: {said(error)}") from error
    except OSError as error:
        raise QueuebitError(f"the service cannot run: {error}") from error
    except asyncio.CancelledError:  # SIGTERM before it was up
        raise typer.Exit(TERMINATED) from None


async def _serve(settings: Config) -> None:
    from queuebit.app import Service  # noqa: PLC0415 - as above

    task = asyncio.current_task()
    assert task is not None
    with contextlib.suppress(NotImplementedError):  # not on every system
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Service(settings) as service:
        _greet(service, settings)
        await service.serve_forever()
    typer.echo("Stopped.")


def _greet(service: "Service", settings: Config) -> None:
    own_url = f"http://127.0.0.1:{DEFAULTS['port'].default}"
    where = "" if service.url == own_url else f" --url {service.url}"
    is_remote = not is_loopback(settings.host)
    if settings.users:
        where += " --token KEY"
    elif settings.data != Config().data or service.url.startswith("https:"):
        where += f" --data {settings.data}"
    typer.echo(f"Queuebit is at {service.url}")
    typer.echo(f"backends    {', '.join(backend.name for backend in settings.backends)}")
    if alone := [one.name for one in settings.backends if not _has_mock(settings, one)]:
        typer.echo(f"no dry run  {', '.join(alone)}: their mock would stand for others too")
    typer.echo(f"data        {settings.data}")
    typer.echo(f"log in      queuebit login{where}")
    if is_remote and not settings.users:
        typer.echo("users       the key in the data folder administers: queuebit users add NAME")
    if is_remote and settings.tls_cert is None:
        typer.echo("insecure    no TLS: keys and results cross the network in the clear")
    typer.echo("Ctrl-C stops it; jobs and results are kept.")


def _has_mock(settings: Config, backend: BackendConfig) -> bool:
    names = {one.name for one in settings.offered}
    return not settings.mocks or mock_name(backend.name) in names
