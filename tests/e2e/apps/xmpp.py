"""Somebody at an XMPP server by way of the proxy (RFC 6120 and 6121), with slixmpp: TLS, a password, presence, messages."""

from __future__ import annotations

import asyncio  # noqa: TID251  (slixmpp's; this is a process of its own)
from pathlib import Path
from typing import Any

from python_socks.async_.asyncio import Proxy
from slixmpp import JID, ClientXMPP

from tests.e2e.talk import Ear, Part, part, tell

PASSWORD = "a word"


class Person(ClientXMPP):
    def __init__(self, given: Part, scheme: str) -> None:
        super().__init__(f"{given.me}@localhost/e2e", PASSWORD)
        self.enable_direct_tls = self.enable_plaintext = False
        self.ca_certs = Path(given.authority)
        self.there = asyncio.Event()
        self.heard_all = asyncio.Event()
        self._given = given
        self._scheme = scheme
        self._ear = Ear(given.me, given.plan)
        self._other = JID(f"{given.other}@localhost")
        self.add_event_handler("session_start", self._begin)
        self.add_event_handler("message", self._hear)
        self.add_event_handler("got_online", self._see)
        self.add_event_handler("presence_away", self._see_away)

    async def talk(self) -> None:
        await self.there.wait()
        for number, rest in self._given.plan.numbers():
            self.send_message(mto=self._other, mbody=str(number), mtype="chat")
            if number + 1 == self._given.plan.messages // 2:
                self.send_presence(pshow="away")
            await asyncio.sleep(rest)
        await self.heard_all.wait()
        await self.disconnect()

    async def _begin(self, _: object) -> None:
        tell(f"{self._given.me} connected")
        await self.get_roster()
        self.send_presence()
        self.send_presence_subscription(self._other)

    def _hear(self, message: Any) -> None:
        if message["body"] and self._ear.hear(str(message["body"])):
            self.heard_all.set()

    def _see(self, presence: Any) -> None:
        if presence["from"].bare == self._other and not self.there.is_set():
            tell(f"{self._given.me} sees {self._given.other}")
            self.there.set()

    def _see_away(self, presence: Any) -> None:
        if presence["from"].bare == self._other:
            tell(f"{self._given.me} sees that {self._given.other} is away")

    async def _attempt_connection(self, host: str, port: int, tls: bool, server_hostname: str | None) -> bool:
        """In place of slixmpp's, which knows no proxies."""
        assert not tls
        proxy = Proxy.from_url(f"{self._scheme}://127.0.0.1:{self._given.proxy}", rdns=True)
        connection = await proxy.connect(host, port)
        self.event_when_connected = "connected"
        await self.loop.create_connection(lambda: self, sock=connection)
        return True


async def run() -> None:
    given, more = part("scheme")
    person = Person(given, more.scheme)
    person.connect("localhost", given.port)
    await person.talk()


if __name__ == "__main__":
    asyncio.run(run())
