"""Many chats at once with an echo server, by way of a SOCKS proxy: each says numbered lines and checks what comes back.

    python -m tests.lab.chat --proxy PORT --port PORT --chats NUMBER --every SECONDS --report FILE

It says `talking` when all are connected. At SIGTERM it says nothing new, waits for the answers that are missing and writes the report.
When all chats have ended by themselves it does so as well. Times are those of the machine's monotonic clock, like those of the tests.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import time
from dataclasses import asdict, dataclass, field

import trio

from tests.lab.programs import connect_by_socks, told_to_stop, write_report

#: How long missing answers are waited for at the end. Shorter than the patience of whoever stops us (machine.Program.stop).
_DRAIN_SECONDS = 8.0
#: Lines differ in length, so that frames and packets end anywhere.
_LENGTHS = 97


@dataclass
class Seen:
    """Of one chat. `ended`: how, where it was not the chat that wanted it. `slowest`: from a line to its answer, in seconds."""

    said: int = 0
    answered: int = 0
    faults: list[str] = field(default_factory=list)
    ended: str = ""
    ended_at: float = 0.0
    slowest: float = 0.0
    answered_at: list[float] = field(default_factory=list)


def line(number: int) -> bytes:
    return f"{number}:{'x' * (number * 7 % _LENGTHS)}\n".encode()


class Chat:
    def __init__(self, stream: trio.SocketStream, every: float) -> None:
        self.seen = Seen()
        self._stream = stream
        self._every = every
        self._said_at: dict[int, float] = {}
        self._talked = False
        self._broken: trio.BrokenResourceError | None = None  # while it talked

    async def run(self, delay: float, stop: trio.Event) -> None:
        """Ends when all is answered after `stop`, or the connection has ended."""
        async with self._stream, trio.open_nursery() as nursery:
            nursery.start_soon(self._talk, delay, stop)
            try:
                await self._listen()
                for _ in range(
                    4
                ):  # so that who talks has heard of a reset, too, for which trio takes more than one step:
                    await trio.lowlevel.checkpoint()
                if self._broken:  # the system tells it to who asks first, and then only that it is the end
                    raise self._broken
                self._ended("" if self._talked and not self._said_at else "the end")
            except trio.BrokenResourceError as exc:
                reset = isinstance(exc.__cause__, OSError) and exc.__cause__.errno == errno.ECONNRESET
                self._ended("reset" if reset else repr(exc.__cause__))
            nursery.cancel_scope.cancel()

    def _ended(self, how: str) -> None:
        self.seen.ended, self.seen.ended_at = how, time.monotonic()

    async def _talk(self, delay: float, stop: trio.Event) -> None:
        with trio.move_on_after(delay):
            await stop.wait()
        while not stop.is_set():
            self._said_at[self.seen.said] = time.monotonic()
            data = line(self.seen.said)
            self.seen.said += 1
            try:
                await self._stream.send_all(data)
            except trio.BrokenResourceError as exc:
                self._broken = exc
                return
            with trio.move_on_after(self._every):
                await stop.wait()
        self._talked = True
        with contextlib.suppress(trio.BrokenResourceError):
            await self._stream.send_eof()  # what is missing is answered, and then the server ends too

    async def _listen(self) -> None:
        """Returns at the end."""
        rest = b""
        while data := await self._stream.receive_some(65536):
            now = time.monotonic()
            self.seen.answered_at.append(now)
            *lines, rest = (rest + data).split(b"\n")
            for each in lines:
                self._check(each + b"\n", now)

    def _check(self, answer: bytes, now: float) -> None:
        number = self.seen.answered
        self.seen.answered += 1
        if answer != line(number):
            self.seen.faults.append(f"{answer!r} in place of line {number}")
        self.seen.slowest = max(self.seen.slowest, now - self._said_at.pop(number, now))


async def run(given: argparse.Namespace) -> None:
    async with told_to_stop() as stop:
        chats = [Chat(await connect_by_socks(given.proxy, given.port), given.every) for _ in range(given.chats)]
        print("talking", flush=True)
        async with trio.open_nursery() as patience:
            patience.start_soon(give_up, stop, patience.cancel_scope)
            async with trio.open_nursery() as nursery:
                for number, chat in enumerate(chats):  # so that they do not all speak at once
                    nursery.start_soon(chat.run, given.every * number / given.chats, stop)
            patience.cancel_scope.cancel()
    write_report(given, {"chats": [asdict(chat.seen) for chat in chats]})


async def give_up(stop: trio.Event, scope: trio.CancelScope) -> None:
    """Some time after `stop`; the report then says what is missing."""
    await stop.wait()
    await trio.sleep(_DRAIN_SECONDS)
    scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--proxy", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--chats", type=int, required=True)
    parser.add_argument("--every", type=float, required=True)
    parser.add_argument("--report", required=True)
    trio.run(run, parser.parse_args())


if __name__ == "__main__":
    main()
