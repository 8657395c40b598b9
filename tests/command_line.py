"""What a command of Ropeway did."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.share import Link


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def links(self) -> list[Link]:
        return [Link.parse(line) for line in self.out.splitlines() if line.startswith("ropeway://")]

    @property
    def failure(self) -> str:
        """The one line of a command that failed."""
        assert (self.code, self.out) == (1, "")
        (line,) = self.err.splitlines()
        assert line.startswith("ropeway: ")
        return line
