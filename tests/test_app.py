"""The program put together, on loopback with real sockets: the demo, and what stops it before it starts."""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio

from proxy import app
from proxy.address_book import AddressBook
from proxy.config import change, load, parse
from proxy.config_file import replace_file, with_settings, with_user, without_user
from proxy.dialer import Dialer
from proxy.errors import ConfigError
from proxy.exit import Exit, Identity, Limits, Terms
from proxy.keys import UserKey, new_certificate
from proxy.local_side import LocalSide
from proxy.protocol.handshake import Hello, Status
from proxy.reload import Reload
from proxy.settings import Listen, User
from proxy.share import Link
from proxy.tls import connect_tls, local_context
from proxy.ways import Opened
from proxy.website import page
from tests.memory import Greeted, greet, identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


SOCKS_ANSWER = b"\x05\x00" + b"\x05\x00\x00\x01" + bytes(6)


def socks_request(port: int) -> bytes:
    return b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big")


async def received(stream: trio.SocketStream, expected: bytes) -> bool:
    got = b""
    while len(got) < len(expected):
        got += bytes(await stream.receive_some())
    return got == expected


async def test_the_demo_carries_bytes(
    tmp_path: Path, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    serve = functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1")
    (target,) = await nursery.start(serve)
    settings = parse({}, tmp_path / "config.toml").local
    with trio.fail_after(20):
        (local,) = await nursery.start(app._serve_demo, settings, tmp_path, 0, True)
        port = local.socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(socks_request(target.socket.getsockname()[1]) + b"hello")
            assert await received(stream, SOCKS_ANSWER + b"hello")
    assert str(port) in capsys.readouterr().out


@asynccontextmanager
async def local_exit(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Link]:
    """An exit on loopback, and the link to it."""
    certificate, key = new_certificate("localhost")
    there, user = identity(tmp_path, certificate, key), UserKey.new()
    of_exit = Identity(there.context, there.binding)
    serving = Exit(Terms({user.key_id: user.secret}, of_exit, page(), Dialer(allow_private=True).connect, Limits()))
    listeners = await app._listen(Listen("127.0.0.1", 0), "exit.listen")
    await nursery.start(serving.serve, listeners)
    yield Link("127.0.0.1", listeners[0].socket.getsockname()[1], user, there.pin, server_name="localhost")


@pytest.mark.usefixtures("log_as_before")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
async def test_the_local_side_reads_its_file_again_and_streams_stay(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if sys.platform == "win32":  # for the type checker, which reads no further there
        return
    caplog.set_level(logging.DEBUG, "ropeway")
    monkeypatch.setattr(app, "_state_folder", lambda: tmp_path)
    read, reload = trio.Event(), LocalSide.reload
    monkeypatch.setattr(LocalSide, "reload", lambda side, path: (reload(side, path), read.set()))
    path = tmp_path / "config.toml"
    (target,) = await nursery.start(functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
    async with local_exit(tmp_path, nursery) as link:
        written = f'[local]\nlisten = "127.0.0.1:0"\nexit = "{link}"\n'
        replace_file(path, written.encode())
        with trio.fail_after(20):
            (local,) = await nursery.start(app._serve_local, load(path).local, path)
            port, to = local.socket.getsockname()[1], target.socket.getsockname()[1]
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(socks_request(to) + b"hello")
                assert await received(stream, SOCKS_ANSWER + b"hello")
                other = replace(link, pin=b"\x01" * 32)
                replace_file(path, (written + f'exits = ["{other}"]\n').encode())
                os.kill(os.getpid(), signal.SIGHUP)
                await read.wait()
                await stream.send_all(b"still here")
                assert await received(stream, b"still here")
    assert "the configuration was read again" in caplog.text
    assert AddressBook(tmp_path / "addresses.json").of(link.pin) == {link.address: (link.address,)}


async def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="in use") as caught:
            await app._listen(Listen("127.0.0.1", port), "local.listen")
    assert str(port) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_exit_listens_at_all_of_its_places_or_none() -> None:
    free = Listen("127.0.0.1", 0)
    listeners = await app._listen_all([free, free], "exit.listen")
    assert len({listener.socket.getsockname() for listener in listeners}) == 2
    taken = Listen("127.0.0.1", listeners[0].socket.getsockname()[1])
    with pytest.raises(ConfigError, match="in use"):
        await app._listen_all([free, taken], "exit.listen")  # what it leaves open would be a warning, and so an error
    for listener in listeners:
        await listener.aclose()


def test_a_local_side_without_an_exit(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ropeway join"):
        app.run_local(parse({}, tmp_path / "config.toml"), tmp_path / "config.toml")


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


def test_an_exit_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="exit init"):
        app.run_exit(tmp_path / "none.toml")


async def test_an_exit_without_users(exit_file: Path) -> None:
    files = Reload(exit_file)
    change(exit_file, lambda text: without_user(text, "anna"))
    with pytest.raises(ConfigError, match="user add"):
        await app._serve_exit(files, files.read())


def test_the_terms_of_an_exit_are_those_of_its_file(exit_file: Path) -> None:
    assert app._terms(Reload(exit_file).read()).limits == Limits()
    chosen = {
        "waiting_time": 5,
        "max_sessions": 1,
        "max_streams": 2,
        "waiting_memory_user": 3,
        "waiting_memory": 4,
        "memory": 200,
    }
    change(exit_file, lambda text: with_settings(text, "exit", chosen))
    settings = Reload(exit_file).read()
    terms = app._terms(settings)
    (user,) = settings.config.exit.users
    assert terms.secrets_of == {user.key.key_id: user.key.secret}
    assert terms.identity is settings.identity
    assert terms.limits == Limits(
        waiting_time=5.0,
        max_sessions=1,
        max_streams=2,
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
    files = Reload(exit_file)
    settings = files.read()
    (anna,), bert = settings.config.exit.users, User("bert", UserKey.new())
    with trio.fail_after(30):
        nursery.start_soon(app._serve_exit, files, settings)
        port = int((await logged(caplog, "ready")).split(":")[2].split(",")[0])

        async def say_hello(user: User) -> Greeted:
            transport = await trio.open_tcp_stream("127.0.0.1", port)
            carrier, binding = await connect_tls(transport, local_context(roots=False), "", settings.pin)
            return await greet(Opened(carrier, binding, 0.0), user.key, Hello(user.key.key_id, bytes(16)))

        one = await say_hello(anna)
        change(exit_file, lambda text: with_user(text, bert.table()))
        await logged(caplog, "read again, for 2 users")
        two = await say_hello(bert)
        assert (one.welcome.status, two.welcome.status) == (Status.NEW, Status.NEW)
        change(exit_file, lambda text: without_user(text, "anna"))
        assert b"the key was removed" in await one.read_to_end()
        for carrier in (one.carrier, two.carrier):
            await carrier.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_ends_it_in_peace_and_the_second_at_once(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    then: list[object] = []

    async def serve() -> None:
        signal.raise_signal(number)
        try:
            await trio.sleep_forever()
        finally:  # a goodbye, during which the kernel decides about signals
            then.extend(signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM))

    with trio.fail_after(10):
        await app._until_signal(serve, ())
    assert then == [signal.SIG_DFL, signal.SIG_DFL]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
