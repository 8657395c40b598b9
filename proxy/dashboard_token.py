"""The secret that whoever uses the dashboard's interface has to know: in a file that only its user can read."""

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

    def proof(self, nonce: str) -> str:
        """By it who knows the token, too, sees that it is known here, while nobody else learns anything. Raises ConfigError."""
        return hmac.digest(self.read().encode(), f"ropeway dashboard proof {nonce}".encode(), "sha256").hex()

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
