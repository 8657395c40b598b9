"""The changes that somebody before this computer makes while the program runs: another exit, another mode, an end to connections
or to the counting of usage.

What is to last is changed in the configuration, as the commands do it, and the program reads that again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .config import change
from .config_file import read_text, with_settings
from .connections import BY_HAND
from .errors import ConfigError
from .exit_links import JoinedExits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .local_side import LocalSide
    from .share import Link

#: Our choice: connections that are ended in one go; each takes some microseconds.
_SLICE = 64


class Control:
    """Raises ConfigError where the configuration at `path` does not allow what is asked, and LookupError where there is no such exit."""

    def __init__(self, side: LocalSide, path: Path) -> None:
        self._side = side
        self._path = path

    def close(self, number: int) -> bool:
        """Ends the connection; returns whether there is one."""
        return self._side.connections.close(number)

    async def close_all(self) -> None:
        """Ends those that are open now."""
        for count, connection in enumerate(self._side.connections.all_open()):
            connection.end(BY_HAND)
            if count % _SLICE == _SLICE - 1:
                await trio.lowlevel.checkpoint()

    async def use_exit(self, name: str) -> None:
        """It goes first from now on, as `ropeway exits use` has it."""
        path = self._path
        await self.link(name)
        await self._change(lambda text: JoinedExits.read(text, path).preferring(name))

    async def read_again(self) -> None:
        """The configuration, after others have changed it."""
        await self._side.read_again(self._path)

    async def set_mode(self, mode: str) -> None:
        await self._change(lambda text: with_settings(text, "rules", {"mode": mode}))

    async def keep_usage(self, wanted: bool) -> None:
        """Whether it is counted from now on how much each app uses."""
        await self._change(lambda text: with_settings(text, "dashboard", {"usage": wanted}))

    async def link(self, name: str) -> Link:
        """The link of an exit, with its key."""
        return await trio.to_thread.run_sync(self._find, name)

    def _find(self, name: str) -> Link:
        joined = JoinedExits.read(read_text(self._path) or "", self._path)
        try:
            return joined.find(name)
        except ConfigError as error:
            raise LookupError(str(error).removeprefix(f"{error.field}: ")) from None

    async def _change(self, edit: Callable[[str], str]) -> None:
        await trio.to_thread.run_sync(change, self._path, edit)
        await self._side.read_again(self._path)
