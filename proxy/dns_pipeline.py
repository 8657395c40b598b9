"""Questions to one resolver over one TCP connection, which is kept while there are any (RFC 7766, section 6.2)."""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING

import trio

from .errors import OpenError
from .protocol.dns_answer import read_answer
from .protocol.dns_message import Framing, MessageError, framed, number_of, write_query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .protocol.dns_message import Answer, Question

# Our choice; seconds. RFC 7766, section 6.2.3, wants it short, and public resolvers end it after about as long.
IDLE = 10.0
#: And this: who was asked so long ago, and has said nothing at all since, is gone. A slow link's round trip takes less.
SILENT = 1.5
_CHUNK = 16_384


class ResolveError(Exception):
    """No resolver gave an answer."""


class _Asked:
    def __init__(self, question: Question) -> None:
        self.question = question
        self.over = trio.Event()
        self.answer: Answer | None = None


class Pipeline:
    """`open_stream` opens the connection. It needs `run`; questions may come before that."""

    def __init__(self, open_stream: Callable[[], Awaitable[trio.abc.HalfCloseableStream]]) -> None:
        self._open_stream = open_stream
        self._asked: dict[int, _Asked] = {}
        self._outbox = bytearray()  # as long as the questions that wait, which whoever asks bounds
        self._news = trio.Event()
        self._scope = trio.CancelScope()
        self._ended = False
        self.refused = False  # whether there was no connection at all
        self._heard_at = -math.inf  # when an answer came

    async def run(self) -> None:
        """Until nobody asks any more, or the connection breaks; whoever still waits then gets a ResolveError."""
        try:
            with self._scope:
                stream = await self._open_stream()
                try:
                    await self._carry(stream)
                finally:
                    await trio.aclose_forcefully(stream)
        except OpenError:
            self.refused = True
        finally:
            self._ended = True
            for asked in self._asked.values():
                asked.over.set()

    async def ask(self, question: Question) -> Answer:
        """Raises ResolveError where the connection ends before there is an answer."""
        asked = _Asked(question)
        number, began = self._number(), trio.current_time()
        self._asked[number] = asked
        self._scope.deadline = math.inf
        self._outbox += framed(write_query(number, question))
        self._news.set()
        try:
            if not self._ended:
                await asked.over.wait()
        except trio.Cancelled:
            if self._heard_at < began <= trio.current_time() - SILENT:
                self._scope.cancel()  # the next question gets another connection
            raise
        finally:
            del self._asked[number]
            if not self._asked:
                self._scope.deadline = trio.current_time() + IDLE
        if asked.answer is None:
            raise ResolveError
        return asked.answer

    def _number(self) -> int:
        while (number := secrets.randbelow(65_536)) in self._asked:
            pass  # there are far fewer questions than numbers
        return number

    async def _carry(self, stream: trio.abc.HalfCloseableStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, stream, nursery.cancel_scope)
            await self._read(stream)
            nursery.cancel_scope.cancel()

    async def _write(self, stream: trio.abc.HalfCloseableStream, scope: trio.CancelScope) -> None:
        try:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                data, self._outbox = self._outbox, bytearray()
                await stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            scope.cancel()

    async def _read(self, stream: trio.abc.HalfCloseableStream) -> None:
        framing = Framing()
        try:
            while data := await stream.receive_some(_CHUNK):
                for wire in framing.receive_data(data):
                    self._take(wire)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def _take(self, wire: bytes) -> None:
        number = number_of(wire)
        asked = self._asked.get(number) if number is not None else None
        if asked is None:
            return  # too late
        self._heard_at = trio.current_time()
        try:
            asked.answer = read_answer(wire, asked.question)
        except MessageError:
            return  # to an earlier question of this number, or nothing that can be told: the time limit ends it
        asked.over.set()
