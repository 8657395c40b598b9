"""How much memory each side takes: when idle, for idle streams, and at most whatever apps, destinations and the network do.

python bench/memory.py [--short] [--only NAME ...]

Linux only, on loopback. It is the resident set (RSS, shared libraries included) as the kernel tells it, and its peak (VmHWM).
Every case but the idle streams has a pair of its own, whose peak is that of its whole life.
"""

from __future__ import annotations

import re
import resource
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bulk import SMALL_BUFFER, Proxy, Pump
from figures import Figure, Goal, Plot, Result, Series
from network import ROOT
from options import show_measured, some_of
from target import receive

from tests.e2e.machine import Programs, free_port
from tests.e2e.pairs import Pair, start_local, start_pair

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from tests.e2e.machine import Program

assert sys.platform == "linux"  # the type checker reads no further elsewhere

TITLE = "Memory of each side"
SIDES = ("local side", "exit")
IDLE, EACH, BUDGET = Goal(most=60), Goal(most=12), Goal(most=256)  # MB, KB, MB
#: How many idle streams there are when memory is read.
COUNTS, SHORT_COUNTS = (1000, 2000, 5000), (1000,)
#: So many streams are stalled, in bulk, or in bulk while the carrier stops; and so many devices have so many stalled streams each.
STALLED, BULK, STOPPED, DEVICES, STALLED_EACH = 500, 200, 16, 16, 32
#: How long a case lasts until memory is read, in seconds; how long one side stands still; and how long the program has to calm down.
SECONDS, SHORT_SECONDS, STANDS_STILL, CALM = 15.0, 4.0, 20.0, 3.0
#: Descriptors that 5000 streams take in one process, at both ends of each, and then some.
DESCRIPTORS = 20_000
#: A message of an app, which an idle stream has sent once.
MESSAGE = bytes(64)


@dataclass
class Case:
    """A pair of its own, and what is opened through it until the end."""

    programs: Programs
    pair: Pair
    port: int
    seconds: float

    def __post_init__(self) -> None:
        self.proxy = Proxy(self.pair.port, "127.0.0.1", self.port)
        self.streams: list[socket.socket] = []

    def open(self, kind: bytes, number: int = 0, *, buffer: int = 0, proxy: Proxy | None = None) -> socket.socket:
        stream = (proxy or self.proxy).open(kind, number, buffer=buffer)
        self.streams.append(stream)
        return stream

    def pump(self, downloads: int, uploads: int, *, kind: bytes = b"U") -> Pump:
        pump = Pump()
        for number in range(downloads):
            pump.add(self.open(b"D", number), number)
        for number in range(downloads, downloads + uploads):
            pump.add(self.open(kind, number), number, "up")
        return pump

    def close(self) -> None:
        for stream in self.streams:
            stream.close()


@contextmanager
def open_case(seconds: float = 0.0) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        programs, port = Programs(Path(folder)), free_port()
        stack.callback(programs.stop_all)
        argv: list[str | Path] = [sys.executable, ROOT / "bench/destination.py", "127.0.0.1", str(port)]
        programs.start("destination", argv).wait_for_port(port)
        case = Case(programs, start_pair(programs), port, seconds)
        stack.callback(case.close)
        yield case


def peak(program: Program) -> float:
    """The most MB that it ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{program.pid}/status").read_text())
    assert found, "the kernel tells no peak"
    return int(found[1]) * 1024 / 1e6


def resident(pair: Pair) -> tuple[float, float]:
    """MB, of the local side and of the exit."""
    return pair.local.program.resident() / 1e6, pair.exit.program.resident() / 1e6


# ---- what apps, destinations and the network do


def slow_readers(case: Case) -> None:
    """Apps that ask for data without end and do not read."""
    for number in range(STALLED):
        case.open(b"D", number, buffer=SMALL_BUFFER)
    time.sleep(case.seconds)


def stalled_destinations(case: Case) -> None:
    """Apps that send without end to who does not read."""
    case.pump(0, STALLED, kind=b"S")
    time.sleep(case.seconds)


def full_speed(case: Case) -> None:
    case.pump(BULK // 2, BULK // 2)
    time.sleep(case.seconds)


def exit_stops(case: Case) -> None:
    case.pump(STOPPED // 2, STOPPED // 2)
    stop_and_go(case.pair.exit.program)


def local_side_stops(case: Case) -> None:
    case.pump(STOPPED // 2, STOPPED // 2)
    stop_and_go(case.pair.local.program)


def stop_and_go(program: Program) -> None:
    """It stands still in the middle of bulk, and what was held up comes at once."""
    time.sleep(CALM)
    program.tell(signal.SIGSTOP)
    time.sleep(STANDS_STILL)
    program.tell(signal.SIGCONT)
    time.sleep(CALM)


def many_devices(case: Case) -> None:
    """Local sides with one user's link, each with streams that are stalled in both directions."""
    proxies = [case.proxy]
    for _ in range(DEVICES - 1):
        local = start_local(case.programs, case.pair.exit.link)
        proxies.append(Proxy(local.port, "127.0.0.1", case.port))
    pump = Pump()
    for device, proxy in enumerate(proxies):
        for number in range(STALLED_EACH):
            case.open(b"D", number, buffer=SMALL_BUFFER, proxy=proxy)
            pump.add(case.open(b"S", number, proxy=proxy), device * STALLED_EACH + number, "up")
    time.sleep(case.seconds)


CASES: dict[str, Callable[[Case], None]] = {
    f"{STALLED} apps that do not read": slow_readers,
    f"{STALLED} destinations that do not read": stalled_destinations,
    f"{BULK} streams at full speed": full_speed,
    f"the exit stands still {STANDS_STILL:g} s in bulk": exit_stops,
    f"the local side stands still {STANDS_STILL:g} s in bulk": local_side_stops,
    f"{DEVICES} devices with stalled streams": many_devices,
}
IDLE_STREAMS = "idle streams"
SHORT_CASES = (IDLE_STREAMS, next(iter(CASES)))


# ---- figures


def command_for(name: str, *, short: bool) -> str:
    return f"python bench/memory.py --only '{name}'" + " --short" * short


def measure_idle(*, short: bool) -> tuple[list[Figure], Plot]:
    counts, command = SHORT_COUNTS if short else COUNTS, command_for(IDLE_STREAMS, short=short)
    with open_case() as case:
        time.sleep(CALM)
        numbers, seen = [0, *counts], [resident(case.pair)]
        for count in counts:
            while len(case.streams) < count:
                stream = case.open(b"E")
                stream.sendall(MESSAGE)
                receive(stream, len(MESSAGE))
            time.sleep(CALM)
            seen.append(resident(case.pair))
    figures, series = [], []
    for side, values in zip(SIDES, zip(*seen, strict=True), strict=True):
        each = (values[-1] - values[0]) * 1000 / numbers[-1]
        figures += [
            Figure(f"{side}, idle", "MB", values[0], command, goal=IDLE),
            Figure(f"{side}, each of {numbers[-1]} idle streams", "KB", each, command, goal=EACH),
        ]
        series.append(Series(side, list(numbers), list(values)))
    return figures, Plot("memory", "Memory over idle streams", "streams", "MB", series)


def measure_peak(name: str, *, short: bool) -> list[Figure]:
    """Of devices' local sides, the first one's is told."""
    with open_case(SHORT_SECONDS if short else SECONDS) as case:
        CASES[name](case)
        peaks = [peak(program) for program in (case.pair.local.program, case.pair.exit.program)]
    return [
        Figure(f"{name}: peak of the {side}", "MB", value, command_for(name, short=short), goal=BUDGET)
        for side, value in zip(SIDES, peaks, strict=True)
    ]


def measure(short: bool = False, *, only: Sequence[str] = (IDLE_STREAMS, *CASES)) -> Result:
    """Raises OSError where a stream is refused, as under a limit of descriptors that cannot be raised."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, most), most))
    names = [name for name in only if not short or name in SHORT_CASES]
    figures, plots = list[Figure](), list[Plot]()
    for name in names:
        if name == IDLE_STREAMS:
            found, plot = measure_idle(short=short)
            figures += found
            plots.append(plot)
        else:
            figures += measure_peak(name, short=short)
    return Result(TITLE, figures, plots)


def main() -> None:
    names = (IDLE_STREAMS, *CASES)
    show_measured(__doc__, measure, only=some_of(names, names))


if __name__ == "__main__":
    main()
