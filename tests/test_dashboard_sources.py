"""What the page is made of (proxy/dashboard): strangers' text stays text, nothing comes from elsewhere, and every word is there in both languages."""

from __future__ import annotations

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy import certificate, clock, exit_check, exit_name, greeting, local_check

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent.parent / "proxy" / "dashboard"
SOURCES = sorted(FOLDER.iterdir())
SCRIPTS = [path for path in SOURCES if path.suffix == ".js"]
MODULE_LINES = 400  # as for Python: test_budgets.py
#: What makes elements or programs of text. The policy of the page forbids the last ones (Content-Security-Policy).
DANGEROUS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|parseFromString|document\.write|\beval\b|new Function|style="
)
NAMESPACE = "http://www.w3.org/2000/svg"
EXIT_CHECKS = ("TCP", "TLS", "KEY", "SPEED", "IPV6")
LOCAL_CHECKS = ("CONFIGURATION", "RULES", "PORT", "TUNNEL", "SPEED", "SHELL", "DNS", "AROUND", "SERVICE", "SYSTEM")
#: What people are told to open. The page only shows it.
TOLD = ("http://neverssl.com", "http:// ")
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
    text = path.read_text()
    for known in (NAMESPACE, *(TOLD if path.name == "findings_zh.js" else ())):
        text = text.replace(known, "")
    named = re.findall(r"(?:https?:|wss?:|[\"'(])//[^\s\"'`)]*|url\([^)]*\)", text)
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


# ---- what the doctor says


def findings() -> dict[str, str]:
    """The Chinese by the English. Each is a line of its own, as in JSON."""
    lines = re.findall(r"^  (\".*\"): (\".*\"),$", (FOLDER / "findings_zh.js").read_text(), re.MULTILINE)
    found = {json.loads(english): json.loads(chinese) for english, chinese in lines}
    assert len(found) == len(lines)
    return found


def calls(name: str) -> Iterator[ast.Call]:
    """Of a function or a class of this name, or of a method of it."""
    for path in FOLDER.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.value if isinstance(node.func, ast.Attribute) else node.func
                if isinstance(called, ast.Name) and called.id == name:
                    yield node


def patterns() -> set[str]:
    """Of all texts that the doctor can say; one that is made up while it runs would have no words."""
    firsts = [call.args[0] for call in calls("Text")]
    assert all(isinstance(each, ast.Constant) and isinstance(each.value, str) for each in firsts)
    return {each.value for each in firsts if isinstance(each, ast.Constant) and isinstance(each.value, str)} - {""}


def test_all_that_the_doctor_says_has_its_chinese() -> None:
    meanings = {*greeting._MEANINGS.values(), *greeting._REFUSALS.values(), greeting.FORGOTTEN}
    checks = {module.CHECK for module in (certificate, clock, exit_name)}
    checks |= {getattr(exit_check, name) for name in EXIT_CHECKS} | {
        getattr(local_check, name) for name in LOCAL_CHECKS
    }
    assert set(findings()) == patterns() | checks | meanings
    assert len(patterns()) > 150


def test_every_check_is_one_of_those() -> None:
    made = [call.args[0] for call in calls("Finding") if call.args and isinstance(call.func, ast.Attribute)]
    named = {
        each.id if isinstance(each, ast.Name) else each.attr
        for each in made
        if isinstance(each, ast.Name | ast.Attribute)
    }
    assert len(made) > 50
    assert not [each for each in made if isinstance(each, ast.Constant)]
    assert named <= {"CHECK", "CERTIFICATE", *EXIT_CHECKS, *LOCAL_CHECKS}


def test_the_chinese_has_what_stands_in_the_english() -> None:
    for english, chinese in findings().items():
        assert sorted(_PLACE.findall(english)) == sorted(_PLACE.findall(chinese)), english
        assert english.count("`") == chinese.count("`"), english
        assert chinese


def test_apps_have_their_names() -> None:
    presets = {path.stem for path in (FOLDER.parent / "presets").glob("*.toml")}
    assert {f"app.{name}" for name in presets} <= set(words("en"))
