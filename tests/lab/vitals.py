"""What a program of ours holds: descriptors, memory and tasks."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.machine import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.machine import Program

#: Seconds between two looks at memory: the fastest link of the lab fills some megabytes in as many.
_LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Vitals:
    """`resident`: bytes of memory."""

    descriptors: int
    tasks: int
    resident: int

    @classmethod
    def of(cls, program: Program) -> Vitals:
        return cls(program.descriptors(), tasks_of(program), program.resident())

    @property
    def counts(self) -> tuple[int, int]:
        return self.descriptors, self.tasks


def tasks_of(program: Program) -> int:
    """Of one that a lab's host has started; see observed.py."""
    if sys.platform != "linux":  # where there is no lab; the type checker reads no further there
        raise NotImplementedError
    before = len(program.lines("tasks: "))
    os.kill(program.pid, signal.SIGUSR1)
    wait_until(lambda: len(program.lines("tasks: ")) > before, "the number of tasks")
    return int(program.lines("tasks: ")[-1].split()[1])


class Peak:
    """The most memory that a program had while this looked, beyond what it had at first; in bytes."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._first = program.resident()
        self.growth = 0

    def look(self) -> None:
        self.growth = max(self.growth, self._program.resident() - self._first)


@contextmanager
def watching_memory(*programs: Program) -> Iterator[list[Peak]]:
    peaks, done = [Peak(program) for program in programs], threading.Event()

    def watch() -> None:
        while not done.wait(_LOOK_EVERY):
            for peak in peaks:
                peak.look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()
