"""The local side as a program: what it listens on, and what it reads again."""

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

from proxy import listening, local_program
from proxy.address_book import AddressBook
from proxy.config import load, parse
from proxy.config_file import replace_file
from proxy.dialer import Dialer
from proxy.errors import ConfigError
from proxy.exit import Exit, Identity, Limits, Terms
from proxy.keys import UserKey, new_certificate
from proxy.local_side import LocalSide
from proxy.settings import Listen
from proxy.share import Link
from proxy.start import Start
from proxy.usage_file import UsageFile
from proxy.website import page
from tests.memory import MemoryAssociation, identity
from tests.socks_words import SOCKS_ANSWER, echo, received, socks_request
from tests.told import Told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def local_exit(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Link]:
    """An exit on loopback, and the link to it."""
    certificate, key = new_certificate("localhost")
    there, user = identity(tmp_path, certificate, key), UserKey.new()
    of_exit = Identity(there.context, there.binding)
    serving = Exit(
        Terms(
            {user.key_id: user.secret}, of_exit, page(), Dialer(allow_private=True).connect, MemoryAssociation, Limits()
        )
    )
    listeners = await listening.listen(Listen("127.0.0.1", 0), "exit.listen")
    await nursery.start(serving.serve, listeners)
    yield Link("127.0.0.1", listeners[0].socket.getsockname()[1], user, there.pin, server_name="localhost")


@pytest.fixture(autouse=True)
def usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UsageFile:
    """In place of the user's."""
    file = UsageFile(tmp_path / "usage.sqlite")
    monkeypatch.setattr(UsageFile, "of_user", lambda: file)
    return file


@pytest.mark.parametrize("kept", [True, False])
async def test_what_apps_used_is_written_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usage: UsageFile, kept: bool
) -> None:
    monkeypatch.setattr(AddressBook, "of_user", lambda: AddressBook(tmp_path / "addresses.json"))
    path = tmp_path / "config.toml"
    async with trio.open_nursery() as exits, local_exit(tmp_path, exits) as link:
        (target,) = await exits.start(functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
        written = f'[rules]\nmode = "all"\n[local]\nlisten = "127.0.0.1:0"\nexit = "{link}"\n'
        replace_file(path, f"{written}[dashboard]\nusage = {str(kept).lower()}\n".encode())
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                (local,) = await nursery.start(local_program.serve_local_side, load(path), path)
                port, to = local.socket.getsockname()[1], target.socket.getsockname()[1]
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(socks_request(to) + b"hello")
                    assert await received(stream, SOCKS_ANSWER + b"hello")
                    await stream.send_eof()
                    assert await stream.receive_some() == b""
                nursery.cancel_scope.cancel()
        exits.cancel_scope.cancel()
    assert [(app, *amount) for (_, app), amount in usage.read().items()] == ([("", 5, 5, 1)] if kept else [])


@pytest.mark.usefixtures("log_as_before")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
async def test_the_local_side_reads_its_file_again_and_streams_stay(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if sys.platform == "win32":  # for the type checker, which reads no further there
        return
    caplog.set_level(logging.DEBUG, "ropeway")
    monkeypatch.setattr(AddressBook, "of_user", lambda: AddressBook(tmp_path / "addresses.json"))
    read, reload = trio.Event(), LocalSide.reload

    async def reloaded(side: LocalSide, path: Path) -> None:
        await reload(side, path)
        read.set()

    monkeypatch.setattr(LocalSide, "reload", reloaded)
    path = tmp_path / "config.toml"
    (target,) = await nursery.start(functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
    async with local_exit(tmp_path, nursery) as link:
        written = f'[rules]\nmode = "all"\n[local]\nlisten = "127.0.0.1:0"\nexit = "{link}"\n'
        replace_file(path, written.encode())
        with trio.fail_after(20):
            (local,) = await nursery.start(local_program.serve_local_side, load(path), path)
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


async def test_sockets_that_listen_already_are_used_and_the_start_is_told(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AddressBook, "of_user", lambda: AddressBook(tmp_path / "addresses.json"))
    path, told = tmp_path / "config.toml", Told()
    async with local_exit(tmp_path, nursery) as link:
        settings = parse({"local": {"listen": "127.0.0.1:1", "exit": str(link)}, "rules": {"mode": "all"}}, path)
        given = socket.create_server(("127.0.0.1", 0))
        with trio.fail_after(20):
            start = Start(told, [given])
            (local,) = await nursery.start(local_program.serve_local_side, settings, path, start)
            assert told.news == ["READY=1"]
            (target,) = await nursery.start(functools.partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
            async with await trio.open_tcp_stream(*local.socket.getsockname()) as stream:
                await stream.send_all(socks_request(target.socket.getsockname()[1]) + b"hello")
                assert await received(stream, SOCKS_ANSWER + b"hello")


async def test_a_socket_unit_may_not_open_the_port_to_others(tmp_path: Path) -> None:
    settings = parse({}, tmp_path / "config.toml")
    with socket.create_server(("0.0.0.0", 0)) as given:
        with pytest.raises(ConfigError, match=r"local.username.*password"):
            await local_program.serve_local_side(settings, tmp_path / "config.toml", Start(sockets=[given]))
        local_program._check_sockets([given], replace(settings.local, username="anna", password="secret"))


@pytest.mark.parametrize(("enabled", "shared"), [(True, False), (False, False), (True, True)])
async def test_the_dashboard_is_for_this_computer_and_where_it_is_wanted(
    enabled: bool,
    shared: bool,
    tmp_path: Path,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ropeway")
    monkeypatch.setattr(UsageFile, "of_user", lambda: UsageFile(tmp_path / "usage"))
    path = tmp_path / "config.toml"
    link = Link("exit.example", 443, UserKey.new(), bytes(32))
    tables = {"local": {"exit": str(link)}, "dashboard": {"enabled": enabled, "usage": False}}
    settings = parse(tables, path)
    side = LocalSide(settings.local, settings.rules)
    side.routing.shared = shared
    listeners = await listening.listen(Listen("127.0.0.1", 0), "local.listen")
    async with listeners[0]:
        dashboard = await local_program._dashboard(settings, path, side, listeners, nursery)
    assert (dashboard is not None) is (enabled and not shared)
    if dashboard is not None:
        assert {b"/", b"/dashboard/", b"/api/v1/", b"/api/v1/live"} <= dashboard.pages.keys()
    assert ("there is no dashboard, as other computers can reach the port" in caplog.text) is shared


async def test_usage_is_counted_as_the_file_says_when_it_is_read_again(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    local = {"exit": str(Link("exit.example", 443, UserKey.new(), bytes(32)))}
    settings = parse({"local": local}, path)
    side = LocalSide(settings.local, settings.rules)
    listeners = await listening.listen(Listen("127.0.0.1", 0), "local.listen")
    async with listeners[0]:
        await local_program._dashboard(settings, path, side, listeners, nursery)
    for counts in (True, False, True):
        for tell in side.when_read:
            tell(parse({"local": local, "dashboard": {"usage": counts}}, path))
        assert (side.connections.when_closed is not None) is counts


@pytest.mark.parametrize(
    ("tables", "names"),
    [
        ({}, []),
        ({"dashboard": {"usage": False}}, []),
        ({"dashboard": {"enabled": False, "ui": "ui"}}, ["dashboard.enabled", "dashboard.ui"]),
        ({"dns": {"listen": "127.0.0.1:9"}}, ["dns.listen"]),
        ({"dns": {"resolvers": ["9.9.9.9:53"]}}, ["dns.resolvers"]),
    ],
)
def test_what_waits_for_a_restart_is_told(
    tables: dict[str, object], names: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "config.toml"
    local_program._say_what_waits(parse({}, path), parse(tables, path))
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"what changed in {name} holds when `ropeway run` is started again" for name in names]
