"""The interpreter's memory, tuned for a program that moves large buffers for months and makes few reference cycles."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Our choices.
#: Almost nothing here is part of a cycle, so the collector's default of a look after every 700 objects finds work and no garbage.
GC_THRESHOLD = 50_000

# glibc's mallopt (malloc.h). By its defaults each buffer of 256 KiB or more goes back to the kernel and comes back as zeroed pages, one page fault
# for 4 KiB: a tenth to a quarter of all time under load. What is freed below the top of the heap stays anyway, and `give_back` is for that.
_MALLOPT = (
    (-1, 8 * 1024 * 1024),  # M_TRIM_THRESHOLD: free memory at the top of the heap is kept up to here
    (-2, 1024 * 1024),  # M_TOP_PAD: the heap grows by so much at once
    (-3, 1024 * 1024),  # M_MMAP_THRESHOLD: what is smaller comes from the heap
)
#: After a burst of many streams hundreds of megabytes may be free in between what is used. It took 16 ms to give back 300 MB, and 0.1 ms
#: where there was nothing.
GIVE_BACK_EVERY = 30.0  # seconds


def give_back() -> None:
    """Returns memory that is free inside the heap to the kernel, where the C library can."""
    # What is young: utls makes a cycle of each connection that its peer ends, and the collector's own turn comes rarely here.
    gc.collect(1)
    _call_c("malloc_trim", 0)


def resident() -> int | None:
    """Bytes of memory that the process has; None where the system does not say so in passing."""
    if sys.platform != "linux":
        return None
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (it is asked once a second)
            pages = int(file.read(100).split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


_pausing = threading.Lock()
_pauses = 0


@contextmanager
def without_collector() -> Iterator[None]:
    """For what makes very many objects and no cycle: the collector would look through all of them again and again, with the event loop waiting,
    and find nothing. Also from several threads at once.
    """
    global _pauses
    with _pausing:
        ours = gc.isenabled() or _pauses > 0  # or somebody else has turned it off, and it stays so
        _pauses += ours
        if ours:
            gc.disable()
    try:
        yield
    finally:
        with _pausing:
            _pauses -= ours
            if ours and _pauses == 0:
                _age()
                gc.enable()


def _age() -> None:
    """Where very many objects are young they are old from now on: the look that the collector has for the young takes 100 ms for 600,000, and these two
    calls only move a list. What `tune` has set apart is then among the old as well, which are looked at very rarely.
    """
    if gc.get_count()[0] > GC_THRESHOLD:
        gc.freeze()
        gc.unfreeze()


def tune() -> None:
    """Call once, when everything is imported. Where the C library is another one, only Python's own part is done."""
    gc.set_threshold(GC_THRESHOLD)
    gc.freeze()
    for parameter, value in _MALLOPT:
        _call_c("mallopt", parameter, value)


def _call_c(name: str, *numbers: int) -> None:
    """A function of glibc; musl has none of these."""
    if sys.platform == "linux":
        function = getattr(ctypes.CDLL(None), name, None)
        if function is not None:
            function(*numbers)
