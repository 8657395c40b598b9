"""The exit's files go where the service reads them, once, and what could not run is found before; `tests/e2e/test_supervised.py` runs it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy import service_exit
from proxy.config import load
from proxy.config_file import with_settings, with_user
from proxy.errors import ConfigError, ServiceError
from proxy.keys import UserKey, new_certificate
from proxy.settings import Folder, User
from tests.standins import Standins

if TYPE_CHECKING:
    from proxy.service_exit import Origin
    from proxy.supervisor import State

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the exit's service is systemd's")


def set_up(folder: Path, **settings: object) -> Path:
    folder.mkdir()
    certificate, key = new_certificate("exit.example")
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    values = {"host": "exit.example", "listen": "127.0.0.1:0", "certificate": "cert.pem", "key": "key.pem", **settings}
    text = with_user(with_settings("# mine\n", "exit", values), User("anna", UserKey.new()).table())
    (folder / "mine.toml").write_text(text)
    (folder / "mine.toml").chmod(0o600)
    return folder / "mine.toml"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /var/lib and /etc; the system's programs say yes to everything."""
    monkeypatch.setattr(service_exit, "FOLDER", tmp_path / "lib")
    monkeypatch.setattr(service_exit, "CONFIG", tmp_path / "lib" / "exit.toml")
    monkeypatch.setattr("proxy.service_systemd.SYSTEM_UNITS", tmp_path / "units")
    monkeypatch.setattr("proxy.service_exit.check_readable_by_services", lambda program: None)
    standins = Standins(tmp_path, monkeypatch)
    standins.answer("systemctl")
    return tmp_path / "lib"


def test_its_files_are_copied_and_mean_the_same(place: Path, tmp_path: Path) -> None:
    path = set_up(tmp_path / "home", website="folder:www")
    before = load(path).exit
    lines = list(service_exit.install(service_exit.origin(path)))
    assert lines[0].startswith(f"Copied: {path}, its certificate and key to {place}")
    after = load(place / "exit.toml").exit
    assert after == replace(before, certificate=place / "exit-cert.pem", key=place / "exit-key.pem")
    assert after.website == Folder(tmp_path / "home" / "www")
    assert after.certificate.read_bytes() == before.certificate.read_bytes()
    assert after.key.read_bytes() == before.key.read_bytes()
    assert {each.stat().st_mode & 0o777 for each in place.iterdir()} == {0o600}
    assert "# mine" in (place / "exit.toml").read_text()
    unit = (tmp_path / "units" / "ropeway-exit.service").read_text()
    assert f"exit run --config {place / 'exit.toml'}" in unit
    assert "MemoryMax=384000000" in unit


def test_again_it_is_the_one_that_is_installed(place: Path, tmp_path: Path) -> None:
    path = set_up(tmp_path / "home")
    assert service_exit.default_origin(path) == path
    list(service_exit.install(service_exit.origin(path)))
    assert service_exit.default_origin(path) == place / "exit.toml"
    text = (place / "exit.toml").read_text()
    lines = list(service_exit.install(service_exit.origin(place / "exit.toml")))
    assert not any(line.startswith(("Copied", "Written", "Replaced")) for line in lines)
    assert (place / "exit.toml").read_text() == text


def test_another_exit_does_not_take_its_place_by_accident(place: Path, tmp_path: Path) -> None:
    list(service_exit.install(service_exit.origin(set_up(tmp_path / "home"))))
    text = (place / "exit.toml").read_text()
    other = service_exit.origin(set_up(tmp_path / "other"))
    with pytest.raises(ConfigError, match=r"there is an exit in .* already.*--force"):
        list(service_exit.install(other))
    assert (place / "exit.toml").read_text() == text
    list(service_exit.install(other, force=True))
    assert load(place / "exit.toml").exit.users == other.settings.users


def test_memory_and_ports_that_changed_are_taken_over(place: Path, tmp_path: Path) -> None:
    list(service_exit.install(service_exit.origin(set_up(tmp_path / "home"))))
    path = place / "exit.toml"
    path.write_text(with_settings(path.read_text(), "exit", {"memory": 512, "listen": [":443", "127.0.0.1:0"]}))
    found = service_exit.origin(path)
    (content,) = service_exit.exit_service(found.settings).files.values()
    assert content is not None
    assert b"MemoryMax=768000000" in content
    assert b"AmbientCapabilities=CAP_NET_BIND_SERVICE" in content


def broken(found: Origin, what: str) -> None:
    if what == "key":
        found.settings.key.unlink()
    elif what == "users":
        found.path.write_text('[exit]\nhost = "exit.example"\n')
    else:
        found.path.unlink()


@pytest.mark.parametrize(
    ("what", "words"), [("key", "exit.key: there is no file"), ("users", "exit init"), ("file", "exit init --host")]
)
def test_an_exit_that_could_not_run_is_not_installed(place: Path, tmp_path: Path, what: str, words: str) -> None:
    path = set_up(tmp_path / "home")
    broken(service_exit.origin(path), what)
    with pytest.raises(ConfigError, match=words):
        service_exit.origin(path)
    assert not place.exists()


def test_a_port_in_use_is_found_before_anything_is_copied(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(places: object, state: State) -> None:
        raise ConfigError("exit.listen", "in use by nginx")

    monkeypatch.setattr("proxy.service.check_ports", refuse)
    with pytest.raises(ConfigError, match="nginx"):
        list(service_exit.install(service_exit.origin(set_up(tmp_path / "home"))))
    assert not place.exists()


def test_a_website_that_the_service_cannot_see_is_told(place: Path, tmp_path: Path) -> None:
    lines = list(service_exit.install(service_exit.origin(set_up(tmp_path / "home", website="folder:/home/anna/www"))))
    assert any("/home/anna/www cannot be read by the service" in line for line in lines)


def test_the_hint_is_for_the_firewall_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    standins = Standins(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert service_exit.firewall_hints([443]) == []
    for tool, command in (
        ("nft", "nft add rule inet filter input tcp dport 443 accept"),
        ("firewall-cmd", "firewall-cmd --permanent --add-port=443/tcp && firewall-cmd --reload"),
        ("ufw", "ufw allow 443/tcp"),
    ):
        standins.answer(tool)
        (hint,) = service_exit.firewall_hints([443])
        assert hint.endswith(f": {command}")
    assert len(service_exit.firewall_hints([443, 8443])) == 2
    assert standins.calls() == []  # it is told, not done


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    there = True
    monkeypatch.setattr(Path, "is_dir", lambda path: there)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ServiceError, match="needs root: sudo ropeway exit install"):
        service_exit.check_system("exit install")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    service_exit.check_system("exit install")
    there = False
    with pytest.raises(ServiceError, match="does not run systemd"):
        service_exit.check_system("exit install")
