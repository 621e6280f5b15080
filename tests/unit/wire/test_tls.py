"""A site's key, certificates made from it, and handshakes that end in words.

Handshakes over real connections are integration tests; here they go through memory.
"""

import errno
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from payload.model.errors import LinkError, PeerError, SettingsError
from payload.wire.tls import (
    BEGINNING,
    CERTIFICATE_FILE,
    END,
    ID_PREFIX,
    KEY_FILE,
    Credentials,
    Site,
    load_site,
    make_site_key,
    peer_id,
)

SOURCE, TARGET = "5" * 32, "7" * 32
ADDRESS = "192.0.2.1"


def new_site(directory: Path) -> Site:
    make_site_key(directory)
    return load_site(directory)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return new_site(tmp_path_factory.mktemp("tls") / "site")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return new_site(tmp_path_factory.mktemp("tls") / "other")


# --- the key of a site


def test_the_key_is_its_owner_s_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_site_key(tmp_path / "new/site")
    finally:
        os.umask(before)
    assert (tmp_path / "new/site" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new/site" / CERTIFICATE_FILE).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("there", [KEY_FILE, CERTIFICATE_FILE])
def test_a_key_that_is_there_is_left_as_it_is(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_bytes(b"of the site")
    with pytest.raises(SettingsError, match="left as it is"):
        make_site_key(tmp_path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
        (there, b"of the site")
    ]


@pytest.mark.parametrize("file", [KEY_FILE, CERTIFICATE_FILE])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x00\xff" * 50])
def test_a_damaged_key_is_told_as_one(tmp_path: Path, file: str, content: bytes) -> None:
    make_site_key(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(SettingsError, match=r"cannot be read .* build the medium anew"):
        load_site(tmp_path)


@pytest.mark.parametrize("file", [KEY_FILE, CERTIFICATE_FILE])
def test_a_key_that_is_cut_or_missing_is_told_as_one(tmp_path: Path, file: str) -> None:
    make_site_key(tmp_path)
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SettingsError, match="cannot be read"):
        load_site(tmp_path)
    path.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        load_site(tmp_path)


def test_a_key_behind_a_password_cannot_be_used(tmp_path: Path, site: Site) -> None:
    make_site_key(tmp_path)
    locked = site.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / KEY_FILE).write_bytes(locked)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_site(tmp_path)


def test_key_and_certificate_of_two_sites_are_no_site(tmp_path: Path, other: Site) -> None:
    make_site_key(tmp_path)
    pem = other.certificate.public_bytes(serialization.Encoding.PEM)
    (tmp_path / CERTIFICATE_FILE).write_bytes(pem)
    with pytest.raises(SettingsError, match="do not belong together"):
        load_site(tmp_path)


def test_a_key_of_another_kind_is_no_site_s(tmp_path: Path) -> None:
    make_site_key(tmp_path)
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / KEY_FILE).write_bytes(key)
    with pytest.raises(SettingsError, match="do not belong together"):
        load_site(tmp_path)


def test_sites_are_told_apart_by_what_is_public_and_what_is_secret(site: Site, other: Site) -> None:
    assert site.fingerprint != other.fingerprint and len(site.fingerprint) == 64
    assert site.announcement_key != other.announcement_key and len(site.announcement_key) == 32
    secret = site.key.private_numbers().private_value.to_bytes(32, "big")
    assert site.announcement_key != secret, "a machine's announcements do not give the key away"


# --- certificates


def certificate_of(site: Site) -> x509.Certificate:
    return site.sign(SOURCE, ec.generate_private_key(ec.SECP256R1()).public_key())


def test_a_certificate_names_its_machine_and_can_sign_no_other(site: Site) -> None:
    certificate = certificate_of(site)
    certificate.verify_directly_issued_by(site.certificate)
    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [ID_PREFIX + SOURCE]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and not usage.value.key_cert_sign and usage.value.digital_signature
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_no_certificate_depends_on_the_clock(site: Site) -> None:
    for certificate in (site.certificate, certificate_of(site)):
        assert certificate.not_valid_before_utc == BEGINNING
        assert certificate.not_valid_after_utc == END


def test_the_site_s_own_certificate_signs_machines_and_no_further_authority(site: Site) -> None:
    extensions = site.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value.ca and constraints.value.path_length == 0
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign and not usage.digital_signature


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "urn:other", "\xe4", "a\n", "a/b"])
def test_a_machine_id_is_plain(site: Site, name: str) -> None:
    with pytest.raises(ValueError, match="not a machine id"):
        site.credentials(name)


# --- handshakes through memory


def shake_hands(called: ssl.SSLContext, calling: ssl.SSLContext) -> tuple[object, object]:
    """What each side says of its peer, or its error."""
    to_called, to_calling = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        called.wrap_bio(to_called, to_calling, server_side=True),
        calling.wrap_bio(to_calling, to_called, server_side=False),
    ]
    results: list[object] = [None, None]
    for _ in range(4):
        for index, side in enumerate(sides):
            if results[index] is None:
                results[index] = step(side)
    return results[0], results[1]


def step(side: ssl.SSLObject) -> object:
    try:
        side.do_handshake()
        return peer_id(cast(Any, side), ADDRESS)
    except ssl.SSLWantReadError:
        return None
    except (ssl.SSLError, PeerError) as error:
        return error


def test_each_learns_the_machine_id_of_the_other(site: Site) -> None:
    ends = site.credentials(SOURCE).called, site.credentials(TARGET).calling
    assert shake_hands(*ends) == (TARGET, SOURCE)


def test_machines_of_two_sites_do_not_pair(site: Site, other: Site) -> None:
    for result in shake_hands(site.credentials(SOURCE).called, other.credentials(TARGET).calling):
        assert isinstance(result, ssl.SSLError) or result is None


def test_who_shows_no_certificate_is_not_let_in(site: Site) -> None:
    calling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    calling.check_hostname = False
    calling.load_verify_locations(
        cadata=site.certificate.public_bytes(serialization.Encoding.PEM).decode()
    )
    refused, _ = shake_hands(site.credentials(SOURCE).called, calling)
    assert isinstance(refused, ssl.SSLError)


def test_nothing_older_than_tls_1_3_is_spoken(site: Site) -> None:
    credentials = site.credentials(SOURCE)
    for context in (credentials.called, credentials.calling):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
    assert credentials.called.num_tickets == 0, "every connection proves itself anew"


# --- whom a certificate names


@dataclass
class Shown:
    """A connection with what its peer's certificate says."""

    certificate: Any

    def getpeercert(self) -> Any:
        return self.certificate


def test_the_machine_is_named_among_other_names() -> None:
    names = (("DNS", ID_PREFIX + "no"), ("URI", "urn:other"), ("URI", ID_PREFIX + SOURCE))
    assert peer_id(cast(Any, Shown({"subjectAltName": names})), ADDRESS) == SOURCE


@pytest.mark.parametrize(
    "certificate",
    [
        None,
        {},
        {"subjectAltName": ()},
        {"subjectAltName": (("DNS", ID_PREFIX + SOURCE),)},
        {"subjectAltName": (("URI", "https://example.org/" + SOURCE),)},
    ],
)
def test_a_certificate_that_names_no_machine_is_of_nobody(certificate: Any) -> None:
    with pytest.raises(PeerError, match=f"machine at {ADDRESS} names no machine"):
        peer_id(cast(Any, Shown(certificate)), ADDRESS)


# --- what an error of a handshake means


class Connection:
    """Its own TLS as well: ends with an error where it is told to."""

    def __init__(self, error: OSError | None, names: Any = ()) -> None:
        self.error, self.names = error, names
        self.closed = False
        self.timeout = 0.0

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def wrap_socket(self, connection: object, **options: object) -> "Connection":
        self.options = options
        return self

    def do_handshake(self) -> None:
        if self.error is not None:
            raise self.error

    def getpeercert(self) -> dict[str, Any]:
        return {"subjectAltName": self.names}

    def close(self) -> None:
        self.closed = True


def ssl_error(reason: str, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    error = kind(1, f"[SSL: {reason}] words of OpenSSL")
    error.reason = reason
    return error


def shake(connection: Connection, *, calling: bool = True) -> Any:
    contexts = (cast(Any, connection),) * 2
    return Credentials(SOURCE, *contexts).shake_hands(
        cast(Any, connection), ADDRESS, calling=calling, timeout=7
    )


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (TimeoutError(), LinkError, "did not answer within 7 seconds"),
        (ssl_error("EOF", ssl.SSLEOFError), LinkError, "ended the connection during"),
        (ssl_error("CLOSED", ssl.SSLZeroReturnError), LinkError, "ended the connection during"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), LinkError, "broke during the handshake"),
        (ssl_error("X", ssl.SSLCertVerificationError), PeerError, "another site or has no site"),
        (ssl_error("TLSV1_ALERT_UNKNOWN_CA"), PeerError, "another site or has no site key"),
        (ssl_error("PEER_DID_NOT_RETURN_A_CERTIFICATE"), PeerError, "another site or has no"),
        (ssl_error("WRONG_VERSION_NUMBER"), PeerError, "no UGS-Failover machine .WRONG_VERSION"),
    ],
)
def test_an_error_says_whether_another_try_is_worth_it(
    error: OSError, kind: type[PeerError], words: str
) -> None:
    connection = Connection(error)
    with pytest.raises(PeerError, match=words) as caught:
        shake(connection)
    assert type(caught.value) is kind and ADDRESS in str(caught.value)
    assert connection.closed and connection.timeout == 7


def test_a_peer_without_a_name_is_hung_up_on() -> None:
    connection = Connection(None)
    with pytest.raises(PeerError, match="names no machine"):
        shake(connection)
    assert connection.closed


@pytest.mark.parametrize("calling", [True, False])
def test_a_proven_connection_stays_open(calling: bool) -> None:
    connection = Connection(None, (("URI", ID_PREFIX + TARGET),))
    assert shake(connection, calling=calling) is connection and not connection.closed
    assert connection.options["server_side"] is not calling


def test_a_connection_that_ended_before_is_a_link_error() -> None:
    class Gone(Connection):
        def settimeout(self, seconds: float) -> None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    connection = Gone(None)
    with pytest.raises(LinkError, match=f"connection to {ADDRESS} ended at once"):
        shake(connection)
    assert connection.closed
