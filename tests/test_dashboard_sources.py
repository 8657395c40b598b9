"""What the page is made of (proxy/dashboard): strangers' text stays text, nothing comes from elsewhere, and every word is there in both languages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "proxy" / "dashboard"
SOURCES = sorted(FOLDER.iterdir())
SCRIPTS = [path for path in SOURCES if path.suffix == ".js"]
MODULE_LINES = 400  # as for Python: test_budgets.py
#: What makes elements or programs of text. The policy of the page forbids the last ones (Content-Security-Policy).
DANGEROUS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|parseFromString|document\.write|\beval\b|new Function|style="
)
NAMESPACE = "http://www.w3.org/2000/svg"
_ENTRY = re.compile(r"^  (?:'([\w.-]+)'|(\w+)): (.+),$", re.MULTILINE)
_PLACE = re.compile(r"\{(\w+)\}")


def words(language: str) -> dict[str, str]:
    """The JavaScript by key."""
    text = (FOLDER / f"words_{language}.js").read_text()
    return {quoted or plain: value for quoted, plain, value in _ENTRY.findall(text)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.name))
def test_is_short_and_makes_nothing_of_text(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MODULE_LINES
    assert not DANGEROUS.search(text)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.name))
def test_names_no_other_place(path: Path) -> None:
    named = re.findall(r"(?:https?:|wss?:|[\"'(])//[^\s\"'`)]*|url\([^)]*\)", path.read_text().replace(NAMESPACE, ""))
    assert [each for each in named if not each.startswith("://")] == []


def test_imports_what_there_is() -> None:
    for path in SCRIPTS:
        for name in re.findall(r"from '\./([^']+)'", path.read_text()):
            assert (FOLDER / name).is_file(), f"{path.name} wants {name}"


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.code = ""
        self._in_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in_code = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._in_code = False

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.code += data


def test_the_policy_allows_what_the_page_has() -> None:
    """No scripts or styles in the page itself, no handlers, and files of its own only."""
    page = Elements()
    page.feed((FOLDER / "index.html").read_text())
    assert page.code == ""
    for tag, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        place = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        if place is not None:
            assert (FOLDER / place.removeprefix("/dashboard/")).is_file(), place


def test_both_languages_have_the_same_words() -> None:
    english, chinese = words("en"), words("zh")
    assert len(english) > 150
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert set(_PLACE.findall(text)) == set(_PLACE.findall(chinese[key])), key
        assert chinese[key] != "''", key


def test_every_word_that_is_asked_for_is_there_and_every_one_is_asked_for() -> None:
    known = set(words("en"))
    code = "\n".join(path.read_text() for path in SCRIPTS if not path.name.startswith("words_"))
    page = (FOLDER / "index.html").read_text()
    asked = set(re.findall(r"\bt\('([\w.-]+)'", code)) | set(re.findall(r"data-t(?:-label)?=\"([\w.-]+)\"", page))
    assert asked - known == set()
    groups = set(re.findall(r"\bword\('(\w+)'", code)) | set(re.findall(r"\bt\(`(\w+)\.\$\{", code))
    literals = set(re.findall(r"'([\w.-]+)'", code))
    unasked = {key for key in known - asked - literals if key.partition(".")[0] not in groups}
    assert unasked == set()


def test_apps_have_their_names() -> None:
    presets = {path.stem for path in (FOLDER.parent / "presets").glob("*.toml")}
    assert {f"app.{name}" for name in presets} <= set(words("en"))
