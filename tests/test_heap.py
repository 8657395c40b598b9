"""The process stays as it is but for its memory, and buffers stay in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proxy import heap

#: Allocates and frees as a few reads of sockets do; prints how many pages came anew from the kernel.
FAULTS = """
import resource
from proxy import heap
{tune}
for _ in range(200):
    buffers = [bytearray(300_000) for _ in range(6)]
    del buffers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def run(source: str) -> int:
    return int(subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only there it asks the C library for anything")
def test_buffers_are_not_given_back_to_the_kernel_each_time() -> None:
    tuned, plain = run(FAULTS.format(tune="heap.tune()")), run(FAULTS.format(tune=""))
    assert tuned < plain / 10  # 1,200 buffers of 74 pages each


@pytest.mark.skipif(sys.platform != "linux", reason="only there it asks the C library for anything")
def test_what_a_burst_took_is_given_back() -> None:
    """The last buffer stays, as something always does, and holds up the top of the heap."""
    source = """
from pathlib import Path
from proxy import heap
heap.tune()
buffers = [bytes(200_000) + b"x" for _ in range(500)]
del buffers[:-1]
heap.give_back()
print(Path("/proc/self/statm").read_text().split()[1])
"""
    assert run(source) * 4096 < 60_000_000  # 100 MB were in use


def test_the_collector_looks_seldom() -> None:
    source = "import gc; from proxy import heap; heap.tune(); print(gc.get_threshold()[0])"
    assert run(source) == heap.GC_THRESHOLD


def test_what_is_imported_is_not_looked_at_again() -> None:
    assert run("import gc; from proxy import heap; heap.tune(); print(gc.get_freeze_count())") > 1000


def test_another_c_library_is_left_alone() -> None:
    source = "import ctypes; ctypes.CDLL = lambda _: object(); from proxy import heap; heap.tune(); print(0)"
    assert run(source) == 0


def test_young_cycles_are_collected_with_it() -> None:
    source = """
import weakref
from proxy import heap
heap.tune()
class Node: pass
node = Node()
node.itself = node
dead = weakref.ref(node)
del node
heap.give_back()
print(int(dead() is None))
"""
    assert run(source) == 1


def test_what_the_process_has() -> None:
    found = heap.resident()
    if sys.platform == "linux":
        assert found is not None
        assert 10_000_000 < found < 10_000_000_000
    else:
        assert found is None


def test_no_collector_while_it_is_told_so_and_then_all_is_old() -> None:
    source = """
import gc
from proxy import heap
with heap.without_collector():
    with heap.without_collector():
        many = [[] for _ in range(heap.GC_THRESHOLD + 1000)]
    assert not gc.isenabled()
assert gc.isenabled()
print(sum(len(gc.get_objects(generation)) for generation in (0, 1)) < 1000, gc.get_freeze_count())
"""
    done = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True)
    assert done.stdout == "True 0\n"


def test_a_collector_that_somebody_turned_off_stays_so() -> None:
    source = """
import gc
from proxy import heap
gc.disable()
with heap.without_collector():
    pass
print(int(gc.isenabled()))
"""
    assert run(source) == 0
