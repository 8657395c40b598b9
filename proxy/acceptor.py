"""Accepts connections, as many at once as there are slots, and goes on when the machine is short of descriptors."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, TypeAlias

import trio

from . import telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Listener: TypeAlias = trio.abc.Listener[trio.abc.HalfCloseableStream]

# The process or the machine has no room for one more socket; it may have in a moment. trio's own loop logs a traceback for each.
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE = 0.1  # seconds
#: That all slots are taken is told again after so long, in seconds: strangers may make it so all the time.
_SILENCE = 60.0
#: Ours to mend. All else is about one connection that came and went, or the network's state (accept(2), "treat them like EAGAIN").
_FATAL = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}

#: Or trio makes a string of each task's function, 90 bytes for each connection.
_NAME = "connection"

_log = telemetry.logger("acceptor")


class Acceptor:
    """`serve` has each connection to itself: it closes it in the end, and what it raises is logged as a bug, in one line.

    Beyond `slots` at once, and one more for each listener but the first, new connections wait in the queue of the kernel.
    """

    def __init__(self, serve: Callable[[trio.abc.HalfCloseableStream], Awaitable[None]], slots: int) -> None:
        self._serve = serve
        self._slots = trio.Semaphore(slots)
        self._silent_until = 0.0

    async def run(
        self,
        listeners: Sequence[Listener],
        *,
        task_status: trio.TaskStatus[Sequence[Listener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until it is cancelled; then it closes the listeners and every connection. Raises OSError where a listener fails."""
        async with trio.open_nursery() as nursery:
            for _ in listeners[1:]:
                self._slots.release()  # as each listener holds one while it waits
            for listener in listeners:
                nursery.start_soon(self._accept, listener, nursery)
            task_status.started(listeners)

    async def _accept(self, listener: Listener, nursery: trio.Nursery) -> None:
        async with listener:
            while True:
                await self._take_slot()
                nursery.start_soon(self._serve_one, await self._accept_one(listener), name=_NAME)

    async def _take_slot(self) -> None:
        try:
            self._slots.acquire_nowait()  # a turn of the event loop less than acquire()
        except trio.WouldBlock:
            if trio.current_time() >= self._silent_until:
                _log.warning("as many connections are open as may be, new ones wait until some end")
                self._silent_until = trio.current_time() + _SILENCE
            await self._slots.acquire()

    async def _accept_one(self, listener: Listener) -> trio.abc.HalfCloseableStream:
        told = False
        while True:
            try:
                return await listener.accept()
            except OSError as exc:
                if exc.errno in _FATAL:
                    raise
                if exc.errno in _SHORTAGES and not told:
                    _log.warning("no room for new connections, they wait: %s", exc.strerror)
                    told = True
            await trio.sleep(_PAUSE)

    async def _serve_one(self, stream: trio.abc.HalfCloseableStream) -> None:
        """The error boundary of a connection: whatever happens in it, it ends here and disturbs no other."""
        try:
            await self._serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the other side has gone
        except Exception:
            _log.error("a connection ended with an error that is a bug of Ropeway", exc_info=True)
        finally:
            self._slots.release()
            if not _is_closed(stream):
                await trio.aclose_forcefully(stream)


def _is_closed(stream: trio.abc.AsyncResource) -> bool:
    """Where that can be seen: a second close costs several turns of the event loop's work for nothing."""
    return isinstance(stream, trio.SocketStream) and stream.socket.fileno() < 0
