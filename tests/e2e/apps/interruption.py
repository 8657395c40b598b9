"""Talks over carriers that are cut: who takes part in them, and what everybody has to hear nevertheless."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.machine import program, wait_until
from tests.e2e.talk import PATIENCE_SECONDS, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.e2e.machine import Program, Programs
    from tests.e2e.middle import Road
    from tests.e2e.pairs import Pair
    from tests.e2e.servers import Authority

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
#: As in the lab: whether the forms that take long were asked for. The silence is then longer than any timer of ours (docs/protocol.md, section 7).
LONG = os.environ.get("LAB") == "long"
#: Apps beat every 10 to 60 s; in the short form more often, so that some fall into every talk.
PLAN = Plan(500, 0.05, 300.0, 30.0) if LONG else Plan(60, 0.03, 3.0, 0.2)
#: When the carrier is cut, in parts of all messages: in the silence too, which is in the middle.
CUTS = (0.15, 0.3, 0.5, 0.65, 0.8)
NAMES = ("alice", "bob")


@dataclass(frozen=True)
class Listener:
    """Somebody who takes part, and all that was heard so far."""

    program: Program
    heard: Callable[[], list[str]]


def by_its_words(program: Program) -> Listener:
    """Somebody who says what is heard (`Ear`)."""

    def heard() -> list[str]:
        return [line.rpartition(" ")[2] for line in program.text().splitlines() if " heard " in line]

    return Listener(program, heard)


@dataclass(frozen=True)
class Way:
    """From apps to servers, with somebody in the middle."""

    programs: Programs
    road: Road
    pair: Pair
    authority: Authority

    def cut(self, *, rudely: bool) -> None:
        """Returns when there is another carrier."""
        before = self.road.carriers
        self.road.cut(rudely=rudely)
        wait_until(lambda: self.road.carriers > before, "another carrier")

    def start(self, module: str, *words: str | Path) -> Program:
        """One of the programs beside this file."""
        return self.programs.start(module, [sys.executable, "-m", f"tests.e2e.apps.{module}", *words])

    def start_apart(self, python: Path, module: str, *words: str | Path) -> Program:
        """One that has another environment, and nothing of the tests in it but where they are. It is no part of a package then."""
        path = f"PYTHONPATH={ROOT}"
        return self.programs.start(module, [program("env"), path, python, "-P", HERE / f"{module}.py", *words])

    def join(self, module: str, me: str, port: int, *more: str) -> Listener:
        """One of the programs beside this file, as somebody who talks with the other one of NAMES."""
        (other,) = set(NAMES) - {me}
        return self.join_as(module, me, other, port, *more)

    def join_as(self, module: str, me: str, other: str, port: int, *more: str) -> Listener:
        """The same, of two others."""
        return by_its_words(self.start(module, *self.words(me, other, port), *more))

    def words(self, me: str, other: str, port: int) -> list[str]:
        """What each of those programs is told."""
        who = [f"--me={me}", f"--other={other}", f"--authority={self.authority.path}"]
        return [*who, f"--proxy={self.pair.port}", f"--port={port}", *PLAN.words()]

    def interrupt(self, listeners: Sequence[Listener]) -> None:
        """Cut the carrier while they talk, again and again. Returns when everybody has heard as much as there was to hear."""

        for number, when in enumerate(CUTS):
            wait_for(listeners, int(when * PLAN.messages))
            self.cut(rudely=number % 2 == 0)
        wait_for(listeners, PLAN.messages)

    def finish(self, listeners: Sequence[Listener], *, connected: str = " connected", connections: int = 1) -> None:
        """All of it: the cuts, the orderly end of every program, and what was heard in the end. `connected` is in the line of who connects."""
        self.interrupt(listeners)
        for each in listeners:
            wait_until(lambda each=each: not each.program.alive, "the end of the program")  # type: ignore[misc]
            assert each.program.stop() == 0, each.program.text()
        check(listeners)
        # Nobody had to connect again.
        assert [len(each.program.lines(connected)) for each in listeners] == [connections] * len(listeners)


def wait_for(listeners: Sequence[Listener], count: int) -> None:
    """Returns when everybody has heard so many messages."""

    def reached() -> bool:
        missing = [each for each in listeners if len(each.heard()) < count]
        assert all(each.program.alive or len(each.heard()) >= count for each in missing), "somebody has left"
        return not missing

    try:
        wait_until(reached, f"{count} messages", seconds=PATIENCE_SECONDS + count * PLAN.every + PLAN.silence)
    except AssertionError as exc:
        raise AssertionError("\n".join([str(exc), *(each.program.text() for each in listeners)])) from None


def check(listeners: Sequence[Listener]) -> None:
    """Nothing was lost, repeated or out of order."""
    assert [each.heard() for each in listeners] == [[str(number) for number in range(PLAN.messages)]] * len(listeners)


def beats(listener: Listener) -> int:
    """How many signs of life it says that it got."""
    return int(listener.program.wait_for("signs of life").split()[-4])
