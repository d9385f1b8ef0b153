"""Which certificates our commands trust, and what the client is given to trust."""

import hashlib
import ssl
from pathlib import Path
from typing import Annotated

import certifi
import httpx
import typer

from queuebit.errors import QueuebitError

TIMEOUT_S = 10.0  # of a probe
TUNNELLED = "https://iam.cloud.ibm.com"  # what the client asks through a tunnel

Ca = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="QUEUEBIT_CA",
        help="PEM file of a private authority, to trust the service. [default: as logged in]",
    ),
]


def context(ca: Path | None) -> ssl.SSLContext:
    """Make what verifies a service's certificate: by the public authorities, or those of a file."""
    try:
        return ssl.create_default_context(cafile=ca or certifi.where())
    except ssl.SSLError:
        raise QueuebitError(f"{ca} holds no certificate in PEM") from None
    except OSError as error:
        raise QueuebitError(f"{ca} cannot be read: {error.strerror}") from None


def write_bundle(file: Path, ca: Path | None, *more: str) -> Path:
    """Write the public authorities, those of the file `ca`, and `more`: for REQUESTS_CA_BUNDLE."""
    parts = [certifi.contents(), *more]
    if ca is not None:
        context(ca)  # tells what is wrong with it
        parts.append(ca.read_text("utf-8"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(parts), "utf-8")
    except OSError as error:
        raise QueuebitError(f"{file} cannot be written: {error.strerror}") from None
    return file


def tunnel_certificate(url: str, ca: Path | None) -> str:
    """The certificate, in PEM, that the service at `url` shows in its tunnels.

    Who asks trusts `url` for it: with HTTPS that is verified, with HTTP it is not.
    """
    proxy = httpx.Proxy(url, ssl_context=context(ca) if url.startswith("https:") else None)
    try:
        # Nothing secret is sent: this is how the certificate is learnt, not how it is used.
        with (
            httpx.Client(proxy=proxy, verify=False, timeout=TIMEOUT_S, trust_env=False) as http,  # noqa: S501 - as said
            http.stream("GET", f"{TUNNELLED}/api/v1/versions") as answer,
        ):
            tls = answer.extensions["network_stream"].get_extra_info("ssl_object")
            shown = tls.getpeercert(True)
    except httpx.HTTPError as error:
        raise QueuebitError(
            f"{url} opens no tunnel ({why_not(error)}): is it behind a reverse proxy, which passes "
            "none on? Clients older than 0.47 need the service's own port"
        ) from None
    return ssl.DER_cert_to_PEM_cert(shown)


def fingerprint(pem: str) -> str:
    """SHA-256 of a certificate, as openssl shows it."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":").upper()


def why_not(error: httpx.HTTPError) -> str:
    """Why there is no answer, in short."""
    if isinstance(error, httpx.TimeoutException):
        return "timed out"
    return str(error) or type(error).__name__


def mend(error: httpx.HTTPError, url: str) -> str:
    """What may help who gets no answer at `url`."""
    told = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return "give the file of a private authority with --ca"
    if "WRONG_VERSION_NUMBER" in told or "record layer failure" in told:
        return f"it may be without TLS: {url.replace('https:', 'http:')}"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and url.startswith("http:"):
        return f"it may speak TLS: {url.replace('http:', 'https:')}"
    return "queuebit serve starts one"
