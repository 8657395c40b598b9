"""The dashboard's interface over HTTP (docs/api.md): a table of paths and methods, and what each does.

Who asks has been looked at by then: it is no page of others. What is left is the token, which is judged before anything else is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
import trio

from . import api_views as views
from . import heap
from .api_request import NO_CONNECTION, ApiRequest, find, id_of, read_content
from .connections import MOST_OPEN, MOST_SHOWN
from .errors import ConfigError, UsageError
from .forward import answer_and_close
from .history import STEP
from .log_memory import MOST_LINES
from .own_site import give
from .processes import Processes
from .protocol import own_answer
from .protocol.http_proxy import StatusError
from .router import MOST_COUNTED
from .rules import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import h11

    from .address import Address
    from .app_names import AppNames
    from .connections import Connections, ConnectionView
    from .control import Control
    from .dashboard_token import RunTokens
    from .entrance import Entrance
    from .exits import Exits
    from .observation import Observation
    from .protocol.http_proxy import Connection
    from .router import Router
    from .usage import Usage

_T = TypeVar("_T")

ROOT = "api", "v1"
#: What is said without the token: that it is known here.
PROOF = *ROOT, "proof"
_LONGEST_NONCE = 100
#: Our choice: connections that are looked at in one go; each takes ten microseconds, and meanwhile nothing else goes on.
SLICE = 128
_ENTER = """<!doctype html>
<html lang="en">
<meta http-equiv="refresh" content="0; url={where}">
<title>Ropeway</title>
</html>
"""
_NO_CONTENT = own_answer.answer(204)
#: What the doctor found, as `ropeway doctor --json` has it, and what its texts are made of.
Examine: TypeAlias = Callable[[], Awaitable[list[dict[str, object]]]]


class Source:
    """What is shown, from what the program has."""

    def __init__(
        self, exits: Exits, router: Callable[[], Router], connections: Connections, seen: Observation, apps: AppNames
    ) -> None:
        self.connections = connections
        self.log = seen.log
        self._exits = exits
        self._router = router
        self._seen = seen
        self._apps = apps
        self.listen: Sequence[str] = ()
        self.version = ""
        self.usage: Usage | None = None
        self.processes = Processes()

    def state(self) -> views.State:
        clock, now = views.Clock.now(), trio.current_time()
        exits, total = self._exits.views(), self.connections.total()
        return views.State(
            self.version,
            round(self._seen.started, 3),
            clock.time(now),
            list(self.listen),
            self._router().ruleset.settings.mode.value,
            views.carrier_of(exits, self._exits.carriers(), clock),
            [views.exit_of(each) for each in exits],
            views.Rate(*(round(each, 1) for each in self._seen.history.rate(now, total.bytes_up, total.bytes_down))),
            views.bytes_of(total),
            self.connections.open_count,
            self.connections.open_count + self.connections.closed_count,
            heap.resident(),
        )

    def measure(self) -> None:
        """Measures the round trips to the exits that are in use, as these are quiet for long while nothing goes."""
        for view in self._exits.views():
            if view.tunnel is not None:
                view.tunnel.measure()

    def history(self) -> views.History:
        return views.history_of(self._seen.history.plot(), STEP, views.Clock.now())

    def rules(self) -> views.Rules:
        """Of a hundred thousand rules those whose hits are counted."""
        router = self._router()
        settings = router.ruleset.settings
        *rules, default = (
            views.rule_of(each, router.hits.get(each.rule_text)) for each in router.ruleset.decisions(MOST_COUNTED)
        )
        return views.Rules(
            settings.mode.value,
            len(settings.rules),
            views.DefaultRule(default.route, default.hits, default.last),
            rules,
        )

    def connection(self, view: ConnectionView, clock: views.Clock) -> msgspec.Raw:
        """As JSON."""
        return msgspec.Raw(msgspec.json.encode(views.connection_of(view, self._apps.of, clock)))

    async def look_for_processes(self) -> None:
        await self.processes.look(self.connections.all_open())

    async def all_connections(self, most: int) -> dict[str, object]:
        """In slices, as there may be thousands."""
        await self.look_for_processes()
        clock = views.Clock.now()
        open_ones: list[msgspec.Raw] = []
        for count, connection in enumerate(self.connections.all_open()[:most], 1):
            open_ones.append(self.connection(connection.view(trio.current_time()), clock))
            if count % SLICE == 0:
                await trio.lowlevel.checkpoint()
        closed = [self.connection(view, clock) for view in self.connections.last_closed(most)]
        return {"open_count": self.connections.open_count, "open": open_ones, "closed": closed}

    def lines(self, most: int) -> views.Log:
        return views.Log([views.line_of(line) for line in self.log.last(most)])


class Api:
    """Answers requests for what is below `/api/v1/`."""

    def __init__(
        self, source: Source, control: Control, tokens: RunTokens, entrance: Entrance, examine: Examine
    ) -> None:
        self._source = source
        self._control = control
        self._tokens = tokens
        self._examine = examine
        self._entrance = entrance
        self._one = trio.CapacityLimiter(1)  # doctor at a time

    async def serve(
        self, request: h11.Request, _place: Address, stream: trio.abc.HalfCloseableStream, http: Connection
    ) -> None:
        with suppress(trio.BrokenResourceError):
            try:
                answer = await self._answer(request, stream, http)
            except StatusError as error:
                answer = error_answer(error.status, str(error))
            except LookupError as error:
                answer = error_answer(404, str(error.args[0]) if error.args else "there is no such thing")
            except ConfigError as error:
                answer = error_answer(409, str(error))
            except UsageError as error:
                answer = error_answer(503, str(error))
            await give(stream, answer, head=request.method == b"HEAD")

    async def _answer(self, request: h11.Request, stream: trio.abc.ReceiveStream, http: Connection) -> bytes:
        asked = ApiRequest.of(request)
        if asked.path == PROOF and asked.method == "GET":
            nonce = asked.query.get("nonce", "")[:_LONGEST_NONCE]
            return json_answer({"proof": await trio.to_thread.run_sync(self._tokens.proof, nonce)})
        if not await trio.to_thread.run_sync(self._tokens.is_right, asked.token):
            raise StatusError(
                401, "the token is missing or wrong; `ropeway dashboard` opens the page with the right one"
            )
        handler, names = find(_ROUTES, asked.path[len(ROOT) :], asked.method)
        content = await read_content(stream, http)
        found = await handler(self, asked, names, content)
        return _NO_CONTENT if found is None else json_answer(found)

    async def enter(
        self, request: h11.Request, _place: Address, stream: trio.abc.HalfCloseableStream, _http: Connection
    ) -> None:
        """Hands the token to the browser that is let in, and leads all others to the page, where they have none. A page leads the browser on, and no
        redirect: where a file had led it here that would still be the one that asks (Fetch Metadata, W3C, section 2.4), and the dashboard is not for files.
        """
        if await self._entrance.admits(request, stream):
            where = f"/#token={await trio.to_thread.run_sync(self._tokens.of_page)}"
            answer = own_answer.answer(200, "text/html; charset=utf-8", _ENTER.format(where=where).encode())
        else:
            answer = own_answer.answer(302, extra=((b"Location", b"/"),))
        await answer_and_close(stream, answer)

    # ---- reading

    async def _state(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return self._source.state()

    async def _history(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return self._source.history()

    async def _rules(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return self._source.rules()

    async def _connections(self, asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return await self._source.all_connections(asked.number("most", MOST_SHOWN, MOST_OPEN))

    async def _log(self, asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        return self._source.lines(asked.number("most", 200, MOST_LINES))

    async def _usage(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        usage = self._source.usage
        if usage is None:
            return {"kept": False, "days": []}
        return {"kept": usage.kept, "days": await usage.days()}

    async def _link(self, _asked: ApiRequest, names: Sequence[str], _content: bytes) -> object:
        from .qr import svg

        link = str(await self._control.link(names[0]))
        return views.Link(link, svg(link))

    # ---- changing

    async def _close(self, _asked: ApiRequest, names: Sequence[str], _content: bytes) -> None:
        if not self._control.close(id_of(names[0])):
            raise LookupError(NO_CONNECTION)

    async def _close_all(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> None:
        await self._control.close_all()

    async def _use(self, _asked: ApiRequest, names: Sequence[str], _content: bytes) -> None:
        await self._control.use_exit(names[0])

    async def _set_mode(self, _asked: ApiRequest, _names: Sequence[str], content: bytes) -> None:
        mode = _parsed(content, views.Mode).mode
        if mode not in [each.value for each in Mode]:
            raise StatusError(400, f"a mode is one of {', '.join(each.value for each in Mode)}")
        await self._control.set_mode(mode)

    async def _keep_usage(self, _asked: ApiRequest, _names: Sequence[str], content: bytes) -> None:
        await self._control.keep_usage(_parsed(content, views.UsageKept).kept)

    async def _wipe(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> None:
        if self._source.usage is not None:
            await self._source.usage.wipe()

    async def _new_entry(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        token = await trio.to_thread.run_sync(self._tokens.of_page)
        return {"path": self._entrance.open(), "token": token}

    async def _doctor(self, _asked: ApiRequest, _names: Sequence[str], _content: bytes) -> object:
        async with self._one:
            return {"findings": await self._examine()}


_Handler: TypeAlias = Callable[[Api, ApiRequest, "Sequence[str]", bytes], Awaitable[object]]

#: By path, where "*" stands for a name, and by method.
_ROUTES: dict[tuple[str, ...], dict[str, _Handler]] = {
    ("state",): {"GET": Api._state},
    ("history",): {"GET": Api._history},
    ("connections",): {"GET": Api._connections, "DELETE": Api._close_all},
    ("connections", "*"): {"DELETE": Api._close},
    ("rules",): {"GET": Api._rules},
    ("usage",): {"GET": Api._usage, "PUT": Api._keep_usage, "DELETE": Api._wipe},
    ("log",): {"GET": Api._log},
    ("exits", "*", "link"): {"GET": Api._link},
    ("exits", "*", "use"): {"POST": Api._use},
    ("mode",): {"PUT": Api._set_mode},
    ("entries",): {"POST": Api._new_entry},
    ("doctor",): {"POST": Api._doctor},
}


def _parsed(content: bytes, kind: type[_T]) -> _T:
    """Raises StatusError (400)."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise StatusError(400, f"the content is not understood: {error}") from None


def json_answer(found: object, status: int = 200, extra: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    return own_answer.answer(status, own_answer.JSON, msgspec.json.encode(found), extra=extra)


def error_answer(status: int, text: str, fields: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """`fields` go with it."""
    asks = ((b"WWW-Authenticate", b"Bearer"),) if status == 401 else ()
    return json_answer(views.Error(text), status, (*asks, *fields))
