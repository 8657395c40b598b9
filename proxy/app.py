"""Puts the program together: settings in, objects out, one nursery around them."""

from __future__ import annotations

import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from . import descriptors, heap, telemetry
from .address import Address
from .address_book import AddressBook
from .dialer import Dialer
from .errors import ConfigError
from .exit import Exit, Identity, Limits, Terms
from .keys import UserKey, channel_binding, der_of, new_certificate, pin_of
from .listener import serve_local
from .local_side import LocalSide, check_exits
from .network import watch_network
from .preference import ChosenExit
from .protocol.socks import Credentials
from .reload import Reload, Settings
from .settings import Folder as FolderSetting
from .settings import Listen, Server
from .share import Link
from .tls import exit_context, looks_like_a_browser
from .website import Website as ServeWebsite
from .website import folder, page, server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .exits import Exits
    from .settings import Config, LocalSettings
    from .settings import Website as WebsiteSetting

log = telemetry.logger("app")

_STOP = (signal.SIGINT, signal.SIGTERM)

# Our choices.
MEGABYTE = 1_000_000  # bytes
BACKLOG = 1024  # a browser that starts again opens dozens of connections at once; the kernel has its own bound


def run_local(config: Config, path: Path) -> None:
    """`ropeway run`, until SIGINT or SIGTERM; with SIGHUP the file at `path` is read again. Raises ConfigError."""
    check_exits(config.local)
    _configure(config)
    _run(_serve_local, config.local, path)


def run_exit(path: Path) -> None:
    """`ropeway exit run` with the configuration in this file, which is read again when it changes. Until SIGINT or SIGTERM. Raises ConfigError."""
    files = Reload(path)
    settings = files.read()
    _configure(settings.config)
    _run(_serve_exit, files, settings)


def run_demo(config: Config, port: int, allow_private: bool) -> None:
    """An exit and a local side on loopback, with keys that are forgotten at the end. Raises ConfigError."""
    _configure(config)
    with tempfile.TemporaryDirectory(prefix="ropeway-demo-") as folder_name:
        _run(_serve_demo, config.local, Path(folder_name), port, allow_private)


def _configure(config: Config) -> None:
    telemetry.configure(config.log.level, config.log.format, destinations=config.log.destinations)


def _run(serve: Callable[..., Awaitable[None]], *args: object) -> None:
    heap.tune()
    descriptors.allow_many()
    trio.run(_until_signal, serve, args)


async def _until_signal(serve: Callable[..., Awaitable[None]], args: tuple[object, ...]) -> None:
    """The first signal ends it in peace; a second one is for the kernel, which ends the process at once."""
    failure: ConfigError | None = None
    with trio.open_signal_receiver(*_STOP) as signals:
        async with trio.open_nursery() as nursery:

            async def serve_and_stop() -> None:
                nonlocal failure
                try:
                    await serve(*args)
                except ConfigError as exc:  # taken out of the nursery by hand, so that no group comes around it
                    failure = exc
                nursery.cancel_scope.cancel()

            nursery.start_soon(serve_and_stop)
            nursery.start_soon(_give_back_memory)
            async for number in signals:
                log.info("stopped by %s", signal.Signals(number).name)
                for each in _STOP:
                    signal.signal(each, signal.SIG_DFL)  # until the receiver gives back what there was before it
                nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _give_back_memory() -> None:
    while True:
        await trio.sleep(heap.GIVE_BACK_EVERY)
        heap.give_back()


# ---- the local side


async def _serve_local(
    settings: LocalSettings,
    path: Path,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    listeners = await _listen(settings.listen, "local.listen")
    if not looks_like_a_browser:
        log.warning(
            "utls is not installed: carriers work, but they look like Python and not like a browser from outside"
        )
    side = LocalSide(settings, AddressBook(_state_folder() / "addresses.json"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.reload_on_hangup, path)
        await nursery.start(side.exits.run)
        nursery.start_soon(watch_network, side.exits.network_changed)
        await nursery.start(_serve_port, settings, listeners, side.exits)
        names = ", ".join(str(each.addresses[0]) for each in settings.exits)
        log.info("ready: SOCKS and HTTP proxy on %s, by way of %s", _shown_listeners(listeners), names)
        task_status.started(listeners)


async def _serve_port(
    settings: LocalSettings,
    listeners: list[trio.SocketListener],
    exits: Exits,
    *,
    task_status: trio.TaskStatus[object],
) -> None:
    credentials = Credentials(settings.username, settings.password) if settings.username else None
    await serve_local(
        listeners, exits.open, credentials, max_connections=settings.max_connections, task_status=task_status
    )


def _state_folder() -> Path:
    import platformdirs

    return platformdirs.user_state_path("ropeway", appauthor=False)


# ---- the exit


async def _serve_exit(files: Reload, settings: Settings) -> None:
    exit_settings = settings.config.exit
    if not exit_settings.users:
        raise ConfigError("exit.users", "nobody may use this exit; add a user with `ropeway exit user add NAME`")
    serving = Exit(_terms(settings))

    def apply(changed: Settings) -> None:
        _configure(changed.config)
        serving.change(_terms(changed))

    listeners = await _listen_all(exit_settings.listen, "exit.listen")
    async with trio.open_nursery() as nursery:
        await nursery.start(files.run, apply)
        await nursery.start(serving.serve, listeners)
        log.info("ready: exit on %s, for %d users", _shown_listeners(listeners), len(exit_settings.users))


def _terms(settings: Settings) -> Terms:
    chosen = settings.config.exit
    limits = Limits(
        chosen.waiting_time,
        chosen.max_sessions,
        chosen.max_streams,
        chosen.waiting_memory_user * MEGABYTE,
        chosen.waiting_memory * MEGABYTE,
        chosen.memory * MEGABYTE,
    )
    return Terms(
        {user.key.key_id: user.key.secret for user in chosen.users},
        settings.identity,
        _website(chosen.website),
        Dialer(allow_private=chosen.allow_private).connect,
        limits,
    )


def _website(setting: WebsiteSetting) -> ServeWebsite:
    if isinstance(setting, FolderSetting):
        return folder(setting.path)
    if isinstance(setting, Server):
        return server(setting.address.host, setting.address.port)
    return page()


# ---- both in one


async def _serve_demo(
    settings: LocalSettings,
    where: Path,
    port: int,
    allow_private: bool,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The exit takes any port, so two demos get along."""
    listeners = await _listen(Listen("127.0.0.1", port), "--port")
    exit_listeners = await _listen(Listen("127.0.0.1", 0), "exit.listen")
    certificate, key = new_certificate("localhost")
    (where / "cert.pem").write_bytes(certificate)
    (where / "key.pem").touch(mode=0o600)
    (where / "key.pem").write_bytes(key)
    der, user = der_of(certificate), UserKey.new()
    exit_port = exit_listeners[0].socket.getsockname()[1]
    link = Link("127.0.0.1", exit_port, user, pin_of(der), server_name="localhost")
    identity = Identity(exit_context(where / "cert.pem", where / "key.pem"), channel_binding(der))
    connect = Dialer(allow_private=allow_private).connect
    serving = Exit(Terms({user.key_id: user.secret}, identity, page(), connect, Limits()))
    exits = LocalSide(replace(settings, exits=(ChosenExit(link, link.addresses),))).exits
    async with trio.open_nursery() as nursery:
        await nursery.start(serving.serve, exit_listeners)
        await nursery.start(exits.run)
        await nursery.start(_serve_port, settings, listeners, exits)
        log.info("ready: SOCKS and HTTP proxy on %s", _shown_listeners(listeners))
        sys.stdout.write(_DEMO.format(port=listeners[0].socket.getsockname()[1]))
        sys.stdout.flush()
        task_status.started(listeners)


_DEMO = """
The demo runs on this computer only: what goes in at the local port comes out of an exit beside it.

  A browser:   chromium --proxy-server=socks5://127.0.0.1:{port}
               Firefox: Settings > Network Settings > Manual: SOCKS v5 host 127.0.0.1, port {port}, proxy DNS on
  A chat app:  Telegram: Settings > Advanced > Connection type > Use custom proxy: SOCKS5, 127.0.0.1, {port}
  A terminal:  curl --socks5-hostname 127.0.0.1:{port} https://example.com/

Ctrl-C ends it.
"""


# ---- listening


async def _listen(listen: Listen, field: str) -> list[trio.SocketListener]:
    """Raises ConfigError that says what stands in the way."""
    try:
        return await trio.open_tcp_listeners(listen.port, host=listen.host or None, backlog=BACKLOG)
    except OSError as exc:
        raise ConfigError(field, f"cannot listen on {listen}: {_listen_advice(exc)}") from exc


async def _listen_all(places: Sequence[Listen], field: str) -> list[trio.SocketListener]:
    """At all of them or none. Raises ConfigError as `_listen`."""
    listeners: list[trio.SocketListener] = []
    try:
        for place in places:
            listeners += await _listen(place, field)
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


def _listen_advice(exc: OSError) -> str:
    if isinstance(exc, PermissionError):
        return "ports below 1024 need root, or the capability CAP_NET_BIND_SERVICE; give it, or choose another port"
    cause = exc if exc.errno else exc.__cause__ or exc
    return f"{getattr(cause, 'strerror', None) or cause}; stop the program that uses this port, or choose another"


def _shown_listeners(listeners: list[trio.SocketListener]) -> str:
    names = [listener.socket.getsockname() for listener in listeners]
    return ", ".join(str(Address(name[0], name[1])) for name in names)
