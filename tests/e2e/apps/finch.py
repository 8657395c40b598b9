"""finch, a chat program for terminals, as somebody uses it who set its proxy: what is said is typed, what is heard is in its log."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from tests.e2e.machine import program

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.e2e.apps.interruption import Way

_ACCOUNTS = """<?xml version='1.0' encoding='UTF-8' ?>
<account version='1.0'>
 <account>
  <protocol>prpl-jabber</protocol>
  <name>{me}@localhost/finch</name>
  <password>{password}</password>
  <settings>
   <setting name='connection_security' type='string'>require_tls</setting>
   <setting name='connect_server' type='string'>localhost</setting>
   <setting name='port' type='int'>{port}</setting>
  </settings>
  <settings ui='gnt-purple'><setting name='auto-login' type='bool'>1</setting></settings>
  <proxy><type>socks5</type><host>127.0.0.1</host><port>{proxy}</port></proxy>
 </account>
</account>
"""
_PREFERENCES = """<?xml version='1.0' encoding='UTF-8' ?>
<pref version='1' name='/'>
 <pref name='purple'>
  <pref name='logging'>
   <pref name='log_ims' type='bool' value='1'/>
   <pref name='format' type='string' value='txt'/>
  </pref>
 </pref>
</pref>
"""
_NEXT_WINDOW = "\x1bn"  # Alt and n
_TERMINAL = "export TERM=xterm LC_ALL=C.UTF-8; stty rows 40 cols 100"


class Finch:
    """Logs in at once."""

    def __init__(self, way: Way, me: str, other: str, port: int, password: str, folder: Path) -> None:
        self._folder = folder
        self._other = other
        peers = folder / "certificates" / "x509" / "tls_peers"
        peers.mkdir(parents=True)
        # As if the user had accepted it.
        way.authority.give(folder)
        pem = (folder / "server.pem").read_text()
        (peers / "localhost").write_text(pem[pem.index("-----BEGIN CERTIFICATE") :])
        (folder / "accounts.xml").write_text(_ACCOUNTS.format(me=me, password=password, port=port, proxy=way.pair.port))
        (folder / "prefs.xml").write_text(_PREFERENCES)
        keyboard, self._keys = os.pipe()
        inside = f"{_TERMINAL}; exec {shlex.join([program('finch'), '--config', str(folder)])}"
        argv: list[str | Path] = [
            program("script"),
            "--quiet",
            "--flush",
            "--return",
            "--command",
            inside,
            folder / "screen",
        ]
        self.program = way.programs.start("finch", argv, stdin=keyboard)
        os.close(keyboard)

    def turn_to_window(self) -> None:
        """From the list of people to what opened behind it: the first conversation."""
        self._press(_NEXT_WINDOW)

    def say_all(self, texts: Iterable[str]) -> None:
        """In the conversation in front."""
        for text in texts:
            self._press(f"{text}\r")

    def heard(self) -> list[str]:
        files = sorted(self._folder.glob(f"logs/jabber/*/{self._other}@localhost/*.txt"))
        lines = "".join(file.read_text() for file in files).splitlines()
        return [line.rpartition(": ")[2] for line in lines if f") {self._other}" in line]

    def _press(self, keys: str) -> None:
        os.write(self._keys, keys.encode())

    def stop(self) -> None:
        self.program.stop()
        os.close(self._keys)
