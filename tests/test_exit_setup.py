"""A new exit is written whole or not at all, and takes its turn."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load_key

from proxy import config, config_file, exit_setup
from proxy.config_file import locked
from proxy.errors import ConfigError
from proxy.exit_setup import NewExit, OwnCertificate, set_up
from proxy.keys import check_pair, der_of, new_certificate, pin_of

if TYPE_CHECKING:
    from pathlib import Path

NEW = NewExit("exit.example.com")


def failing_at(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this file cannot be written, as on a full disk."""
    write = config_file.replace_file

    def replace_file(target: Path, content: bytes) -> None:
        if target == path:
            raise ConfigError("", f"{path} cannot be written: No space left on device")
        write(target, content)

    monkeypatch.setattr(exit_setup, "replace_file", replace_file)


def test_what_failed_leaves_nothing_in_the_way_of_the_next_attempt(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        failing_at(path, patch)
        with pytest.raises(ConfigError, match="No space left"):
            set_up(path, NEW)
    assert list(path.parent.iterdir()) == []
    settings, (link,) = set_up(path, NEW)
    assert settings == config.load(path).exit
    assert link.host == "exit.example.com"


@pytest.mark.parametrize("name", ["exit-cert.pem", "config.toml"])
def test_what_failed_leaves_an_exit_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    set_up(path, NEW)
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    failing_at(path.parent / name, monkeypatch)
    with pytest.raises(ConfigError, match="No space left"):
        set_up(path, NewExit("other.example.com"), force=True)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


@pytest.mark.skipif("sys.platform == 'win32'", reason="nothing is locked there")
def test_it_waits_for_other_commands_and_sees_what_they_did(path: Path) -> None:
    said: list[str] = []

    def run() -> None:
        try:
            set_up(path, NEW)
        except ConfigError as error:
            said.append(str(error))

    with locked(path):
        other = threading.Thread(target=run)
        other.start()
        other.join(0.1)  # it has no way to tell that it waits
        assert not path.exists()
        path.write_text('[exit]\nhost = "other.example.com"\n')
    other.join()
    assert "has an exit already" in said[0]
    assert "other.example.com" in path.read_text()


def test_a_folder_for_the_website_has_to_be_there(path: Path) -> None:
    new = NewExit("exit.example.com", website=f"folder:{path.parent / 'www'}")
    with pytest.raises(ConfigError, match="there is no folder"):
        set_up(path, new)
    assert not path.parent.exists()
    (path.parent / "www").mkdir(parents=True)
    set_up(path, new)


def own(folder: Path, certificate: bytes, key: bytes) -> OwnCertificate:
    folder.mkdir(exist_ok=True)
    found = OwnCertificate(folder / "own-cert.pem", folder / "own-key.pem")
    found.certificate.write_bytes(certificate)
    found.key.write_bytes(key)
    return found


def test_a_certificate_of_ones_own_is_not_touched(path: Path, tmp_path: Path) -> None:
    certificate, key = new_certificate("exit.example.com")
    pair = own(tmp_path / "own", certificate, key)
    (path.parent).mkdir()
    (path.parent / "exit-key.pem").write_bytes(b"of another exit")  # is not replaced, so it is in nobody's way
    _settings, (link,) = set_up(path, NewExit("exit.example.com", own=pair))
    assert link.pin == pin_of(der_of(certificate))
    assert (pair.certificate.read_bytes(), pair.key.read_bytes()) == (certificate, key)
    assert (path.parent / "exit-key.pem").read_bytes() == b"of another exit"


def test_pairs_that_cannot_be_used(path: Path, tmp_path: Path) -> None:
    certificate, key = new_certificate("exit.example.com")
    _, other = new_certificate("exit.example.com")
    locked_key = load_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )
    for first, second, word in (
        (certificate, other, "do not belong together"),
        (certificate, locked_key, "has a password"),
        (certificate, certificate, "no private key"),
        (certificate, b"", "no private key"),
        (key, key, "no certificate"),
        (b"", key, "no certificate"),
    ):
        with pytest.raises(ValueError, match=word):
            check_pair(first, second)
        with pytest.raises(ConfigError, match=word):
            set_up(path, NewExit("exit.example.com", own=own(tmp_path / "own", first, second)))
    check_pair(certificate, key)
    assert not path.parent.exists()
