"""A whole terminal, for a view that changes: it is drawn at once, keys come one by one, and it is as it was before at the end, whatever happens.

Escape sequences are those of ECMA-48 and of xterm, which all terminals of today know; so does the console of Windows 10 when it is told to.
"""

from __future__ import annotations

import enum
import os
import shutil
import signal
import sys
import time
import unicodedata
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .telemetry import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Another screen, no cursor, and no new line where one is full; and back.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J", "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
#: Our choice, in seconds: how soon another size is noticed, or the rest of a key's sequence given up.
SLICE = 0.2
_MOST_PENDING = 16  # bytes; no key of ours is longer


class Style(enum.Enum):
    PLAIN = ""
    BOLD = "\x1b[1m"
    REVERSE = "\x1b[7m"


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    style: Style = Style.PLAIN


# ---- text


def columns(text: str) -> int:
    """How wide it is on a terminal."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Exactly so wide, with what would move the cursor made visible. What is too long ends with a tilde."""
    text = one_line(text)
    wide = columns(text)
    if wide > width:
        text = _shortened(text, width)
        wide = columns(text)
    space = " " * (width - wide)
    return space + text if right else text + space


def _shortened(text: str, width: int) -> str:
    if width <= 0:
        return ""
    kept, room = "", width - 1
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return f"{kept}~"


# ---- keys


class Key(enum.Enum):
    UP = "up"
    DOWN = "down"
    PAGE_UP = "page up"
    PAGE_DOWN = "page down"
    HOME = "home"
    END = "end"


#: A key that is one of the above, or a character.
Pressed: TypeAlias = "Key | str"

_SEQUENCES = {
    b"\x1b[A": Key.UP,
    b"\x1bOA": Key.UP,
    b"\x1b[B": Key.DOWN,
    b"\x1bOB": Key.DOWN,
    b"\x1b[5~": Key.PAGE_UP,
    b"\x1b[6~": Key.PAGE_DOWN,
    b"\x1b[H": Key.HOME,
    b"\x1bOH": Key.HOME,
    b"\x1b[1~": Key.HOME,
    b"\x1b[F": Key.END,
    b"\x1bOF": Key.END,
    b"\x1b[4~": Key.END,
}
#: The second of two characters, of which the first says that it is no letter (Microsoft, _getch).
_OF_WINDOWS = {"H": Key.UP, "P": Key.DOWN, "I": Key.PAGE_UP, "Q": Key.PAGE_DOWN, "G": Key.HOME, "O": Key.END}


class KeyParser:
    """Bytes in, keys out. Keys that are not ours, and characters beyond ASCII, are passed over."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[Pressed]:
        keys: list[Pressed] = []
        for byte in data:
            self._pending += bytes((byte,))
            if (key := self._complete()) is not None:
                keys += key
                self._pending = b""
        return keys

    def idle(self) -> None:
        """Nothing has come for a while: the Esc that may be there was the key itself."""
        self._pending = b""

    def _complete(self) -> list[Pressed] | None:
        """None where more has to come."""
        sequence = self._pending
        if sequence[0] != 0x1B:
            return [chr(sequence[0])] if 0x20 <= sequence[0] < 0x7F else []
        if sequence in _SEQUENCES:
            return [_SEQUENCES[sequence]]
        if len(sequence) == 1 or (len(sequence) == 2 and sequence[1] in b"[O"):
            return None
        # ECMA-48, section 5.4: a control sequence ends with one of these.
        done = sequence[1:2] != b"[" or 0x40 <= sequence[-1] <= 0x7E or len(sequence) >= _MOST_PENDING
        return [] if done else None


class Keyboard(Protocol):
    def read(self, seconds: float) -> list[Pressed]:
        """What was pressed, when something was or the time is over."""


# ---- the screen


class Screen:
    """Between `opened` and its end. `draw` writes only what has changed."""

    def __init__(self, keyboard: Keyboard, write: Callable[[str], None]) -> None:
        self._keyboard = keyboard
        self._write = write
        self._shown: tuple[Sequence[Line], tuple[int, int]] | None = None

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        found = shutil.get_terminal_size()
        return found.columns, found.lines

    def draw(self, lines: Sequence[Line], size: tuple[int, int]) -> None:
        if self._shown == (lines, size):
            return
        cleared = "" if self._shown is not None and self._shown[1] == size else "\x1b[2J"
        self._shown = lines, size
        self._write(cleared + "".join(_drawn(lines, *size)))

    def forget(self) -> None:
        """The terminal shows something else, and all has to be drawn again."""
        self._shown = None

    def keys(self, seconds: float) -> list[Pressed]:
        """What was pressed. Returns soon, also where nothing was, so that another size is seen."""
        return self._keyboard.read(min(max(seconds, 0.0), SLICE))


def _drawn(lines: Sequence[Line], width: int, height: int) -> Iterator[str]:
    for number, line in enumerate(lines[:height], 1):
        yield f"\x1b[{number};1H{line.style.value}{fitted(line.text, width)}\x1b[0m"
    if len(lines) < height:
        yield f"\x1b[{len(lines) + 1};1H\x1b[J"


def is_terminal() -> bool:
    """Whether there is one to be had whole."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _to_terminal(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if sys.platform == "win32":
    import ctypes
    import msvcrt

    _OUTPUT, _ESCAPES = -11, 4  # STD_OUTPUT_HANDLE, ENABLE_VIRTUAL_TERMINAL_PROCESSING
    _LOOK = 0.03  # seconds between two looks for a key: nothing tells of one

    class _Console:
        def read(self, seconds: float) -> list[Pressed]:
            deadline = time.monotonic() + seconds
            while not msvcrt.kbhit():
                if time.monotonic() >= deadline:
                    return []
                time.sleep(_LOOK)
            character = msvcrt.getwch()
            if character in ("\0", "\xe0"):
                key = _OF_WINDOWS.get(msvcrt.getwch())
                return [] if key is None else [key]
            if character == "\x03":
                raise KeyboardInterrupt
            return [character]

    @contextmanager
    def opened() -> Iterator[Screen]:
        """The terminal, until the end."""
        kernel, mode = ctypes.windll.kernel32, ctypes.c_ulong()
        handle = kernel.GetStdHandle(_OUTPUT)
        kernel.GetConsoleMode(handle, ctypes.byref(mode))
        kernel.SetConsoleMode(handle, mode.value | _ESCAPES)
        try:
            _to_terminal(_ENTER)
            yield Screen(_Console(), _to_terminal)
        finally:
            with suppress(OSError):
                _to_terminal(_LEAVE)
            kernel.SetConsoleMode(handle, mode.value)

else:
    import select
    import termios
    import tty

    class _Tty:
        def __init__(self) -> None:
            self._fd = sys.stdin.fileno()
            self._parser = KeyParser()
            self._before = termios.tcgetattr(self._fd)

        def take(self) -> None:
            """Keys come at once and are not shown; Ctrl-C and Ctrl-Z mean what they always mean."""
            tty.setcbreak(self._fd)
            _to_terminal(_ENTER)

        def give_back(self) -> None:
            """Where the terminal is gone nothing is to be done."""
            with suppress(OSError):
                _to_terminal(_LEAVE)
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

        def read(self, seconds: float) -> list[Pressed]:
            if not select.select([self._fd], [], [], seconds)[0]:
                self._parser.idle()
                return []
            data = os.read(self._fd, 1024)
            if not data:  # the terminal was closed
                raise KeyboardInterrupt
            return self._parser.feed(data)

    def _end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    @contextmanager
    def opened() -> Iterator[Screen]:
        """The terminal, until the end, with whatever ends it but SIGKILL. While the program is stopped (Ctrl-Z) it has its terminal back."""
        terminal = _Tty()
        screen = Screen(terminal, _to_terminal)

        def stop(_number: int, _frame: object) -> None:
            terminal.give_back()
            os.kill(os.getpid(), signal.SIGSTOP)
            terminal.take()
            screen.forget()

        handlers = {signal.SIGINT: _end, signal.SIGTERM: _end, signal.SIGHUP: _end, signal.SIGTSTP: stop}
        before = {number: signal.getsignal(number) for number in handlers}
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            terminal.take()
            yield screen
        finally:
            for number in handlers:  # a second one must not come between
                signal.signal(number, signal.SIG_IGN)
            terminal.give_back()
            for number in handlers:
                signal.signal(number, before[number])
