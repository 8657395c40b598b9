"""What dashboards for Clash ask of the local port (docs/clash-api.md), over HTTP: a table of paths and methods, and what each does.

As for the interface of our own dashboard, who asks is no page of others; the secret is the token that is kept, which is judged before anything else is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
import trio

from . import clash_views as views
from .api_request import NO_CONNECTION, ApiRequest, find, id_of, read_content
from .errors import ConfigError, OpenError
from .own_site import give
from .protocol import own_answer
from .protocol.http_proxy import StatusError, wants_upgrade
from .url_delay import Expected, Url, measure
from .web_socket import HandshakeError

if TYPE_CHECKING:
    import h11

    from .address import Address
    from .clash_feeds import Feeds
    from .clash_source import ClashSource
    from .control import Control
    from .dashboard_token import TokenFile
    from .protocol.http_proxy import Connection
    from .rules import Mode

# Our choices.
#: What dashboards commonly ask for; it answers without content.
_TEST_URL = "https://www.gstatic.com/generate_204"
_TEST_TIME = 5000  # milliseconds
_MOST_TEST_TIME = 30_000
#: How long a change of exits waits for the other one, so that who looks next sees it; seconds.
_CHANGE_LIMIT = 3.0

_UNAUTHORIZED = "Unauthorized: the secret is missing or wrong; `ropeway dashboard --secret` prints it"

_T = TypeVar("_T")


class ClashApi:
    def __init__(self, source: ClashSource, control: Control, token: TokenFile, feeds: Feeds) -> None:
        self._source = source
        self._control = control
        self._token = token
        self._feeds = feeds

    async def serve(
        self, request: h11.Request, _place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        with suppress(trio.BrokenResourceError):
            extra: tuple[tuple[bytes, bytes], ...] = ()
            try:
                asked = ApiRequest.of(request)
                token = _token_of(asked, request)
                if not await self._is_right(token):
                    raise StatusError(401, _UNAUTHORIZED)
                if asked.method != "GET" or not self._feeds.has(asked.path):
                    answer = await self._answer(asked, stream, http)
                elif request.method == b"HEAD":
                    answer = own_answer.endless(own_answer.JSON)
                else:
                    await self._feeds.serve(asked, request, stream, http, partial(self._is_right, token))
                    return
            except HandshakeError as error:
                answer = _refused(error.status, str(error), tuple(error.fields))
            except StatusError as error:
                extra = ((b"WWW-Authenticate", b"Bearer"),) if error.status == 401 else ()
                answer = _refused(error.status, str(error), extra)
            except LookupError as error:
                answer = _refused(404, str(error.args[0]))
            except ConfigError as error:
                answer = _refused(400, str(error))
            await give(stream, answer, head=request.method == b"HEAD")

    async def _is_right(self, token: str) -> bool:
        return await trio.to_thread.run_sync(self._token.is_right, token)

    async def _answer(self, asked: ApiRequest, stream: trio.abc.ReceiveStream, http: Connection) -> bytes:
        handler, names = find(_ROUTES, asked.path, asked.method)
        content = await read_content(stream, http)
        found = await handler(self, asked, names, content)
        return own_answer.answer(204) if found is None else _json(200, found)

    # ---- reading

    async def _version(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return views.Version(f"ropeway {self._source.version}".strip())

    async def _configuration(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return self._source.configuration()

    async def _proxies(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return views.Proxies(self._source.proxies())

    async def _proxy(self, _asked: ApiRequest, names: Sequence[str], _content: bytes) -> object:
        return self._found_proxy(names[0])

    async def _groups(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return views.Group([each for each in self._source.proxies().values() if each.all is not None])

    async def _group(self, _asked: ApiRequest, names: Sequence[str], _content: bytes) -> object:
        return self._found_group(names[0])

    async def _rules(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return self._source.rules()

    async def _no_providers(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return views.Providers()

    def _found_proxy(self, name: str) -> views.Proxy:
        try:
            return self._source.proxies()[name]
        except KeyError:
            raise LookupError(f"there is no proxy {name!r}") from None

    def _found_group(self, name: str) -> views.Proxy:
        found = self._found_proxy(name)
        if found.all is None:
            raise StatusError(400, f"{name} is no group: nothing can be chosen from it")
        return found

    # ---- measuring

    async def _delay(self, asked: ApiRequest, names: Sequence[str], _content: bytes) -> object:
        found, test = self._found_proxy(names[0]), _Test.of(asked)
        name = found.now or found.name
        if name not in self._source.leaves().exits:
            raise StatusError(400, f"{name} is no exit: only they are measured")
        delay = await self._measured(name, test)
        if not delay:
            raise StatusError(504, "Timeout: no answer came by this exit")
        return {"delay": delay}

    async def _delays(self, asked: ApiRequest, names: Sequence[str], _content: bytes) -> object:
        members, test = self._found_group(names[0]).all or [], _Test.of(asked)
        delays: dict[str, int] = {}

        async def one(name: str) -> None:
            delays[name] = await self._measured(name, test)

        async with trio.open_nursery() as nursery:
            for name in members:
                nursery.start_soon(one, name)
        alive = {name: delay for name, delay in delays.items() if delay}
        if not alive:
            raise StatusError(504, "Timeout: no answer came by any exit")
        return alive

    async def _measured(self, name: str, test: _Test) -> int:
        """Milliseconds; 0 is a failure. Both are kept. By the exit in use, whose connection is there, that is its own round trip where the URL is
        what fails.
        """
        view = self._source.leaves().exits.get(name)
        if view is None:
            return 0
        seconds = 0.0
        with trio.move_on_after(test.limit), suppress(OpenError):
            way = await self._source.way(view)
            seconds = await measure(way.open, test.url, test.expected)
        delay = max(1, round(seconds * 1000)) if seconds else 0
        if not delay and view.current:
            delay = views.round_trip_of(view) or 0
        self._source.note_delay(name, delay)
        return delay

    # ---- changing

    async def _choose(self, _asked: ApiRequest, names: Sequence[str], content: bytes) -> None:
        self._found_group(names[0])
        wanted = _parsed(content, views.Selection).name
        view = self._source.leaves().exits.get(wanted)
        if view is None:
            raise StatusError(400, f"there is no exit {wanted!r} to choose")
        await self._control.use_exit(view.route.name)
        with trio.move_on_after(_CHANGE_LIMIT):
            await self._source.used(view.route.identity)

    async def _change(self, _asked: ApiRequest, _names: Sequence[str], content: bytes) -> None:
        wanted = _parsed(content, views.Change).mode
        modes = {name: mode for mode, name in views.MODES.items()}
        if wanted is None:
            raise StatusError(400, "of the configuration the mode can be changed here, and nothing else")
        if wanted.lower() not in modes:
            raise StatusError(400, f"a mode is one of {', '.join(modes)}")
        mode: Mode = modes[wanted.lower()]
        await self._control.set_mode(mode.value)

    async def _reload(self, _asked: ApiRequest, _names: Sequence[str], content: bytes) -> None:
        if _parsed(content or b"{}", views.Load) != views.Load():
            raise StatusError(
                400, "another configuration cannot be given here; the one that there is can be read again"
            )
        await self._control.read_again()

    async def _close(self, _asked: ApiRequest, names: Sequence[str], _content: bytes) -> None:
        if not self._control.close(id_of(names[0])):
            raise LookupError(NO_CONNECTION)

    async def _close_all(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> None:
        await self._control.close_all()


class _Test(msgspec.Struct, frozen=True):
    """What a dashboard wants measured; the limit is in seconds."""

    url: Url
    expected: Expected
    limit: float

    @classmethod
    def of(cls, asked: ApiRequest) -> _Test:
        """Raises StatusError."""
        try:
            url, expected = (
                Url.parse(asked.query.get("url") or _TEST_URL),
                Expected.parse(asked.query.get("expected", "")),
            )
        except ValueError as error:
            raise StatusError(400, str(error)) from None
        return cls(url, expected, max(1, asked.number("timeout", _TEST_TIME, _MOST_TEST_TIME)) / 1000)


_Handler: TypeAlias = Callable[[ClashApi, ApiRequest, Sequence[str], bytes], Awaitable[object]]

#: By path, where "*" stands for a name, and by method.
_ROUTES: dict[tuple[str, ...], dict[str, _Handler]] = {
    ("version",): {"GET": ClashApi._version},
    ("configs",): {"GET": ClashApi._configuration, "PATCH": ClashApi._change, "PUT": ClashApi._reload},
    ("proxies",): {"GET": ClashApi._proxies},
    ("proxies", "*"): {"GET": ClashApi._proxy, "PUT": ClashApi._choose},
    ("proxies", "*", "delay"): {"GET": ClashApi._delay},
    ("group",): {"GET": ClashApi._groups},
    ("group", "*"): {"GET": ClashApi._group},
    ("group", "*", "delay"): {"GET": ClashApi._delays},
    ("providers", "proxies"): {"GET": ClashApi._no_providers},
    ("providers", "rules"): {"GET": ClashApi._no_providers},
    ("rules",): {"GET": ClashApi._rules},
    ("connections",): {"DELETE": ClashApi._close_all},  # what is read of it is a feed
    ("connections", "*"): {"DELETE": ClashApi._close},
}


def _token_of(asked: ApiRequest, request: h11.Request) -> str:
    """A page cannot give a WebSocket a field, and the address of a WebSocket stands in no history."""
    return asked.token or (asked.query.get("token", "") if wants_upgrade(request) else "")


def _parsed(content: bytes, kind: type[_T]) -> _T:
    """Raises StatusError (400)."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise StatusError(400, f"the content cannot be understood: {error}") from None


def _json(status: int, found: object, extra: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    return own_answer.answer(status, own_answer.JSON, msgspec.json.encode(found), extra=extra)


def _refused(status: int, text: str, extra: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    return _json(status, views.Message(text), extra)
