"""The commands about exits, as a user types them."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import segno

from proxy import config
from proxy.address import Address
from proxy.address_book import AddressBook
from proxy.keys import UserKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from proxy.share import Link
    from tests.command_line import Done

pytestmark = pytest.mark.usefixtures("log_as_before")


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddressBook:
    made = AddressBook(tmp_path / "addresses.json")
    monkeypatch.setattr(AddressBook, "of_user", lambda: made)
    return made


@pytest.fixture
def links(exit_of_anna: Link) -> list[Link]:
    return [exit_of_anna, replace(exit_of_anna, host="192.0.2.7", pin=b"\x02" * 32, name="")]


@pytest.fixture
def local(ropeway: Callable[..., Done], tmp_path: Path, links: list[Link], book: AddressBook) -> Path:
    path = tmp_path / "local.toml"
    for link in links:
        assert ropeway("join", "--add", link, "--config", path).code == 0
    return path


def test_the_list(ropeway: Callable[..., Done], local: Path, links: list[Link], book: AddressBook) -> None:
    done = ropeway("exits", "list", "--config", local)
    assert (done.code, done.err) == (0, "")
    assert done.out == "1  anna  exit.example.com:443\n2  -     192.0.2.7:443\n"
    book.put_first(links[1].pin)
    ropeway("exits", "use", "2", "--config", local)
    assert (
        ropeway("exits", "list", "--config", local)
        .out.splitlines()[1]
        .endswith("192.0.2.7:443         preferred, in use last")
    )


def test_exits_that_are_never_used_are_listed_too(ropeway: Callable[..., Done], local: Path) -> None:
    local.write_text(local.read_text().replace("# only = []", 'only = ["192.0.2.7"]'))
    assert "443  never used, by local.only\n" in ropeway("exits", "list", "--config", local).out


def test_one_goes_first(ropeway: Callable[..., Done], local: Path, links: list[Link]) -> None:
    done = ropeway("exits", "use", "192.0.2.7", "--config", local)
    assert (done.code, done.out) == (0, "")
    assert "192.0.2.7:443 goes first" in done.err
    if sys.platform != "win32":
        assert "SIGHUP" in done.err
    assert [each.link for each in config.load(local).local.exits if each.preferred] == [links[1]]
    ropeway("exits", "use", "anna", "--config", local)
    assert [each.link for each in config.load(local).local.exits if each.preferred] == [links[0]]


def test_one_gets_a_name(ropeway: Callable[..., Done], local: Path, links: list[Link]) -> None:
    assert "192.0.2.7:443 is the office now" in ropeway("exits", "rename", "2", "the office", "--config", local).err
    assert "the office" in ropeway("exits", "list", "--config", local).out
    assert [each.link for each in config.load(local).local.exits] == [links[0], replace(links[1], name="the office")]


def test_they_are_removed(ropeway: Callable[..., Done], local: Path, links: list[Link]) -> None:
    assert "anna (exit.example.com:443) was removed" in ropeway("exits", "remove", "anna", "--config", local).err
    assert [each.link for each in config.load(local).local.exits] == [links[1]]
    assert "none left" in ropeway("exits", "remove", "1", "--config", local).err
    assert config.load(local).local.exits == ()
    assert "ropeway join" in ropeway("exits", "list", "--config", local).failure


@pytest.mark.parametrize("words", ["use zoe", "remove zoe", "rename zoe x", "rename 1 ''"])
def test_what_cannot_be_changes_nothing(ropeway: Callable[..., Done], local: Path, words: str) -> None:
    before = local.read_bytes()
    line = ropeway("exits", *(word.strip("'") for word in words.split()), "--config", local).failure
    assert "zoe" in line or "1 to 64" in line
    assert local.read_bytes() == before


@pytest.mark.parametrize("words", ["list", "use x", "remove x", "rename x y"])
def test_without_a_configuration(ropeway: Callable[..., Done], tmp_path: Path, words: str) -> None:
    assert "ropeway join" in ropeway("exits", *words.split(), "--config", tmp_path / "none.toml").failure


def test_who_joins_another_exit_is_told_how_a_running_one_takes_it(
    ropeway: Callable[..., Done], tmp_path: Path, links: list[Link]
) -> None:
    path = tmp_path / "new.toml"
    assert "One that runs" not in ropeway("join", links[0], "--config", path).err
    assert "One that runs" in ropeway("join", "--add", links[1], "--config", path).err


# ---- pictures


def picture(path: Path, text: object) -> Path:
    drawing = io.BytesIO()
    segno.make_qr(str(text), error="l").save(drawing, kind="png", scale=4)
    path.write_bytes(drawing.getvalue())
    return path


def test_join_by_a_picture(ropeway: Callable[..., Done], tmp_path: Path, links: list[Link]) -> None:
    pytest.importorskip("zxingcpp")
    path = tmp_path / "new.toml"
    assert ropeway("join", picture(tmp_path / "code.png", links[0]), "--config", path).code == 0
    assert [each.link for each in config.load(path).local.exits] == links[:1]


def test_pictures_without_a_link(ropeway: Callable[..., Done], tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("zxingcpp")
    path = tmp_path / "new.toml"
    other = picture(tmp_path / "code.png", "https://example.com")
    assert "of something else" in ropeway("join", other, "--config", path).failure
    image.new("L", (100, 100), 255).save(other)
    assert "shows no QR code" in ropeway("join", other, "--config", path).failure
    other.write_text("hello")
    assert "cannot be read" in ropeway("join", other, "--config", path).failure
    assert "nor a file that is there" in ropeway("join", tmp_path / "nowhere.png", "--config", path).failure
    assert not path.exists()


def test_join_moves_what_speaks_of_the_exit_that_it_replaces(
    ropeway: Callable[..., Done], local: Path, links: list[Link]
) -> None:
    ropeway("exits", "use", "2", "--config", local)
    other = replace(links[0], host="192.0.2.99", pin=b"\x09" * 32)
    done = ropeway("join", "--add", replace(links[1], host="192.0.2.98"), "--config", local)
    assert (done.code, "What `prefer` and `only` say of" in done.err) == (0, True)
    assert [each.link.host for each in config.load(local).local.exits if each.preferred] == ["192.0.2.98"]
    ropeway("exits", "use", "1", "--config", local)
    done = ropeway("join", other, "--config", local)
    assert (done.code, "they say of 192.0.2.99" in done.err) == (0, True)
    assert [each.link.host for each in config.load(local).local.exits if each.preferred] == ["192.0.2.99"]


def test_join_says_nothing_of_what_still_holds(ropeway: Callable[..., Done], local: Path, links: list[Link]) -> None:
    ropeway("exits", "use", "2", "--config", local)
    done = ropeway("join", replace(links[0], host="192.0.2.99", pin=b"\x09" * 32), "--config", local)
    assert (done.code, "`prefer`" in done.err) == (0, False)
    assert [each.link for each in config.load(local).local.exits if each.preferred] == [links[1]]


def test_what_is_no_pattern_is_told_and_nothing_is_written(
    ropeway: Callable[..., Done], local: Path, links: list[Link]
) -> None:
    local.write_text(local.read_text().replace("[local]", '[local]\nonly = ["a b"]', 1))
    text = local.read_text()
    assert "local.only" in ropeway("join", "--add", links[0], "--config", local).failure
    assert local.read_text() == text


def test_join_says_that_a_rule_names_an_exit_that_is_not_there(
    ropeway: Callable[..., Done], tmp_path: Path, links: list[Link]
) -> None:
    path = tmp_path / "new.toml"
    path.write_text('[rules]\nrules = ["exit:192.0.2.55:443 port:1"]\n')
    done = ropeway("join", links[0], "--config", path)
    assert (done.code, "It does not start so: rules.rules: rule 1" in done.err, "Now start it" in done.err) == (
        0,
        True,
        False,
    )


def test_of_two_links_to_one_address_none_can_go_first(
    ropeway: Callable[..., Done], local: Path, links: list[Link]
) -> None:
    ropeway("join", "--add", replace(links[1], key=UserKey.new(), name="ben"), "--config", local)
    text = local.read_text()
    for number in ("2", "3"):
        assert "has the same address" in ropeway("exits", "use", number, "--config", local).failure
    assert local.read_text() == text
    assert ropeway("exits", "use", "1", "--config", local).code == 0


def test_join_moves_nothing_that_spoke_of_no_exit(ropeway: Callable[..., Done], local: Path, links: list[Link]) -> None:
    """A slip of the pen is told, and not made into another exit."""
    local.write_text(local.read_text().replace("[local]", '[local]\nprefer = ["exit.exmaple.com"]', 1))
    text = local.read_text()
    other = replace(links[0], host="192.0.2.99", pin=b"\x09" * 32)
    assert "exit.exmaple.com is no address" in ropeway("join", "--add", other, "--config", local).failure
    assert local.read_text() == text


def test_all_addresses_of_the_exit_are_allowed_that_replaces_an_allowed_one(
    ropeway: Callable[..., Done], local: Path, links: list[Link]
) -> None:
    local.write_text(local.read_text().replace("[local]", '[local]\nonly = ["exit.example.com"]', 1))
    other = replace(links[0], host="192.0.2.99", pin=b"\x09" * 32, also=(Address("192.0.2.98", 8443),))
    assert ropeway("join", other, "--config", local).code == 0
    assert [each.addresses for each in config.load(local).local.exits] == [other.addresses]


def test_join_says_that_an_exit_is_not_allowed(ropeway: Callable[..., Done], local: Path, links: list[Link]) -> None:
    local.write_text(local.read_text().replace("[local]", '[local]\nonly = ["exit.example.com"]', 1))
    other = replace(links[0], host="192.0.2.99", pin=b"\x09" * 32)
    done = ropeway("join", "--add", other, "--config", local)
    assert (done.code, "not by way of 192.0.2.99:443, which `local.only` leaves out" in done.err) == (0, True)


@pytest.mark.parametrize("also", [0, 8])
def test_half_of_a_link_is_not_repeated(
    ropeway: Callable[..., Done], tmp_path: Path, links: list[Link], also: int
) -> None:
    """Also one that is too long for the name of a file."""
    link = replace(links[0], also=tuple(Address(f"192.0.2.{number}", 8443) for number in range(1, also + 1)))
    half = str(link).partition("://")[2]
    line = ropeway("join", half, "--config", tmp_path / "new.toml").failure
    assert "neither a link" in line
    assert half[:20] not in line
