"""The exit's files, read again: when, what for, and what stays where they are broken."""

from __future__ import annotations

import logging
import signal
import ssl
import sys
from typing import TYPE_CHECKING

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from trio.testing import wait_all_tasks_blocked

from proxy import reload as reload_module
from proxy.config import load
from proxy.config_file import with_user
from proxy.errors import ConfigError
from proxy.keys import UserKey, channel_binding, der_of, new_certificate, pin_of
from proxy.reload import LOOK_EVERY, Reload, Settings
from proxy.settings import Folder, User
from proxy.tls import exit_context

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from proxy.settings import Config

ENOUGH = 2 * LOOK_EVERY + 0.1  # for a change to be seen, and seen again


class Files:
    """What an exit has, and what was read from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "exit.toml"
        self.certificate, self.key = folder / "exit-cert.pem", folder / "exit-key.pem"
        self.write_certificate(*new_certificate("exit.example"))
        self.write("[exit]\n", "anna")
        self.reload = Reload(self.config)
        self.first = self.reload.read()
        self.applied: list[Settings] = []

    def write(self, text: str, *names: str) -> None:
        """This text and these users, at once as our own commands do it."""
        for name in names:
            text = with_user(text, User(name, UserKey.new()).table())
        new = self.config.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o600)
        new.replace(self.config)

    def write_certificate(self, certificate: bytes, key: bytes) -> None:
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)

    @property
    def users(self) -> list[list[str]]:
        return [[user.name for user in settings.config.exit.users] for settings in self.applied]


@pytest.fixture
async def files(tmp_path: Path, nursery: trio.Nursery) -> Files:
    made = Files(tmp_path)
    await nursery.start(made.reload.run, made.applied.append)
    return made


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ropeway.reload")


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all("\n" not in record.getMessage() for record in caplog.records)
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_is_read(tmp_path: Path) -> None:
    files = Files(tmp_path)
    der = der_of(files.certificate.read_bytes())
    assert [user.name for user in files.first.config.exit.users] == ["anna"]
    assert files.first.pin == pin_of(der)
    assert files.first.identity.binding == channel_binding(der)
    assert isinstance(files.first.identity.context, ssl.SSLContext)


async def test_files_that_stay_are_not_read_again(files: Files, autojump_clock: MockClock) -> None:
    await trio.sleep(600)
    assert files.applied == []


async def test_a_change_is_taken_when_it_has_settled(
    files: Files, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    await trio.sleep(LOOK_EVERY / 2)
    for number in range(5):  # somebody goes on writing
        files.write("[exit]\n", "anna", f"bert-{'x' * number}")
        await trio.sleep(LOOK_EVERY)
    assert files.applied == []
    await trio.sleep(LOOK_EVERY)
    assert files.users == [["anna", "bert-xxxx"]]
    await trio.sleep(600)
    assert len(files.applied) == 1
    assert complaints(caplog) == []


def write_nonsense(files: Files) -> None:
    files.write("[exit]\nmax_sessions = many\n")


def write_another_key(files: Files) -> None:
    files.key.write_bytes(new_certificate("exit.example")[1])


def write_no_certificate(files: Files) -> None:
    files.certificate.write_bytes(b"no PEM at all")


def remove(files: Files) -> None:
    files.config.unlink()


def remove_certificate(files: Files) -> None:
    files.certificate.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (write_nonsense, "exit.toml is not TOML"),
        (remove, "there is no configuration"),
        (write_another_key, "do not belong together"),
        (write_no_certificate, "not PEM"),
        (remove_certificate, "No such file"),
    ],
)
async def test_broken_files_change_nothing_and_are_complained_about_once(
    files: Files, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, damage: object, words: str
) -> None:
    good = files.config.read_text(), files.certificate.read_bytes(), files.key.read_bytes()
    assert callable(damage)
    damage(files)
    await trio.sleep(ENOUGH)
    (complaint,) = complaints(caplog)
    assert words in complaint
    assert "goes on with what it had" in complaint
    if files.config.exists():
        files.config.touch()  # still broken
    await trio.sleep(600)
    assert complaints(caplog) == [complaint]
    assert files.applied == []
    files.write(good[0], "bert")
    files.write_certificate(*good[1:])
    await trio.sleep(ENOUGH)
    assert files.users == [["anna", "bert"]]
    damage(files)
    await trio.sleep(ENOUGH)
    assert complaints(caplog) == [complaint, complaint]


async def test_broken_files_that_stay_are_read_once(
    files: Files, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another one changed with them."""
    reads: list[Path] = []

    def counted(path: Path) -> Config:
        reads.append(path)
        return load(path)

    monkeypatch.setattr("proxy.reload.load", counted)
    write_nonsense(files)
    write_another_key(files)
    await trio.sleep(600)
    assert reads == [files.config]


async def test_a_certificate_with_another_key_is_taken_with_a_warning(
    files: Files, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = new_certificate("exit.example")
    files.write_certificate(certificate, key)
    await trio.sleep(ENOUGH)
    (applied,) = files.applied
    assert applied.pin == pin_of(der_of(certificate)) != files.first.pin
    assert applied.identity.binding == channel_binding(der_of(certificate))
    (warning,) = complaints(caplog)
    assert "links given out stop working" in warning


async def test_the_files_that_the_new_configuration_names_are_watched(
    files: Files, autojump_clock: MockClock, tmp_path: Path
) -> None:
    other, _ = new_certificate("exit.example")
    files.write('[exit]\ncertificate = "other.pem"\n', "anna")
    (tmp_path / "other.pem").write_bytes(files.certificate.read_bytes())
    await trio.sleep(ENOUGH)
    assert len(files.applied) == 1
    files.certificate.write_bytes(other)  # nobody's any more
    await trio.sleep(ENOUGH)
    assert len(files.applied) == 1
    (tmp_path / "other.pem").write_bytes((tmp_path / "other.pem").read_bytes() + b"\n")
    await trio.sleep(ENOUGH)
    assert len(files.applied) == 2


async def test_what_takes_a_restart_or_may_not_be_meant_is_said(
    files: Files, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    files.write('[exit]\nlisten = "127.0.0.1:4433"\n')
    await trio.sleep(ENOUGH)
    assert files.users == [[]]
    listen, nobody = complaints(caplog)
    assert "127.0.0.1:4433" in listen
    assert "restart" in listen
    assert "user add" in nobody


if sys.platform != "win32":

    async def test_the_signal_reads_at_once_and_always_answers(
        files: Files, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        signal.raise_signal(signal.SIGHUP)
        await wait_all_tasks_blocked()
        assert files.users == [["anna"]]
        files.write("[exit]\n", "anna", "bert")
        signal.raise_signal(signal.SIGHUP)
        await wait_all_tasks_blocked()
        assert files.users == [["anna"], ["anna", "bert"]]
        write_nonsense(files)
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
            await wait_all_tasks_blocked()
        assert len(complaints(caplog)) == 2
        assert len(files.applied) == 2
        await trio.sleep(600)
        assert len(complaints(caplog)) == 2


def test_a_certificate_that_is_replaced_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the channel binding could be that of another certificate than the one that is shown."""
    files = Files(tmp_path)
    made = exit_context

    def replace(certificate: Path, key: Path) -> ssl.SSLContext:
        context = made(certificate, key)
        certificate.write_bytes(certificate.read_bytes() + b"\n")
        return context

    monkeypatch.setattr(reload_module, "exit_context", replace)
    with pytest.raises(ConfigError, match="was replaced while it was read"):
        files.reload.read()
    monkeypatch.undo()
    assert files.reload.read().pin == files.first.pin


async def test_a_website_needs_its_folder(files: Files) -> None:
    www = files.folder / "www"
    files.write('[exit]\nwebsite = "folder:www"\n', "anna")
    with pytest.raises(ConfigError, match="there is no folder"):
        files.reload.read()
    www.mkdir()
    assert files.reload.read().config.exit.website == Folder(www)


async def test_a_certificate_of_a_public_authority_is_renewed(files: Files, autojump_clock: MockClock) -> None:
    """As `exit init --cert --key` has it: files elsewhere, behind symbolic links that a client such as certbot turns over, and the same key."""
    live, archive = files.folder / "live", files.folder / "archive"
    for folder in (live, archive):
        folder.mkdir()
    certificate, key = new_certificate("exit.example")
    (archive / "cert1.pem").write_bytes(certificate)
    (archive / "key1.pem").write_bytes(key)
    (live / "fullchain.pem").symlink_to(archive / "cert1.pem")
    (live / "privkey.pem").symlink_to(archive / "key1.pem")
    files.write(f'[exit]\ncertificate = "{live}/fullchain.pem"\nkey = "{live}/privkey.pem"\n', "anna")
    await trio.sleep(ENOUGH)
    (archive / "cert2.pem").write_bytes(renewed(certificate, key))
    (live / "new").symlink_to(archive / "cert2.pem")
    (live / "new").replace(live / "fullchain.pem")
    await trio.sleep(ENOUGH)
    first, second = files.applied
    assert first.pin == second.pin == pin_of(der_of(certificate))
    assert first.identity.binding != second.identity.binding


def renewed(certificate: bytes, key: bytes) -> bytes:
    """The same names and key, in another certificate."""
    old = x509.load_pem_x509_certificate(certificate)
    private = load_pem_private_key(key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(old.not_valid_before_utc).not_valid_after(old.not_valid_after_utc)
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM)
