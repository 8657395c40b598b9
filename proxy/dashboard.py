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
    from .local_side import LocalSide
    from .observation import Observation
    from .own_site import Page
    from .protocol.http_proxy import Connection


class Dashboard:
    """Of the program with the configuration at `path`, which listens at these places."""

    def __init__(self, side: LocalSide, path: Path, seen: Observation, listen: Sequence[str]) -> None:
        self._side = side
        self._path = path
        self._seen = seen
        self._listen = tuple(listen)
        self._api: Api | None = None

    @property
    def pages(self) -> Mapping[bytes, Page]:
        """By path, for `OwnSite`."""
        return {b"/": self._serve_file, b"/dashboard/": self._serve_file, b"/api/v1/": self._serve_api}

    async def _serve_file(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        from .dashboard_page import serve_file

        await serve_file(request, place, stream, http)

    async def _serve_api(
        self, request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        if self._api is None:
            made = await trio.to_thread.run_sync(self._make_api)
            self._api = self._api or made  # two may have been first
        await self._api.serve(request, place, stream, http)

    def _make_api(self) -> Api:
        """In a thread, as it imports."""
        from .api import Api, Source
        from .app_names import AppNames
        from .control import Control
        from .dashboard_token import TokenFile
        from .presets import load_presets

        side = self._side
        source = Source(side.exits, lambda: side.routing.router, side.connections, self._seen, AppNames(load_presets()))
        source.listen, source.version = self._listen, _version()
        return Api(source, Control(side, self._path), TokenFile.of_user(), self._examine)

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
