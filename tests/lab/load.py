"""What apps at home do meanwhile: downloads, uploads and chats, each with a record of when bytes came."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import os
import statistics
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.e2e.apps import curl_command, digest_of
from tests.e2e.machine import ENVIRONMENT, free_port, wait_until
from tests.e2e.servers import Authority, Body, Nginx, make_body, start_nginx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.machine import Program
    from tests.e2e.pairs import Pair
    from tests.lab.hosts import Lab

#: Longer than the longest silence of the tests: curl gives up at no other time.
_PATIENCE = "3600"
#: How long a transfer may take to end when the network is well again; the longest is 100 MB at 20 Mbit/s.
_LAST_SECONDS = 120.0


def pause_after(moment: float, arrivals: list[float], within: float) -> float:
    """Seconds from the moment until data flowed again; 0 where it never stopped. The arrivals are in order.

    What was on its way when the moment came, or lay in a buffer, still arrives shortly after it. So this looks for the longest of the
    pauses that begin within that time.
    """
    first = max(bisect.bisect_right(arrivals, moment) - 1, 0)
    last = bisect.bisect_right(arrivals, moment + within)
    starts = [(after - before, after) for before, after in itertools.pairwise(arrivals[first : last + 1])]
    if last >= len(arrivals) or not starts:
        raise AssertionError("no data came any more")
    return max(0.0, max(starts)[1] - moment)


@dataclass(frozen=True)
class Pauses:
    """A sample of pauses, in seconds."""

    median: float
    worst: float

    @classmethod
    def of(cls, sample: list[float]) -> Pauses:
        return cls(statistics.median(sample), max(sample))

    def __str__(self) -> str:
        return f"median {self.median:.2f} s, worst {self.worst:.2f} s"


class Worker:
    """A thread that does something again and again until it is told to stop. What goes wrong is kept for the test."""

    def __init__(self, once: Callable[[], None]) -> None:
        self._once = once
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._once()
        except BaseException as exc:
            self._failure = exc

    def stop(self, seconds: float = _LAST_SECONDS) -> None:
        """Waits until the last one is done. Raises what went wrong."""
        self._stopping.set()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"a transfer has not ended {seconds:g} s after the network was well"
        if self._failure:
            raise self._failure


def through(pair: Pair, limit: str) -> list[str | Path]:
    """curl's words; the limit of its speed is as it wants it, and `0` is none."""
    return ["--fail", "-x", pair.local.url("socks5h"), "--max-time", _PATIENCE, "--limit-rate", limit]


class Downloads:
    """Of one file, one after the other; every one is compared."""

    def __init__(self, lab: Lab, pair: Pair, url: str, digest: str, limit: str) -> None:
        self._argv = [*lab.home.prefix, *curl_command(*through(pair, limit), url)]
        self._digest = digest
        self.done = 0
        self.arrivals: list[float] = []
        self._sizes: list[int] = []
        self._worker = Worker(self._once)

    def _once(self) -> None:
        seen = hashlib.sha256()
        with subprocess.Popen(self._argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            while chunk := os.read(process.stdout.fileno(), 1 << 16):
                self._sizes.append(len(chunk))
                self.arrivals.append(time.monotonic())
                seen.update(chunk)
            complaint = process.stderr.read().decode()
        assert (process.returncode, complaint, seen.hexdigest()) == (0, "", self._digest)
        self.done += 1

    def came(self, begin: float, end: float) -> int:
        """Bytes between two moments."""
        first, last = bisect.bisect_left(self.arrivals, begin), bisect.bisect_right(self.arrivals, end)
        return sum(self._sizes[first:last])

    def stop(self) -> None:
        self._worker.stop()


class Uploads:
    """The same in the other direction."""

    def __init__(self, lab: Lab, pair: Pair, nginx: Nginx, body: Body, limit: str) -> None:
        name = f"{body.path.name}-{id(self)}"
        way = [*through(pair, limit), "-T", body.path, nginx.url("http", f"up/{name}")]
        self._argv = [*lab.home.prefix, *curl_command(*way)]
        self._arrived = nginx.uploads / name
        self._digest = body.digest
        self.done = 0
        self._worker = Worker(self._once)

    def _once(self) -> None:
        done = subprocess.run(self._argv, capture_output=True, text=True, env=ENVIRONMENT, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert digest_of(self._arrived) == self._digest
        self._arrived.unlink()
        self.done += 1

    def stop(self) -> None:
        self._worker.stop()


@dataclass(frozen=True)
class Talk:
    """What all chats of one program have seen."""

    chats: list[dict[str, Any]]
    arrivals: list[float] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Talk:
        chats = json.loads(path.read_text())["chats"]
        return cls(chats, sorted(at for chat in chats for at in chat.pop("answered_at")))

    @property
    def faults(self) -> list[str]:
        """Of chats that ought to have gone well: lost, repeated, out of order, or ended."""
        faults = [fault for chat in self.chats for fault in chat["faults"]]
        faults += [
            f"{chat['said'] - chat['answered']} of {chat['said']} lines have no answer"
            for chat in self.chats
            if chat["said"] != chat["answered"]
        ]
        return faults + [f"a chat ended: {chat['ended']}" for chat in self.chats if chat["ended"]]

    @property
    def slowest(self) -> float:
        return max(float(chat["slowest"]) for chat in self.chats)


class Chats:
    """See chat.py."""

    def __init__(self, lab: Lab, pair: Pair, port: int, *, number: int, every: float) -> None:
        self._report = lab.folder / f"chats-{free_port()}.json"
        words = ["--proxy", pair.port, "--port", port, "--chats", number, "--every", every, "--report", self._report]
        self.program = lab.home.start_module("chat", *map(str, words))
        self.program.wait_for("talking")

    def finish(self) -> Talk:
        """Nothing new is said; what is missing is waited for."""
        self.program.stop()
        return Talk.read(self._report)

    def wait(self, seconds: float) -> Talk:
        """Until all have ended by themselves."""
        wait_until(lambda: not self.program.alive, "the end of all chats", seconds=seconds)
        return Talk.read(self._report)


def start_echo(lab: Lab) -> int:
    """The port abroad of a server that sends everything back."""
    port = free_port()
    lab.abroad.start_module("echo", str(port)).wait_for_port(port)
    return port


def start_web(lab: Lab, authority: Authority) -> Nginx:
    folder = lab.folder / "nginx"
    folder.mkdir()
    return start_nginx(lab.abroad, folder, authority)


class Line:
    """When a line with these words was first seen in a log, after this was made."""

    def __init__(self, program: Program, words: str) -> None:
        self._program, self._words = program, words
        self._old = len(program.lines(words))
        self.at = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            if len(self._program.lines(self._words)) > self._old:
                self.at = time.monotonic()
                return

    def close(self) -> None:
        self._done.set()
        self._thread.join()


@contextmanager
def watching(program: Program, words: str) -> Iterator[Line]:
    line = Line(program, words)
    try:
        yield line
    finally:
        line.close()


@dataclass
class Load:
    """A download, an upload and chats at once."""

    downloads: Downloads
    uploads: Uploads
    chats: Chats

    @classmethod
    def start(
        cls, lab: Lab, pair: Pair, authority: Authority, *, size: int, chats: int, every: float, limit: str = "0"
    ) -> Load:
        nginx, port = start_web(lab, authority), start_echo(lab)
        body = make_body(nginx.site / "body", size)
        talk = Chats(lab, pair, port, number=chats, every=every)
        downloads = Downloads(lab, pair, nginx.url("http", "body"), body.digest, limit)
        load = cls(downloads, Uploads(lab, pair, nginx, body, limit), talk)
        wait_until(lambda: load.downloads.arrivals, "the download's first bytes")
        return load

    def flows_after(self, moment: float, seconds: float) -> None:
        """Waits until the download goes on."""
        wait_until(lambda: self.downloads.arrivals[-1] > moment, "data", seconds=seconds)

    def finish(self) -> Talk:
        """All of it went well, or this raises."""
        talk = self.chats.finish()
        self.downloads.stop()
        self.uploads.stop()
        assert talk.faults == []
        assert self.downloads.done
        assert self.uploads.done
        return talk

    def arrivals(self, talk: Talk) -> list[float]:
        """Of any app."""
        return sorted(self.downloads.arrivals + talk.arrivals)
