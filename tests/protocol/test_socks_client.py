"""The client's side of SOCKS5: held against the server's side, cut anywhere, and whatever a server may say instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.address import Address
from proxy.errors import Reason, RemoteProtocolError
from proxy.protocol import socks
from proxy.protocol.socks import Credentials
from proxy.protocol.socks_client import DeniedError, Handshake, Reply

ADDRESS = Address("example.com", 443)
ALICE = Credentials("alice", "wonderland")
BOUND = b"\x01" + bytes(6)
NO_AUTHENTICATION, USERNAME_PASSWORD, RIGHT = b"\x05\x00", b"\x05\x02", b"\x01\x00"
CONNECTED = b"\x05\x00\x00" + BOUND


def feed(handshake: Handshake, data: bytes, piece: int = 65536) -> bytes:
    """Gives it as much as it wants, in pieces; returns what is left over when it has its reply."""
    while data and handshake.reply is None:
        size = min(handshake.wants, piece)
        handshake.receive_data(data[:size])
        data = data[size:]
    return data


@pytest.mark.parametrize("credentials", [None, ALICE, Credentials("u" * 255, "p" * 255)])
@pytest.mark.parametrize("host", ["example.com", "192.0.2.1", "2001:db8::1", "x" * 255])
@pytest.mark.parametrize("piece", [1, 65536])
def test_our_server_understands_it(credentials: Credentials | None, host: str, piece: int) -> None:
    address = Address.make(host, 443)
    client, server = Handshake(address, credentials), socks.Handshake(credentials)
    while not server.over:
        assert feed(client, server.receive_data(client.data_to_send()), piece) == b""
    assert server.request == socks.Connect(address)
    assert client.reply is None
    assert feed(client, server.succeeded() + b"what follows", piece) == b"what follows"
    assert client.reply is Reply.SUCCEEDED
    assert (client.wants, client.data_to_send()) == (0, b"")


def test_what_it_sends() -> None:
    plain = Handshake(ADDRESS)
    assert (plain.data_to_send(), plain.data_to_send()) == (b"\x05\x01\x00", b"")
    feed(plain, NO_AUTHENTICATION)
    assert plain.data_to_send() == b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"
    known = Handshake(ADDRESS, ALICE)
    assert known.data_to_send() == b"\x05\x02\x00\x02"
    feed(known, USERNAME_PASSWORD)
    assert known.data_to_send() == b"\x01\x05alice\x0awonderland"


def test_a_server_that_asks_for_no_password_is_told_none() -> None:
    handshake = Handshake(ADDRESS, ALICE)
    handshake.data_to_send()
    feed(handshake, NO_AUTHENTICATION)
    assert b"wonderland" not in handshake.data_to_send()
    feed(handshake, CONNECTED)
    assert handshake.reply is Reply.SUCCEEDED


@pytest.mark.parametrize("bound", [BOUND, b"\x04" + bytes(18), b"\x03\x00" + bytes(2), b"\x03\xff" + bytes(257)])
def test_every_kind_of_bound_address(bound: bytes) -> None:
    handshake = Handshake(ADDRESS)
    assert feed(handshake, NO_AUTHENTICATION + b"\x05\x00\x00" + bound + b"!") == b"!"
    assert handshake.reply is Reply.SUCCEEDED


def test_every_reply() -> None:
    for code in range(256):
        handshake = Handshake(ADDRESS)
        feed(handshake, NO_AUTHENTICATION + bytes([5, code, 0]) + BOUND)
        assert handshake.reply is (Reply(code) if code <= 8 else Reply.GENERAL_FAILURE), code


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_our_server_is_a_failure(reason: Reason) -> None:
    client, server = Handshake(ADDRESS), socks.Handshake(None)
    while not server.over:
        feed(client, server.receive_data(client.data_to_send()))
    feed(client, server.failed(reason))
    assert client.reply not in (None, Reply.SUCCEEDED)


@pytest.mark.parametrize(
    ("credentials", "answers"),
    [
        (None, b"\x05\xff"),
        (ALICE, b"\x05\xff"),
        (ALICE, USERNAME_PASSWORD + b"\x01\x01"),
        (ALICE, USERNAME_PASSWORD + b"\x05\xff"),
    ],
)
def test_other_credentials(credentials: Credentials | None, answers: bytes) -> None:
    with pytest.raises(DeniedError):
        feed(Handshake(ADDRESS, credentials), answers)


@pytest.mark.parametrize(
    "answers",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x04\x00",
        USERNAME_PASSWORD,  # nobody offered it
        b"\x05\x01",
        NO_AUTHENTICATION + b"\x04\x00\x00",
        NO_AUTHENTICATION + b"\x05\x00\x00\x00\x00",
        NO_AUTHENTICATION + b"\x05\x00\x00\x02\x00",
    ],
)
@pytest.mark.parametrize("piece", [1, 65536])
def test_what_is_no_server_of_socks_5(answers: bytes, piece: int) -> None:
    with pytest.raises(RemoteProtocolError):
        feed(Handshake(ADDRESS), answers, piece)


@pytest.mark.parametrize("end", range(len(NO_AUTHENTICATION + CONNECTED)))
def test_an_end_before_the_reply(end: int) -> None:
    handshake = Handshake(ADDRESS)
    feed(handshake, (NO_AUTHENTICATION + CONNECTED)[:end])
    assert handshake.reply is None
    assert handshake.wants > 0
    with pytest.raises(RemoteProtocolError):
        handshake.receive_data(b"")


@given(st.sampled_from([None, ALICE]), st.data())
def test_whatever_a_server_says(credentials: Credentials | None, data: st.DataObject) -> None:
    right = (USERNAME_PASSWORD + RIGHT if credentials else NO_AUTHENTICATION) + CONNECTED
    said = bytearray(right + b"behind")
    for _ in range(data.draw(st.integers(0, 3))):
        said[data.draw(st.integers(0, len(said) - 1))] = data.draw(st.integers(0, 255))
    handshake = Handshake(ADDRESS, credentials)
    try:
        feed(handshake, bytes(said), data.draw(st.integers(1, 20)))
    except (DeniedError, RemoteProtocolError):
        assert handshake.reply is None
    if handshake.reply is not None:
        assert handshake.wants == 0
    elif bytes(said).startswith(right):
        raise AssertionError("it was right, and there is no reply")


def test_nothing_secret_is_shown() -> None:
    assert "wonderland" not in repr(Handshake(ADDRESS, ALICE))
