"""Machines of one site know each other, whatever the clock says; others never do."""

import socket
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from payload.model.errors import LinkError, PeerError, SettingsError
from payload.wire import tls
from payload.wire.tls import Credentials, Site, load_site, make_site_key, peer_id
from tests.support.waiting import PATIENCE

SOURCE = "5" * 32
TARGET = "7" * 32


@pytest.fixture
def site(tmp_path: Path) -> Site:
    make_site_key(tmp_path / "site")
    return load_site(tmp_path / "site")


def new_site(directory: Path) -> Site:
    make_site_key(directory)
    return load_site(directory)


def shake_hands(called: Credentials, calling: Credentials) -> tuple[object, object]:
    """What each side gets: its peer's id, or its error."""
    ends = socket.socketpair()
    results: list[object] = [None, None]

    def one(index: int, credentials: Credentials) -> None:
        try:
            with credentials.shake_hands(
                ends[index], "192.0.2.1", calling=bool(index), timeout=PATIENCE
            ) as proven:
                results[index] = peer_id(proven, "192.0.2.1")
                if not index:
                    proven.send(b"!")
                elif proven.recv(1) != b"!":
                    results[index] = "nothing came"
        except (PeerError, OSError) as error:
            results[index] = error

    threads = [threading.Thread(target=one, args=pair) for pair in ((0, called), (1, calling))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results[0], results[1]


def test_one_site_pairs_and_each_learns_the_other(site: Site) -> None:
    assert shake_hands(site.credentials(SOURCE), site.credentials(TARGET)) == (TARGET, SOURCE)


def test_another_site_never_pairs(site: Site, tmp_path: Path) -> None:
    other = new_site(tmp_path / "other")
    for result in shake_hands(site.credentials(SOURCE), other.credentials(TARGET)):
        assert type(result) is PeerError
        assert "192.0.2.1 belongs to another site or has no site key" in str(result)


def test_caller_that_trusts_anybody_is_still_refused(site: Site, tmp_path: Path) -> None:
    stranger = new_site(tmp_path / "other").credentials(TARGET)
    stranger.calling.load_verify_locations(
        cadata=site.certificate.public_bytes(serialization.Encoding.PEM).decode()
    )
    refused, _ = shake_hands(site.credentials(SOURCE), stranger)
    assert type(refused) is PeerError and "another site" in str(refused)


def test_certificate_of_the_site_that_names_no_machine_is_refused(site: Site) -> None:
    """The CA's own certificate and key would pass as a chain."""
    nameless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nameless.check_hostname = False
    nameless.load_verify_locations(
        cadata=site.certificate.public_bytes(serialization.Encoding.PEM).decode()
    )
    calling = site.credentials(TARGET)
    refused, _ = shake_hands(
        site.credentials(SOURCE), Credentials(TARGET, calling.called, nameless)
    )
    assert type(refused) is PeerError


def test_certificate_of_the_site_for_something_else_is_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(tls, "ID_PREFIX", "https://www.example.org/")
        other = site.credentials(TARGET)
    refused, _ = shake_hands(site.credentials(SOURCE), other)
    assert type(refused) is PeerError


def test_silence_and_garbage_end_the_handshake(site: Site) -> None:
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(LinkError, match="did not answer within"):
        site.credentials(SOURCE).shake_hands(ours, "192.0.2.1", calling=False, timeout=0.2)
    ours, theirs = socket.socketpair()
    theirs.sendall(b"GET / HTTP/1.0\r\n\r\n" * 10)
    with theirs, pytest.raises(PeerError, match="is no UGS-Failover machine"):
        site.credentials(SOURCE).shake_hands(ours, "192.0.2.1", calling=False, timeout=PATIENCE)
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(LinkError):
        site.credentials(SOURCE).shake_hands(ours, "192.0.2.1", calling=False, timeout=PATIENCE)


@pytest.mark.parametrize("clock", ["0", "946684800", "4070908800", "32503680000"])
def test_certificates_hold_whatever_the_clock_says(site: Site, tmp_path: Path, clock: str) -> None:
    """1970, 2000, 2099 and 3000, by OpenSSL's own judgement."""
    certificate = site.sign(SOURCE, ec.generate_private_key(ec.SECP256R1()).public_key())
    leaf = tmp_path / "machine.crt"
    leaf.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    argv = ["openssl", "verify", "-x509_strict", "-attime", clock]
    argv += ["-CAfile", str(tmp_path / "site" / "site.crt"), str(leaf)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.stdout.endswith(": OK\n"), ended.stderr


def test_key_is_private_and_never_overwritten(tmp_path: Path) -> None:
    make_site_key(tmp_path)
    key = tmp_path / "site.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    with pytest.raises(SettingsError, match="left as it is"):
        make_site_key(tmp_path)
    assert key.read_bytes() == before


def test_missing_damaged_and_foreign_keys_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_site(tmp_path)
    make_site_key(tmp_path / "one")
    make_site_key(tmp_path / "two")
    (tmp_path / "one" / "site.key").write_bytes((tmp_path / "two" / "site.key").read_bytes())
    with pytest.raises(SettingsError, match="do not belong together"):
        load_site(tmp_path / "one")
    (tmp_path / "two" / "site.crt").write_bytes(b"nonsense")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_site(tmp_path / "two")


def test_fingerprint_is_of_the_site(site: Site, tmp_path: Path) -> None:
    assert site.fingerprint == load_site(tmp_path / "site").fingerprint
    assert site.fingerprint != new_site(tmp_path / "other").fingerprint
    assert len(site.fingerprint) == 64


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "urn:other", "ä"])
def test_machine_id_must_be_plain(site: Site, name: str) -> None:
    with pytest.raises(ValueError, match="not a machine id"):
        site.credentials(name)
