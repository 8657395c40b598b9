"""An exit and a local side on this computer, with nothing to set up."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from . import telemetry
from .dialer import Dialer
from .exit import Exit, Identity, Limits, Terms
from .keys import UserKey, channel_binding, der_of, new_certificate, pin_of
from .listening import listen, shown
from .local_program import serve_port
from .local_side import LocalSide
from .name_cache import CachedLookup
from .preference import ChosenExit
from .rules import Kind, Mode, Route, RuleSettings
from .settings import Listen
from .share import Link
from .tls import exit_context
from .udp import UDP, Policy
from .website import page

if TYPE_CHECKING:
    from pathlib import Path

    from .settings import LocalSettings

log = telemetry.logger("app")


async def serve_demo(
    settings: LocalSettings,
    where: Path,
    port: int,
    allow_private: bool,
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The exit takes any port, so two demos get along."""
    listeners = await listen(Listen("127.0.0.1", port), "--port")
    exit_listeners = await listen(Listen("127.0.0.1", 0), "exit.listen")
    certificate, key = new_certificate("localhost")
    (where / "cert.pem").write_bytes(certificate)
    (where / "key.pem").touch(mode=0o600)
    (where / "key.pem").write_bytes(key)
    der, user = der_of(certificate), UserKey.new()
    exit_port = exit_listeners[0].socket.getsockname()[1]
    link = Link("127.0.0.1", exit_port, user, pin_of(der), server_name="localhost")
    identity = Identity(exit_context(where / "cert.pem", where / "key.pem"), channel_binding(der))
    dialer, udp = Dialer(allow_private=allow_private, lookup=CachedLookup()), UDP()
    associate = partial(udp.associate, Policy(dialer.allows, dialer.lookup))
    serving = Exit(Terms({user.key_id: user.secret}, identity, page(), dialer.connect, associate, Limits()))
    rules = RuleSettings((), Mode.ALL, "CN", Route(Kind.TUNNEL))  # or what is on this computer would go directly
    side = LocalSide(replace(settings, exits=(ChosenExit(link, link.addresses),)), rules)
    async with trio.open_nursery() as nursery:
        await nursery.start(udp.run)
        await nursery.start(serving.serve, exit_listeners)
        await nursery.start(side.exits.run)
        await nursery.start(side.routing.run)
        await nursery.start(serve_port, settings, listeners, side, None)
        log.info("ready: SOCKS and HTTP proxy on %s", shown(listeners))
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
