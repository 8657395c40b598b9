"""Where a browser is let into the dashboard: it comes with a code that the program has just made, and goes with the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import trio

from .entry_codes import LIFE, EntryCodes
from .entry_files import EntryFiles
from .peer_user import is_of_another_user

if TYPE_CHECKING:
    import h11

PREFIX = "/dashboard/enter/"
Judge: TypeAlias = Callable[[bytes], bool]

#: What a browser says of itself where a file of the user leads it here (Fetch Metadata, W3C): a page of nobody, that is left for this one.
_FROM_FILE: dict[bytes, Judge] = {
    b"origin": lambda value: value == b"null",
    b"referer": lambda _: False,
    b"sec-fetch-site": lambda value: value == b"cross-site",
    b"sec-fetch-mode": lambda value: value == b"navigate",
    b"sec-fetch-dest": lambda value: value == b"document",
}


class Entrance:
    """What it sees to runs in the nursery."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._codes = EntryCodes()
        self._nursery = nursery
        self._sweeping = False

    def open(self) -> str:
        """The path by which somebody is let in, once."""
        if not self._sweeping:
            self._sweeping = True
            self._nursery.start_soon(self._sweep)
        return PREFIX + self._codes.make(trio.current_time())

    def knows(self, request: h11.Request) -> bool:
        """Whether it is a browser that a file has led here, by a code that is good. Nothing else is told from pages of others, which look the same:
        whoever has the code may come in.
        """
        if request.method != b"GET" or not all(
            _FROM_FILE[name](value) for name, value in request.headers if name in _FROM_FILE
        ):
            return False
        return self._codes.has(_code_of(request), trio.current_time())

    async def admits(self, request: h11.Request, stream: trio.abc.Stream) -> bool:
        """Whether who asks gets the token. The code stays good where another user of the computer was faster than the browser."""
        if request.method != b"GET":
            return False
        if isinstance(stream, trio.SocketStream) and await trio.to_thread.run_sync(is_of_another_user, stream.socket):
            return False
        code = _code_of(request)
        if not self._codes.take(code, trio.current_time()):
            return False
        await trio.to_thread.run_sync(lambda: EntryFiles.of_user().remove(code))
        return True

    async def _sweep(self) -> None:
        """For as long as there are codes, or files with some."""
        left = True
        while left or self._codes.has_any(trio.current_time()):
            await trio.sleep(LIFE)
            left = await trio.to_thread.run_sync(lambda: EntryFiles.of_user().sweep())
        self._sweeping = False


def _code_of(request: h11.Request) -> str:
    path = request.target.decode("ascii", "replace")
    return path.removeprefix(PREFIX) if path.startswith(PREFIX) else ""
