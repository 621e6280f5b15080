"""Trust comes from the medium: a site's own small CA, and certificates signed by it in RAM.

The CA lies on the site's medium. At every boot a machine makes a throw-away key and has it signed
for its machine id; both ends of a connection show such a certificate, so machines of different
sites never pair. No certificate depends on the clock: old servers have dead CMOS batteries, so
all are valid from 1950 to the end of time as X.509 knows it.
"""

import os
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from payload.model.errors import LinkError, PeerError, SettingsError
from payload.wire.announcement import announcement_key

KEY_FILE = "site.key"
CERTIFICATE_FILE = "site.crt"
ID_PREFIX = "urn:ugs-failover:machine:"
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
BEGINNING = datetime(1950, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def make_site_key(directory: Path) -> None:
    """Make the key (mode 0600) and certificate of a new site below `directory`.

    Raises SettingsError when there is one already: a new key would part the machines of a site.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in (KEY_FILE, CERTIFICATE_FILE):
        if (directory / file).exists():
            raise SettingsError(
                f"There is a site key in {directory} already and it was left as it is. Media "
                "with a new key would not know those with the old one; remove it to start anew."
            )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "UGS-Failover site")])
    certificate = (
        _certificate(name, name, key.public_key(), key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_new(directory / KEY_FILE, _key_pem(key), 0o600)
    _write_new(directory / CERTIFICATE_FILE, _pem(certificate), 0o644)


def load_site(directory: Path) -> "Site":
    """The site whose key lies below `directory`. Raises SettingsError when it cannot be used."""
    try:
        key = serialization.load_pem_private_key((directory / KEY_FILE).read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE_FILE).read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"The site key in {directory} cannot be read ({error}). Without it no other machine "
            "can be trusted: build the medium anew."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or (
        key.public_key() != certificate.public_key()
    ):
        raise SettingsError(
            f"{KEY_FILE} and {CERTIFICATE_FILE} in {directory} do not belong together. Put both "
            "files of one site there and build the medium anew."
        )
    return Site(key, certificate)


@dataclass(frozen=True)
class Site:
    """The key that all media of a site share."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, 64 hex digits. Public, and proof of nothing."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def announcement_key(self) -> bytes:
        """By which machines of this site know each other's announcements. Secret."""
        secret = self.key.private_numbers().private_value
        return announcement_key(secret.to_bytes(32, "big"))

    def credentials(self, machine_id: str) -> "Credentials":
        """What this machine proves itself with until it is switched off. Lives in RAM only."""
        if not _ID.fullmatch(machine_id):
            raise ValueError(f"not a machine id: {machine_id!r}")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign(machine_id, key.public_key())
        chain = _key_pem(key) + _pem(certificate)
        called = _make_context(ssl.PROTOCOL_TLS_SERVER, self.certificate, chain)
        called.num_tickets = 0  # every connection proves itself anew
        calling = _make_context(ssl.PROTOCOL_TLS_CLIENT, self.certificate, chain)
        return Credentials(machine_id, called, calling)

    def sign(self, machine_id: str, key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """A certificate that says: the holder of this key is machine `machine_id` of our site."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "UGS-Failover machine")])
        identity = x509.UniformResourceIdentifier(ID_PREFIX + machine_id)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return (
            _certificate(subject, self.certificate.subject, key, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName([identity]), critical=False)
            .sign(self.key, hashes.SHA256())
        )


@dataclass(frozen=True)
class Credentials:
    """This machine's side of every handshake."""

    machine_id: str
    called: ssl.SSLContext
    calling: ssl.SSLContext

    def shake_hands(
        self, connection: socket.socket, address: str, *, calling: bool, timeout: float
    ) -> ssl.SSLSocket:
        """Turn a TCP connection into a mutually proven one, within `timeout` seconds in all.

        Takes over `connection`, and closes it on failure. Raises PeerError when the other end is
        not of our site, LinkError when it went away or said nothing.
        """
        context = self.calling if calling else self.called
        try:
            connection.settimeout(timeout)
            proven = context.wrap_socket(
                connection, server_side=not calling, do_handshake_on_connect=False
            )
        except OSError as error:
            connection.close()
            raise LinkError(f"The connection to {address} ended at once ({error}).") from error
        try:
            proven.do_handshake()
            peer_id(proven, address)
        except OSError as error:  # ssl.SSLError is one
            proven.close()
            raise _explain(error, address, timeout) from error
        except PeerError:
            proven.close()
            raise
        return proven


def peer_id(connection: ssl.SSLSocket, address: str) -> str:
    """The machine id in the peer's verified certificate. Raises PeerError when there is none."""
    certificate = connection.getpeercert() or {}
    names = certificate.get("subjectAltName", ())
    for kind, value in names if isinstance(names, tuple) else ():
        if kind == "URI" and str(value).startswith(ID_PREFIX):
            return str(value).removeprefix(ID_PREFIX)
    raise PeerError(f"The certificate of the machine at {address} names no machine.")


def _explain(error: OSError, address: str, timeout: float) -> PeerError:
    if isinstance(error, TimeoutError):
        return LinkError(f"The machine at {address} did not answer within {timeout:g} seconds.")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return LinkError(f"The machine at {address} ended the connection during the handshake.")
    if isinstance(error, ssl.SSLCertVerificationError) or _refuses_us(error):
        return PeerError(
            f"The machine at {address} belongs to another site or has no site key. Boot both "
            "machines from media of the same site."
        )
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        return PeerError(f"What answers at {address} is no UGS-Failover machine ({reason}).")
    return LinkError(f"The connection to {address} broke during the handshake ({error}).")


def _refuses_us(error: OSError) -> bool:
    """True when the peer's alert, or its silence about a certificate, means: not of my site."""
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    return "UNKNOWN_CA" in reason or "CERTIFICATE" in reason


def _make_context(protocol: int, authority: x509.Certificate, chain: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the site's CA and the machine id say who it is, not a name
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=_pem(authority).decode("ascii"))
    # OpenSSL takes certificate and key from files only; this one is never on a disk.
    descriptor = os.memfd_create("credentials")
    try:
        os.write(descriptor, chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGINNING)
        .not_valid_after(END)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Never for one moment readable by more than `mode` says."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
