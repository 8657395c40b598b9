"""Requests for the port itself, through the whole listener: who gets the PAC file, and who the page that there is nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import open_stream_to_socket_listener

from proxy import pac
from proxy.address import Address
from proxy.forward import answer_and_close
from proxy.listener import serve_local
from proxy.opener import always
from proxy.own_site import OwnSite, PacFile, give
from proxy.protocol import fault_answer, http_proxy, own_answer
from proxy.rule_terms import AnyOf
from proxy.rules import Kind, RuleSettings
from proxy.ruleset import Ruleset

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

#: What everybody gets who is not to know what is here, and what the user gets where there is nothing.
USUAL = fault_answer.nameless_answer()
UNKNOWN = own_answer.own_page()


def rules(folder: Path, *texts: str) -> Ruleset:
    parsed = RuleSettings.parse(texts, "all", "CN", "tunnel", folder=folder)
    return Ruleset(parsed, presets={}, read_list=lambda _: AnyOf())


@pytest.fixture
def ruleset(tmp_path: Path) -> Ruleset:
    return rules(tmp_path, "direct suffix:secret.example")


async def never(_address: Address) -> trio.abc.HalfCloseableStream:
    raise AssertionError("nothing is to be opened")


async def asked(site: OwnSite, request: bytes) -> bytes:
    """The whole answer of a listener with this site."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        serve = partial(serve_local, listeners, always(never), None, own_site=site.serve)
        await nursery.start(serve)
        async with await open_stream_to_socket_listener(listeners[0]) as stream:
            await stream.send_all(request)
            answer = b"".join([bytes(part) async for part in stream])
        nursery.cancel_scope.cancel()
    return answer


def get(*fields: bytes, target: bytes = b"/proxy.pac", method: bytes = b"GET") -> bytes:
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", *fields, b"", b""])


def site_of(ruleset: Ruleset, *, secret: bool = False, hosts: frozenset[str] = frozenset()) -> OwnSite:
    return OwnSite(PacFile(lambda: ruleset, secret=secret).pages, hosts=hosts)


GOOD = {
    "IPv4": [b"Host: 127.0.0.1:1080"],
    "a name": [b"Host: LocalHost:1080"],
    "IPv6": [b"Host: [::1]:1080"],
    "where it listens": [b"Host: 192.0.2.7:1080"],
    "the user": [b"Host: 127.0.0.1:1080", b"Sec-Fetch-Site: none"],
}


@pytest.mark.parametrize("fields", GOOD.values(), ids=GOOD.keys())
async def test_the_file_for_a_browser(fields: list[bytes], ruleset: Ruleset) -> None:
    answer = await asked(site_of(ruleset, hosts=frozenset(["192.0.2.7"])), get(*fields))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: application/x-ns-proxy-autoconfig; charset=utf-8" in head
    assert b"X-Content-Type-Options: nosniff" in head  # a page cannot run it as a script
    assert b"Cross-Origin-Resource-Policy: same-origin" in head
    place = Address.parse(fields[0].partition(b": ")[2].decode())
    assert body.decode() == pac.pac_text(ruleset.terms, ruleset.settings.default.kind, place)
    assert b"secret.example" not in head
    assert b"secret" in body


BAD = {
    "no host": [b"X: y"],
    "another name": [b"Host: rebound.example:1080"],
    "a name that begins alike": [b"Host: 127.0.0.1.example:1080"],
    "another address": [b"Host: 192.0.2.7:1080"],
    "no address": [b"Host: 127.0.0.1:port"],
    "a page": [b"Host: 127.0.0.1:1080", b"Sec-Fetch-Site: cross-site"],
    "a page of another port": [b"Host: 127.0.0.1:1080", b"Sec-Fetch-Site: same-site"],
    "a script": [b"Host: 127.0.0.1:1080", b"Origin: https://evil.example"],
    "a link": [b"Host: 127.0.0.1:1080", b"Referer: https://evil.example/"],
}


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD.keys())
async def test_the_usual_answer_for_others(fields: list[bytes], ruleset: Ruleset) -> None:
    answer = await asked(site_of(ruleset), get(*fields))
    if fields == BAD["no host"]:  # which HTTP/1.1 does not allow
        assert answer.startswith(b"HTTP/1.1 400 ")
    else:
        assert answer == USUAL


HERE = b"Host: 127.0.0.1:1080"


async def test_other_paths_and_methods(ruleset: Ruleset) -> None:
    site = site_of(ruleset)
    assert await asked(site, get(HERE, target=b"/")) == UNKNOWN
    assert await asked(site, get(HERE, target=b"/proxy.pac/")) == UNKNOWN
    assert (await asked(site, get(HERE, target=b"/proxy.pac?1"))).startswith(b"HTTP/1.1 200 ")
    assert (await asked(site, get(HERE, method=b"DELETE"))).startswith(b"HTTP/1.1 405 ")
    head = await asked(site, get(HERE, method=b"HEAD"))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")


async def test_the_rules_stay_here_where_others_may_ask(ruleset: Ruleset) -> None:
    answer = await asked(site_of(ruleset, secret=True), get(HERE))
    assert b"PROXY 127.0.0.1:1080" in answer
    assert b"secret" not in answer


async def test_the_rules_of_now(tmp_path: Path) -> None:
    current = [rules(tmp_path, "direct suffix:first.example")]
    site = OwnSite(PacFile(lambda: current[0]).pages)
    assert b"first" in await asked(site, get(HERE))
    current[0] = rules(tmp_path, "direct suffix:second.example")
    answer = await asked(site, get(HERE))
    assert b"second" in answer
    assert b"first" not in answer


Made: TypeAlias = tuple[object, Kind, Address]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Made]:
    """What files were made of."""
    made: list[Made] = []

    def pac_text(terms: object, default: Kind, place: Address) -> str:
        made.append((terms, default, place))
        return "text"

    monkeypatch.setattr(pac, "pac_text", pac_text)
    return made


async def test_it_is_made_once_for_each_name(ruleset: Ruleset, made: list[Made]) -> None:
    site = site_of(ruleset)
    for _ in range(3):
        for name in (b"127.0.0.1", b"localhost", b"[::1]"):
            await asked(site, get(b"Host: %s:1080" % name))
    assert [str(place) for _, _, place in made] == ["127.0.0.1:1080", "localhost:1080", "[::1]:1080"]


async def test_of_many_names_the_last_few_are_kept(ruleset: Ruleset, made: list[Made]) -> None:
    site = site_of(ruleset)
    for port in (*range(1, 7), 6, 3, 2, 6):
        await asked(site, get(b"Host: localhost:%d" % port))
    assert [place.port for _, _, place in made] == [1, 2, 3, 4, 5, 6, 2]


async def test_who_come_at_once_have_it_made_once(ruleset: Ruleset, made: list[Made]) -> None:
    site = site_of(ruleset)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(asked, site, get(HERE))
    assert len(made) == 1


async def test_a_page_reads_what_the_client_sends() -> None:
    """What else is put here may take content, and has the connection for itself."""

    async def echo(
        request: h11.Request, place: Address, stream: trio.abc.HalfCloseableStream, http: http_proxy.Connection
    ) -> None:
        content = b""
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some(100)))
            elif isinstance(event, h11.Data):
                content += event.data
        await answer_and_close(stream, str(place).encode() + b" " + content)

    request = get(HERE, b"Content-Length: 4", method=b"POST", target=b"/echo") + b"text"
    assert await asked(OwnSite({b"/echo": echo}), request) == b"127.0.0.1:1080 text"


@given(st.binary(max_size=40))
def test_any_host_field_is_ours_or_not(value: bytes) -> None:
    try:
        request = h11.Request(method=b"GET", target=b"/proxy.pac", headers=[(b"Host", value)])
    except h11.LocalProtocolError:
        return
    place = OwnSite({})._place(request)
    assert place is None or place.host in ("127.0.0.1", "::1", "localhost")


async def own(
    request: h11.Request, _place: Address, stream: trio.abc.HalfCloseableStream, _http: http_proxy.Connection
) -> None:
    await answer_and_close(stream, b"own " + request.target)


OWN = OwnSite({}, own={b"/": own, b"/api/": own, b"/api/live/": own}, hosts=frozenset(["192.0.2.8", "2001:db8::7"]))

FROM_OURS = {
    "no page": [HERE],
    "the user": [HERE, b"Sec-Fetch-Site: none"],
    "our page": [HERE, b"Origin: http://127.0.0.1:1080", b"Sec-Fetch-Site: same-origin"],
    "our page, with its address": [HERE, b"Referer: http://127.0.0.1:1080/x", b"Sec-Fetch-Site: same-origin"],
    "an old browser": [HERE, b"Origin: http://127.0.0.1:1080"],
    "by another name": [b"Host: LOCALHOST:8080", b"Origin: http://localhost:8080"],
    "by IPv6": [b"Host: [::1]:1080", b"Origin: http://[::1]:1080"],
    "by another address of ours": [b"Host: [2001:db8::7]:1080", b"Origin: http://[2001:db8::7]:1080"],
    "at HTTP's own port": [b"Host: 127.0.0.1", b"Origin: http://127.0.0.1"],
    "at HTTP's own port, said": [b"Host: 127.0.0.1:80", b"Origin: http://127.0.0.1"],
}
#: As browsers send them for pages of others, and as somebody might try.
FROM_OTHERS = {
    **{name: fields for name, fields in BAD.items() if name != "no host"},  # which HTTP/1.1 does not allow
    "another port": [HERE, b"Origin: http://127.0.0.1:1081"],
    "another name of this computer": [HERE, b"Origin: http://localhost:1080"],
    "another scheme": [HERE, b"Origin: https://127.0.0.1:1080"],
    "an origin that goes on": [HERE, b"Origin: http://127.0.0.1:1080.evil.example"],
    "no origin to speak of": [HERE, b"Origin: null"],
    "two origins": [HERE, b"Origin: http://127.0.0.1:1080", b"Origin: https://evil.example"],
    "an address that goes on": [HERE, b"Referer: http://127.0.0.1:1080@evil.example/"],
    "an address alone": [HERE, b"Referer: http://127.0.0.1:1080"],
    "a frame": [HERE, b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Dest: iframe", b"Sec-Fetch-Mode: navigate"],
    "a link in a page": [HERE, b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Dest: document", b"Sec-Fetch-User: ?1"],
    "what no browser says": [HERE, b"Sec-Fetch-Site: none-of-yours"],
    "rebound, and its own page": [b"Host: evil.example:1080", b"Origin: http://evil.example:1080"],
    "rebound, with a dot": [b"Host: localhost.:1080"],
    "a WebSocket": [HERE, b"Origin: https://evil.example", b"Connection: Upgrade", b"Upgrade: websocket"],
}


@pytest.mark.parametrize("fields", FROM_OURS.values(), ids=FROM_OURS.keys())
@pytest.mark.parametrize("target", [b"/", b"/?x", b"/api/state", b"/api/live/x?y"])
async def test_what_our_own_pages_may_ask_for(fields: list[bytes], target: bytes) -> None:
    assert await asked(OWN, get(*fields, target=target)) == b"own " + target


@pytest.mark.parametrize("fields", FROM_OTHERS.values(), ids=FROM_OTHERS.keys())
async def test_pages_of_others_cannot_tell_what_is_here(fields: list[bytes]) -> None:
    """Whatever is asked for: they get the same bytes as where nothing is, with and without the port's own pages."""
    answers = set()
    for site in (OWN, OwnSite({})):
        for target, method in (
            (b"/", b"GET"),
            (b"/api/state", b"GET"),
            (b"/api/state", b"OPTIONS"),
            (b"/api/live/x", b"POST"),
            (b"/favicon.ico", b"GET"),
            (b"/nowhere", b"HEAD"),
            (b"*", b"OPTIONS"),
        ):
            answers.add(await asked(site, get(*fields, target=target, method=method)))
    assert answers == {USUAL}
    assert b"opeway" not in USUAL


async def test_a_head_that_is_too_long_says_no_more() -> None:
    """A page can send one: to any name, in any way."""
    answer = await asked(OWN, get(HERE, b"Cookie: " + b"x" * 40_000))
    assert answer == fault_answer.nameless_answer(431)
    # One that is for a site tells the app what is wrong.
    assert b"Ropeway: " in await asked(OWN, get(HERE, b"Cookie: " + b"x" * 40_000, target=b"http://site.example/"))


@pytest.mark.parametrize(
    ("method", "field", "status"),
    [
        (b"anything", b"X: " + b"x" * 40_000, 431),
        (b"GET", b"X: a\x0bb", 400),
        (b"GET", b"X: a\x0cb", 400),
        (b"get", b"X: \x0c", 400),
        (b"POST", b"Content-Length: 1" + b"0" * 30, 400),
    ],
)
async def test_a_head_that_is_no_http_says_no_more(method: bytes, field: bytes, status: int) -> None:
    """A page may choose the method, and what is in a field as far as it is no end of a line (Fetch, "header value")."""
    answer = await asked(OWN, get(b"Host: made.example:1080", field, method=method))
    assert answer == fault_answer.nameless_answer(status)


async def test_a_folder_is_not_its_own_page() -> None:
    assert await asked(OWN, get(HERE, target=b"/api")) == UNKNOWN
    assert await asked(OWN, get(HERE, target=b"/nowhere")) == UNKNOWN
    assert await asked(OWN, get(HERE, target=b"//")) == UNKNOWN


class Slow(trio.abc.HalfCloseableStream):
    """As one whose other end is far away; it sends nothing, and ends when it has got the end."""

    def __init__(self) -> None:
        self.got = b""
        self._end = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(len(data) / 10)
        self.got += data

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def send_eof(self) -> None:
        self._end.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self._end.wait()
        return b""

    async def aclose(self) -> None:
        self.got += b" and the end"


async def test_a_large_answer_has_time(autojump_clock: MockClock) -> None:
    slow = Slow()
    await give(slow, b"x" * 300)
    assert slow.got == b"x" * 300 + b" and the end"
    slower = Slow()
    began = trio.current_time()
    await give(slower, b"x" * 10_000)
    assert slower.got == b" and the end"
    assert trio.current_time() - began < 100
