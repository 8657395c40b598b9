"""Two people who talk over XMPP, each with a connection of slixmpp; both send numbered messages to the other.

    python -m tests.lab.xmpp PORT MESSAGES EVERY_SECONDS REPORT

PORT is the server's on 127.0.0.1; accounts are NAMES, with PASSWORD. It says `talking` when both are there, and in the end writes what each
has received, and how often each was connected.
"""

from __future__ import annotations

import asyncio  # noqa: TID251  (slixmpp's; this is a process of its own)
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from slixmpp import JID, ClientXMPP

NAMES, PASSWORD = ("alice", "bob"), "a word"
#: For the last messages, when all are sent.
_LAST_SECONDS = 30.0
#: What comes twice comes soon after.
_REPEATED_SECONDS = 1.0


class Person(ClientXMPP):
    def __init__(self, name: str, messages: int) -> None:
        super().__init__(f"{name}@localhost/lab", PASSWORD)
        # It is the carrier that is tested, and the tunnel has TLS.
        self.enable_direct_tls = self.enable_starttls = False
        self.enable_plaintext = True
        self["feature_mechanisms"].unencrypted_scram = True
        self.there = asyncio.Event()
        self.heard_all = asyncio.Event()
        self._messages = messages
        self.received: list[str] = []
        self.connections = 0
        self.add_event_handler("session_start", self._begin)
        self.add_event_handler("message", self._hear)

    def _begin(self, _: object) -> None:
        self.connections += 1
        self.send_presence()
        self.there.set()

    def _hear(self, message: Any) -> None:
        self.received.append(str(message["body"]))
        if len(self.received) >= self._messages:
            self.heard_all.set()


async def talk(port: int, messages: int, every: float) -> list[Person]:
    people = [Person(name, messages) for name in NAMES]
    for person in people:
        person.connect("127.0.0.1", port)
    for person in people:
        await person.there.wait()
    print("talking", flush=True)
    for number in range(messages):
        for person, other in zip(people, reversed(NAMES), strict=True):
            person.send_message(mto=JID(f"{other}@localhost/lab"), mbody=str(number), mtype="chat")
        await asyncio.sleep(every)
    with contextlib.suppress(TimeoutError):  # the report says what is missing
        async with asyncio.timeout(_LAST_SECONDS):
            for person in people:
                await person.heard_all.wait()
    await asyncio.sleep(_REPEATED_SECONDS)
    return people


def main() -> None:
    port, messages, every, report = sys.argv[1:]
    people = asyncio.run(talk(int(port), int(messages), float(every)))
    seen = [{"received": person.received, "connections": person.connections} for person in people]
    Path(report).write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
