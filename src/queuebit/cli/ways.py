"""Which way leads the client to a service: found out by asking (docs/connecting.md)."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx

from queuebit.account import NAMES, Way, named
from queuebit.cli.trust import TIMEOUT_S, context, mend, why_not
from queuebit.errors import QueuebitError

HTTPS_PORT = 443
WORD = "experimental"  # in a URL, it keeps the client from deriving names


def find_way(url: str, ca: Path | None) -> Way:
    """Find the way for the service at `url`, which the client can go."""
    parts = urlsplit(url)
    if parts.scheme == "http":
        return Way.PROXIES
    if parts.port not in (None, HTTPS_PORT) or WORD in url:
        return Way.PORT  # a port is kept in no other way
    with httpx.Client(timeout=TIMEOUT_S, trust_env=False, verify=context(ca)) as http:
        first = named(NAMES[0], url)
        at_name = _why_not_there(http, first)
        if at_name is None:
            return Way.NAMES
        alone = _why_not_there(http, url)
        if alone is None:
            return Way.PORT
    raise QueuebitError(
        f"no service answers at {first} ({why_not(at_name)}), nor at {url} ({why_not(alone)}): "
        f"{mend(at_name if _is_mistrust(at_name) else alone, url)}"
    )


def check_way(way: Way, url: str, ca: Path | None) -> None:
    """Refuse a way that does not lead to `url`, or leads there without what it promises."""
    parts = urlsplit(url)
    if way is Way.PROXIES and parts.scheme == "https":
        raise QueuebitError(
            "--way proxies is for http: the client would not verify a certificate of https; "
            "--way port or names does"
        )
    if way is not Way.NAMES:
        return
    if parts.port not in (None, HTTPS_PORT if parts.scheme == "https" else 80):
        raise QueuebitError(f"--way names leaves the port out, and {url} has one: --way port")
    if WORD in url:
        raise QueuebitError(f"the client derives no names from a URL with {WORD!r} in it")
    with httpx.Client(timeout=TIMEOUT_S, trust_env=False, verify=context(ca)) as http:
        for name in NAMES:
            error = _why_not_there(http, named(name, url))
            if error is not None:
                raise QueuebitError(
                    f"no service answers at {named(name, url)} ({why_not(error)}): "
                    f"the client needs the names {', '.join(NAMES)} before {parts.hostname}"
                )


def _is_mistrust(error: httpx.HTTPError) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _why_not_there(http: httpx.Client, url: str) -> httpx.HTTPError | None:
    """Why no service answers at `url`; None: one does."""
    try:
        http.get(f"{url}/api/v1/versions").raise_for_status()
    except httpx.HTTPError as error:
        return error
    return None
