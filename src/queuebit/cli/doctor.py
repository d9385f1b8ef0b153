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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement

from queuebit import testing
from queuebit.account import quiet_client, variables
from queuebit.api.certificates import Certificate, expires_at
from queuebit.cli.connection import (
    ACCOUNT,
    Connection,
    Json,
    Login,
    Name,
    saved_accounts,
    saved_login,
)
from queuebit.cli.finding import Finding
from queuebit.cli.led import (
    check_login,
    check_tunnel,
    check_variables,
    environment,
    environment_login,
)
from queuebit.cli.output import print_json, print_table
from queuebit.config import SIMULATED, Config
from queuebit.devices import loading
from queuebit.errors import QueuebitError
from queuebit.sources import load
from queuebit.store.room import Reserve

FREE_BYTES_MIN = 1 << 30  # results of a day of work
CLOCK_SKEW_MAX_S = 3_600  # tokens live a day, and the client judges them by its own clock
CERTIFICATE_DAYS_MIN = 14  # who renews them by a timer begins a month before
BELL_EQUAL_MIN = 0.8  # of the shots; a noisy QPU's readout stays well above
ENVIRONMENT = ""  # in place of an account's name


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
    yield _folder(config)
    yield from _certificate(config)
    login = environment_login(name)
    by_environment = login is not None
    login = login or _saved(name)
    service, running = _service(config, login)
    yield service
    yield _devices(config, running=running)
    yield _database(config, running=running)
    if login is not None and by_environment:
        yield check_tunnel(login)
    else:
        yield check_login(name)
        yield from check_variables(name)
    with environment(variables(saved_accounts()[name]) if running and not by_environment else {}):
        yield _bell((ENVIRONMENT if by_environment else name) if running else None)


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


def _folder(config: Config) -> Finding:
    """Look whether the data folder, or what will hold it, can be written and has room."""
    folder = config.data
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Finding(
            check="data folder",
            found=f"{place} cannot be written",
            mend="give another folder with --data",
            serious=True,
        )
    free = shutil.disk_usage(place).free
    found = f"{folder}{'' if place == folder else ' (not made yet)'}, {free / 2**30:.1f} GiB free"
    mend = "make room, or delete jobs" if free < FREE_BYTES_MIN else ""
    reserve = Reserve(place, config.reserve_mb * 2**20)
    if (place / "lock").exists() and reserve.size and not reserve.is_there:
        found += f"; {reserve.size / 2**20:.0f} MiB for the database are not reserved"
        mend = "make room, or delete jobs: until then the service takes no new ones"
    return Finding(check="data folder", found=found, mend=mend)


def _certificate(config: Config) -> Iterator[Finding]:
    """Read the port's certificate, if it has one, as the service would."""
    if config.tls_cert is None or config.tls_key is None:
        return
    try:
        Certificate(config.tls_cert, config.tls_key)
        ends = expires_at(config.tls_cert)
    except QueuebitError as error:
        mend = "have it issued anew, or correct the setting"
        yield Finding(check="certificate", found=str(error), mend=mend, serious=True)
        return
    soon = ends - datetime.now(UTC) < timedelta(days=CERTIFICATE_DAYS_MIN)
    yield Finding(
        check="certificate",
        found=f"{config.tls_cert} is valid until {ends:%F}",
        mend="renew it; a service that runs takes the new one up" if soon else "",
    )


def _saved(name: str) -> Login | None:
    """Find the account's login; a file that cannot be read is told of by `check_login`."""
    try:
        return saved_login(name)
    except QueuebitError:
        return None


def _service(config: Config, login: Login | None) -> tuple[Finding, bool]:
    """Ask the service that the client is led to; also whether it answered."""
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


def _bell(name: str | None) -> Finding:
    """Run a Bell job through the client, at the account `name` or at a service of its own.

    `ENVIRONMENT` is what `QiskitRuntimeService()` makes of the environment alone.
    """
    where = "a temporary service" if name is None else "the service"
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(quiet_client())
            # Takes seconds to import, which no other command should cost.
            from qiskit_ibm_runtime import QiskitRuntimeService  # noqa: PLC0415

            from queuebit.cli import bell  # noqa: PLC0415

            if name is None:
                runtime = stack.enter_context(testing.service()).connect()
            elif name == ENVIRONMENT:
                runtime = QiskitRuntimeService()
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
