"""`queuebit login`: the ordinary Qiskit account, or an environment for old clients."""

import shlex
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from queuebit.account import Way, account, service_url, variables
from queuebit.cli.connection import (
    ACCOUNT,
    Connection,
    Login,
    Name,
    account_file,
    bundle_file,
    checked_url,
    saved_accounts,
)
from queuebit.cli.trust import Ca, fingerprint, tunnel_certificate, write_bundle
from queuebit.cli.ways import check_way, find_way
from queuebit.config import Config, is_loopback
from queuebit.errors import QueuebitError
from queuebit.sources import load

KEY_FILE = "api-key"  # in the data folder: the key that the first start made

# What names the authorities to trust: for Python's requests; for curl; for OpenSSL, with which
# Python's own ssl and httpx verify, and for Rust's rustls.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

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
    ca: Ca = None,
    way: Annotated[
        Way | None, typer.Option(help="How the client is led there. [default: found out]")
    ] = None,
    env: Annotated[
        bool,
        typer.Option(
            "--env", help="Save nothing; print the environment for clients older than 0.47."
        ),
    ] = False,
) -> None:
    """Save the account with which ordinary Qiskit code reaches the service."""
    url = checked_url(url)
    if ca is not None and url.startswith("http:"):
        raise QueuebitError(f"--ca is for https: {url} shows no certificate")
    if env and way is not None:
        raise QueuebitError("--env is a way of its own: leave --way out")
    if token is None:
        token = _local_key(load(data=data).data, url, is_here=data is not None)
    if env:
        with Connection(Login(url=url, token=token, instance=instance, ca=ca)) as connection:
            crn = connection.crn
        _print_environment(url, token, crn, bundle_file(name), ca)
        return
    way = way or find_way(url, ca)
    check_way(way, url, ca)
    bundle = None if ca is None else str(bundle_file(name))
    made = account(url, token=token, instance=instance or "", way=way, ca=bundle)
    there = service_url(made)
    assert there is not None  # we have just made it
    with Connection(Login(url=there, token=token, instance=instance, ca=ca)) as connection:
        made["instance"] = connection.instance
    if bundle is not None:
        write_bundle(bundle_file(name), ca)
    _save(made, name=name, default=default)
    _tell_dangers(url)


def _local_key(folder: Path, url: str, *, is_here: bool) -> str:
    """Read the key that the service on this machine made for its user."""
    if not is_here and not is_loopback(str(urlsplit(url).hostname)):
        raise QueuebitError(
            f"give --token: {url} is on another machine; if it is on this one, give --data"
        )
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


def _save(made: dict[str, Any], *, name: str, default: bool) -> None:
    before = saved_accounts()
    # Takes seconds to import, which no other command should cost.
    from qiskit_ibm_runtime import QiskitRuntimeService  # noqa: PLC0415

    try:
        QiskitRuntimeService.save_account(
            **made,
            filename=str(account_file()),
            name=name,
            overwrite=True,
            set_as_default=default,
        )
        account_file().chmod(0o600)  # it holds keys
    except OSError as error:
        raise QueuebitError(f"{account_file()} cannot be written: {error.strerror}") from None
    typer.echo(f"Saved the Qiskit account {name!r} in {account_file()}.")
    needed = variables(made)
    if needed:
        typer.echo("Your programs need this in their environment, in ~/.profile for instance:\n")
        for variable, value in needed.items():
            typer.echo(f"    export {variable}={shlex.quote(value)}")
        typer.echo("")
    typer.echo("Then use:" if needed else "Now use:")
    typer.echo(USE.format(arguments="" if default else f"name={name!r}"))
    for other, saved in before.items():
        if default and saved.get("is_default_account") and other != name:
            typer.echo(f"The default was {other!r}: QiskitRuntimeService(name={other!r}).")


def _tell_dangers(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(str(parts.hostname)):
        typer.echo(
            f"{url} is without TLS: your key and results cross the network in the clear.", err=True
        )


def _print_environment(url: str, token: str, crn: str, bundle: Path, ca: Path | None) -> None:
    """Print what leads every HTTPS request of a process to the service, whatever its client.

    The instance is told by its CRN, which every client takes; a name, Qiskit's alone.
    """
    certificate = tunnel_certificate(url, ca)
    write_bundle(bundle, ca, certificate)
    exports = {
        "HTTPS_PROXY": url,
        "https_proxy": url,  # goes before the other where both are set
        **dict.fromkeys(CA_VARIABLES, str(bundle)),
        "QISKIT_IBM_TOKEN": token,
        "QISKIT_IBM_INSTANCE": crn,
    }
    for variable, value in exports.items():
        typer.echo(f"export {variable}={shlex.quote(value)}")
    typer.echo("# For Qiskit programs only: every other HTTPS request is refused.")
    typer.echo(f"# The tunnel's certificate, SHA-256: {fingerprint(certificate)}")
    _tell_dangers(url)
