"""Hello and welcome on their own: who proves himself, who is a visitor, and at which byte that is known."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.handshake import (
    AFTER_WELCOME,
    MAX_PADDING,
    NO_TOKEN,
    Hello,
    NotAHelloError,
    NotAWelcomeError,
    Status,
    Wanted,
    Welcome,
    read_hello,
    read_welcome,
)

KEY_ID, SECRET = b"alice-id", b"a" * 32
OTHER_ID, OTHER_SECRET = b"alter-id", b"b" * 32  # begins as the first does
SECRETS = {KEY_ID: SECRET, OTHER_ID: OTHER_SECRET}
BINDING = b"c" * 32
TOKEN = bytes(range(1, 17))
NEW = Hello(KEY_ID, b"n" * 16)
RESUME = Hello(KEY_ID, b"n" * 16, Wanted.RESUME, TOKEN, 5, 6)
RESUME_LATER = Hello(KEY_ID, b"n" * 16, Wanted.RESUME, TOKEN, 5, AFTER_WELCOME)
HAND_OVER = Hello(KEY_ID, b"n" * 16, Wanted.HAND_OVER, TOKEN, 5, AFTER_WELCOME)
PADDING = b"padding!"
WELCOME = Welcome(b"w" * 16, Status.RESUMED, TOKEN, 77, 88)
# Where the fields begin (docs/protocol.md, section 3).
VERSION_AT, WANTED_AT, TOKEN_AT, RECEIVED_AT, SENDING_AT, LENGTH_AT, PADDING_AT = 24, 25, 26, 42, 50, 58, 60
STATUS_AT, WELCOME_LENGTH_AT, WELCOME_PADDING_AT = 16, 49, 51

every_hello = pytest.mark.parametrize(
    "hello", [NEW, RESUME, RESUME_LATER, HAND_OVER], ids=["new", "resume", "resume later", "hand over"]
)

U64 = st.integers(0, 2**64 - 1)
KEY_IDS = st.sampled_from([KEY_ID, OTHER_ID])
SIXTEEN = st.binary(min_size=16, max_size=16)
TOKENS = SIXTEEN.filter(lambda token: token != NO_TOKEN)
hellos = (
    st.builds(Hello, KEY_IDS, SIXTEEN)
    | st.builds(Hello, KEY_IDS, SIXTEEN, st.just(Wanted.RESUME), TOKENS, U64, U64)
    | st.builds(Hello, KEY_IDS, SIXTEEN, st.just(Wanted.HAND_OVER), TOKENS, U64, st.just(AFTER_WELCOME))
)
welcomes = st.builds(Welcome, SIXTEEN, st.sampled_from(Status), SIXTEEN, U64, U64)


def hello_wire(hello: Hello, secret: bytes = SECRET, padding: bytes = PADDING) -> bytes:
    return hello.encode(secret, BINDING, padding)


def sealed_hello(head: bytes) -> bytes:
    """With a MAC that is right, so that only the head can be at fault."""
    return head + hmac.new(SECRET, b"ropeway hello 1" + BINDING + head, hashlib.sha256).digest()


def sealed_welcome(head: bytes) -> bytes:
    context = b"ropeway welcome 1" + BINDING + NEW.nonce
    return head + hmac.new(SECRET, context + head, hashlib.sha256).digest()


def put(data: bytes, where: int, what: bytes) -> bytes:
    return data[:where] + what + data[where + len(what) :]


def is_visitor(data: bytes) -> bool:
    try:
        read_hello(data, SECRETS, BINDING)
    except NotAHelloError:
        return True
    return False


# ---- hello


def test_hello_byte_for_byte() -> None:
    head = (
        KEY_ID
        + b"n" * 16
        + b"\x01\x02"
        + TOKEN
        + (5).to_bytes(8, "big")
        + (6).to_bytes(8, "big")
        + len(PADDING).to_bytes(2, "big")
    )
    assert hello_wire(RESUME) == sealed_hello(head + PADDING)
    head = KEY_ID + b"n" * 16 + b"\x01\x01" + bytes(16 + 8 + 8) + b"\0\0"
    assert hello_wire(NEW, padding=b"") == sealed_hello(head)
    head = KEY_ID + b"n" * 16 + b"\x01\x03" + TOKEN + (5).to_bytes(8, "big") + b"\xff" * 8 + b"\0\0"
    assert hello_wire(HAND_OVER, padding=b"") == sealed_hello(head)


@every_hello
@pytest.mark.parametrize("padding", [0, 1, MAX_PADDING])
def test_hello_whole_and_with_what_follows(hello: Hello, padding: int) -> None:
    data = hello_wire(hello, padding=bytes(padding))
    assert len(data) == PADDING_AT + padding + 32
    for after in (b"", b"\x01", b"frames" * 100, data):
        assert read_hello(data + after, SECRETS, BINDING) == (hello, len(data))


@every_hello
def test_hello_cut_at_every_byte_asks_for_more(hello: Hello) -> None:
    data = hello_wire(hello)
    for size in range(len(data)):
        assert read_hello(data[:size], SECRETS, BINDING) is None, size


@given(hello=hellos, padding=st.binary(max_size=MAX_PADDING), after=st.binary(max_size=20))
def test_every_hello_is_read_as_it_was_written(hello: Hello, padding: bytes, after: bytes) -> None:
    data = hello.encode(SECRETS[hello.key_id], BINDING, padding)
    assert read_hello(data + after, SECRETS, BINDING) == (hello, len(data))


@every_hello
def test_a_hello_with_one_wrong_bit_is_a_visitors(hello: Hello) -> None:
    """Each byte is under the MAC. A changed length of the padding may ask for more bytes first."""
    data = hello_wire(hello)
    assert len(data) == PADDING_AT + len(PADDING) + 32
    for position, bit in itertools.product(range(len(data)), range(8)):
        wrong = bytearray(data)
        wrong[position] ^= 1 << bit
        assert is_visitor(bytes(wrong) + bytes(MAX_PADDING)), (position, bit)


@given(
    hello=hellos,
    place=st.integers(0, PADDING_AT + len(PADDING) + 31),
    junk=st.binary(min_size=1, max_size=40),
    keep=st.booleans(),
)
def test_a_mutated_hello_is_never_taken_for_one(hello: Hello, place: int, junk: bytes, keep: bool) -> None:
    data = hello.encode(SECRETS[hello.key_id], BINDING, PADDING)
    wrong = data[:place] + junk + data[place + (0 if keep else len(junk)) :]
    if wrong[: len(data)] == data:
        assert read_hello(wrong, SECRETS, BINDING) == (hello, len(data))
    else:
        assert is_visitor(wrong + bytes(MAX_PADDING + 100))


@given(hello=hellos, where=st.integers(VERSION_AT, PADDING_AT - 1), what=st.binary(min_size=1, max_size=20))
def test_a_mutated_head_with_the_right_mac_is_judged_alike_however_it_is_cut(
    hello: Hello, where: int, what: bytes
) -> None:
    """A user can seal what he likes: it is a hello as a whole or a visitor's, and once a visitor's, always."""
    head = put(dataclasses.replace(hello, key_id=KEY_ID).encode(SECRET, BINDING, b"")[:PADDING_AT], where, what)
    head = head[:PADDING_AT]
    data = sealed_hello(head + bytes(int.from_bytes(head[LENGTH_AT:], "big")))
    visitor_at = next((size for size in range(len(data) + 1) if is_visitor(data[:size])), None)
    if visitor_at is None:
        found = read_hello(data, SECRETS, BINDING)
        assert found is not None
        assert found[1] == len(data)
        assert found[0].encode(SECRET, BINDING, data[PADDING_AT:-32]) == data
    else:
        assert visitor_at <= PADDING_AT, "a head is judged by itself"
        assert all(is_visitor(data[:size]) for size in range(visitor_at, len(data) + 1))


@pytest.mark.parametrize("first", ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "\x00", "SSH-2.0-x", "zzzzzzzz", "b"])
def test_a_visitor_is_known_by_the_first_byte(first: str) -> None:
    assert is_visitor(first.encode("latin-1")[:1])
    assert is_visitor(first.encode("latin-1"))


@pytest.mark.parametrize("size", range(1, 9))
def test_a_visitor_is_known_by_the_first_byte_that_is_in_no_key_id(size: int) -> None:
    assert not is_visitor(KEY_ID[: size - 1])
    assert is_visitor(KEY_ID[: size - 1] + b"\xff")
    assert not is_visitor(OTHER_ID[:size])


def test_the_middle_of_one_key_id_does_not_go_with_another() -> None:
    assert not is_visitor(b"al")
    assert is_visitor(b"alicr")
    assert is_visitor(b"altce-id")


def test_without_users_everybody_is_a_visitor() -> None:
    for data in (b"", b"G", hello_wire(NEW)):
        with pytest.raises(NotAHelloError):
            read_hello(data, {}, BINDING)


def test_nobody_is_judged_before_the_first_byte() -> None:
    assert read_hello(b"", SECRETS, BINDING) is None


# What a head may not say: what is put where, into which hello. All have a MAC that is right.
WRONG_HEADS = {
    "version 0": (NEW, VERSION_AT, b"\x00"),
    "version 2": (NEW, VERSION_AT, b"\x02"),
    "version 255": (RESUME, VERSION_AT, b"\xff"),
    "wanted 0": (NEW, WANTED_AT, b"\x00"),
    "wanted 4": (RESUME, WANTED_AT, b"\x04"),
    "hand over with frames behind it": (RESUME, WANTED_AT, b"\x03"),
    "hand over without a token": (HAND_OVER, TOKEN_AT, NO_TOKEN),
    "new with a token": (RESUME, WANTED_AT, b"\x01"),
    "new with the last byte of a token": (NEW, TOKEN_AT + 15, b"\x01"),
    "resume without a token": (NEW, WANTED_AT, b"\x02"),
    "new with received": (NEW, RECEIVED_AT + 7, b"\x01"),
    "new with sending": (NEW, SENDING_AT, b"\x01"),
    "new with frames after the welcome": (NEW, SENDING_AT, b"\xff" * 8),
    "padding of 1025": (NEW, LENGTH_AT, b"\x04\x01"),
    "padding of 65535": (RESUME, LENGTH_AT, b"\xff\xff"),
}


@pytest.mark.parametrize(("hello", "where", "what"), WRONG_HEADS.values(), ids=WRONG_HEADS)
def test_a_wrong_head_is_a_visitors_even_with_the_right_mac(hello: Hello, where: int, what: bytes) -> None:
    head = put(hello_wire(hello, padding=b"")[:PADDING_AT], where, what)
    padding = bytes(int.from_bytes(head[LENGTH_AT:], "big"))
    assert is_visitor(head)
    assert is_visitor(sealed_hello(head + padding))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("version 2", 25),
        ("wanted 4", 26),
        ("hand over with frames behind it", 51),
        ("hand over without a token", 42),
        ("new with a token", 27),
        ("resume without a token", 42),
        ("new with received", 50),
        ("new with sending", 51),
        ("padding of 1025", 60),
        ("padding of 65535", 59),
    ],
)
def test_a_wrong_head_is_known_at_its_first_wrong_byte(name: str, size: int) -> None:
    hello, where, what = WRONG_HEADS[name]
    head = put(hello_wire(hello)[:PADDING_AT], where, what)
    assert not is_visitor(head[: size - 1])
    assert is_visitor(head[:size])


def test_wrong_key_and_wrong_user() -> None:
    assert is_visitor(hello_wire(NEW, secret=OTHER_SECRET))
    assert is_visitor(put(hello_wire(NEW), 0, OTHER_ID))
    assert is_visitor(hello_wire(NEW, secret=b""))


@pytest.mark.parametrize("binding", [b"", b"d" * 32, BINDING[:-1], BINDING + b"c", b"c" * 48])
def test_a_hello_for_another_certificate_is_a_visitors(binding: bytes) -> None:
    with pytest.raises(NotAHelloError):
        read_hello(hello_wire(NEW), SECRETS, binding)


def test_a_mac_that_is_missing_short_or_of_another_message() -> None:
    data = hello_wire(NEW)
    assert is_visitor(data[:-32] + bytes(32))
    assert is_visitor(data[:-1] + bytes([data[-1] ^ 1]))
    assert is_visitor(data[:-32] + hello_wire(RESUME)[-32:])
    assert is_visitor(data[:-32] + hmac.digest(SECRET, data[:-32], "sha256"))  # neither label nor binding
    welcome_label = hmac.digest(SECRET, b"ropeway welcome 1" + BINDING + data[:-32], "sha256")
    assert is_visitor(data[:-32] + welcome_label)


# ---- welcome


def welcome_wire(welcome: Welcome, padding: bytes = PADDING) -> bytes:
    return welcome.encode(SECRET, BINDING, padding, NEW)


def test_welcome_byte_for_byte() -> None:
    head = (
        b"w" * 16
        + b"\x02"
        + TOKEN
        + (77).to_bytes(8, "big")
        + (88).to_bytes(8, "big")
        + len(PADDING).to_bytes(2, "big")
    )
    assert welcome_wire(WELCOME) == sealed_welcome(head + PADDING)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("padding", [0, 1, MAX_PADDING])
def test_welcome_whole_and_with_what_follows(status: Status, padding: int) -> None:
    welcome = dataclasses.replace(WELCOME, status=status)
    data = welcome_wire(welcome, bytes(padding))
    assert len(data) == WELCOME_PADDING_AT + padding + 32
    for after in (b"", b"\x01", b"frames" * 100, data):
        assert read_welcome(data + after, SECRET, BINDING, NEW) == (welcome, len(data))


def test_welcome_cut_at_every_byte_asks_for_more() -> None:
    data = welcome_wire(WELCOME)
    for size in range(len(data)):
        assert read_welcome(data[:size], SECRET, BINDING, NEW) is None, size


@given(welcome=welcomes, hello=hellos, padding=st.binary(max_size=MAX_PADDING), after=st.binary(max_size=20))
def test_every_welcome_is_read_as_it_was_written(welcome: Welcome, hello: Hello, padding: bytes, after: bytes) -> None:
    data = welcome.encode(SECRET, BINDING, padding, hello)
    assert read_welcome(data + after, SECRET, BINDING, hello) == (welcome, len(data))


def test_a_welcome_with_one_wrong_bit_is_none() -> None:
    data = welcome_wire(WELCOME)
    assert len(data) == WELCOME_PADDING_AT + len(PADDING) + 32
    for position, bit in itertools.product(range(len(data)), range(8)):
        wrong = bytearray(data)
        wrong[position] ^= 1 << bit
        with pytest.raises(NotAWelcomeError):
            read_welcome(bytes(wrong) + bytes(MAX_PADDING), SECRET, BINDING, NEW)


@given(
    welcome=welcomes,
    place=st.integers(0, WELCOME_PADDING_AT + len(PADDING) + 31),
    junk=st.binary(min_size=1, max_size=40),
    keep=st.booleans(),
)
def test_a_mutated_welcome_is_never_taken_for_one(welcome: Welcome, place: int, junk: bytes, keep: bool) -> None:
    data = welcome_wire(welcome)
    wrong = data[:place] + junk + data[place + (0 if keep else len(junk)) :]
    if wrong[: len(data)] == data:
        assert read_welcome(wrong, SECRET, BINDING, NEW) == (welcome, len(data))
    else:
        with pytest.raises(NotAWelcomeError):
            read_welcome(wrong + bytes(MAX_PADDING + 100), SECRET, BINDING, NEW)


@pytest.mark.parametrize("status", [0, 8, 255])
def test_a_status_that_does_not_exist(status: int) -> None:
    head = put(welcome_wire(WELCOME, b"")[:WELCOME_PADDING_AT], STATUS_AT, bytes([status]))
    with pytest.raises(NotAWelcomeError):
        read_welcome(sealed_welcome(head), SECRET, BINDING, NEW)


@pytest.mark.parametrize("length", [MAX_PADDING + 1, 65535])
def test_too_much_padding_is_not_waited_for(length: int) -> None:
    head = put(welcome_wire(WELCOME, b"")[:WELCOME_PADDING_AT], WELCOME_LENGTH_AT, length.to_bytes(2, "big"))
    for data in (head, sealed_welcome(head + bytes(length))):
        with pytest.raises(NotAWelcomeError):
            read_welcome(data, SECRET, BINDING, NEW)


@pytest.mark.parametrize(
    ("secret", "binding", "hello"),
    [
        (OTHER_SECRET, BINDING, NEW),
        (SECRET, b"d" * 32, NEW),  # somebody in between has another certificate
        (SECRET, BINDING, dataclasses.replace(NEW, nonce=b"m" * 16)),  # an older welcome, played again
    ],
    ids=["key", "binding", "nonce"],
)
def test_a_welcome_of_another_key_certificate_or_hello(secret: bytes, binding: bytes, hello: Hello) -> None:
    with pytest.raises(NotAWelcomeError):
        read_welcome(welcome_wire(WELCOME), secret, binding, hello)


def test_a_website_is_no_exit() -> None:
    page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 11\r\nConnection: close\r\n\r\nBad Request"
    with pytest.raises(NotAWelcomeError):
        read_welcome(page, SECRET, BINDING, NEW)


def test_a_hello_sent_back_is_no_welcome() -> None:
    with pytest.raises(NotAWelcomeError):
        read_welcome(hello_wire(RESUME) + bytes(MAX_PADDING), SECRET, BINDING, RESUME)
