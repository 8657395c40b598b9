"""A local side and an exit of their own, as two processes on loopback, for as long as a measurement needs them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROPEWAY = [sys.executable, "-m", "proxy"]


@dataclass(frozen=True)
class Running:
    """Where apps connect to, and the processes of the exit and of the local side."""

    port: int
    pids: tuple[int, int]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def output(*arguments: str) -> str:
    """Standard output of a command that ends. Raises CalledProcessError."""
    return subprocess.run([*ROPEWAY, *arguments], check=True, capture_output=True, text=True).stdout


def start(*arguments: str) -> subprocess.Popen[str]:
    """The process once it says that it is ready. Raises RuntimeError where it ends before."""
    process = subprocess.Popen([*ROPEWAY, *arguments], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        if "ready" in line:
            return process
        said.append(line)
    process.communicate()
    raise RuntimeError("".join(said) or "it ended without a word")


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate()


def configure(folder: Path) -> tuple[str, int]:
    """Sets up both sides in one file; the file and the local port."""
    config, port, local_port = str(folder / "ropeway.toml"), str(free_port()), free_port()
    where = ["--host", "127.0.0.1", "--port", port, "--listen", f"127.0.0.1:{port}", "--allow-private"]
    printed = output("exit", "init", *where, "--config", config)
    link = next(line for line in printed.splitlines() if line.startswith("ropeway://"))
    mode = ["--mode", "all"]  # loopback would go direct
    output("join", link, "--listen", f"127.0.0.1:{local_port}", *mode, "--config", config)
    return config, local_port


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Running]:
    """Both sides; `folder` is for them alone."""
    config, port = configure(folder)
    with contextlib.ExitStack() as stack:
        processes = []
        for words in (["exit", "run"], ["run"]):
            processes.append(start(*words, "--config", config))
            stack.callback(stop, processes[-1])
        yield Running(port, (processes[0].pid, processes[1].pid))
