"""The manual page is what the commands say of themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from proxy import manual
from proxy.manual import page

PATH = Path(__file__).parent.parent / "man" / "ropeway.1"


def test_the_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    manual.main()
    assert capsys.readouterr().out == PATH.read_text(encoding="utf-8"), "scripts/manual writes it"


def test_the_page_is_the_same_on_every_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERMINAL_WIDTH", "20")
    assert page() == PATH.read_text(encoding="utf-8")


def test_every_command_is_there_and_nothing_hidden() -> None:
    titles = {line.removeprefix(".SS ") for line in page().splitlines() if line.startswith(".SS ")}
    assert {"ropeway run", "ropeway join LINK", "ropeway exit user add NAME", "ropeway exits rename NAME NEW"} <= titles
    assert "ropeway service run" not in titles
    assert "\n.B \\-\\-acme DOMAIN\n" in page()


@pytest.mark.parametrize(
    ("text", "made"), [(".x", "\\&.x"), ("'x", "\\&'x"), ("a\\b -c\n d", "a\\eb \\-c d"), ("", "")]
)
def test_words_mean_nothing_to_the_formatter(text: str, made: str) -> None:
    assert manual._text(text) == made


def test_the_formatter_has_no_complaint() -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    argv = [groff, "-man", "-Tascii", "-P-cbou", "-ww", str(PATH)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "--allow-private" in done.stdout
