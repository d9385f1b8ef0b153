"""How the unmodified client finds a service: an ordinary Qiskit account (docs/connecting.md).

The client derives the hosts that it asks from the account's `url`: `iam.HOST`, `quantum.HOST` and
so on, always at the scheme's own port. There are three ways to lead them to one service:

* Proxies: none of the names needs to resolve, because each has its own proxy, the service, which
  answers for all of them on one port. One request goes to IBM's own name whatever `url` says
  (`api/auth.py: CloudAuth`); it arrives as a tunnel that the service answers with its own
  certificate, hence `verify=False`. For plain HTTP.
* Names: they are real, and lead to the service, with TLS; IAM_URL says where IAM is.
* Port: one real name and any port, with TLS. A URL with the word "experimental" is taken as it
  is, and variables name the hosts that are derived otherwise.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

HOST = "queuebit"

PROXIED = (
    f"http://iam.{HOST}",
    f"http://quantum.{HOST}",
    f"http://api.global-search-tagging.{HOST}",
    f"http://globalcatalog.{HOST}",
    "https://iam.cloud.ibm.com",
)
"""What leads to the service. `requests` prefers a key with a host name to HTTP_PROXY and
HTTPS_PROXY of the environment, so the account works behind a site's own proxy too."""

NAMES = ("iam", "quantum", "api.global-search-tagging", "globalcatalog")
"""What the client puts before the host of `url`."""

EXPERIMENTAL = "/experimental"
"""Path under which the service has the runtime API for accounts of the way `PORT`."""

NO_VERIFY_WARNING = "Unverified HTTPS request is being made to host"
"""How the warning begins that urllib3 gives for the tunnelled request."""

_NO_NEWS = (NO_VERIFY_WARNING, "The (Sampler|Estimator)V2 class is deprecated")


class Way(StrEnum):
    """How a client is led to a service."""

    PROXIES = "proxies"
    NAMES = "names"
    PORT = "port"


def account(
    url: str, *, token: str, instance: str, way: Way | None = None, ca: str | None = None
) -> dict[str, Any]:
    """Arguments of `QiskitRuntimeService` and of its `save_account` for the service at `url`.

    `way` is PROXIES for HTTP and PORT for HTTPS unless it is given; what `variables` tells must be
    in the client's environment. `ca` is a file of all authorities to trust, None those that the
    client trusts anyway.
    """
    way = way or (Way.PORT if url.startswith("https:") else Way.PROXIES)
    own: dict[str, Any] = {"url": url, "verify": ca or True}
    if way is Way.PROXIES:
        own = {
            "url": f"http://{HOST}",
            "verify": False,
            "proxies": {"urls": dict.fromkeys(PROXIED, url)},
        }
    elif way is Way.PORT:
        own["url"] = f"{url}{EXPERIMENTAL}"
    return {"channel": "ibm_quantum_platform", "token": token, "instance": instance, **own}


def way_of(saved: dict[str, Any]) -> Way | None:
    """How a saved account leads to a service; None if it is not one of ours."""
    url = str(saved.get("url") or "")
    if url == f"http://{HOST}":
        proxies = (saved.get("proxies") or {}).get("urls") or {}
        return Way.PROXIES if isinstance(proxies.get(PROXIED[-1]), str) else None
    host = urlsplit(url).hostname
    if host is None or f".{host}".endswith(".ibm.com"):
        return None
    return Way.PORT if url.endswith(EXPERIMENTAL) else Way.NAMES


def service_url(saved: dict[str, Any]) -> str | None:
    """Where the service of a saved account is; None if the account is not one of ours."""
    way = way_of(saved)
    if way is Way.PROXIES:
        return str(saved["proxies"]["urls"][PROXIED[-1]])
    if way is Way.PORT:
        return str(saved["url"]).removesuffix(EXPERIMENTAL)
    return named("quantum", saved["url"]) if way is Way.NAMES else None


def named(name: str, url: str) -> str:
    """The URL that the client makes of one of `NAMES` and an account's `url`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{name}.{parts.hostname}"


def variables(saved: dict[str, Any]) -> dict[str, str]:
    """The environment that the client needs beside the account, which is one of ours.

    Without IAM_URL it would send the key to IBM. Two of its requests for a token leave the
    account's `verify` aside, hence REQUESTS_CA_BUNDLE.
    """
    way, found = way_of(saved), {}
    if way is Way.NAMES:
        found["IAM_URL"] = named("iam", saved["url"])
    elif way is Way.PORT:
        url = str(service_url(saved))
        found["IAM_URL"] = found["GLOBAL_SEARCH_URL"] = url
        found["GLOBAL_CATALOG_URL"] = f"{url}/api/v1"
    if isinstance(saved.get("verify"), str):
        found["REQUESTS_CA_BUNDLE"] = saved["verify"]
    return found


@contextlib.contextmanager
def quiet_client() -> Iterator[None]:
    """Keep back what the client warns of where it is no news: how it was connected, and so on."""
    log = logging.getLogger("qiskit_ibm_runtime")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _NO_NEWS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        log.setLevel(level)
