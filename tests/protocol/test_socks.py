"""The server's side of SOCKS: every answer byte by byte, cut anywhere, and whatever may come in instead."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.errors import Reason
from proxy.protocol.socks import (
    LARGEST_DATAGRAM,
    Associate,
    Connect,
    Credentials,
    Handshake,
    Request,
    decode_datagram,
    encode_datagram,
)

ALICE = Credentials("alice", "wonderland")
LONGEST = Credentials("u" * 255, "p" * 255)
GREETING = b"\x05\x01\x00"
GREETING_WITH_PASSWORD = b"\x05\x02\x00\x02"
NO_AUTHENTICATION, USERNAME_PASSWORD = b"\x05\x00", b"\x05\x02"
CONNECT, ASSOCIATE = b"\x05\x01\x00", b"\x05\x03\x00"


def reply_5(code: int) -> bytes:
    return bytes([5, code, 0, 1]) + bytes(6)


def reply_4(code: int) -> bytes:
    return bytes([0, code]) + bytes(6)


def login(username: bytes, password: bytes) -> bytes:
    return b"\x01" + bytes([len(username)]) + username + bytes([len(password)]) + password


def name(text: bytes, port: int = 443) -> bytes:
    return b"\x03" + bytes([len(text)]) + text + port.to_bytes(2, "big")


@dataclass
class Result:
    sent: bytes
    request: Request | None
    over: bool
    trailing_data: bytes


def feed(pieces: list[bytes], credentials: Credentials | None = None, *, associates: bool = True) -> Result:
    """As the driver does: nothing is parsed any more once the handshake is over, and what came in behind it trails."""
    handshake, sent, behind = Handshake(credentials, associates=associates), b"", b""
    for piece in pieces:
        if handshake.over:
            behind += piece
        else:
            sent += handshake.receive_data(piece)
    return Result(sent, handshake.request, handshake.over, handshake.trailing_data + behind)


def split(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@dataclass
class Case:
    data: bytes
    request: Request
    sent: bytes
    credentials: Credentials | None = None


ACCEPTED = {
    "ipv4": Case(
        GREETING + CONNECT + b"\x01\x5d\xb8\xd8\x22\x01\xbb", Connect(Address("93.184.216.34", 443)), NO_AUTHENTICATION
    ),
    "ipv6": Case(
        GREETING + CONNECT + b"\x04" + bytes(15) + b"\x01\x00\x50", Connect(Address("::1", 80)), NO_AUTHENTICATION
    ),
    "name": Case(GREETING + CONNECT + name(b"Example.com"), Connect(Address("example.com", 443)), NO_AUTHENTICATION),
    "name of 255 bytes": Case(
        GREETING + CONNECT + name(b"x" * 255), Connect(Address("x" * 255, 443)), NO_AUTHENTICATION
    ),
    "name that is IPv4": Case(
        GREETING + CONNECT + name(b"127.0.0.1"), Connect(Address("127.0.0.1", 443)), NO_AUTHENTICATION
    ),
    "name that is IPv6": Case(GREETING + CONNECT + name(b"::1"), Connect(Address("::1", 443)), NO_AUTHENTICATION),
    "many methods": Case(b"\x05\x03\x01\x02\x00" + CONNECT + name(b"a"), Connect(Address("a", 443)), NO_AUTHENTICATION),
    "password": Case(
        GREETING_WITH_PASSWORD + login(b"alice", b"wonderland") + CONNECT + name(b"a"),
        Connect(Address("a", 443)),
        USERNAME_PASSWORD + b"\x01\x00",
        ALICE,
    ),
    "credentials of 255 bytes": Case(
        b"\x05\x01\x02" + login(b"u" * 255, b"p" * 255) + CONNECT + name(b"a"),
        Connect(Address("a", 443)),
        USERNAME_PASSWORD + b"\x01\x00",
        LONGEST,
    ),
    "UDP ASSOCIATE": Case(
        GREETING + ASSOCIATE + b"\x01\x7f\x00\x00\x01\x13\x88", Associate(Address("127.0.0.1", 5000)), NO_AUTHENTICATION
    ),
    "UDP ASSOCIATE, IPv6": Case(
        GREETING + ASSOCIATE + b"\x04" + bytes(15) + b"\x01\x13\x88", Associate(Address("::1", 5000)), NO_AUTHENTICATION
    ),
    "UDP ASSOCIATE, zeros": Case(GREETING + ASSOCIATE + b"\x01" + bytes(6), Associate(None), NO_AUTHENTICATION),
    "UDP ASSOCIATE, IPv6 zeros": Case(GREETING + ASSOCIATE + b"\x04" + bytes(18), Associate(None), NO_AUTHENTICATION),
    "UDP ASSOCIATE, a port alone": Case(
        GREETING + ASSOCIATE + b"\x01" + bytes(4) + b"\x13\x88", Associate(None), NO_AUTHENTICATION
    ),
    "UDP ASSOCIATE, an address alone": Case(
        GREETING + ASSOCIATE + b"\x01\x7f\x00\x00\x01\x00\x00", Associate(None), NO_AUTHENTICATION
    ),
    "UDP ASSOCIATE, a name": Case(GREETING + ASSOCIATE + name(b"localhost"), Associate(None), NO_AUTHENTICATION),
    # PySocks with names that are resolved by the proxy
    "UDP ASSOCIATE, the name 0": Case(GREETING + ASSOCIATE + name(b"0"), Associate(None), NO_AUTHENTICATION),
    "UDP ASSOCIATE, no name": Case(GREETING + ASSOCIATE + name(b"", 0), Associate(None), NO_AUTHENTICATION),
    "UDP ASSOCIATE, impossible name": Case(GREETING + ASSOCIATE + name(b"\xff "), Associate(None), NO_AUTHENTICATION),
    "UDP ASSOCIATE with a password": Case(
        GREETING_WITH_PASSWORD + login(b"alice", b"wonderland") + ASSOCIATE + b"\x01" + bytes(6),
        Associate(None),
        USERNAME_PASSWORD + b"\x01\x00",
        ALICE,
    ),
    "SOCKS4": Case(b"\x04\x01\x00\x50\x5d\xb8\xd8\x22me\x00", Connect(Address("93.184.216.34", 80)), b""),
    "SOCKS4, no user": Case(b"\x04\x01\x00\x50\x5d\xb8\xd8\x22\x00", Connect(Address("93.184.216.34", 80)), b""),
    "SOCKS4 to 0.0.0.0": Case(b"\x04\x01\x00\x50\x00\x00\x00\x00\x00", Connect(Address("0.0.0.0", 80)), b""),
    "SOCKS4a": Case(b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00example.com\x00", Connect(Address("example.com", 80)), b""),
    "SOCKS4a, IPv6": Case(b"\x04\x01\x00\x50\x00\x00\x00\xff\x00::1\x00", Connect(Address("::1", 80)), b""),
    "SOCKS4a, longest": Case(
        b"\x04\x01\x00\x50\x00\x00\x00\x01" + b"u" * 255 + b"\x00" + b"x" * 255 + b"\x00",
        Connect(Address("x" * 255, 80)),
        b"",
    ),
}


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_whole_byte_by_byte_and_with_what_follows(case: Case) -> None:
    expected = Result(case.sent, case.request, over=True, trailing_data=b"")
    assert feed([case.data], case.credentials) == expected
    assert feed(split(case.data), case.credentials) == expected
    expected.trailing_data = b"\x05\x01\x00GET"
    assert feed([case.data + b"\x05\x01\x00GET"], case.credentials) == expected


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_cut_at_every_byte_it_waits(case: Case) -> None:
    for end in range(len(case.data)):
        result = feed([case.data[:end]], case.credentials)
        assert not result.over
        assert result.request is None
        assert case.sent.startswith(result.sent)


REJECTED = {
    "unknown version": (b"\x06\x01\x00", None, b""),
    "no methods": (b"\x05\x00", None, b"\x05\xff"),
    "only methods that we do not know": (b"\x05\x02\x01\x80", None, b"\x05\xff"),
    "a password where none is wanted": (b"\x05\x01\x02", None, b"\x05\xff"),
    "no password where one is wanted": (GREETING, ALICE, b"\x05\xff"),
    "wrong password": (GREETING_WITH_PASSWORD + login(b"alice", b"x"), ALICE, USERNAME_PASSWORD + b"\x01\x01"),
    "wrong user": (GREETING_WITH_PASSWORD + login(b"bob", b"wonderland"), ALICE, USERNAME_PASSWORD + b"\x01\x01"),
    "user of 0 bytes": (GREETING_WITH_PASSWORD + login(b"", b"wonderland"), ALICE, USERNAME_PASSWORD + b"\x01\x01"),
    "password of 0 bytes": (GREETING_WITH_PASSWORD + login(b"alice", b""), ALICE, USERNAME_PASSWORD + b"\x01\x01"),
    "both of 0 bytes": (GREETING_WITH_PASSWORD + login(b"", b""), ALICE, USERNAME_PASSWORD + b"\x01\x01"),
    "authentication of version 5": (
        GREETING_WITH_PASSWORD + b"\x05" + login(b"alice", b"wonderland")[1:],
        ALICE,
        USERNAME_PASSWORD + b"\x01\x01",
    ),
    "authentication left out": (
        GREETING_WITH_PASSWORD + CONNECT + name(b"a"),  # read as version 5, a user name of 1 byte and so on
        ALICE,
        USERNAME_PASSWORD + b"\x01\x01",
    ),
    "BIND": (GREETING + b"\x05\x02\x00" + name(b"a"), None, NO_AUTHENTICATION + reply_5(7)),
    "UDP ASSOCIATE without a password": (GREETING + ASSOCIATE + b"\x01" + bytes(6), ALICE, b"\x05\xff"),
    "UDP ASSOCIATE, address type 2": (GREETING + ASSOCIATE + b"\x02" + bytes(6), None, NO_AUTHENTICATION + reply_5(8)),
    "SOCKS4 with command 3": (b"\x04\x03\x00\x50\x5d\xb8\xd8\x22\x00", None, reply_4(91)),
    "unknown command": (GREETING + b"\x05\x09\x00" + name(b"a"), None, NO_AUTHENTICATION + reply_5(7)),
    "address type 0": (GREETING + CONNECT + b"\x00", None, NO_AUTHENTICATION + reply_5(8)),
    "address type 2": (GREETING + CONNECT + b"\x02" + bytes(6), None, NO_AUTHENTICATION + reply_5(8)),
    "name of 0 bytes": (GREETING + CONNECT + name(b""), None, NO_AUTHENTICATION + reply_5(1)),
    "impossible name": (GREETING + CONNECT + name(b"a b"), None, NO_AUTHENTICATION + reply_5(1)),
    "name beyond ASCII": (GREETING + CONNECT + name("bücher.example".encode()), None, NO_AUTHENTICATION + reply_5(1)),
    "port 0": (GREETING + CONNECT + name(b"a", 0), None, NO_AUTHENTICATION + reply_5(1)),
    "request of version 4": (GREETING + b"\x04\x01\x00" + name(b"a"), None, NO_AUTHENTICATION + reply_5(1)),
    "SOCKS4 BIND": (b"\x04\x02\x00\x50\x5d\xb8\xd8\x22\x00", None, reply_4(91)),
    "SOCKS4 with credentials": (b"\x04\x01\x00\x50\x5d\xb8\xd8\x22alice\x00", ALICE, reply_4(91)),
    "SOCKS4 port 0": (b"\x04\x01\x00\x00\x5d\xb8\xd8\x22\x00", None, reply_4(91)),
    "SOCKS4 user of 256 bytes": (b"\x04\x01\x00\x50\x5d\xb8\xd8\x22" + b"u" * 256, None, reply_4(91)),
    "SOCKS4a name of 0 bytes": (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", None, reply_4(91)),
    "SOCKS4a name of 256 bytes": (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + b"x" * 256, None, reply_4(91)),
    "SOCKS4a impossible name": (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00a/b\x00", None, reply_4(91)),
}


@pytest.mark.parametrize(("data", "credentials", "sent"), REJECTED.values(), ids=REJECTED.keys())
def test_rejected_with_the_right_answer(data: bytes, credentials: Credentials | None, sent: bytes) -> None:
    for pieces in ([data], split(data), [data + b"and more"]):
        result = feed(pieces, credentials)
        assert (result.sent, result.request, result.over) == (sent, None, True)


@pytest.mark.parametrize("case", [case for case in ACCEPTED.values() if isinstance(case.request, Associate)])
def test_where_udp_is_not_wanted_the_command_is_not_supported(case: Case) -> None:
    for pieces in ([case.data], split(case.data)):
        result = feed(pieces, case.credentials, associates=False)
        assert (result.sent, result.request, result.over) == (case.sent + reply_5(7), None, True)


def test_an_unknown_version_ends_without_an_answer() -> None:
    for version in set(range(256)) - {4, 5}:
        assert feed([bytes([version])]) == Result(b"", None, over=True, trailing_data=b"")


REPLIES = {
    Reason.CANCELLED: 1,
    Reason.REFUSED: 5,
    Reason.HOST_UNREACHABLE: 4,
    Reason.NETWORK_UNREACHABLE: 3,
    Reason.TIMED_OUT: 4,
    Reason.NAME_NOT_FOUND: 4,
    Reason.FORBIDDEN: 2,
    Reason.BUSY: 1,
    Reason.TUNNEL_DOWN: 1,
    Reason.FAILED: 1,
}


@pytest.mark.parametrize("reason", Reason)
def test_replies_to_the_request(reason: Reason) -> None:
    handshake = Handshake(None)
    handshake.receive_data(ACCEPTED["name"].data)
    assert repr(handshake) == "<socks.Handshake version 5, over>"
    assert handshake.succeeded() == reply_5(0)
    assert handshake.failed(reason) == reply_5(REPLIES[reason])
    handshake = Handshake(None)
    handshake.receive_data(ACCEPTED["SOCKS4a"].data)
    assert handshake.succeeded() == handshake.succeeded(Address("127.0.0.1", 5000)) == reply_4(90)
    assert handshake.failed(reason) == reply_4(91)


def test_the_reply_says_where_to_send_datagrams() -> None:
    handshake = Handshake(None, associates=True)
    handshake.receive_data(ACCEPTED["UDP ASSOCIATE"].data)
    assert handshake.succeeded(Address("127.0.0.1", 5000)) == b"\x05\x00\x00\x01\x7f\x00\x00\x01\x13\x88"
    assert handshake.succeeded(Address("::1", 5000)) == b"\x05\x00\x00\x04" + bytes(15) + b"\x01\x13\x88"
    assert handshake.failed(Reason.BUSY) == reply_5(1)


@pytest.mark.parametrize(
    ("username", "password"), [("", "p"), ("u", ""), ("u" * 256, "p"), ("u", "ü" * 128), ("u:v", "p")]
)
def test_credentials_that_no_app_could_send(username: str, password: str) -> None:
    with pytest.raises(ValueError, match="the user name"):
        Credentials(username, password)


def test_credentials_beyond_ascii_and_hidden() -> None:
    credentials = Credentials("zoë", "pässword")
    assert credentials.match("zoë".encode(), "pässword".encode())
    assert not credentials.match("zoë".encode(), b"password")
    assert "pässword" not in repr(credentials)


def mutated(data: bytes, position: int, byte: int) -> bytes:
    position %= len(data)
    return data[:position] + bytes([byte]) + data[position + 1 :]


@given(
    case=st.sampled_from(sorted(ACCEPTED)),
    position=st.integers(0, 600),
    byte=st.integers(0, 255),
    cuts=st.lists(st.integers(0, 600), max_size=5),
)
def test_mutated_handshakes_end_or_wait_and_cuts_change_nothing(
    case: str, position: int, byte: int, cuts: list[int]
) -> None:
    data = mutated(ACCEPTED[case].data, position, byte) + b"trailing"
    edges = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]
    whole = feed([data], ACCEPTED[case].credentials)
    assert feed(pieces, ACCEPTED[case].credentials) == whole
    assert whole.over or whole.request is None


# ---- datagrams

DATAGRAMS = {
    "ipv4": (b"\0\0\0\x01\x5d\xb8\xd8\x22\x0d\x96", Address("93.184.216.34", 3478)),
    "ipv6": (b"\0\0\0\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x0d\x96", Address("2001:db8::1", 3478)),
    "name": (b"\0\0\0" + name(b"Stun.example", 3478), Address("stun.example", 3478)),
    "name of 255 bytes": (b"\0\0\0" + name(b"x" * 255, 3478), Address("x" * 255, 3478)),
    "name that is IPv4": (b"\0\0\0" + name(b"203.0.113.5", 3478), Address("203.0.113.5", 3478)),
    "name that is IPv6": (b"\0\0\0" + name(b"2001:DB8::1", 3478), Address("2001:db8::1", 3478)),
    "reserved bytes that are set": (b"\x01\x02\0\x01\x5d\xb8\xd8\x22\x0d\x96", Address("93.184.216.34", 3478)),
}


@pytest.mark.parametrize(("header", "address"), DATAGRAMS.values(), ids=DATAGRAMS.keys())
def test_datagrams_whole_and_cut_at_every_byte(header: bytes, address: Address) -> None:
    for data in (b"", b"x", b"\0" * 1200, b"x" * (LARGEST_DATAGRAM - len(header))):
        assert decode_datagram(header + data) == (address, data)
    for end in range(len(header)):
        with pytest.raises(ValueError, match="the datagram is too short"):
            decode_datagram(header[:end])


BAD_DATAGRAMS = {
    "first fragment": b"\0\0\x01\x01\x5d\xb8\xd8\x22\x0d\x96x",
    "last fragment": b"\0\0\x82\x01\x5d\xb8\xd8\x22\x0d\x96x",
    "address type 0": b"\0\0\0\x00\x5d\xb8\xd8\x22\x0d\x96x",
    "address type 2": b"\0\0\0\x02\x5d\xb8\xd8\x22\x0d\x96x",
    "address type 255": b"\0\0\0\xff\x5d\xb8\xd8\x22\x0d\x96x",
    "port 0": b"\0\0\0\x01\x5d\xb8\xd8\x22\x00\x00x",
    "name of 0 bytes": b"\0\0\0" + name(b"") + b"x",
    "impossible name": b"\0\0\0" + name(b"a b") + b"x",
    "name beyond ASCII": b"\0\0\0" + name("bücher.example".encode()) + b"x",
    "a name longer than the datagram": b"\0\0\0\x03\xffstun.example",
}


@pytest.mark.parametrize("datagram", BAD_DATAGRAMS.values(), ids=BAD_DATAGRAMS.keys())
def test_datagrams_that_go_nowhere(datagram: bytes) -> None:
    for _ in range(2):  # what is remembered changes nothing
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            decode_datagram(datagram)


@pytest.mark.parametrize("host", ["93.184.216.34", "2001:db8::1", "stun.example"])
@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 1200, b"x" * 65_507])
def test_datagrams_to_the_app_have_their_sender(host: str, data: bytes) -> None:
    datagram = encode_datagram(Address(host, 3478), data)
    assert datagram.startswith(b"\0\0\0")
    assert decode_datagram(datagram) == (Address(host, 3478), data)


@given(
    datagram=st.sampled_from([header + b"data" for header, _ in DATAGRAMS.values()] + list(BAD_DATAGRAMS.values())),
    changes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=3),
    end=st.integers(0, 300),
)
def test_mutated_datagrams_have_an_address_or_go_nowhere(
    datagram: bytes, changes: list[tuple[int, int]], end: int
) -> None:
    for position, byte in changes:
        datagram = mutated(datagram, position, byte)
    check_datagram(datagram[:end])


@given(st.binary(max_size=40))
def test_any_bytes_have_an_address_or_go_nowhere(datagram: bytes) -> None:
    check_datagram(datagram)


def check_datagram(datagram: bytes) -> None:
    try:
        address, data = decode_datagram(datagram)
    except ValueError:
        return
    assert address == Address.make(address.host, address.port)
    assert datagram.endswith(data)
    assert datagram[2] == 0
    assert decode_datagram(encode_datagram(address, data)) == (address, data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x05\xff" + bytes(255) + CONNECT + b"\x03\xff" + b"a" * 257,
        b"\x05\x01\x02\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255 + CONNECT + b"\x03\xff" + b"a" * 257,
        b"\x04\x01\x01\xbb\0\0\0\1" + b"u" * 255 + b"\0" + b"a" * 254 + b"\0",
        b"\x04\x01\x01\xbb\0\0\0\1" + b"u" * 5000,
    ],
    ids=["methods and a name", "a password", "SOCKS4a", "no end"],
)
def test_a_handshake_that_is_not_whole_holds_half_a_kb(data: bytes) -> None:
    """So what thousands of them hold needs no count."""
    for size in (1, 100, 4096):
        handshake = Handshake(LONGEST if data[2] == 2 else None)
        for start in range(0, len(data), size):
            handshake.receive_data(data[start : start + size])
            if handshake.over:
                break
            assert len(handshake.trailing_data) <= 512
        assert handshake.over
