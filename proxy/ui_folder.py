"""A dashboard of others at /ui/: the files of a folder, for a browser on this computer. It may speak to this port and to nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import trio

from .own_site import give
from .protocol import own_answer

if TYPE_CHECKING:
    from pathlib import Path

    import h11

    from .address import Address
    from .own_site import Page
    from .protocol.http_proxy import Connection

PREFIX = b"/ui/"
#: Our choices: of one file, all of which is in memory at once, and how many are at the same time. The largest in use has 2 MB.
LARGEST = 8 * 1024 * 1024
_AT_ONCE = 6
#: What bundlers make has scripts and styles in its page, and takes pictures, workers and fonts from memory.
POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    b"font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; object-src 'none'; frame-src 'none'; "
    b"frame-ancestors 'none'; base-uri 'self'; form-action 'none'"
)
_INDEX = "index.html"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "gif": "image/gif",
    "html": "text/html; charset=utf-8",
    "ico": "image/x-icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "mjs": "text/javascript; charset=utf-8",
    "map": "application/json",
    "md": "text/plain; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml; charset=utf-8",
    "ttf": "font/ttf",
    "txt": "text/plain; charset=utf-8",
    "wasm": "application/wasm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
}
_ANYTHING = "application/octet-stream"


class UiFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._limiter = trio.CapacityLimiter(_AT_ONCE)

    @property
    def pages(self) -> dict[bytes, Page]:
        return {PREFIX: self.serve, PREFIX[:-1]: self.serve}

    async def serve(
        self, request: h11.Request, _place: Address, stream: trio.abc.HalfCloseableStream, _http: Connection
    ) -> None:
        async with self._limiter:
            await give(stream, await self._answer(request), head=request.method == b"HEAD")

    async def _answer(self, request: h11.Request) -> bytes:
        if request.method not in (b"GET", b"HEAD"):
            return own_answer.answer(405, extra=((b"Allow", b"GET, HEAD"),))
        path = request.target.partition(b"?")[0]
        if path == PREFIX[:-1]:  # what it loads has names beside that of its folder
            return own_answer.answer(308, extra=((b"Location", PREFIX),))
        found = await trio.to_thread.run_sync(self._read, path[len(PREFIX) :])
        if found is None:
            return own_answer.answer(
                404, "text/plain; charset=utf-8", b"There is no such file in the folder of dashboard.ui.\n"
            )
        kind, content = found
        return own_answer.answer(200, kind, content, policy=POLICY)

    def _read(self, name: bytes) -> tuple[str, bytes] | None:
        """What it is, and what is in it; None where there is no such file, or it is none of this folder's."""
        parts = _parts_of(name)
        if parts is None:
            return None
        try:
            folder = self._folder.resolve(strict=True)
            path = folder.joinpath(*parts).resolve(strict=True)
            if path.is_dir():
                path = (path / _INDEX).resolve(strict=True)
            if not path.is_relative_to(folder) or not path.is_file():
                return None  # a link leads out of it, or it is a pipe
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
        except (OSError, RuntimeError, ValueError):  # RuntimeError: links that lead in a circle
            return None
        return (_TYPES.get(path.suffix[1:].lower(), _ANYTHING), content) if len(content) <= LARGEST else None


def _parts_of(name: bytes) -> list[str] | None:
    """Names of folders and a file; None where they are not plain ones."""
    try:
        parts = unquote_to_bytes(name).decode("utf-8").split("/")
    except UnicodeDecodeError:
        return None
    if parts[-1] == "":
        parts.pop()
    if any(
        not part or part.startswith(".") or not part.isprintable() or set(part) & set('\\:*?"<>|') for part in parts
    ):
        return None
    return parts
