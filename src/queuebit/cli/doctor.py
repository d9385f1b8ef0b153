"""`queuebit doctor`: looks at everything that a Bell job needs, then runs one."""

import asyncio
import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement

from queuebit import testing
from queuebit.account import quiet_client
from queuebit.cli.connection import (
    ACCOUNT,
    Connection,
    Json,
    Name,
    account_file,
    saved_accounts,
    saved_login,
)
from queuebit.cli.output import print_json, print_table
from queuebit.config import SIMULATED, Config, load
from queuebit.devices import loading
from queuebit.errors import QueuebitError

FREE_BYTES_MIN = 1 << 30  # results of a day of work
CLOCK_SKEW_MAX_S = 3_600  # tokens live a day, and the client judges them by its own clock
BELL_EQUAL_MIN = 0.8  # of the shots; a noisy QPU's readout stays well above
OVERRIDING = ("QISKIT_IBM_TOKEN", "QISKIT_IBM_URL", "QISKIT_FUNCTIONS_EXPERIMENTAL", "IAM_URL")
"""Variables with which the client leaves the saved account, or part of it, aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found; `mend` is empty if all is well."""

    check: str
    found: str
    mend: str = ""
    serious: bool = False  # no job can run


def doctor(
    *,
    config: Annotated[
        Path | None, typer.Option(envvar="QUEUEBIT_CONFIG", help="TOML file, as for `serve`.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder. [default: as `serve`]")] = None,
    name: Name = ACCOUNT,
    as_json: Json = False,
) -> None:
    """Check the installation, the data folder, the database, the login and a Bell job."""
    findings = list(_findings(config, data, name))
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        print_table(
            ["Check", "", "Found"],
            [(f.check, _verdict(f), "; ".join(filter(None, (f.found, f.mend)))) for f in findings],
            empty="",
        )
    if any(finding.serious for finding in findings):
        raise typer.Exit(1)


def _verdict(finding: Finding) -> str:
    if finding.serious:
        return "broken"
    return "look" if finding.mend else "good"


def _findings(file: Path | None, data: Path | None, name: str) -> Iterator[Finding]:
    yield _python()
    yield _packages()
    try:
        config = load(file, data=data)
    except QueuebitError as error:
        yield Finding(check="settings", found=str(error), mend="correct the setting", serious=True)
        config = Config()
    else:
        yield Finding(check="settings", found=f"read from {file}" if file else "the defaults")
    yield _folder(config.data)
    service, running = _service(config, name)
    yield service
    yield _devices(config, running=running)
    yield _database(config, running=running)
    yield _login(name)
    yield from _variables()
    yield _bell(name if running else None)


def _python() -> Finding:
    return Finding(check="python", found=f"{platform.python_version()} at {sys.executable}")


def _packages() -> Finding:
    """Compare what is installed with the ranges that the tests ran with."""
    wrong = []
    for text in importlib.metadata.requires("queuebit") or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} {version} is not {wanted.specifier}")
    if wrong:
        return Finding(
            check="packages",
            found=", ".join(wrong),
            mend="pip install --upgrade queuebit in a fresh environment",
            serious=any("missing" in text for text in wrong),
        )
    client = importlib.metadata.version("qiskit-ibm-runtime")
    return Finding(check="packages", found=f"as tested, qiskit-ibm-runtime {client}")


def _folder(folder: Path) -> Finding:
    """Look whether the data folder, or what will hold it, can be written and has room."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Finding(
            check="data folder",
            found=f"{place} cannot be written",
            mend="give another folder with --data",
            serious=True,
        )
    free = shutil.disk_usage(place).free
    found = f"{folder}{'' if place == folder else ' (not made yet)'}, {free / 2**30:.0f} GiB free"
    mend = "make room" if free < FREE_BYTES_MIN else ""
    return Finding(check="data folder", found=found, mend=mend)


def _service(config: Config, name: str) -> tuple[Finding, bool]:
    """Ask the service that the account leads to; also whether it answered."""
    login = saved_login(name)
    if login is None:
        return _port(config), False
    try:
        with Connection(login) as connection:
            skew_s = connection.clock_ahead_s
    except QueuebitError as error:
        port = _port(config)
        mend = port.mend or "start it with queuebit serve, or log in anew with queuebit login"
        return Finding(check="service", found=str(error), mend=mend), False
    found = f"answers at {login.url} and knows the key"
    if abs(skew_s) > CLOCK_SKEW_MAX_S:
        return Finding(
            check="service",
            found=f"{found}; its clock is {skew_s:.0f} s ahead of this machine's",
            mend="set the clocks",
        ), True
    return Finding(check="service", found=found), True


def _port(config: Config) -> Finding:
    """Try whether a service could listen."""
    where = f"port {config.port} of {config.host}"
    try:
        with socket.create_server((config.host, config.port)):
            return Finding(check="service", found=f"none yet; {where} is free")
    except OSError as error:
        return Finding(
            check="service",
            found=f"{where}: {error.strerror}",
            mend="if that is the service: queuebit login; if not: another --port",
        )


def _devices(config: Config, *, running: bool) -> Finding:
    """Make every device from outside, as a worker would; those of our own need only a snapshot."""
    wrong = []
    for backend in config.backends:
        try:
            loading.describe(backend)
            if backend.device != SIMULATED and not running:
                loading.make(backend)
        except QueuebitError as error:
            wrong.append(str(error))
    if wrong:
        return Finding(
            check="devices",
            found="; ".join(wrong),
            mend="correct the backend, or install what it needs",
            serious=True,
        )
    return Finding(check="devices", found=f"{len(config.backends)} backends can start")


def _database(config: Config, *, running: bool) -> Finding:
    """Open the database as a service would."""
    if running:
        return Finding(check="database", found="in use by the service")
    file = config.data / "queuebit.db"
    if config.database is None and not file.exists():
        return Finding(check="database", found="none yet; the first start makes it")
    # Takes long to import, which no other command should cost.
    from queuebit.store.database import Database  # noqa: PLC0415

    async def unfinished() -> int:
        database = Database(config.database_url)
        try:
            await database.open()
            return len((await database.load()).records)
        finally:
            await database.close()

    try:
        count = asyncio.run(unfinished())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return Finding(
            check="database",
            found=f"{config.database or file}: {first_line(error)}",
            mend="restore it from a backup, or move it away to begin anew",
            serious=True,
        )
    return Finding(check="database", found=f"{count} unfinished jobs and workloads")


def _login(name: str) -> Finding:
    """Look whether the account is there, and is what `QiskitRuntimeService()` uses."""
    try:
        accounts = saved_accounts()
    except QueuebitError as error:
        return Finding(check="login", found=str(error), mend="mend the file or move it away")
    if saved_login(name) is None:
        return Finding(
            check="login", found=f"no account {name!r}", mend="queuebit login, once it serves"
        )
    if accounts[name].get("is_default_account"):
        return Finding(check="login", found=f"account {name!r} in {account_file()}, the default")
    return Finding(
        check="login",
        found=f"account {name!r} in {account_file()}, not the default",
        mend=f"use QiskitRuntimeService(name={name!r}), or queuebit login",
    )


def _variables() -> Iterator[Finding]:
    """Name what the environment changes in the client's way here."""
    found = [variable for variable in OVERRIDING if os.environ.get(variable)]
    if found:
        yield Finding(
            check="environment",
            found=f"{', '.join(found)} set",
            mend="QiskitRuntimeService() may go elsewhere: unset them",
        )


def _bell(name: str | None) -> Finding:
    """Run a Bell job through the client, at the account `name` or at a service of its own."""
    where = "a temporary service" if name is None else "the service"
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(quiet_client())
            # Takes seconds to import, which no other command should cost.
            from queuebit.cli import bell  # noqa: PLC0415

            if name is None:
                runtime = stack.enter_context(testing.service()).connect()
            else:
                runtime = bell.saved_runtime(name)
            backend, equal = bell.run(runtime)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return Finding(
            check="bell job",
            found=f"on {where}: {first_line(error)}",
            mend="see the service's log",
            serious=True,
        )
    found = f"on {where}, {backend}: {equal:.1%} of the shots agree"
    if equal < BELL_EQUAL_MIN:
        return Finding(check="bell job", found=found, mend="the simulation is wrong", serious=True)
    return Finding(check="bell job", found=found)


def first_line(error: BaseException) -> str:
    """What an error of any kind says, in short."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
