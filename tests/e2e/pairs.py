"""A local side and its exit, as two processes of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.config_file import with_settings
from tests.e2e.machine import Program, Programs, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Exit:
    """A running `ropeway exit run`. `port` is where it listens, `link` what leads to it."""

    program: Program
    config: Path
    port: int
    link: str


@dataclass(frozen=True)
class Local:
    """A running `ropeway run`."""

    program: Program
    config: Path
    port: int

    def url(self, scheme: str) -> str:
        return f"{scheme}://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Pair:
    exit: Exit
    local: Local

    @property
    def programs(self) -> tuple[Program, Program]:
        return self.exit.program, self.local.program

    @property
    def port(self) -> int:
        """Where apps connect to."""
        return self.local.port


def folder_for(programs: Programs, name: str) -> Path:
    number = sum(1 for path in programs.folder.iterdir() if path.is_dir())
    folder = programs.folder / f"{name}-{number}"
    folder.mkdir()
    return folder


def start_exit(
    programs: Programs,
    *arguments: str,
    public_port: int | None = None,
    allow_private: bool = True,
    prefix: Sequence[str] = (),
) -> Exit:
    """`public_port` is the port in the link where something of the test's stands in between."""
    config = folder_for(programs, "exit") / "ropeway.toml"
    port = free_port()
    allowed = ["--allow-private"] if allow_private else []
    public = ["--host", "127.0.0.1", "--port", str(public_port or port), "--listen", f"127.0.0.1:{port}"]
    done = programs.run_ropeway("exit", "init", *public, *allowed, *arguments, "--config", config)
    assert done.returncode == 0, done.stderr
    (link,) = [line for line in done.stdout.splitlines() if line.startswith("ropeway://")]
    program = programs.start_ropeway("exit", "exit", "run", "--config", config, prefix=prefix)
    program.wait_for("ready")
    return Exit(program, config, port, link)


def start_local(programs: Programs, link: str, *, wait: bool = True, prefix: Sequence[str] = ()) -> Local:
    """Without `wait` it may not be ready yet, or never be; then apps wait for it for a second and not for five."""
    config = folder_for(programs, "local") / "ropeway.toml"
    port = free_port()
    where = ["--listen", f"127.0.0.1:{port}", "--mode", "all"]  # loopback would go direct
    done = programs.run_ropeway("join", link, *where, "--config", config)
    assert done.returncode == 0, done.stderr
    if not wait:
        config.write_text(with_settings(config.read_text(), "local", {"connect_wait": 1.0}))
    program = programs.start_ropeway("local", "run", "--config", config, prefix=prefix)
    if wait:
        program.wait_for("ready")
    return Local(program, config, port)


def start_pair(programs: Programs, *arguments: str, public_port: int | None = None, allow_private: bool = True) -> Pair:
    there = start_exit(programs, *arguments, public_port=public_port, allow_private=allow_private)
    return Pair(there, start_local(programs, there.link))
