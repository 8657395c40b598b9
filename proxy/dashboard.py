"""The dashboard at the local port: its page and its interface. What serves them is imported when somebody first asks: `ropeway run` does not wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import h11

    from .address import Address
    from .api import Api
    from .finding import Finding
    from .live import Live
    from .local_side import LocalSide
    from .observation import Observation
    from .own_site import Page
    from .protocol.http_proxy import Connection


class Dashboard:
    """Of the program with the configuration at `path`, which listens at these places."""

    def __init__(
        self, side: LocalSide, path: Path, seen: Observation, listen: Sequence[str], nursery: trio.Nursery
    ) -> None:
        self._side = side
        self._path = path
        self._seen = seen
        self._listen = tuple(listen)
        self._nursery = nursery
        self._parts: tuple[Api, Live] | None = None

    @property
    def pages(self) -> Mapping[bytes, Page]:
        """By path, for `OwnSite`."""
        return {
            b"/": self._serve_file,
            b"/dashboard/": self._serve_file,
            b"/api/v1/": self._serve_api,
            b"/api/v1/live": self._serve_live,
        }

    async def _serve_file(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        from .dashboard_page import serve_file

        await serve_file(request, place, stream, http)

    async def _serve_api(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        api, _ = await self._made()
        await api.serve(request, place, stream, http)

    async def _serve_live(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        _, live = await self._made()
        await live.serve(request, place, stream, http)

    async def _made(self) -> tuple[Api, Live]:
        if self._parts is None:
            made = await trio.to_thread.run_sync(self._make)
            self._parts = self._parts or made  # two may have been first
        return self._parts

    def _make(self) -> tuple[Api, Live]:
        """In a thread, as it imports."""
        from .api import Api, Source
        from .app_names import AppNames
        from .control import Control
        from .dashboard_token import TokenFile
        from .live import Live
        from .presets import load_presets

        side = self._side
        source = Source(side.exits, lambda: side.routing.router, side.connections, self._seen, AppNames(load_presets()))
        source.listen, source.version = self._listen, _version()
        token = TokenFile.of_user()
        api = Api(source, Control(side, self._path), token, self._examine)
        return api, Live(source, token, self._nursery)

    async def _examine(self) -> list[dict[str, str]]:
        from .address_book import AddressBook
        from .cli_doctor import look_at_service, look_at_system_proxy
        from .doctor import Surroundings, examine

        findings: list[Finding] = []
        around = Surroundings(looks=(look_at_service, look_at_system_proxy))
        await examine(self._path, AddressBook.of_user(), findings.append, around)
        return [finding.plain() for finding in findings]


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("ropeway")
    except metadata.PackageNotFoundError:
        return ""
