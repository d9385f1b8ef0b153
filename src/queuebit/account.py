"""How the unmodified client finds a service: an ordinary Qiskit account whose proxies lead here.

The client derives the hosts that it asks from the account's `url`: `iam.HOST`, `quantum.HOST` and
so on. None of these names needs to resolve, because each has its own proxy: the service, which
answers for all of them on one port. One request goes to IBM's own name whatever `url` says
(`api/auth.py: CloudAuth`); it arrives as a tunnel that the service answers with its own
certificate, hence `verify=False`.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

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

NO_VERIFY_WARNING = "Unverified HTTPS request is being made to host"
"""How the warning begins that urllib3 gives for the tunnelled request."""

_NO_NEWS = (NO_VERIFY_WARNING, "The (Sampler|Estimator)V2 class is deprecated")


def account(url: str, *, token: str, instance: str) -> dict[str, Any]:
    """Arguments of `QiskitRuntimeService` and of its `save_account` for the service at `url`."""
    return {
        "channel": "ibm_quantum_platform",
        "url": f"http://{HOST}",
        "token": token,
        "instance": instance,
        "verify": False,
        "proxies": {"urls": dict.fromkeys(PROXIED, url)},
    }


def service_url(saved: dict[str, Any]) -> str | None:
    """Where the service of a saved account is; None if the account is not one of ours."""
    urls = (saved.get("proxies") or {}).get("urls") or {}
    found = urls.get(PROXIED[-1])
    return found if saved.get("url") == f"http://{HOST}" and isinstance(found, str) else None


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
