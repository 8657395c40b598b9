"""The page for browsers: it stands alone, nothing in it runs, and nothing that somebody else wrote is taken for markup."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.protocol.error_page import POLICY, error_page, wants_page


class Read(HTMLParser):
    """The elements with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("status", [400, 403, 407, 431, 502, 503, 504, 505])
def test_it_says_what_failed_and_what_to_do(status: int) -> None:
    read = Read(error_page(status, "the reason"))
    assert "The reason." in read.text
    assert f"Status {status}" in read.text
    assert "not from the site" in read.text


def test_the_mend_for_a_tunnel_that_is_down() -> None:
    assert "ropeway doctor" in error_page(503, "the tunnel is down")


PLAIN = Read(error_page(502, "x"))


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    assert Read(error_page(502, text)).elements == PLAIN.elements


def test_a_script_in_the_text_is_text() -> None:
    page = error_page(502, "<script>alert(1)</script>\"'&{title}")
    assert "<script" not in page
    assert "{title}" in Read(page).text


def test_nothing_is_loaded_and_nothing_runs() -> None:
    read = Read(error_page(502, "x"))
    names = {name for _, attributes in read.elements for name, _ in attributes}
    assert not names & {"src", "href", "onload", "action"}
    assert "script" not in {tag for tag, _ in read.elements}
    assert b"default-src 'none'" in POLICY
    assert b"script" not in POLICY


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),  # Firefox and Chromium
        (b"application/json, TEXT/HTML ; q=0.5", True),
        (b"text/html; q=0", False),
        (b"*/*", False),  # curl
        (b"image/avif,image/webp,*/*", False),
        (b"", False),
        (b",;,", False),
    ],
)
def test_who_wants_a_page(accept: bytes, wanted: bool) -> None:
    assert wants_page(accept) is wanted


@given(st.binary())
def test_any_field_can_be_read(accept: bytes) -> None:
    assert isinstance(wants_page(accept), bool)
