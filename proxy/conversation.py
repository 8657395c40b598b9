"""What an app says over UDP, in the table of connections: of each of its associations an entry for each way that its datagrams take.

An app has an association for a call, say, and sends to several on it: servers that tell it its own address or hand on what it says, and the other
side. They are one entry, however many they are, which shows the one that most has gone to lately: that is where the call goes. Which one has more than
all others is known without a table of them (Boyer and Moore, 1981).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from .connections import AppProtocol

if TYPE_CHECKING:
    from .address import Address
    from .connections import Connection, Connections, Scope

# Our choices.
#: Bytes that have to go elsewhere, and no more, until another destination is shown, whatever had gone before: those of a voice call in 15 seconds.
LEAD = 65_536
#: Bytes that one has ahead which has just come to be shown: or each datagram of a crowd would change it.
HEAD_START = 4096
#: By which it is told whose an association is. A call has some servers.
MOST_HOSTS = 8


class Choice(Protocol):
    """What was chosen for datagrams to an address: how the table calls the route and its rule."""

    @property
    def route(self) -> str: ...

    @property
    def rule(self) -> str: ...


class Conversation:
    """That of one association of an app. It is told to end by cancelling the scope, and its entries are closed by whoever has opened them."""

    def __init__(self, connections: Connections, scope: Scope, app: object = None) -> None:
        """`app`: the stream over which it has asked for the association, for who looks for its program."""
        self._connections = connections
        self._app = app
        self._scope = scope
        self._hosts: tuple[str, ...] = ()  # that were shown, the last one first
        self._open: list[Connection] = []

    def entry(self, address: Address, choice: Choice) -> Entry:
        """For a way that datagrams begin to take, with the first of them."""
        connection = self._connections.opened(AppProtocol.UDP, address, trio.current_time())
        connection.app = self._app
        self._open.append(connection)
        connection.ends_with(self)
        self.shows(address.host)
        return Entry(self, connection, choice)

    def end(self, why: str) -> None:
        """All of it."""
        for connection in self._open:
            connection.end(why)
        self._scope.cancel()

    def cancel(self) -> None:
        """One of its entries is to end: the others end with it, and for the same reason."""
        self.end(next((each.ending for each in self._open if each.ending), ""))

    def shows(self, host: str) -> None:
        """Another host is shown. By those before it is known as well whose association it is: nobody knows the address of who is called."""
        self._hosts = (host, *(each for each in self._hosts if each != host))[:MOST_HOSTS]
        for connection in self._open:
            connection.others = self._hosts

    def forget(self, connection: Connection) -> None:
        self._open.remove(connection)


class Entry:
    """A way that datagrams of an association take. `sent` and `received` are called for each of them."""

    __slots__ = ("_choice", "_connection", "_conversation", "_lead", "_traffic")

    def __init__(self, conversation: Conversation, connection: Connection, choice: Choice) -> None:
        self._conversation = conversation
        self._connection = connection
        self._traffic = connection.traffic
        self._choice = choice
        self._lead = 0
        connection.chosen(choice.route, choice.rule)

    def sent(self, address: Address, choice: Choice, size: int, now: float) -> None:
        """A datagram of the app, whether or not it gets anywhere."""
        self._traffic.datagram_up(size, now)
        if address != self._connection.address:
            self._lead -= size
            if self._lead >= 0:
                return
            self._lead = HEAD_START
            self._connection.address = address
            self._conversation.shows(address.host)
        elif self._lead < LEAD:
            self._lead += size
        if choice is not self._choice:  # also where the rules have changed
            self._choice = choice
            self._connection.chosen(choice.route, choice.rule)

    def received(self, size: int, now: float) -> None:
        """A datagram for the app, whoever has sent it."""
        self._traffic.datagram_down(size, now)

    def reached(self, exit_name: str) -> None:
        """The way is open, once more maybe."""
        self._connection.reached(exit_name)

    def close(self, reason: str = "") -> None:
        self._connection.close(trio.current_time(), reason)
        self._conversation.forget(self._connection)
