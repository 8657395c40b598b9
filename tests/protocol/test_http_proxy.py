"""The pure parts of the HTTP proxy: strict heads, targets, fields that stay behind, answers."""

from __future__ import annotations

import base64
import itertools
from typing import TYPE_CHECKING

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.errors import Reason
from proxy.protocol import http_proxy
from proxy.protocol.http_proxy import Connect, Connection, Forward, StatusError

if TYPE_CHECKING:
    from collections.abc import Iterable

HOST = b"Host: a\r\n"
GET = b"GET http://a/ HTTP/1.1\r\n" + HOST
POST = b"POST http://a/ HTTP/1.1\r\n" + HOST


def events(connection: Connection, pieces: Iterable[bytes]) -> list[http_proxy.Event]:
    """What comes out of it, with neighbouring Data joined, up to where it pauses or the connection closes."""
    found: list[http_proxy.Event] = []
    for piece in pieces:
        connection.receive_data(piece)
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED, h11.ConnectionClosed()):
            last = found[-1] if found else None
            if isinstance(event, h11.Data) and isinstance(last, h11.Data):
                found[-1] = h11.Data(data=last.data + event.data)
            else:
                found.append(h11.Data(data=bytes(event.data)) if isinstance(event, h11.Data) else event)
    return found


def read_request(head: bytes) -> h11.Request:
    request = events(Connection(h11.SERVER), [head])[0]
    assert isinstance(request, h11.Request)
    return request


def waiting_for_an_answer(method: bytes = b"GET") -> Connection:
    connection = Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
    connection.send(h11.EndOfMessage())
    return connection


def read_response(data: bytes, method: bytes = b"GET") -> h11.Response | h11.InformationalResponse:
    response = events(waiting_for_an_answer(method), [data])[0]
    assert isinstance(response, h11.Response | h11.InformationalResponse)
    return response


def split(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def shown(found: list[http_proxy.Event]) -> list[str]:
    return [repr(event) for event in found]


# Messages ---------------------------------------------------------------------------------------------------------

BODIES = {
    "none": (GET + b"\r\n", b""),
    "length": (POST + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    "chunked": (POST + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
    "with line ends in it": (POST + b"Content-Length: 6\r\n\r\n\r\n\r\n\n\n", b"\r\n\r\n\n\n"),
}


@pytest.mark.parametrize(("data", "body"), BODIES.values(), ids=BODIES.keys())
def test_requests_whole_byte_by_byte_and_with_what_follows(data: bytes, body: bytes) -> None:
    whole = events(Connection(h11.SERVER), [data])
    assert b"".join(event.data for event in whole if isinstance(event, h11.Data)) == body
    assert isinstance(whole[0], h11.Request)
    assert isinstance(whole[-1], h11.EndOfMessage)
    assert shown(events(Connection(h11.SERVER), split(data))) == shown(whole)
    connection = Connection(h11.SERVER)
    assert shown(events(connection, [data + b"GET /next"])) == shown(whole)
    assert connection.complete
    assert connection.trailing_data == b"GET /next"


@pytest.mark.parametrize(("data", "body"), BODIES.values(), ids=BODIES.keys())
def test_cut_at_every_byte_it_waits_and_then_says_that_it_ends_too_early(data: bytes, body: bytes) -> None:
    for end in range(1, len(data)):
        connection = Connection(h11.SERVER)
        events(connection, [data[:end]])
        assert not connection.complete
        with pytest.raises(StatusError, match="ends too early"):
            events(connection, [b""])


def answered(connection: Connection) -> bool:
    connection.send(h11.Response(status_code=200, headers=[(b"Content-Length", b"0")]))
    connection.send(h11.EndOfMessage())
    return connection.start_next_cycle()


def test_the_next_request_is_judged_as_the_first() -> None:
    connection = Connection(h11.SERVER)
    first = events(connection, [GET + b"\r\n" + b"\r\n" + POST + b"\r\n" + GET.replace(b"\r", b"")])
    assert len(first) == 2
    assert not connection.start_next_cycle()  # it is not answered
    assert answered(connection)
    assert not connection.complete
    second = events(connection, [b""])
    assert isinstance(second[0], h11.Request)
    assert second[0].method == b"POST"
    assert answered(connection)
    with pytest.raises(StatusError, match="CR LF"):
        connection.next_event()


def test_no_next_request_where_the_client_asked_to_close() -> None:
    connection = Connection(h11.SERVER)
    events(connection, [GET + b"Connection: close\r\n\r\n"])
    assert not answered(connection)


def test_the_end_of_the_client_is_known_in_the_next_cycle() -> None:
    connection = Connection(h11.SERVER)
    events(connection, [GET + b"\r\n" + POST + b"Content-Length: 1\r\n\r\n", b""])
    assert answered(connection)
    assert isinstance(connection.next_event(), h11.Request)
    with pytest.raises(StatusError, match="ends too early"):
        connection.next_event()


def test_nothing_at_all_is_a_close() -> None:
    connection = Connection(h11.SERVER)
    assert "IDLE" in repr(connection)
    assert connection.next_event() is h11.NEED_DATA
    connection.receive_data(b"")
    assert isinstance(connection.next_event(), h11.ConnectionClosed)


# Each is judged in requests and, with a status line, in answers. The last number is the status for a request.
BAD_FIELDS = {
    "two Content-Length": (b"Content-Length: 5\r\nContent-Length: 5\r\n", 400),
    "Content-Length list": (b"Content-Length: 5, 5\r\n", 400),
    "Content-Length with a sign": (b"Content-Length: +5\r\n", 400),
    "Content-Length empty": (b"Content-Length:\r\n", 400),
    "Content-Length of 21 digits": (b"Content-Length: 111111111111111111111\r\n", 400),
    "length and chunked": (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
    "chunked and length": (b"transfer-encoding: chunked\r\ncontent-length: 5\r\n", 400),
    "two Transfer-Encoding": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
    "chunked twice": (b"Transfer-Encoding: chunked, chunked\r\n", 400),
    "gzip": (b"Transfer-Encoding: gzip, chunked\r\n", 400),
    "identity": (b"Transfer-Encoding: identity\r\n", 400),
    "folded": (b"X: a\r\n b\r\n", 400),
    "folded with a tab": (b"X: a\r\n\tb\r\n", 400),
    "bare LF in a field": (b"X: a\nY: b\r\n", 400),
    "bare LF at an end": (b"X: a\n", 400),
    "bare CR": (b"X: a\rb\r\n", 400),
    "zero byte": (b"X: a\0b\r\n", 400),
    "space before the colon": (b"Content-Length : 5\r\n", 400),
    "no colon": (b"nonsense\r\n", 400),
    "no name": (b": a\r\n", 400),
    "64 KiB": (b"X: " + b"a" * 65536 + b"\r\n", 431),
}


@pytest.mark.parametrize(("fields", "status"), BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
def test_bad_fields(fields: bytes, status: int) -> None:
    request, response = POST + fields + b"\r\n", b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n"
    for data in (request, request + b"0\r\n\r\n"):
        with pytest.raises(StatusError) as failure:
            events(Connection(h11.SERVER), [data])
        assert failure.value.status == status
    with pytest.raises(StatusError) as failure:
        events(Connection(h11.SERVER), (request[i : i + 7] for i in range(0, len(request), 7)))
    assert failure.value.status == status
    with pytest.raises(StatusError) as failure:
        events(waiting_for_an_answer(), [response])
    assert failure.value.status == 502


BAD_REQUESTS = {
    "bare LF only": (b"GET http://a/ HTTP/1.1\nHost: a\n\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00", 400),
    "SOCKS6": (b"\x06\x01", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\n", 505),
    "no Host": (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (GET + b"Host: b\r\n\r\n", 400),
    "chunked in HTTP/1.0": (b"POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "not a chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n", 400),
    "chunk that is longer than it says": (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
    "chunk of 24 digits": (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 24 + b"\r\n", 400),
    "endless chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 65536, 400),
    "head without end": (b"GET http://a/" + b"a" * 65536, 431),
}


@pytest.mark.parametrize(("data", "status"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_bad_requests(data: bytes, status: int) -> None:
    with pytest.raises(StatusError) as failure:
        events(Connection(h11.SERVER), [data])
    assert failure.value.status == status


BAD_RESPONSES = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "binary": b"\x15\x03\x01",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "bare LF only": b"HTTP/1.1 200 OK\n\n",
    "empty line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "bad head after an interim one": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\nX: y\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_RESPONSES.values(), ids=BAD_RESPONSES.keys())
def test_bad_responses(data: bytes) -> None:
    with pytest.raises(StatusError) as failure:
        events(waiting_for_an_answer(), [data])
    assert failure.value.status == 502


def test_a_head_of_just_the_limit() -> None:
    filler = http_proxy.HEAD_LIMIT - len(GET) - len(b"X: \r\n")
    read_request(GET + b"X: " + b"a" * (filler + 2) + b"\r\n\r\n")
    with pytest.raises(StatusError, match="32 KiB"):
        read_request(GET + b"X: " + b"a" * (filler + 3) + b"\r\n\r\n")


RESPONSES = {
    "interim ones": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "no reason": b"HTTP/1.1 204\r\n\r\n",
}


@pytest.mark.parametrize("data", RESPONSES.values(), ids=RESPONSES.keys())
def test_responses_whole_byte_by_byte_and_with_what_follows(data: bytes) -> None:
    whole = events(waiting_for_an_answer(), [data])
    assert isinstance(whole[-1], h11.EndOfMessage)
    assert shown(events(waiting_for_an_answer(), split(data))) == shown(whole)
    connection = waiting_for_an_answer()
    assert shown(events(connection, [data + b"HTTP/1.1"])) == shown(whole)
    assert connection.trailing_data == b"HTTP/1.1"


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    found = events(waiting_for_an_answer(), [b"HTTP/1.0 200 OK\r\n\r\n", b"some", b""])
    assert shown(found[1:]) == shown([h11.Data(data=b"some"), h11.EndOfMessage()])


def test_what_follows_101_is_left_alone() -> None:
    connection = Connection(h11.CLIENT)
    upgrade = [(b"Host", b"a"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    connection.send(h11.Request(method=b"GET", target=b"/", headers=upgrade))
    connection.send(h11.EndOfMessage())
    found = events(connection, [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00\n\n"])
    assert isinstance(found[0], h11.InformationalResponse)
    assert connection.trailing_data == b"\x81\x00\n\n"


@given(
    base=st.sampled_from(
        [*(data for data, _ in BODIES.values()), *(POST + f + b"\r\n" for f, _ in BAD_FIELDS.values() if len(f) < 100)]
    ),
    position=st.integers(0, 200),
    byte=st.sampled_from([*b"\r\n\t :0,;\0", 0x85, 0xFF]),
    cuts=st.lists(st.integers(0, 200), max_size=4),
)
def test_mutated_requests_parse_or_are_refused_however_they_are_cut(
    base: bytes, position: int, byte: int, cuts: list[int]
) -> None:
    data = bytearray(base)
    data[position % len(data)] = byte
    edges = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    pieces = [bytes(data[start:end]) for start, end in itertools.pairwise(edges) if end > start]

    def outcome(feed: list[bytes]) -> list[str] | int:
        try:
            return shown(events(Connection(h11.SERVER), feed))
        except StatusError as exc:
            return exc.status

    assert outcome(pieces) == outcome([bytes(data)])


# Targets ----------------------------------------------------------------------------------------------------------

TARGETS = {
    "whole URL": (b"GET http://Example.com/a?b=c HTTP/1.1", Forward(Address("example.com", 80), b"/a?b=c")),
    "port": (b"GET http://a:8080/ HTTP/1.1", Forward(Address("a", 8080), b"/")),
    "no path": (b"GET http://a HTTP/1.1", Forward(Address("a", 80), b"/")),
    "only a query": (b"GET http://a?b HTTP/1.1", Forward(Address("a", 80), b"/?b")),
    "scheme in capitals": (b"GET HTTP://a/ HTTP/1.1", Forward(Address("a", 80), b"/")),
    "IPv6": (b"GET http://[::1]:81/ HTTP/1.1", Forward(Address("::1", 81), b"/")),
    "an @ in the path": (b"GET http://a/@b HTTP/1.1", Forward(Address("a", 80), b"/@b")),
    "OPTIONS of the server": (b"OPTIONS http://a HTTP/1.1", Forward(Address("a", 80), b"*")),
    "OPTIONS of a path": (b"OPTIONS http://a/ HTTP/1.1", Forward(Address("a", 80), b"/")),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1", Connect(Address("a", 443))),
    "CONNECT to IPv6": (b"CONNECT [::1]:443 HTTP/1.1", Connect(Address("::1", 443))),
    "CONNECT with length 0": (b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 0", Connect(Address("a", 443))),
    "own path": (b"GET /proxy.pac HTTP/1.1", None),
    "asterisk": (b"OPTIONS * HTTP/1.1", None),
}


@pytest.mark.parametrize(("line", "target"), TARGETS.values(), ids=TARGETS.keys())
def test_targets(line: bytes, target: Connect | Forward | None) -> None:
    assert http_proxy.parse_target(read_request(line + b"\r\nHost: elsewhere\r\n\r\n")) == target


BAD_TARGETS = {
    "CONNECT without a port": (b"CONNECT a HTTP/1.1", "there is no port"),
    "CONNECT with an empty port": (b"CONNECT a: HTTP/1.1", "not a number"),
    "CONNECT with port 0": (b"CONNECT a:0 HTTP/1.1", "port 0"),
    "CONNECT with a large port": (b"CONNECT a:65536 HTTP/1.1", "65536"),
    "CONNECT without a host": (b"CONNECT :443 HTTP/1.1", "empty"),
    "CONNECT with a user": (b"CONNECT u@a:443 HTTP/1.1", "no host has"),
    "CONNECT to a URL": (b"CONNECT http://a/ HTTP/1.1", "cannot be used"),
    "CONNECT to bare IPv6": (b"CONNECT ::1:443 HTTP/1.1", "brackets"),
    "CONNECT with content": (b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 5", "no content"),
    "CONNECT with chunks": (b"CONNECT a:443 HTTP/1.1\r\nTransfer-Encoding: chunked", "no content"),
    "https": (b"GET https://a/ HTTP/1.1", "use CONNECT"),
    "ftp": (b"GET ftp://a/ HTTP/1.1", "only http://"),
    "fragment": (b"GET http://a/#b HTTP/1.1", "fragment"),
    "user": (b"GET http://u@a/ HTTP/1.1", "user name"),
    "user and password": (b"GET http://u:p@a/ HTTP/1.1", "user name"),
    "no host": (b"GET http:/// HTTP/1.1", "empty"),
    "only a host": (b"GET a:80 HTTP/1.1", "whole URL"),
    "bad port": (b"GET http://a:b/ HTTP/1.1", "not a number"),
}


@pytest.mark.parametrize(("line", "text"), BAD_TARGETS.values(), ids=BAD_TARGETS.keys())
def test_bad_targets(line: bytes, text: str) -> None:
    with pytest.raises(StatusError, match=text) as failure:
        http_proxy.parse_target(read_request(line + b"\r\nHost: a\r\n\r\n"))
    assert failure.value.status == 400


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


CREDENTIALS = {
    "given": ([basic("alice:a:b")], (b"alice", b"a:b")),
    "beyond ASCII": ([basic("zoë:ü")], ("zoë".encode(), "ü".encode())),
    "scheme in small letters": ([basic("u:p").lower().replace(b"dtpw", b"dTpw")], (b"u", b"p")),
    "empty": ([basic(":")], (b"", b"")),
    "missing": ([], None),
    "twice": ([basic("u:p"), basic("u:p")], None),
    "no colon": ([basic("up")], None),
    "another scheme": ([b"Bearer dTpw"], None),
    "not base64": ([b"Basic d!pw"], None),
    "nothing behind the scheme": ([b"Basic"], None),
}


@pytest.mark.parametrize(("values", "expected"), CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_basic_credentials(values: list[bytes], expected: tuple[bytes, bytes] | None) -> None:
    lines = b"".join(b"Proxy-Authorization: " + value + b"\r\n" for value in values)
    assert http_proxy.basic_credentials(read_request(GET + lines + b"\r\n")) == expected


# What is passed on ------------------------------------------------------------------------------------------------


def passed_request(data: bytes) -> bytes:
    request = read_request(data)
    target = http_proxy.parse_target(request)
    assert isinstance(target, Forward)
    return Connection(h11.CLIENT).send(http_proxy.forwarded_request(request, target))


def passed_response(data: bytes, *, close: bool = False) -> bytes:
    response = read_response(data)
    assert isinstance(response, h11.Response)
    connection = Connection(h11.SERVER)
    events(connection, [GET + b"\r\n"])
    return connection.send(http_proxy.forwarded_response(response, close=close))


def test_fields_for_one_connection_stay_behind() -> None:
    sent = passed_request(
        b"POST http://a:81/b HTTP/1.1\r\nHost: other\r\nAccept: x\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\n"
        b"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic dTpw\r\nProxy-X: 1\r\n"
        b"TE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nTransfer-Encoding: CHUNKED\r\ncOOKIE: b\r\nAccept: y\r\n\r\n"
    )
    assert sent == (
        b"POST /b HTTP/1.1\r\nHost: a:81\r\nAccept: x\r\ncOOKIE: b\r\nAccept: y\r\nTransfer-Encoding: chunked\r\n\r\n"
    )


@pytest.mark.parametrize("option", [b"Connection", b"Content-Length", b"host", b"content-length, Transfer-Encoding"])
def test_connection_cannot_name_away_where_a_message_goes_or_ends(option: bytes) -> None:
    sent = passed_request(POST + b"Connection: " + option + b"\r\nContent-Length: 5\r\n\r\n")
    assert sent == b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        (
            GET + b"Connection: Upgrade, X\r\nUpgrade: websocket\r\n\r\n",
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        ),
        (GET + b"Upgrade: websocket\r\n\r\n", b""),
        (GET + b"Connection: upgrade\r\n\r\n", b""),
        (GET + b"Connection: close\r\n\r\n", b"Connection: close\r\n"),
        (GET.replace(b"1.1", b"1.0") + b"\r\n", b"Connection: close\r\n"),
        (
            GET.replace(b"1.1", b"1.0") + b"Connection: Upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n\r\n",
            b"Connection: close\r\n",
        ),
        (GET + b"Expect: 100-continue\r\n\r\n", b"Expect: 100-continue\r\n"),
    ],
)
def test_upgrade_close_and_expect(data: bytes, sent: bytes) -> None:
    assert passed_request(data) == b"GET / HTTP/1.1\r\nHost: a\r\n" + sent + b"\r\n"


def test_host_comes_from_the_target() -> None:
    for url, host in (
        (b"http://B.example:80/", b"b.example"),
        (b"http://[::1]/", b"[::1]"),
        (b"http://b:8080/", b"b:8080"),
    ):
        assert passed_request(b"GET " + url + b" HTTP/1.1\r\n" + HOST + b"\r\n").split(b"\r\n")[1] == b"Host: " + host


def test_answers_lose_the_fields_of_their_connection() -> None:
    fields = (
        b"Server: x\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nUpgrade: h2\r\n"
        b"Proxy-Authenticate: Basic\r\nTrailer: X\r\nSet-Cookie: a\r\nContent-Length: 0\r\nSet-Cookie: b\r\n\r\n"
    )
    assert passed_response(b"HTTP/1.1 200 Fine\r\n" + fields) == (
        b"HTTP/1.1 200 Fine\r\nServer: x\r\nSet-Cookie: a\r\nContent-Length: 0\r\nSet-Cookie: b\r\n\r\n"
    )


def test_an_answer_without_a_length_is_chunked_for_the_client() -> None:
    assert passed_response(b"HTTP/1.0 200 OK\r\n\r\n") == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_204_has_no_length_and_a_close_is_said() -> None:
    assert passed_response(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", close=True) == (
        b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    )


def test_interim_answers() -> None:
    hints = read_response(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\nConnection: y\r\nContent-Length: 3\r\n\r\n")
    assert isinstance(hints, h11.InformationalResponse)
    connection = Connection(h11.SERVER)
    events(connection, [GET + b"\r\n"])
    assert connection.send(http_proxy.forwarded_information(hints)) == b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"


# Answers of our own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_status(reason: Reason) -> None:
    assert http_proxy.STATUS[reason] in (403, 502, 503, 504)


def test_the_answer_to_connect_has_no_framing() -> None:
    connection = Connection(h11.CLIENT)
    connection.send(h11.Request(method=b"CONNECT", target=b"a:443", headers=[(b"Host", b"a")]))
    response = events(connection, [http_proxy.CONNECTED])[0]
    assert isinstance(response, h11.Response)
    assert not list(response.headers)
