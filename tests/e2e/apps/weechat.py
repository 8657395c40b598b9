"""weechat, a program for IRC (RFC 2812), without a terminal and with its own setting for proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.machine import program, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.e2e.apps.interruption import Way

CHANNEL = "#chat"

#: Its log is written at once, and nothing is said more slowly because it is much.
_COMMANDS = (
    "/set logger.file.flush_delay 0",
    "/set irc.server_default.anti_flood_prio_high 0",
    "/set irc.server_default.anti_flood_prio_low 0",
    "/proxy add way {scheme} 127.0.0.1 {proxy}",
    "/server add lab localhost/{port} -nossl -nicks={me} -autojoin=" + CHANNEL,
    "/set irc.server.lab.proxy way",
    "/connect lab",
)


class Weechat:
    """Joins CHANNEL."""

    def __init__(self, way: Way, me: str, port: int, scheme: str, folder: Path) -> None:
        self._me = me
        self._folder = folder
        words = {"me": me, "port": port, "scheme": scheme, "proxy": way.pair.port}
        commands = ";".join(_COMMANDS).format_map(words)
        argv: list[str | Path] = [program("weechat-headless"), "--dir", folder, "--stdout", "--run-command", commands]
        self.program = way.programs.start(f"weechat-{me}", argv)

    def wait_for(self, name: str) -> None:
        """Returns when somebody has joined: this one, or one who came later."""
        joined = f"\t{name} ("
        wait_until(
            lambda: any(joined in line and "has joined" in line for line in self._lines()), f"{name} in the channel"
        )

    def say_all(self, texts: Iterable[str]) -> None:
        (pipe,) = self._folder.glob("weechat_fifo_*")
        with pipe.open("w") as commands:
            for text in texts:
                print(f"irc.lab.{CHANNEL} *{text}", file=commands, flush=True)

    def heard(self, other: str) -> list[str]:
        lines = [line.split("\t") for line in self._lines()]
        return [fields[2] for fields in lines if len(fields) == 3 and fields[1].lstrip("@+") == other]

    def connections(self) -> int:
        log = self._folder / "logs" / "irc.server.lab.weechatlog"
        return log.read_text().count("irc: connected to")

    def _lines(self) -> list[str]:
        log = self._folder / "logs" / f"irc.lab.{CHANNEL}.weechatlog"
        return log.read_text().splitlines() if log.exists() else []
