"""Certificates: the one that an operator gives the port, and our own for the tunnels in it."""

import logging
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from queuebit.errors import ConfigError

log = logging.getLogger(__name__)

# Hosts that clients of IBM's service ask; we answer for them, and for no others.
HOSTS = (
    "iam.cloud.ibm.com",
    "private.iam.cloud.ibm.com",
    "iam.test.cloud.ibm.com",
    "quantum.cloud.ibm.com",
    "eu-de.quantum.cloud.ibm.com",
    "us-east.quantum-computing.cloud.ibm.com",  # 0.43.1 with channel "ibm_cloud"
    "eu-de.quantum-computing.cloud.ibm.com",
    "api.global-search-tagging.cloud.ibm.com",
    "globalcatalog.cloud.ibm.com",
    "resource-controller.cloud.ibm.com",
)
TUNNELLED = "cloud.ibm.com"  # ends each of them
TUNNEL_FILE = "tunnel.pem"  # in the data folder


class Certificate:
    """The port's certificate and key, read again whenever their files change.

    A certificate is renewed every few weeks; whoever renews it need not tell the service.
    """

    context: ssl.SSLContext
    """What the port speaks TLS with."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = (cert, key)
        self._seen = self._stamps()
        self.context = self._now = self._read()
        self.context.sni_callback = self._greet

    def _greet(self, connection: ssl.SSLObject, _name: str | None, _of: ssl.SSLContext) -> None:
        """Show the files' certificate of now; called with each handshake."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self._now = self._read()
                log.info("certificate renewed", extra={"file": str(self._files[0])})
            except ConfigError as error:
                # Half of it is written, say: the last one is better than none.
                log.warning("certificate kept", extra={"fault": str(error)})
        connection.context = self._now

    def _stamps(self) -> tuple[int, ...]:
        return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in self._files)

    def _read(self) -> ssl.SSLContext:
        cert, key = self._files
        _check(cert)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 and newer
        try:
            context.load_cert_chain(cert, key, password=_no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(f"tls_key {key}: is not the key of {cert}") from error
            raise ConfigError(f"tls_key {key}: holds no private key in PEM") from error
        except OSError as error:
            raise ConfigError(f"tls_key {key}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"tls_key {key}: {error}") from error
        return context


def _no_password() -> str:
    raise ValueError("is encrypted, and a service has nobody to ask for the password")


def _check(cert: Path) -> None:
    """Raise ConfigError unless the file's first certificate is valid now."""
    found = _certificate(cert)
    now = datetime.now(UTC)
    if found.not_valid_after_utc < now:
        raise ConfigError(f"tls_cert {cert}: expired at {found.not_valid_after_utc:%F %T} UTC")
    if found.not_valid_before_utc > now:
        raise ConfigError(f"tls_cert {cert}: is valid from {found.not_valid_before_utc:%F %T} UTC")


def _certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0]
    except OSError as error:
        raise ConfigError(f"tls_cert {file}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"tls_cert {file}: holds no certificate in PEM") from error


def expires_at(cert: Path) -> datetime:
    """When the certificate in the file ends."""
    return _certificate(cert).not_valid_after_utc


def name_in(cert: Path, address: str) -> str:
    """By what name a client that verifies the certificate finds who listens at `address`."""
    try:
        names = _certificate(cert).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return address
    addresses = map(str, names.value.get_values_for_type(x509.IPAddress))
    hosts = names.value.get_values_for_type(x509.DNSName)
    if address in (*addresses, *hosts):
        return address
    return min((host for host in hosts if "*" not in host), key=len, default=address)


def tunnel_context(data: Path) -> ssl.SSLContext:
    """Make the TLS of tunnels; its certificate is kept in `data`, made on first use."""
    file = data / TUNNEL_FILE
    if not file.exists():
        part = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(_self_signed())
        part.replace(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 and newer
    try:
        context.load_cert_chain(file)
    except ssl.SSLError as error:
        raise ConfigError(f"file {file} is no certificate; delete it to have one made") from error
    return context


def _self_signed() -> bytes:
    """Make a key and a certificate for it, which a user may also trust by name, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Queuebit on this machine")])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3_650))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Who trusts it need not fear that its key vouches for anybody else.
        .add_extension(
            x509.NameConstraints(
                permitted_subtrees=[x509.DNSName(TUNNELLED)], excluded_subtrees=None
            ),
            critical=True,
        )
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)
