"""`queuebit login`: the ordinary Qiskit account, or an environment for old clients."""

import shlex
from pathlib import Path
from typing import Annotated

import certifi
import typer

from queuebit.account import account
from queuebit.cli.connection import (
    ACCOUNT,
    Connection,
    Login,
    Name,
    account_file,
    checked_url,
    saved_accounts,
)
from queuebit.cli.serve import is_loopback
from queuebit.config import Config, load
from queuebit.errors import QueuebitError

KEY_FILE = "api-key"  # in the data folder: the key that the first start made
# In the data folder: the certificate of the tunnel to IBM's name, alone and behind its private key.
CERTIFICATE_FILES = ("tunnel-ca.pem", "tunnel.pem")
BEGIN_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
BUNDLE_FILE = "ca-bundle.pem"  # in the data folder: the world's certificates and that one

USE = """
    from qiskit_ibm_runtime import QiskitRuntimeService
    service = QiskitRuntimeService({arguments})
"""


def login(  # noqa: PLR0913 - each is an option
    *,
    url: Annotated[
        str, typer.Option(envvar="QUEUEBIT_URL", help="Where the service is.")
    ] = f"http://127.0.0.1:{Config.model_fields['port'].default}",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="QUEUEBIT_TOKEN", help="API key. [default: the data folder's, on this machine]"
        ),
    ] = None,
    instance: Annotated[
        str | None, typer.Option(help="Instance to charge. [default: the only one of the key]")
    ] = None,
    name: Name = ACCOUNT,
    data: Annotated[
        Path | None, typer.Option(help="The service's data folder. [default: as `serve`]")
    ] = None,
    default: Annotated[bool, typer.Option(help="Make it what QiskitRuntimeService() uses.")] = True,
    env: Annotated[
        bool,
        typer.Option(
            "--env", help="Save nothing; print the environment for clients older than 0.47."
        ),
    ] = False,
) -> None:
    """Save the account with which ordinary Qiskit code reaches the service."""
    folder = load(data=data).data
    url = checked_url(url)
    if token is None:
        token = _local_key(folder, url)
    with Connection(Login(url=url, token=token, instance=instance)) as connection:
        instance = connection.instance
    if env:
        _print_environment(url, token, instance, folder)
    else:
        _save(url, token, instance, name=name, default=default)


def _local_key(folder: Path, url: str) -> str:
    """Read the key that the service on this machine made for its user."""
    host = url.split("//", 1)[1].rsplit(":", 1)[0].strip("[]")
    if not is_loopback(host):
        raise QueuebitError(f"give --token: {url} is on another machine")
    file = folder / KEY_FILE
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        raise QueuebitError(
            f"there is no {file}: start the service first, or give its folder with --data, "
            "or a key with --token"
        ) from None
    except OSError as error:
        raise QueuebitError(f"{file} cannot be read: {error.strerror}; give --token") from None


def _save(url: str, token: str, instance: str, *, name: str, default: bool) -> None:
    before = saved_accounts()
    # Takes seconds to import, which no other command should cost.
    from qiskit_ibm_runtime import QiskitRuntimeService  # noqa: PLC0415

    try:
        QiskitRuntimeService.save_account(
            **account(url, token=token, instance=instance),
            filename=str(account_file()),
            name=name,
            overwrite=True,
            set_as_default=default,
        )
        account_file().chmod(0o600)  # it holds keys
    except OSError as error:
        raise QueuebitError(f"{account_file()} cannot be written: {error.strerror}") from None
    typer.echo(f"Saved the Qiskit account {name!r} in {account_file()}. Now use:")
    typer.echo(USE.format(arguments="" if default else f"name={name!r}"))
    for other, saved in before.items():
        if default and saved.get("is_default_account") and other != name:
            typer.echo(f"The default was {other!r}: QiskitRuntimeService(name={other!r}).")


def _print_environment(url: str, token: str, instance: str, folder: Path) -> None:
    """Print what leads every HTTPS request of a process to the service, whatever its client."""
    bundle = folder.resolve() / BUNDLE_FILE  # the variable is read in any folder
    try:
        bundle.write_text(f"{certifi.contents()}\n{_certificate(folder)}", "ascii")
    except OSError as error:
        raise QueuebitError(f"{bundle} cannot be written: {error.strerror}") from None
    variables = {
        "HTTPS_PROXY": url,
        "https_proxy": url,  # goes before the other where both are set
        "REQUESTS_CA_BUNDLE": str(bundle),
        "QISKIT_IBM_TOKEN": token,
        "QISKIT_IBM_INSTANCE": instance,
    }
    for variable, value in variables.items():
        typer.echo(f"export {variable}={shlex.quote(value)}")
    typer.echo("# For Qiskit programs only: every other HTTPS request is refused.")


def _certificate(folder: Path) -> str:
    """Read the tunnel's certificate, leaving its key alone."""
    for name in CERTIFICATE_FILES:
        try:
            text = (folder / name).read_text("ascii")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise QueuebitError(f"{folder / name} cannot be read: {error.strerror}") from None
        return text[text.index(BEGIN_CERTIFICATE) :]
    raise QueuebitError(
        f"there is no {folder / CERTIFICATE_FILES[0]}: give the service's data folder with --data, "
        "or copy the file from the service's machine"
    )
