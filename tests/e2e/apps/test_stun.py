"""STUN messages against the test vectors of RFC 5769, and against what is none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.apps import stun

#: Section 2.4: a request with long-term authentication, without FINGERPRINT.
REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
#: Section 2.2: a response, of which this is the attribute XOR-MAPPED-ADDRESS, for 192.0.2.1 and port 32853.
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
MAPPED = bytes.fromhex("0001a147e112a643")


def test_a_signed_request() -> None:
    user, password, realm = "マトリックス", "TheMatrIX", "example.org"
    attributes = {stun.USERNAME: user.encode(), stun.NONCE: b"f//499k954d6OL34oL9FSTvy64sA", stun.REALM: realm.encode()}
    message = stun.Message(stun.BINDING, attributes, bytes.fromhex("78ad3433c6ad72c029da412e"))
    assert stun.encode(message, stun.long_term_key(user, realm, password)) == REQUEST
    decoded = stun.decode(REQUEST)
    assert decoded.attributes == attributes | {stun.MESSAGE_INTEGRITY: REQUEST[-20:]}


def test_a_mapped_address() -> None:
    message = stun.Message(stun.BINDING | stun.SUCCESS, {stun.XOR_MAPPED: MAPPED}, TRANSACTION)
    assert stun.decode(stun.encode(message)).address(stun.XOR_MAPPED) == ("192.0.2.1", 32853)
    assert stun.peer_address(("192.0.2.1", 32853)) == MAPPED


def test_an_error() -> None:
    message = stun.Message(stun.ALLOCATE | stun.ERROR, {stun.ERROR_CODE: b"\0\0\4\1Unauthorized"})
    assert stun.decode(stun.encode(message)).error == 401


def test_data_of_a_channel() -> None:
    assert stun.of_channel(stun.channel_data(stun.FIRST_CHANNEL, b"hello")) == (stun.FIRST_CHANNEL, b"hello")
    assert stun.of_channel(REQUEST) is None


def test_what_is_cut_off() -> None:
    for size in range(len(REQUEST)):
        with pytest.raises(ValueError, match=r"too short|not STUN"):
            stun.decode(REQUEST[:size])


@given(st.integers(0, len(REQUEST) - 1), st.integers(0, 255))
def test_what_is_altered(position: int, byte: int) -> None:
    with contextlib.suppress(ValueError):
        stun.decode(REQUEST[:position] + bytes([byte]) + REQUEST[position + 1 :])
