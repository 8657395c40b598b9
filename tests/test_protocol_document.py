"""docs/protocol.md and the code say the same: every number in its tables, and those in its text that have a name."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from proxy import exit as exit_role
from proxy import greeting, served_session, succession, tunnel
from proxy.errors import Reason
from proxy.protocol import datagrams, frame, handshake, liveness, mux, outbox, stream
from proxy.protocol.event import Code
from proxy.protocol.frame import Frame, Type
from proxy.protocol.handshake import Hello, Status, Wanted, Welcome

DOCUMENT = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text(encoding="utf-8")
KEY_ID, NONCE, TOKEN, SECRET, BINDING = b"k" * 8, b"n" * 16, b"t" * 16, b"s" * 32, b"b" * 32
HELLO = Hello(KEY_ID, NONCE, Wanted.RESUME, TOKEN, 3, 2)


def section(number: int) -> str:
    """Its text, with line breaks as spaces: where a line ends means nothing."""
    found = re.search(rf"^## {number}\. .*?\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found is not None, f"there is no section {number}"
    return found[1]


def prose(number: int) -> str:
    return " ".join(section(number).split())


def tables(number: int) -> list[list[dict[str, str]]]:
    """Those of a section: for each row, what stands under which heading."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", section(number), re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        found.append([dict(zip(rows[0], row, strict=True)) for row in rows[2:]])
    return found


def quoted(pattern: str, number: int) -> str:
    """What the group of `pattern` says in a section; it must be there once."""
    found = re.findall(pattern, prose(number))
    assert len(found) == 1, f"{pattern!r} is {len(found)} times in section {number}"
    return str(found[0])


def integer(pattern: str, number: int) -> int:
    return int(quoted(pattern, number).replace(",", ""))


def named_numbers(text: str) -> dict[str, int]:
    """`3 NETWORK_UNREACHABLE, 4 TIMED_OUT`."""
    return {name: int(number) for number, name in re.findall(r"\b(\d+) ([A-Z][A-Z_]+)\b", text)}


def sizes(rows: list[dict[str, str]], padding: int) -> dict[str, int]:
    """The bytes of each field of the hello or welcome."""
    widths = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "[padding length]": padding, "u16, [..]": 2 + padding}
    return {row["field"]: widths.get(row["size"]) or int(row["size"].strip("[]")) for row in rows}


def at(fields: dict[str, int], name: str, data: bytes) -> bytes:
    """The bytes of a field."""
    start = sum(size for field, size in list(fields.items())[: list(fields).index(name)])
    return data[start : start + fields[name]]


def test_the_document_is_short_enough_to_be_read() -> None:
    assert len(DOCUMENT.splitlines()) <= 200


# ---- section 3


def test_sizes_of_the_hello() -> None:
    fields = sizes(tables(3)[0], padding=5)
    data = HELLO.encode(SECRET, BINDING, b"p" * 5)
    assert sum(fields.values()) == len(data)
    assert at(fields, "key id", data) == KEY_ID
    assert at(fields, "nonce", data) == NONCE
    assert at(fields, "version", data) == bytes([handshake.VERSION])
    assert at(fields, "wanted", data) == bytes([Wanted.RESUME])
    assert at(fields, "token", data) == TOKEN
    assert at(fields, "received", data) == struct.pack("!Q", 3)
    assert at(fields, "sending", data) == struct.pack("!Q", 2)
    assert at(fields, "padding length", data) == struct.pack("!H", 5)
    assert at(fields, "padding", data) == b"p" * 5
    assert fields["MAC"] == handshake.MAC_SIZE


def test_sizes_of_the_welcome() -> None:
    fields = sizes(tables(3)[1], padding=5)
    data = Welcome(NONCE, Status.RESUMED, TOKEN, 9, 8).encode(SECRET, BINDING, b"p" * 5, HELLO)
    assert sum(fields.values()) == len(data)
    assert at(fields, "nonce", data) == NONCE
    assert at(fields, "status", data) == bytes([Status.RESUMED])
    assert at(fields, "token", data) == TOKEN
    assert at(fields, "received", data) == struct.pack("!Q", 9)
    assert at(fields, "sending", data) == struct.pack("!Q", 8)
    assert at(fields, "padding length, padding", data) == struct.pack("!H", 5) + b"p" * 5


def test_values_in_the_hello_and_welcome() -> None:
    hello, welcome = ({row["field"]: row["meaning"] for row in rows} for rows in tables(3))
    assert hello["version"] == str(handshake.VERSION)
    assert hello["wanted"] == f"{Wanted.NEW:d} new session, {Wanted.RESUME:d} resume, {Wanted.HAND_OVER:d} hand over"
    words = {
        Status.NEW: "new session",
        Status.RESUMED: "resumed",
        Status.UNKNOWN: "session unknown",
        Status.TOO_MANY: "too many sessions",
        Status.FOREIGN: "another user's session",
        Status.IMPOSSIBLE: "impossible offsets",
        Status.BUSY: "another carrier is taking over",
    }
    assert welcome["status"] == ", ".join(f"{status:d} {words[status]}" for status in Status)
    assert hello["padding length"] == f"at most {handshake.MAX_PADDING}"
    assert "2^64 - 1" in hello["sending"]
    assert handshake.AFTER_WELCOME == 2**64 - 1


def test_labels() -> None:
    hello, welcome = ({row["field"]: row["meaning"] for row in rows}["MAC"] for rows in tables(3))
    assert f'"{handshake._HELLO_LABEL.decode()}" + channel binding + every byte of the hello' in hello
    assert f'"{handshake._WELCOME_LABEL.decode()}" + channel binding + nonce of the hello' in welcome


def test_padding_of_both_sides() -> None:
    bounds = integer(r"its length SHOULD be random too, (\d+) to", 3), integer(r"random too, \d+ to (\d+)", 3)
    for padding in (greeting.PADDING, exit_role.PADDING):
        assert (padding.start, padding.stop - 1) == bounds
        assert padding.stop - 1 <= handshake.MAX_PADDING


def test_key_sizes_and_the_time_of_a_hello() -> None:
    assert integer(r"a key id \((\d+) random bytes\)", 3) == handshake.KEY_ID_SIZE
    assert integer(r"not complete within (\d+) s", 3) == exit_role.HANDSHAKE_TIMEOUT


# ---- section 4


def test_the_header() -> None:
    widths = re.findall(r"\bu(\d+)\b", section(4).split("payload [length]")[0])
    assert widths == ["8", "24", "32"]
    assert sum(map(int, widths)) == 8 * frame.HEADER_SIZE
    assert frame.encode(Type.CREDIT, 0x0A0B0C0D, b"1234")[:8] == bytes([Type.CREDIT, 0, 0, 4, 0x0A, 0x0B, 0x0C, 0x0D])
    assert integer(r"`length` is at most (\d+)", 4) == frame.MAX_PAYLOAD
    assert int(quoted(r"bit (0x\w+) set means \*\*unreliable", 4), 16) == frame.UNRELIABLE
    assert int(quoted(r"bit (0x\w+) set means \*\*optional", 4), 16) == frame.OPTIONAL


def test_frame_types_and_numbers() -> None:
    (rows,) = tables(4)
    assert {row["frame"]: int(row["type"], 16) for row in rows} == {kind.name: kind.value for kind in Type}


FRAMES = {row["frame"]: row for row in tables(4)[0]}


def lengths(payload: str) -> tuple[int, int]:
    """What the table says about a payload: at least, at most."""
    words = {
        "address": (5, 259),  # the smallest and the largest address with a name
        "destination": (5, 65536),  # an address, and none or more bytes
        "empty": (0, 0),
        "1 byte or more": (1, 65536),
        "any": (0, 65536),
        "u8": (1, 256),
        "u32": (4, 4),
        "u64": (8, 8),
        "[8]": (8, 8),
    }
    (found,) = {bounds for word, bounds in words.items() if payload.startswith(word)}
    if payload.startswith("u8"):
        assert "at most 255 bytes" in payload
    return found


@pytest.mark.parametrize("kind", Type, ids=lambda kind: kind.name)
def test_frames_have_the_lengths_and_streams_of_the_table(kind: Type) -> None:
    shape, row = frame._SHAPES[kind], FRAMES[kind.name]
    assert (shape.shortest, shape.longest) == lengths(row["payload"])
    assert shape.on_stream is (row["stream"] != "0")


def test_the_section_on_offsets_and_the_bit_agree_on_what_is_unreliable() -> None:
    unreliable = {name for name, row in FRAMES.items() if int(row["type"], 16) & 0x40}
    assert unreliable == {kind.name for kind in Type if not Frame(kind, 0, b"").reliable}


# ---- sections 5 to 7


def test_ids_and_credit() -> None:
    assert integer(r"After 2\^(\d+) - 1 ids", 5) == mux.LAST_ID.bit_length()
    assert integer(r"starts with a credit of ([\d,]+) bytes", 6) == stream.INITIAL_CREDIT
    assert integer(r"to at most ([\d,]+)\.", 6) == stream.MAX_WINDOW
    assert integer(r"A credit above 2\^(\d+) - 1 is an error", 6) == stream.MAX_CREDIT.bit_length()
    assert mux.LAST_ID == 2**32 - 1
    assert stream.MAX_CREDIT == 2**31 - 1


def test_acknowledgement_and_time() -> None:
    assert integer(r"\((\d+) MiB here\) is kept", 7) << 20 == outbox.MAX_KEPT
    assert integer(r"after at most (\d+) MiB", 7) << 20 == liveness.ACK_BYTES
    assert integer(r"at the latest (\d+) ms", 7) == liveness.MOST_ACK_DELAY * 1000
    assert integer(r"nothing has arrived for (\d+) s while", 7) == liveness.SUSPECT
    assert integer(r"\*\*dead\*\* after (\d+) s", 7) == liveness.DEAD
    assert integer(r"nothing has arrived for (\d+) ms", 7) == liveness.PAUSE * 1000
    assert integer(r"after (\d+) of its time-outs", 7) == liveness.SUSPECT_TIMEOUTS
    assert integer(r"four times after (\d+)", 7) == liveness.DEAD_TIMEOUTS
    assert integer(r"a part of a frame for (\d+) s", 7) == liveness.SIGN
    assert integer(r"idle for (\d+) s", 7) == liveness.IDLE
    assert integer(r"\(at the exit (\d+) s\)", 7) == liveness.IDLE_AT_EXIT
    assert integer(r"does not end within (\d+) s", 7) == succession.FINISH_TIMEOUT == served_session.FINISH_TIMEOUT
    assert integer(r"\((\d+) ms here\)", 5) == datagrams.AGE * 1000
    assert integer(r"\((\d+) minutes here\)", 7) * 60 == tunnel.WAITING_TIME == exit_role.Limits().waiting_time


# ---- section 8


def test_reasons() -> None:
    text = prose(8).split("GO_AWAY:")[0]
    assert named_numbers(text) == {reason.name: reason.value for reason in Reason}


def test_codes_of_go_away() -> None:
    text = prose(8).split("GO_AWAY:")[1].split("These are errors")[0]
    assert named_numbers(text) == {code.name: code.value for code in Code}


def test_bounds_among_the_errors() -> None:
    assert integer(r"length above (\d+)", 8) == frame.MAX_PAYLOAD
    assert integer(r"more than (\d+) frames that wait", 8) == mux.MAX_ANSWERS
    assert integer(r"credit above 2\^(\d+) - 1", 8) == stream.MAX_CREDIT.bit_length()
