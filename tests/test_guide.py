"""What people read of each app, and that docs/apps.md is what the presets say."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from proxy import guide
from proxy.address import Address
from proxy.presets import Preset, Setting, Verdict, Works, load_presets

ALL = load_presets()
EACH = pytest.mark.parametrize("preset", ALL.values(), ids=list(ALL))
PAGE = Path(__file__).parent.parent / "docs" / "apps.md"
PORT = Address("127.0.0.1", 1080)
ELSEWHERE = Address("2001:db8::7", 9050)


def shown(preset: Preset, port: Address = PORT, *, credentials: bool = False) -> str:
    """In one line for each thing that is said."""
    return guide.described(preset, port, credentials=credentials, width=100_000)


def test_the_page_is_what_the_presets_say() -> None:
    assert PAGE.read_text() == guide.page(), "write it: python -m proxy.guide > docs/apps.md"


def test_the_list_has_a_line_for_each_app_in_columns() -> None:
    heading, *lines = guide.table(ALL.values()).splitlines()
    assert heading.split() == list(guide.HEADINGS)
    assert [line.split()[0] for line in lines] == list(ALL)
    column = heading.index("ROUTE")
    assert {line[column:].split()[0] for line in lines} == {"tunnel", "direct"}
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("works", "unverified", "word"),
    [
        (Works.YES, "", "yes"),
        (Works.YES, "all", "yes?"),
        (Works.YES, "the way to it", "yes"),
        (Works.UNKNOWN, "all", "unknown"),
        (Works.NONE, "all", "none?"),
    ],
)
def test_what_nobody_verified_has_a_question_mark(works: Works, unverified: str, word: str) -> None:
    assert guide.row(replace(ALL["slack"], calls=Verdict(works, "So it is.", unverified)))[-1] == word


@EACH
def test_all_of_it_is_said(preset: Preset) -> None:
    text = shown(preset, ELSEWHERE)
    for part in (
        preset.label,
        *preset.domains,
        *preset.aliases,
        preset.protocol,
        preset.messages.how,
        preset.calls.how,
    ):
        assert part in text
    assert str(preset.made) in text
    assert "{" not in text
    assert "127.0.0.1" not in text
    for address in preset.hosts:
        assert address.host in text
    for ports in (*preset.tcp_ports, *preset.udp_ports):
        assert str(ports) in text
    if preset.route == "tunnel":
        assert "[2001:db8::7]:9050" in text


@EACH
def test_what_is_not_verified_is_marked(preset: Preset) -> None:
    lines = shown(preset).splitlines()
    texts = [(each.how, each.unverified) for each in (preset.messages, preset.calls)]
    texts += [(each.what, each.unverified) for each in preset.settings]
    for text, unverified in texts:
        found = [line for line in lines if text.partition("{")[0] in line and text.rpartition("}")[2] in line]
        assert found
        assert unverified == "" or any("(not verified" in line for line in found)
    marks = sum(line.count("(not verified") for line in lines)
    assert marks == len(preset.unverified) + sum(unverified != "" for _, unverified in texts)


@EACH
def test_lines_are_no_wider_than_the_terminal(preset: Preset) -> None:
    text = guide.described(preset, PORT, credentials=False, width=60)
    assert all(len(line) <= 60 or " " not in line.strip() for line in text.splitlines())
    assert text.split() == shown(preset).split()


def test_the_doubt_about_a_part_is_told_in_words() -> None:
    preset = replace(
        ALL["slack"],
        settings=(Setting("Desktop", "Do it.", "the way to it"),),
        unverified={"udp_ports": "all: hearsay"},
    )
    text = shown(preset)
    assert "  Desktop: Do it. (not verified: the way to it)" in text
    assert "  UDP 22466 (not verified: hearsay)" in text


def test_credentials_are_spoken_of_where_there_are_some() -> None:
    plain, guarded = shown(ALL["discord"]), shown(ALL["discord"], credentials=True)
    assert "password" not in plain
    assert "SOCKS5, and lets the proxy look names up" in plain
    assert "password of your configuration" in guarded
    assert "as an HTTP proxy" in guarded


def test_a_direct_app_needs_nothing() -> None:
    assert "Nothing. What comes to the local port" in shown(ALL["baidu"], credentials=True)
    assert "password" not in shown(ALL["baidu"], credentials=True)


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@EACH
def test_steps_are_those_of_the_system(preset: Preset, system: str) -> None:
    lines = guide.steps(preset, ELSEWHERE, credentials=False, system=system)
    assert lines
    wheres = {line.partition(":")[0] for line in lines}
    assert not wheres & {"Phone", "Android"}
    assert ("Windows" in wheres) == (system == "win32" and any(each.where == "Windows" for each in preset.settings))
    assert "{" not in "".join(lines)


def test_it_is_known_which_systems_have_each_place_of_a_setting() -> None:
    everywhere = {"Desktop", "Desktop app", "Browser", "Apps"}
    assert {each.where for preset in ALL.values() for each in preset.settings} == everywhere | set(guide._SYSTEMS)


def test_the_page_has_every_app_and_no_place_for_a_port() -> None:
    page = guide.page()
    assert re.findall(r"^### (.*)$", page, re.MULTILINE) == [preset.label for preset in ALL.values()]
    assert "{" not in page
    assert "tg://socks?server=127.0.0.1&port=1080" in page
