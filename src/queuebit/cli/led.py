"""How the client is led to the service here: by an account, by the environment, or astray."""

import contextlib
import os
import shlex
from collections.abc import Iterator

from queuebit.account import service_url, variables
from queuebit.cli.connection import (
    Login,
    account_file,
    bundle_file,
    saved_accounts,
    saved_login,
)
from queuebit.cli.finding import Finding
from queuebit.cli.trust import tunnel_certificate
from queuebit.errors import QueuebitError

OVERRIDING = ("QISKIT_IBM_TOKEN", "QISKIT_IBM_URL", "QISKIT_FUNCTIONS_EXPERIMENTAL", "IAM_URL")
"""Variables with which the client leaves the saved account, or part of it, aside."""


def check_login(name: str) -> Finding:
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


def environment_login(name: str) -> Login | None:
    """What `login --env` set, if this environment is of that kind."""
    url = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    bundle = bundle_file(name)
    if not url or os.environ.get("REQUESTS_CA_BUNDLE") != str(bundle):
        return None
    return Login(
        url=url,
        token=os.environ.get("QISKIT_IBM_TOKEN", ""),
        instance=os.environ.get("QISKIT_IBM_INSTANCE"),
        ca=bundle,
    )


def check_tunnel(login: Login) -> Finding:
    """Look whether the bundle holds the certificate that the service shows in its tunnels."""
    assert login.ca is not None
    try:
        certificate = tunnel_certificate(login.url, login.ca)
        known = certificate.strip() in login.ca.read_text("utf-8")
    except (QueuebitError, OSError) as error:
        return Finding(check="login", found=str(error), mend="queuebit login --env", serious=True)
    return Finding(
        check="login",
        found=f"by HTTPS_PROXY, with {login.ca}",
        mend="" if known else "the service's certificate is another one now: queuebit login --env",
        serious=not known,
    )


def check_variables(name: str) -> Iterator[Finding]:
    """Compare the environment with what the account needs, and with what leads elsewhere."""
    try:
        saved = saved_accounts().get(name, {})
    except QueuebitError:  # check_login tells
        saved = {}
    url = service_url(saved)
    needed = variables(saved) if url is not None else {}
    missing = {key: value for key, value in needed.items() if _set(key) != value}
    if missing:
        yield Finding(
            check="environment",
            found=f"{', '.join(missing)} not set, or not to what the account {name!r} needs",
            mend="; ".join(f"export {key}={shlex.quote(value)}" for key, value in missing.items()),
        )
    allowed = {"IAM_URL": url}  # saves an account with proxies its tunnel
    wrong = [
        key
        for key in OVERRIDING
        if key not in needed and os.environ.get(key) not in (None, "", allowed.get(key))
    ]
    if wrong:
        yield Finding(
            check="environment",
            found=f"{', '.join(wrong)} set",
            mend="QiskitRuntimeService() may go elsewhere: unset them",
        )


def _set(variable: str) -> str | None:
    """What the client reads for `variable`: some may stand in a file of IBM's SDK."""
    service, _, key = variable.rpartition("_")
    if not service.startswith("GLOBAL_"):
        return os.environ.get(variable)
    from ibm_cloud_sdk_core import read_external_sources  # noqa: PLC0415 - takes long

    return str(read_external_sources(service.lower()).get(key))


@contextlib.contextmanager
def environment(needed: dict[str, str]) -> Iterator[None]:
    """Let the client find what it needs, whatever this environment lacks."""
    before = {key: os.environ.get(key) for key in needed}
    os.environ.update(needed)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
