"""The rules with their lists, read again when a file of a list has changed. Reading them, and building the index, happens in a thread."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import trio

from .errors import ConfigError
from .heap import without_collector
from .rule_lists import Lists, mark_of
from .ruleset import AppFacts, Ruleset
from .telemetry import logger

if TYPE_CHECKING:
    from pathlib import Path

    from .rule_lists import Mark
    from .rules import RuleSettings

log = logger("rules")

#: Our choice, in seconds: how often the files are looked at. They are read when two looks see the same, so that nobody is caught writing.
LOOK_EVERY = 2.0

#: Our choice, in seconds: how long the reading thread leaves the interpreter to others, every few milliseconds.
PAUSE = 0.0001

_T = TypeVar("_T")

#: Takes over what was read.
Apply: TypeAlias = Callable[[Ruleset], None]


class InThread(Protocol):
    """Calls it where it does not hold up the event loop."""

    def __call__(self, call: Callable[[], _T], /) -> Awaitable[_T]: ...


async def in_thread(call: Callable[[], _T], /) -> _T:
    return await trio.to_thread.run_sync(call, abandon_on_cancel=True)


def _pause() -> None:
    """A thread that only asks the interpreter for its turn has it after 5 ms, and the event loop asks several times in each of its rounds; from one
    that sleeps it has it at once.
    """
    time.sleep(PAUSE)


class RuleFiles:
    """Call `read` once, then `run`; `change` where the settings are others."""

    def __init__(
        self, settings: RuleSettings, presets: Mapping[str, AppFacts], *, in_thread: InThread = in_thread
    ) -> None:
        self._settings = settings
        self._presets = presets
        self._in_thread = in_thread
        self._marks: dict[Path, Mark] = {}  # of the files as they were when they were read
        self._complaint = ""

    def read(self) -> Ruleset:
        """Takes as long as it takes. Raises ConfigError where a list is of no use."""
        lists = Lists()
        try:
            return self._build(self._settings, lists)
        finally:
            self._marks = lists.marks

    def _build(self, settings: RuleSettings, lists: Lists) -> Ruleset:
        with without_collector():
            made = Ruleset(settings, presets=self._presets, read_list=lists.read, pause=lists.pause)
            lists.forget_contents()
        for remark in lists.remarks:
            log.info("%s", remark)
        return made

    async def change(self, settings: RuleSettings) -> Ruleset:
        """These are the settings from now on. Raises ConfigError where a list is of no use; then the old ones are kept."""
        lists = Lists(pause=_pause)
        made = await self._in_thread(partial(self._build, settings, lists))
        self._settings, self._marks, self._complaint = settings, lists.marks, ""
        return made

    async def run(self, apply: Apply, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled, `apply` is called with the rules each time they were read anew. Where a file is of no use the log says why, once,
        and the rules stay as they were.
        """
        task_status.started()
        last = self._marks
        while True:
            await trio.sleep(LOOK_EVERY)
            known = self._marks
            if not known:
                continue
            marks = await self._in_thread(partial(_marks, list(known)))
            if marks == last and marks != known and known is self._marks:
                await self._read_again(apply, marks)
            last = marks

    async def _read_again(self, apply: Apply, seen: dict[Path, Mark]) -> None:
        settings, lists = self._settings, Lists(pause=_pause)
        try:
            made = await self._in_thread(partial(self._build, settings, lists))
        except ConfigError as error:
            if settings is self._settings:
                self._marks = seen | lists.marks
                if str(error) != self._complaint:
                    log.error("the rules stay as they were, as a list cannot be used: %s", error)
                self._complaint = str(error)
            return
        if settings is self._settings:  # or other settings came meanwhile, and their lists were read
            self._marks, self._complaint = lists.marks, ""
            apply(made)
            log.info("the lists of the rules were read again")


def _marks(paths: list[Path]) -> dict[Path, Mark]:
    return {path: mark_of(path) for path in paths}
