"""The secrets that whoever uses the dashboard's interface has to know: one in a file that only its user can read, and one that is made of it for the page.

What a page keeps in the browser is to be had by any program that stands at the port later, while Ropeway does not run. So it gets nothing that lasts.
"""

from __future__ import annotations

import hmac
import re
import secrets
import sys
from typing import TYPE_CHECKING, Self

from .config_file import locked, replace_file
from .errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_SIZE = 32  # bytes of chance; 256 bits are guessed by nobody
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


class TokenFile:
    """Made when it is first needed. Programs and commands read it anew each time, so that one that was replaced holds no longer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of_user(cls) -> Self:
        """Where the local side of this user keeps it."""
        import platformdirs

        return cls(platformdirs.user_state_path("ropeway", appauthor=False) / "dashboard.token")

    def read(self) -> str:
        """Raises ConfigError where it can neither be read nor made."""
        if found := self._found():
            return found
        with locked(self._path):  # two that are first at the same time have the same one then
            return self._found() or self._write()

    def renew(self) -> str:
        """Another one; whoever has the old one is a stranger from now on. Raises ConfigError."""
        with locked(self._path):
            return self._write()

    def is_right(self, given: str) -> bool:
        """Takes as long for any that is wrong. False where there is none to compare with."""
        try:
            return hmac.compare_digest(self.read().encode(), given.encode("utf-8", "replace"))
        except ConfigError:
            return False

    def proof(self, port: int, nonce: str) -> str:
        """By it who knows the token, too, sees that it is known at this port, while nobody else learns anything: one who stands at another port and passes
        the question on would be found out. Raises ConfigError.
        """
        return self.derived(f"ropeway dashboard proof {port} {nonce}".encode())

    def derived(self, purpose: bytes) -> str:
        """Another secret, from which this one cannot be told. Raises ConfigError."""
        return hmac.digest(self.read().encode(), purpose, "sha256").hex()

    def _found(self) -> str:
        """Empty where there is none, or one that others have seen: it was never whole, or not for its owner alone."""
        try:
            if sys.platform != "win32" and self._path.stat().st_mode & 0o077:
                return ""
            with self._path.open("rb") as file:
                text = file.read(100).decode("ascii", "replace").strip()
        except OSError:
            return ""
        return text if _TOKEN.fullmatch(text) else ""

    def _write(self) -> str:
        token = secrets.token_urlsafe(_SIZE)
        replace_file(self._path, token.encode())
        return token


class RunTokens:
    """What this run of the program takes: the kept token, which commands read, and the page's own, which is worth nothing to another run."""

    def __init__(self, kept: TokenFile, port: int) -> None:
        self._kept, self._port = kept, port
        self._purpose = b"ropeway dashboard page " + secrets.token_bytes(_SIZE)

    def of_page(self) -> str:
        """Another one where the kept one was replaced. Raises ConfigError."""
        return self._kept.derived(self._purpose)

    def is_right(self, given: str) -> bool:
        """As `TokenFile.is_right`, of both."""
        try:
            of_page = hmac.compare_digest(self.of_page().encode(), given.encode("utf-8", "replace"))
        except ConfigError:
            return False
        return self._kept.is_right(given) or of_page

    def proof(self, nonce: str) -> str:
        """As `TokenFile.proof`, of the port where this program listens."""
        return self._kept.proof(self._port, nonce)
