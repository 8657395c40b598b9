"""What a dashboard for Clash looks at: two exits in memory, rules, connections and a log."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h11
import trio

from proxy.address import Address
from proxy.clash_source import ClashSource
from proxy.connections import AppProtocol, Connection, Connections
from proxy.log_memory import LogMemory
from proxy.protocol import http_proxy
from proxy.router import Router
from proxy.rule_terms import AnyOf
from proxy.rules import RuleSettings
from proxy.ruleset import Ruleset
from tests.test_exits import Place, places, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.association import Association
    from proxy.exits import Exits
    from tests.memory import Identity

RULES = (
    "direct suffix:example.org",
    "exit:two domain:by.example",
    "block keyword:ads port:443 network:tcp",
)


def ruleset(*rules: str, mode: str = "all") -> Ruleset:
    settings = RuleSettings.parse(rules, mode, "cn", "tunnel", folder=Path("/"))
    return Ruleset(settings, presets={}, read_list=lambda _: AnyOf(), country_of=lambda _: "")


class Nowhere:
    """A way that nobody goes."""

    async def open(self, address: Address) -> trio.abc.HalfCloseableStream:
        raise NotImplementedError

    def open_soon(self, address: Address) -> None:
        """It waits."""

    async def associate(self) -> Association:
        raise NotImplementedError


@dataclass
class Shown:
    one: Place
    two: Place
    exits: Exits
    router: Router
    connections: Connections
    log: LogMemory
    source: ClashSource

    def opened(self, host: str, port: int = 443, protocol: AppProtocol = AppProtocol.SOCKS5) -> Connection:
        """A connection as the rules have it, before it is reached."""
        address = Address.make(host, port)
        connection = self.connections.opened(protocol, address, trio.current_time())
        chosen = self.router.choose_stream(address)
        connection.chosen(chosen.route, chosen.rule)
        return connection

    def say(self, text: str, level: int = logging.INFO) -> None:
        self.log.emit(logging.LogRecord("ropeway", level, "", 0, text, (), None))


@asynccontextmanager
async def shown(server: Identity, *rules: str) -> AsyncIterator[Shown]:
    """The first exit is up."""
    async with places(server, 2) as (one, two), running(one.route(), two.route()) as exits:
        await exits.tunnels[0].up.wait()
        way = Nowhere()
        router = Router(ruleset(*(rules or RULES)), tunnel=exits, direct=way, by=exits.by)
        connections, log = Connections(), LogMemory()
        source = ClashSource(exits, lambda: router, connections, log, 1080)
        yield Shown(one, two, exits, router, connections, log, source)


def read(
    target: str, *fields: str, method: str = "GET", content: bytes = b""
) -> tuple[h11.Request, http_proxy.Connection]:
    """A request as the port has read it."""
    sized = [f"Content-Length: {len(content)}"] if content else []
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1:1080", *fields, *sized, "", ""]
    http = http_proxy.Connection(h11.SERVER, "\r\n".join(lines).encode() + content)
    request = http.next_event()
    assert isinstance(request, h11.Request)
    return request, http
