"""A talk by numbers: some messages, a silence, and more of them. The programs in apps/ keep to it, and say what they hear.

It imports nothing of the tests: one of those programs runs in an environment of its own.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How long the answers that are missing are waited for, once everything was said.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Plan:
    """How many messages each person says, the seconds between two of them, those of the silence in the middle, and between two signs of life."""

    messages: int
    every: float
    silence: float
    beat: float

    def words(self) -> list[str]:
        return [f"--{name}={value}" for name, value in asdict(self).items()]

    def numbers(self) -> Iterator[tuple[int, float]]:
        """Each message, and for how long to say nothing behind it."""
        for number in range(self.messages):
            yield number, self.silence if number + 1 == self.messages // 2 else self.every

    def moments(self) -> Iterator[int]:
        """Each message, when it is to be said; for programs that may sleep."""
        for number, rest in self.numbers():
            yield number
            time.sleep(rest)


@dataclass(frozen=True)
class Part:
    """What one person is told: who it is, where the proxy and the server are, and the plan."""

    me: str
    other: str
    proxy: int
    port: int
    authority: str
    plan: Plan


def part(*more: str) -> tuple[Part, argparse.Namespace]:
    """From the command line, which may have other words as well."""
    parser = argparse.ArgumentParser()
    for name in ("me", "other", "authority", *more):
        parser.add_argument(f"--{name}", default="")
    for name in ("proxy", "port", "messages"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("every", "silence", "beat"):
        parser.add_argument(f"--{name}", type=float, required=True)
    given = parser.parse_args()
    plan = Plan(given.messages, given.every, given.silence, given.beat)
    return Part(given.me, given.other, given.proxy, given.port, given.authority, plan), given


class Ear:
    """Says each message that somebody hears, and knows when that was all."""

    def __init__(self, name: str, plan: Plan) -> None:
        self._name = name
        self._missing = plan.messages

    def hear(self, message: str) -> bool:
        """Whether it was the last one."""
        tell(f"{self._name} heard {message}")
        self._missing -= 1
        return self._missing <= 0


def tell(line: str) -> None:
    """To the test that reads along."""
    print(line, flush=True)
