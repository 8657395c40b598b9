"""Files that lead a browser into the dashboard, where what it is started with can be read by other users: each is a page that only its user can read.

The program and the command that opens the browser both know the folder. The command writes one, the program removes it when its code was used.
"""

from __future__ import annotations

import hashlib
import html
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from .entry_codes import LIFE
from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAMES = "enter-*.html"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>Ropeway</title>
<p><a href="{address}">Ropeway</a></p>
</html>
"""


class EntryFiles:
    """`now` is in seconds since 1970, as the times of files are."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now

    @classmethod
    def of_user(cls) -> Self:
        """Beside the token."""
        import platformdirs

        return cls(platformdirs.user_state_path("ropeway", appauthor=False))

    def write(self, address: str, code: str) -> Path:
        """A page that leads to the address, which has the code. Raises ConfigError."""
        path = self._path(code)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # On Windows the folder is in the user's profile, and what is in there is for nobody else.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_PAGE.format(address=html.escape(address)).encode())
        except OSError as error:
            raise ConfigError("", f"{path} cannot be written: {error.strerror}") from None
        return path

    def remove(self, code: str) -> None:
        """The page with this code, where there is one."""
        with suppress(OSError):  # the browser may hold it yet; it is removed later
            self._path(code).unlink()

    def sweep(self) -> bool:
        """Removes those whose codes are good no longer. Returns whether others are left, or some that could not be removed now."""
        left = False
        for path in self._folder.glob(_NAMES):
            try:
                # Windows dates files by a finer clock than it tells the time by, so a new one may be of a moment to come.
                if abs(self._now() - path.stat().st_mtime) < LIFE:
                    left = True
                else:
                    path.unlink()
            except FileNotFoundError:
                continue
            except OSError:
                left = True
        return left

    def _path(self, code: str) -> Path:
        """The name of a file is seen by more than what is in it."""
        return self._folder / _NAMES.replace("*", hashlib.sha256(code.encode()).hexdigest()[:16])
