"""What the local port answers to requests that are for itself, by path: the PAC file, and whatever is put beside it.

Any web page can send requests here, and other computers where the port is open to them. So what is asked has to name this port as its host, which a
name that somebody makes lead here does not, and must not come from a page of others: those get what any proxy says, whatever they ask for, and so
cannot tell what is here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import trio

from . import pac
from .address import Address
from .forward import answer_and_close
from .protocol import fault_answer, http_proxy, own_answer
from .rules import Kind

if TYPE_CHECKING:
    import h11

    from .ruleset import Ruleset

#: Answers the request, whose content is still to be read from the stream by way of the connection, and closes the stream. The address is what
#: the client calls this port.
Page: TypeAlias = Callable[
    ["h11.Request", Address, trio.abc.HalfCloseableStream, http_proxy.Connection], Awaitable[None]
]

_NOBODY: dict[bytes, Page] = {}
#: Our choice; seconds. 6 MB take as long at 1 Mbit/s.
_GIVE_LIMIT = 60.0
_PAC_PATH = b"/proxy.pac"
#: PAC files that are kept, each of 1 MB at most: loopback has three names.
_MOST_KEPT = 4


class OwnSite:
    """`hosts` are the addresses at which the port listens; loopback always counts. Pages are by path, without what follows a "?"; a path that ends
    with "/" stands for all that begin with it, but for "/" itself. `pages` are for nothing but the user, and `own` also for the pages of this very
    port. All others are answered False for, as if there was nothing, but for requests that `lets_in` takes for the user's, which are as the port's own.
    """

    def __init__(
        self,
        pages: Mapping[bytes, Page],
        *,
        own: Mapping[bytes, Page] = _NOBODY,
        hosts: frozenset[str] = frozenset(),
        lets_in: Callable[[h11.Request], bool] = lambda _: False,
    ) -> None:
        self._pages = dict(pages)
        self._own = dict(own)
        self._lets_in = lets_in
        self._hosts = hosts | {"127.0.0.1", "::1", "localhost"}

    async def serve(
        self, request: h11.Request, stream: trio.abc.HalfCloseableStream, http: http_proxy.Connection
    ) -> bool:
        """Returns whether there was an answer; the stream is closed then."""
        place = self._place(request)
        if place is None or not (_is_of_own(request, place) or self._lets_in(request)):
            return False
        path = request.target.partition(b"?")[0]
        if (page := _found(self._own, path)) is not None:
            await page(request, place, stream, http)
            return True
        if _is_of_page(request):
            return False
        if (page := _found(self._pages, path)) is not None:
            await page(request, place, stream, http)
        else:
            await answer_and_close(stream, own_answer.own_page(head=request.method == b"HEAD"))
        return True

    def _place(self, request: h11.Request) -> Address | None:
        """The Host field, where it says one of our own."""
        given = [value for name, value in request.headers if name == b"host"]
        try:
            (value,) = given
            place = Address.parse(value.decode("ascii"), 80)
        except ValueError:
            return None
        return place if place.host in self._hosts else None


async def give(stream: trio.abc.HalfCloseableStream, answer: bytes, *, head: bool = False) -> None:
    """As `answer_and_close`, with time for some MB that go on to a browser elsewhere. `head`: to HEAD, so without the content."""
    if head:
        answer = own_answer.without_content(answer)
    with trio.move_on_after(_GIVE_LIMIT), suppress(trio.BrokenResourceError):
        await stream.send_all(answer)
    await answer_and_close(stream, b"")


def _found(pages: Mapping[bytes, Page], path: bytes) -> Page | None:
    if (page := pages.get(path)) is not None:
        return page
    folders = [each for each in pages if len(each) > 1 and each.endswith(b"/") and path.startswith(each)]
    return pages[max(folders, key=len)] if folders else None


def _is_of_own(request: h11.Request, place: Address) -> bool:
    """Whether nothing says that a page of others asks. Fetch Metadata (W3C): every browser of today says where a page comes from that asks;
    "none" is the user.
    """
    origin = f"http://{place}"
    origins = (origin.encode(), origin.removesuffix(":80").encode())
    judges: dict[bytes, Callable[[bytes], bool]] = {
        b"origin": lambda value: value.lower() in origins,
        b"referer": lambda value: value.lower().startswith(tuple(each + b"/" for each in origins)),
        b"sec-fetch-site": lambda value: value in (b"none", b"same-origin"),
    }
    return all(judges[name](value) for name, value in request.headers if name in judges)


def _is_of_page(request: h11.Request) -> bool:
    """Whether any page asks."""
    return any(
        name in (b"origin", b"referer") or (name == b"sec-fetch-site" and value != b"none")
        for name, value in request.headers
    )


class PacFile:
    """The page with the rules of `ruleset()`. With `secret` rules, as others may reach the port, it only says that everything goes to the proxy."""

    def __init__(self, ruleset: Callable[[], Ruleset], *, secret: bool = False) -> None:
        self._ruleset = ruleset
        self._secret = secret
        self._made_of: Ruleset | None = None
        self._made: dict[Address, str] = {}  # by what the port was called, the latest last
        self._turn = trio.CapacityLimiter(1)

    @property
    def pages(self) -> dict[bytes, Page]:
        return {_PAC_PATH: self.serve}

    async def serve(
        self,
        request: h11.Request,
        place: Address,
        stream: trio.abc.HalfCloseableStream,
        _http: http_proxy.Connection,
    ) -> None:
        if request.method not in (b"GET", b"HEAD"):
            await answer_and_close(stream, fault_answer.error_answer(405, "this can be read, and nothing else"))
            return
        text = await self._text(place)
        answer = own_answer.answer(
            200, f"{pac.CONTENT_TYPE}; charset=utf-8", text.encode(), head=request.method == b"HEAD"
        )
        await answer_and_close(stream, answer)

    async def _text(self, place: Address) -> str:
        """In a thread, as a hundred thousand names take most of a second, and once for each ruleset and name of the port."""
        ruleset = self._ruleset()
        text = self._kept(ruleset, place)
        if text is None:
            async with self._turn:  # who waited for another's file may find it made
                text = self._kept(ruleset, place)
                if text is None:
                    text = await trio.to_thread.run_sync(self._make, ruleset, place)
                    self._keep(ruleset, place, text)
        return text

    def _kept(self, ruleset: Ruleset, place: Address) -> str | None:
        return self._made.get(place) if self._made_of is ruleset else None

    def _keep(self, ruleset: Ruleset, place: Address, text: str) -> None:
        if self._made_of is not ruleset:
            self._made.clear()
            self._made_of = ruleset
        elif len(self._made) >= _MOST_KEPT:
            del self._made[next(iter(self._made))]
        self._made[place] = text

    def _make(self, ruleset: Ruleset, place: Address) -> str:
        if self._secret:
            return pac.pac_text([], Kind.TUNNEL, place)
        return pac.pac_text(ruleset.terms, ruleset.settings.default.kind, place)
