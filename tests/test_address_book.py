"""Where exits were found before: kept on disk, in order, within bounds, and passed over where it cannot be read."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from proxy.address import Address
from proxy.address_book import MOST_ADDRESSES, MOST_EXITS, MOST_WAYS, AddressBook

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = b"\x01" * 32, b"\x02" * 32
NAME, OTHER = Address("exit.example", 443), Address("other.example", 443)
HERE, THERE = Address("192.0.2.1", 443), Address("2001:db8::1", 443)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "addresses.json"


def test_what_is_remembered_is_there_for_the_next_program(path: Path) -> None:
    AddressBook(path).remember(ONE, NAME, [HERE, THERE])
    AddressBook(path).remember(ONE, OTHER, [THERE])
    AddressBook(path).remember(TWO, NAME, [HERE])
    book = AddressBook(path)
    assert list(book.of(ONE).items()) == [(OTHER, (THERE,)), (NAME, (HERE, THERE))]
    assert book.of(TWO) == {NAME: (HERE,)}
    book.remember(ONE, NAME, [THERE])
    assert list(book.of(ONE).items()) == [(NAME, (THERE,)), (OTHER, (THERE,))]
    assert json.loads(path.read_text())[TWO.hex()] == {"exit.example:443": ["192.0.2.1:443"]}


def test_the_exit_that_worked_last_is_first(path: Path) -> None:
    book = AddressBook(path)
    assert book.order() == ()
    book.remember(ONE, NAME, [HERE])
    book.put_first(TWO)  # before anything else is known of it
    assert book.order() == (TWO, ONE)
    book.remember(ONE, NAME, [THERE])
    assert book.order() == (TWO, ONE)
    book.put_first(ONE)
    assert book.order() == (ONE, TWO)
    assert book.of(ONE) == {NAME: (THERE,)}
    assert book.of(TWO) == {}


def test_what_is_first_is_not_written_again(path: Path) -> None:
    book = AddressBook(path)
    book.put_first(ONE)
    before = path.stat().st_ino  # each writing makes another file
    book.put_first(ONE)
    assert path.stat().st_ino == before


def test_it_has_bounds(path: Path) -> None:
    book = AddressBook(path)
    for number in range(MOST_EXITS + 3):
        book.put_first(bytes([number]) * 32)
    assert book.order() == tuple(bytes([number]) * 32 for number in reversed(range(3, MOST_EXITS + 3)))
    last = book.order()[0]
    for number in range(1, MOST_WAYS + 4):
        book.remember(last, Address("exit.example", number), [Address("192.0.2.1", port) for port in range(1, 9)])
    found = book.of(last)
    assert list(found) == [Address("exit.example", number) for number in range(MOST_WAYS + 3, 3, -1)]
    assert {len(addresses) for addresses in found.values()} == {MOST_ADDRESSES}


def test_an_exit_that_is_new_finds_a_place_in_a_full_book(path: Path) -> None:
    book = AddressBook(path)
    pins = [bytes([number]) * 32 for number in range(MOST_EXITS + 2)]
    for pin in pins:
        book.remember(pin, NAME, [HERE])
    assert book.of(pins[-1]) == {NAME: (HERE,)}
    assert len(book.order()) == MOST_EXITS
    book.remember(pins[0], NAME, [THERE])
    assert len(book.order()) == MOST_EXITS
    assert book.of(pins[-1]) == {NAME: (HERE,)}


def test_what_is_no_entry_is_not_written_again(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"x": ' + "[" * 300 + "]" * 300 + "}")  # with its indents it is longer than what is read
    book = AddressBook(path)
    book.remember(ONE, NAME, [HERE])
    assert book.of(ONE) == {NAME: (HERE,)}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff", b"[" * 60_000, b'{"x": 5}', b'{"%s": 1}' % (b"x" * 70_000)]
)
def test_a_book_that_cannot_be_read_is_an_empty_one(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    book = AddressBook(path)
    assert (book.order(), book.of(ONE)) == ((), {})
    book.remember(ONE, NAME, [HERE])
    assert book.of(ONE) == {NAME: (HERE,)}


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (["192.0.2.1:443"], {}),  # an older version wrote so
        (5, {}),
        (None, {}),
        ({}, {}),
        ({"exit.example:443": "192.0.2.1:443"}, {}),
        ({"exit.example": ["192.0.2.1:443"]}, {}),
        ({"exit.example:443": []}, {}),
        ({"exit.example:443": [5, None, "other.example:443", "192.0.2.1", "192.0.2.1:443"]}, {NAME: (HERE,)}),
        ({"": ["192.0.2.1:443"], "exit.example:443": ["[2001:db8::1]:443"]}, {NAME: (THERE,)}),
    ],
)
def test_what_is_no_address_is_passed_over(path: Path, entry: object, found: object) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({ONE.hex(): entry, TWO.hex(): {"exit.example:443": ["192.0.2.1:443"]}}))
    assert AddressBook(path).of(ONE) == found
    assert AddressBook(path).of(TWO) == {NAME: (HERE,)}


def test_a_book_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    book = AddressBook(tmp_path / "file" / "addresses.json")
    book.remember(ONE, NAME, [HERE])
    book.put_first(TWO)
    assert book.of(ONE) == {}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_book_that_is_a_link_to_itself_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    path.symlink_to(path)
    book = AddressBook(path)
    book.remember(ONE, NAME, [HERE])
    assert book.of(ONE) == {}
