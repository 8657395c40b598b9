"""The exit as a program: its terms are those of its file, also when that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from proxy import exit_program
from proxy.config import change
from proxy.config_file import with_settings, with_user, without_user
from proxy.errors import ConfigError
from proxy.exit import Limits
from proxy.keys import UserKey, new_certificate
from proxy.name_cache import CachedLookup
from proxy.protocol.handshake import Hello, Status
from proxy.reload import Reload
from proxy.settings import User
from proxy.start import Start
from proxy.tls import connect_tls, local_context
from proxy.udp import UDP
from proxy.ways import Opened
from tests.memory import Greeted, greet
from tests.told import Told

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def exit_file(tmp_path: Path) -> Path:
    """The configuration of an exit with one user, which anybody may use to connect to this machine."""
    path = tmp_path / "exit.toml"
    certificate, key = new_certificate("localhost")
    (tmp_path / "exit-cert.pem").write_bytes(certificate)
    (tmp_path / "exit-key.pem").write_bytes(key)
    settings = '[exit]\nlisten = "127.0.0.1:0"\nhost = "127.0.0.1"\nallow_private = true\n'
    path.write_text(with_user(settings, User("anna", UserKey.new()).table()))
    path.chmod(0o600)
    return path


async def test_an_exit_without_users(exit_file: Path) -> None:
    files = Reload(exit_file)
    change(exit_file, lambda text: without_user(text, "anna"))
    with pytest.raises(ConfigError, match="user add"):
        await exit_program.serve_exit(files, files.read())


def test_the_terms_of_an_exit_are_those_of_its_file(exit_file: Path) -> None:
    assert exit_program.terms_of(Reload(exit_file).read(), UDP(), CachedLookup()).limits == Limits()
    chosen = {
        "waiting_time": 5,
        "max_sessions": 1,
        "max_streams": 2,
        "max_associations": 3,
        "datagram_age": 0.5,
        "idle_time": 3600,
        "waiting_memory_user": 3,
        "waiting_memory": 4,
        "memory": 200,
    }
    change(exit_file, lambda text: with_settings(text, "exit", chosen))
    settings = Reload(exit_file).read()
    terms = exit_program.terms_of(settings, UDP(), CachedLookup())
    (user,) = settings.config.exit.users
    assert terms.secrets_of == {user.key.key_id: user.key.secret}
    assert terms.identity is settings.identity
    assert terms.limits == Limits(
        waiting_time=5.0,
        max_sessions=1,
        max_streams=2,
        max_associations=3,
        datagram_age=0.5,
        idle_time=3600.0,
        waiting_bytes_user=3_000_000,
        waiting_bytes=4_000_000,
        memory=200_000_000,
    )


async def logged(caplog: pytest.LogCaptureFixture, words: str) -> str:
    """The first line with these words, once it is there."""
    while not (lines := [line for line in caplog.messages if words in line]):  # noqa: ASYNC110
        await trio.sleep(0.01)
    return lines[0]


async def test_an_exit_takes_over_what_changes_in_its_file(
    exit_file: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Carriers that are open go on, and one whose key is removed is told."""
    monkeypatch.setattr("proxy.reload.LOOK_EVERY", 0.02)
    caplog.set_level("INFO", "ropeway")
    files, told = Reload(exit_file), Told()
    settings = files.read()
    (anna,), bert = settings.config.exit.users, User("bert", UserKey.new())
    with trio.fail_after(30):
        nursery.start_soon(exit_program.serve_exit, files, settings, Start(told))
        ready = await logged(caplog, "ready")
        assert ready.endswith("for 1 user")
        port = int(ready.split(":")[2].split(",")[0])

        async def say_hello(user: User) -> Greeted:
            transport = await trio.open_tcp_stream("127.0.0.1", port)
            carrier, binding = await connect_tls(transport, local_context(roots=False), "", settings.pin)
            return await greet(Opened(carrier, binding, 0.0), user.key, Hello(user.key.key_id, bytes(16)))

        one = await say_hello(anna)
        change(exit_file, lambda text: with_user(text, bert.table()))
        await logged(caplog, "read again, for 2 users")
        assert told.news == ["READY=1", "RELOADING=1", "READY=1"]
        two = await say_hello(bert)
        assert (one.welcome.status, two.welcome.status) == (Status.NEW, Status.NEW)
        change(exit_file, lambda text: without_user(text, "anna"))
        assert b"the key was removed" in await one.read_to_end()
        for carrier in (one.carrier, two.carrier):
            await carrier.aclose()
    nursery.cancel_scope.cancel()
