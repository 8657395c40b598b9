"""A call's way through walls: a TURN client by way of SOCKS5, as in WhatsApp or Messenger, and the server (coturn)."""

from __future__ import annotations

import math
import struct
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from tests.e2e.apps import stun
from tests.e2e.apps.socks_udp import associate
from tests.e2e.machine import free_port, server_program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.apps.socks_udp import Association, Where
    from tests.e2e.machine import Program, Programs

USER, PASSWORD, REALM = "alice", "a secret", "localhost"
HOST = "127.0.0.1"
#: Seconds until a request is repeated: again after twice as long, and so on, and how often (RFC 8489, section 6.2.1).
_FIRST_WAIT, _ATTEMPTS = 0.5, 6
_LIFETIME = struct.pack("!I", 600)


class TurnError(Exception):
    """The server refuses, or nobody answers."""


class Turn:
    """One allocation with one peer. `run` has to run."""

    def __init__(self, association: Association, server: Where) -> None:
        self._association = association
        self._server = server
        self._auth: dict[int, bytes] = {}
        self._key: bytes | None = None
        self._asked: dict[bytes, trio.MemorySendChannel[stun.Message]] = {}
        #: What the peer says, and when it came, on the monotonic clock.
        self._said, self.heard = trio.open_memory_channel[tuple[bytes, float]](math.inf)

    async def run(self) -> None:
        while True:
            sender, data = await self._association.receive()
            now = time.monotonic()
            assert sender == self._server
            if (said := stun.of_channel(data)) is not None:
                assert said[0] == stun.FIRST_CHANNEL
                self._said.send_nowait((said[1], now))
                continue
            message = stun.decode(data)
            if (asked := self._asked.get(message.transaction)) is not None:
                asked.send_nowait(message)

    async def binding(self) -> Where:
        """Which address the server sees."""
        return (await self._ask(stun.BINDING, {})).address(stun.XOR_MAPPED)

    async def allocate(self) -> Where:
        """The address at which the peer finds us; with the long-term credentials, which the server asks for first (RFC 8656, section 7)."""
        wanted = {stun.TRANSPORT: stun.UDP, stun.LIFETIME: _LIFETIME}
        challenge = await self._exchange(stun.ALLOCATE, wanted)
        if challenge.error != 401:
            raise TurnError(f"error {challenge.error} where credentials ought to be asked for")
        realm, nonce = challenge.attributes[stun.REALM], challenge.attributes[stun.NONCE]
        self._auth = {stun.USERNAME: USER.encode(), stun.REALM: realm, stun.NONCE: nonce}
        self._key = stun.long_term_key(USER, realm.decode(), PASSWORD)
        return (await self._ask(stun.ALLOCATE, wanted)).address(stun.XOR_RELAYED)

    async def bind_channel(self, peer: Where) -> None:
        """Which permits the peer to answer as well."""
        number = struct.pack("!HH", stun.FIRST_CHANNEL, 0)
        await self._ask(stun.CHANNEL_BIND, {stun.CHANNEL_NUMBER: number, stun.XOR_PEER: stun.peer_address(peer)})

    async def release(self) -> None:
        await self._ask(stun.REFRESH, {stun.LIFETIME: bytes(4)})

    async def say(self, data: bytes) -> None:
        await self._association.send(self._server, stun.channel_data(stun.FIRST_CHANNEL, data))

    async def _ask(self, method: int, attributes: dict[int, bytes]) -> stun.Message:
        answer = await self._exchange(method, attributes)
        if answer.kind != method | stun.SUCCESS:
            raise TurnError(f"error {answer.error}")
        return answer

    async def _exchange(self, method: int, attributes: dict[int, bytes]) -> stun.Message:
        message = stun.Message(method, attributes | self._auth)
        data = stun.encode(message, self._key)
        send, receive = trio.open_memory_channel[stun.Message](_ATTEMPTS)
        self._asked[message.transaction] = send
        try:
            for attempt in range(_ATTEMPTS):
                await self._association.send(self._server, data)
                with trio.move_on_after(_FIRST_WAIT * 2**attempt):
                    return await receive.receive()
        finally:
            del self._asked[message.transaction]
        raise TurnError("nobody answers")


@asynccontextmanager
async def turn_client(proxy_port: int, server: Where) -> AsyncIterator[Turn]:
    async with associate(proxy_port) as association, trio.open_nursery() as nursery:
        client = Turn(association, server)
        nursery.start_soon(client.run)
        yield client
        nursery.cancel_scope.cancel()


def start_coturn(programs: Programs, folder: Path) -> tuple[Program, Where]:
    """Lets USER in, and to peers on loopback, which it denies unless it is told."""
    port, first = free_port(), free_port()
    words = [
        *("-n", "--no-cli", "--no-tls", "--no-dtls", "--no-multicast-peers", "--allow-loopback-peers"),
        *("--lt-cred-mech", f"--user={USER}:{PASSWORD}", f"--realm={REALM}", "--fingerprint"),
        *(f"--listening-ip={HOST}", f"--relay-ip={HOST}", f"--listening-port={port}"),
        *(f"--min-port={first}", f"--max-port={first + 100}", "--relay-threads=1"),
        *("--log-file=stdout", f"--pidfile={folder}/turn.pid", f"--userdb={folder}/turn.db"),
    ]
    started = programs.start("turnserver", [server_program("turnserver"), *words])
    started.wait_for_port(port)
    return started, (HOST, port)
