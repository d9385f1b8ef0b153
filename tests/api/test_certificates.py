"""The port's certificate and the tunnels'."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
import uvloop
from cryptography.hazmat.primitives import serialization
from tests.api.ports import IAM, NAME, connect, read_answer, running, trusting, tunnel, written

from queuebit.api.certificates import HOSTS, Certificate, name_in, tunnel_context
from queuebit.errors import ConfigError


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def shown(port: int, authority: trustme.CA, name: str = NAME) -> int:
    """Serial number of the certificate that the port shows, which is verified."""
    with trusting(authority).wrap_socket(connect(port), server_hostname=name) as secure:
        return int(secure.getpeercert()["serialNumber"], 16)


def test_a_client_that_trusts_the_certificate_verifies_it(tmp_path: Path):
    with running(tmp_path, uvloop.new_event_loop) as port:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT
        trusting.load_verify_locations(tmp_path / "tunnel.pem")
        for host in HOSTS:
            secure = trusting.wrap_socket(tunnel(port, f"{host}:443"), server_hostname=host)
            with secure:
                secure.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert read_answer(secure) == (200, "https GET /  x 0")


def test_the_certificate_is_kept_and_private(tmp_path: Path):
    tunnel_context(tmp_path)
    first = (tmp_path / "tunnel.pem").read_bytes()
    tunnel_context(tmp_path)

    assert (tmp_path / "tunnel.pem").read_bytes() == first
    assert (tmp_path / "tunnel.pem").stat().st_mode & 0o777 == 0o600


def test_the_tunnels_key_vouches_for_nobody_else(tmp_path: Path):
    """Who trusts its certificate still mistrusts what its key has signed for other names."""
    tunnel_context(tmp_path)
    pem = (tmp_path / "tunnel.pem").read_bytes()
    stolen = trustme.CA.from_pem(cert_bytes=pem, private_key_bytes=pem)
    (tmp_path / "forged").mkdir()
    (tmp_path / "issued").mkdir()
    client = ssl.create_default_context(cafile=tmp_path / "tunnel.pem")

    def mistrust(folder: str, name: str) -> str:
        tls = Certificate(*written(stolen, tmp_path / folder, name)).context
        with running(tmp_path, tls=tls) as port, connect(port) as connection:
            try:
                client.wrap_socket(connection, server_hostname=name).close()
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            return ""

    assert mistrust("issued", IAM) == ""
    assert mistrust("forged", "pypi.org") == "permitted subtree violation"


def test_a_broken_certificate_is_named(tmp_path: Path):
    (tmp_path / "tunnel.pem").write_text("nonsense")

    with pytest.raises(ConfigError, match=r"tunnel.pem is no certificate"):
        tunnel_context(tmp_path)


def test_a_renewed_certificate_is_shown_from_then_on(tmp_path: Path, authority: trustme.CA):
    certificate = Certificate(*written(authority, tmp_path))
    with running(tmp_path, tls=certificate.context) as port:
        first = shown(port, authority)
        (tmp_path / "cert.pem").write_text("half of it")
        while_it_is_written = shown(port, authority)
        written(authority, tmp_path)
        renewed = shown(port, authority)

    assert while_it_is_written == first
    assert renewed != first


def test_certificates_that_cannot_serve_are_named(tmp_path: Path, authority: trustme.CA):
    cert, key = written(authority, tmp_path)
    past, future = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=2)
    (tmp_path / "past").mkdir()
    (tmp_path / "future").mkdir()
    expired, _ = written(authority, tmp_path / "past", not_before=past, not_after=past)
    early, _ = written(authority, tmp_path / "future", not_before=future)
    locked = tmp_path / "locked.pem"
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    other = tmp_path / "other.pem"
    authority.issue_cert("x.example.org").private_key_pem.write_to_path(other)

    def refused(cert: Path, key: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            Certificate(cert, key)
        return str(caught.value).replace(str(tmp_path), "")

    assert refused(tmp_path / "none", key) == "tls_cert /none: No such file or directory"
    assert refused(key, key) == "tls_cert /key.pem: holds no certificate in PEM"
    assert refused(expired, key) == "tls_cert /past/cert.pem: expired at 2020-01-01 00:00:00 UTC"
    assert refused(early, key).startswith("tls_cert /future/cert.pem: is valid from ")
    assert refused(cert, tmp_path / "none") == "tls_key /none: No such file or directory"
    assert refused(cert, cert) == "tls_key /cert.pem: holds no private key in PEM"
    assert refused(cert, other) == "tls_key /other.pem: is not the key of /cert.pem"
    assert refused(cert, locked) == (
        "tls_key /locked.pem: is encrypted, and a service has nobody to ask for the password"
    )


def test_a_service_is_told_by_a_name_that_its_certificate_holds(
    tmp_path: Path, authority: trustme.CA
):
    cert, _ = written(authority, tmp_path, "*.a.b", "quantum.a.b", "a.b", "10.1.2.3")

    assert name_in(cert, "10.1.2.3") == "10.1.2.3"
    assert name_in(cert, "127.0.0.1") == "a.b"
