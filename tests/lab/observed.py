"""Ropeway with an eye on its tasks: at SIGUSR1 its log says `tasks: NUMBER`.

python -m tests.lab.observed WORDS    is `ropeway WORDS`
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

import trio

from proxy.cli import main


class TaskCount(trio.abc.Instrument):
    def __init__(self) -> None:
        self._tasks = 0

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self._tasks += 1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._tasks -= 1

    def tell(self, *_signal: object) -> None:
        os.write(1, f"tasks: {self._tasks}\n".encode())  # at once, whatever is being printed just now


def observe() -> None:
    if sys.platform != "linux":  # where there is no lab; the type checker reads no further there
        raise NotImplementedError
    count = TaskCount()
    vars(trio)["run"] = partial(trio.run, instruments=[count])  # whoever runs it looks there
    signal.signal(signal.SIGUSR1, count.tell)
    main()


if __name__ == "__main__":
    observe()
