"""mosquitto's clients, through SOCKS5 with names resolved at the exit."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.e2e.machine import ENVIRONMENT, program

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.e2e.machine import Program, Programs
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Authority, Mosquitto

SILENCE_SECONDS = 120
#: Longer than the silence: the client itself says nothing meanwhile.
KEEPALIVE_SECONDS = 3600


class Chat:
    def __init__(self, programs: Programs, pair: Pair, mosquitto: Mosquitto, authority: Authority) -> None:
        self._programs = programs
        self._broker = mosquitto
        self._words = ["--proxy", pair.local.url("socks5h"), "-h", "localhost", "-p", str(mosquitto.port)]
        self._words += ["--cafile", str(authority.path), "-q", "1"]

    def listen(self, name: str, *, messages: int = 1) -> Program:
        """Somebody who waits for so many messages, and is known to the broker when this returns."""
        # Into a file it would write in blocks, and say nothing for long.
        argv = [
            program("stdbuf"),
            "--output=L",
            program("mosquitto_sub"),
            *self._words,
            "-k",
            str(KEEPALIVE_SECONDS),
            "-i",
            f"sub-{name}",
        ]
        listening = self._programs.start(
            f"sub-{name}", [*argv, "-t", f"chat/{name}", "-C", str(messages), "-F", f"{name} heard %p", "-d"]
        )
        listening.wait_for("suback")
        return listening

    def say(self, to: str, text: str) -> None:
        argv = [*self._speak(to), "-m", text]
        done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def say_all(self, to: str, texts: Iterable[str]) -> None:
        """Over one connection, each as soon as it is there."""
        argv = [*self._speak(to), "-k", str(KEEPALIVE_SECONDS), "-l"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, env=ENVIRONMENT, text=True) as speaking:
            assert speaking.stdin is not None
            for text in texts:
                print(text, file=speaking.stdin, flush=True)
        assert speaking.returncode == 0

    def _speak(self, to: str) -> list[str]:
        return [program("mosquitto_pub"), *self._words, "-i", f"pub-{to}", "-t", f"chat/{to}"]
