"""A terminal taken and given back, keys, and text that fits."""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import screen
from proxy.screen import _SEQUENCES, Key, KeyParser, Line, Screen, Style, columns, fitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.screen import Pressed

# ---- text


@pytest.mark.parametrize(
    ("text", "width", "right", "shown"),
    [
        ("abc", 5, False, "abc  "),
        ("abc", 5, True, "  abc"),
        ("abcdef", 4, False, "abc~"),
        ("abcdef", 1, False, "~"),
        ("abcdef", 0, False, ""),
        ("微信微信", 6, False, "微信~ "),
        ("微信", 6, True, "  微信"),
        ("e\u0301e\u0301", 3, False, "e\u0301e\u0301 "),
        ("\x1b[2J", 8, False, "\\x1b[2J "),
        ("a\nb", 5, False, "a\\nb "),
    ],
)
def test_text_is_made_as_wide_as_it_has_to_be(text: str, width: int, right: bool, shown: str) -> None:
    assert fitted(text, width, right=right) == shown


@given(st.text(), st.integers(0, 40), st.booleans())
def test_any_text_fits(text: str, width: int, right: bool) -> None:
    made = fitted(text, width, right=right)
    assert columns(made) == width
    assert made.isprintable()


# ---- keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"sc", ["s", "c"]),
        (b"\x1b[A\x1bOB", [Key.UP, Key.DOWN]),
        (b"\x1b[5~\x1b[6~x", [Key.PAGE_UP, Key.PAGE_DOWN, "x"]),
        (b"\x1b[1~\x1b[4~\x1b[H\x1b[F\x1bOH\x1bOF", [Key.HOME, Key.END] * 3),
        (b"\x1b[1;5Aq", ["q"]),  # with Ctrl
        (b"\x1bxq", ["q"]),  # with Alt
        (b"\x1b[" + b"1" * 40 + b"q", []),
        (b"\n\x7f\xc3\xa4q", ["q"]),
    ],
)
def test_keys_whole_and_byte_by_byte(data: bytes, keys: list[Pressed]) -> None:
    if keys:
        assert KeyParser().feed(data) == keys
    parser = KeyParser()
    assert [key for byte in data for key in parser.feed(bytes((byte,)))] == KeyParser().feed(data)


def test_an_escape_alone_does_not_swallow_the_next_key() -> None:
    parser = KeyParser()
    assert parser.feed(b"\x1b") == []
    parser.idle()
    assert parser.feed(b"q") == ["q"]


@given(st.lists(st.sampled_from([b"\x1b", b"[", b"O", b"1", b"~", b"A", b"q", b"\x00", *_SEQUENCES])))
def test_any_keys_in_any_pieces_leave_little_behind(parts: list[bytes]) -> None:
    parser, whole = KeyParser(), KeyParser().feed(b"".join(parts))
    assert [key for part in parts for key in parser.feed(part)] == whole
    assert len(parser._pending) < 16
    parser.idle()
    assert parser.feed(b"q") == ["q"]


# ---- drawing


class Fixed:
    def __init__(self) -> None:
        self.written: list[str] = []
        self.waited: list[float] = []
        self.screen = Screen(self, self.written.append)

    def read(self, seconds: float) -> list[Pressed]:
        self.waited.append(seconds)
        return ["q"]


def test_only_what_has_changed_is_drawn() -> None:
    it = Fixed()
    lines = [Line("one", Style.BOLD), Line("two")]
    it.screen.draw(lines, (5, 3))
    assert it.written == ["\x1b[2J\x1b[1;1H\x1b[1mone  \x1b[0m\x1b[2;1Htwo  \x1b[0m\x1b[3;1H\x1b[J"]
    it.screen.draw(list(lines), (5, 3))
    assert len(it.written) == 1
    it.screen.draw(lines[:1], (5, 1))  # another size
    assert it.written[1] == "\x1b[2J\x1b[1;1H\x1b[1mone  \x1b[0m"
    it.screen.draw([Line("1")], (5, 1))
    assert it.written[2] == "\x1b[1;1H1    \x1b[0m"
    it.screen.forget()
    it.screen.draw([Line("1")], (5, 1))
    assert it.written[3].startswith("\x1b[2J")


def test_nothing_is_drawn_beyond_the_last_line() -> None:
    it = Fixed()
    it.screen.draw([Line("1"), Line("2")], (3, 1))
    assert "2;1H" not in it.written[0]


def test_keys_are_waited_for_in_slices() -> None:
    it = Fixed()
    for seconds in (9.0, 0.1, -1.0):
        assert it.screen.keys(seconds) == ["q"]
    assert it.waited == [screen.SLICE, 0.1, 0.0]


# ---- a real terminal

if sys.platform != "win32":
    import termios

    class Pty:
        def __init__(self) -> None:
            self.master, slave = os.openpty()
            self.file = os.fdopen(slave, "r+b", buffering=0)
            self.before = termios.tcgetattr(slave)

        @property
        def attributes(self) -> list[object]:
            return termios.tcgetattr(self.file.fileno())

        def shown(self) -> str:
            text = b""
            while select.select([self.master], [], [], 0)[0]:
                text += os.read(self.master, 65536)
            return text.decode()

        def close(self) -> None:
            os.close(self.master)
            self.file.close()

    @contextmanager
    def own_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pty]:
        """What the program has for its terminal."""
        pty = Pty()
        number = pty.file.fileno()
        out, given = os.fdopen(number, "w", closefd=False), os.fdopen(number, closefd=False)
        with out, given, monkeypatch.context() as patched:
            patched.setattr("sys.stdout", out)
            patched.setattr("sys.stdin", given)
            patched.setenv("TERM", "xterm")
            yield pty
        pty.close()

    def test_the_terminal_is_taken_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
        with own_terminal(monkeypatch) as pty:
            assert screen.is_terminal()
            with screen.opened() as it:
                assert pty.attributes != pty.before
                os.write(pty.master, b"\x1b[Bq")
                assert it.keys(10) == [Key.DOWN, "q"]
                it.draw([Line("hello")], (20, 1))
            shown = pty.shown()
            assert shown.startswith("\x1b[?1049h\x1b[?25l")
            assert "hello" in shown
            assert shown.endswith("\x1b[?25h\x1b[?1049l")
            assert pty.attributes == pty.before

    def interrupted(number: signal.Signals) -> None:
        with screen.opened() as it:
            signal.raise_signal(number)
            it.keys(10)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    def test_it_is_given_back_at_a_signal(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
        handler = signal.getsignal(number)
        with own_terminal(monkeypatch) as pty:
            with pytest.raises(KeyboardInterrupt):
                interrupted(number)
            assert pty.shown().endswith("\x1b[?25h\x1b[?1049l")
            assert pty.attributes == pty.before
        assert signal.getsignal(number) is handler

    def test_it_is_given_back_at_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
        with own_terminal(monkeypatch) as pty:
            with pytest.raises(ZeroDivisionError), screen.opened():
                raise ZeroDivisionError
            assert pty.shown().endswith("\x1b[?25h\x1b[?1049l")
            assert pty.attributes == pty.before

    def test_it_is_given_back_while_the_program_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
        stopped: list[list[object]] = []
        with own_terminal(monkeypatch) as pty, screen.opened() as it:
            it.draw([Line("hello")], (20, 1))
            with monkeypatch.context() as patched:
                patched.setattr("os.kill", lambda *_arguments: stopped.append(pty.attributes))
                signal.raise_signal(signal.SIGTSTP)
            assert stopped == [pty.before]
            assert pty.attributes != pty.before
            pty.shown()
            it.draw([Line("hello")], (20, 1))  # all of it once more
            assert "hello" in pty.shown()

    def read_from_nothing() -> None:
        with screen.opened() as it, Path(os.devnull).open("r+b") as nothing:
            os.dup2(nothing.fileno(), sys.stdin.fileno())
            it.keys(10)

    def test_a_terminal_that_is_gone_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
        with own_terminal(monkeypatch), pytest.raises(KeyboardInterrupt):
            read_from_nothing()

    def test_what_is_no_terminal_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
        with own_terminal(monkeypatch), monkeypatch.context() as patched, Path(os.devnull).open() as nothing:
            patched.setenv("TERM", "dumb")
            assert not screen.is_terminal()
            patched.setenv("TERM", "xterm")
            patched.setattr("sys.stdin", nothing)
            assert not screen.is_terminal()
