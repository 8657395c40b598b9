"""Dashboards at the local port: our own page and its interface, and what those for Clash ask for. What serves them is imported when somebody first asks:
`ropeway run` does not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from . import entrance
from .entrance import Entrance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import h11

    from .address import Address
    from .api import Api
    from .clash_api import ClashApi
    from .finding import Finding
    from .live import Live
    from .local_side import LocalSide
    from .observation import Observation
    from .own_site import Page
    from .protocol.http_proxy import Connection


#: Where the paths begin that dashboards for Clash ask for. What is not to be had here is told to who knows the secret.
_CLASH = (
    *("version", "configs", "proxies", "group", "providers", "rules", "connections", "traffic", "memory", "logs"),
    *("dns", "cache", "restart", "upgrade", "storage"),
)
CLASH_PATHS = tuple(f"/{name}{end}".encode() for name in _CLASH for end in ("", "/"))


@dataclass(frozen=True, slots=True)
class _Parts:
    api: Api
    live: Live
    clash: ClashApi


class Dashboard:
    """Of the program with the configuration at `path`, which listens at these places. `ui` is the folder of a dashboard of others, if there is one."""

    def __init__(
        self,
        side: LocalSide,
        path: Path,
        seen: Observation,
        listen: Sequence[str],
        nursery: trio.Nursery,
        *,
        ui: Path | None = None,
    ) -> None:
        self._side = side
        self._path = path
        self._seen = seen
        self._listen = tuple(listen)
        self._nursery = nursery
        self._ui = ui
        self._parts: _Parts | None = None
        self.entrance = Entrance(nursery)

    @property
    def pages(self) -> Mapping[bytes, Page]:
        """By path, for `OwnSite`."""
        pages = {
            b"/": self._serve_file,
            b"/dashboard/": self._serve_file,
            entrance.PREFIX.encode(): self._enter,
            b"/api/v1/": self._serve_api,
            b"/api/v1/live": self._serve_live,
        }
        pages |= dict.fromkeys(CLASH_PATHS, self._serve_clash)
        if self._ui is None:
            return pages
        from .ui_folder import UiFolder

        return pages | UiFolder(self._ui).pages

    async def _serve_file(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        from .dashboard_page import serve_file

        await serve_file(request, place, stream, http)

    async def _enter(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        await (await self._made()).api.enter(request, place, stream, http)

    async def _serve_api(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        await (await self._made()).api.serve(request, place, stream, http)

    async def _serve_live(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        await (await self._made()).live.serve(request, place, stream, http)

    async def _serve_clash(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        await (await self._made()).clash.serve(request, place, stream, http)

    async def _made(self) -> _Parts:
        if self._parts is None:
            made = await trio.to_thread.run_sync(self._make)
            self._parts = self._parts or made  # two may have been first
        return self._parts

    def _make(self) -> _Parts:
        """In a thread, as it imports."""
        from .api import Api, Source
        from .app_names import known_apps
        from .clash_api import ClashApi
        from .clash_feeds import Feeds
        from .clash_source import ClashSource
        from .control import Control
        from .dashboard_token import RunTokens, TokenFile
        from .live import Live

        side = self._side
        source = Source(side.exits, lambda: side.routing.router, side.connections, self._seen, known_apps())
        source.usage = self._seen.usage
        source.listen, source.version = self._listen, _version()
        kept = TokenFile.of_user()
        port = min(side.routing.own_ports, default=0)
        tokens = RunTokens(kept, port)
        control = Control(side, self._path)
        clash = ClashSource(side.exits, lambda: side.routing.router, side.connections, self._seen.log, port)
        clash.version, clash.processes = source.version, source.processes
        return _Parts(
            Api(source, control, tokens, self.entrance, self._examine),
            Live(source, tokens, self._nursery),
            ClashApi(clash, control, kept, Feeds(clash)),
        )

    async def _examine(self) -> list[dict[str, object]]:
        from .address_book import AddressBook
        from .cli_doctor import LOOKS, ask_program
        from .doctor import Surroundings, examine

        findings: list[Finding] = []
        around = Surroundings(ask_program=ask_program, looks=LOOKS)
        await examine(self._path, AddressBook.of_user(), findings.append, around)
        return [{**finding.plain(), "words": finding.words} for finding in findings]


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("ropeway")
    except metadata.PackageNotFoundError:
        return ""
