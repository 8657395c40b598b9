"""The table of docs/faults.md: what apps saw of each fault, as the lab's tests measured it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD = "| fault | what apps see | measured | repeat it with |\n|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """Cells are Markdown without a bar in it; `command` is a shell's."""

    fault: str
    apps_see: str
    measured: str
    command: str

    def __str__(self) -> str:
        return f"| {self.fault} | {self.apps_see} | {self.measured} | `{self.command}` |"

    @classmethod
    def parse(cls, line: str) -> Row | None:
        """None for a line that is no row."""
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 4 or not cells[3].startswith("`"):
            return None
        fault, apps_see, measured, command = cells
        return cls(fault, apps_see, measured, command.strip("`"))


def rows_of(text: str) -> list[Row]:
    return [row for line in text.splitlines() if (row := Row.parse(line))]


def with_rows(text: str, measured: Iterable[Row]) -> str:
    """The text, whose table has these rows now: in the place of those of the same faults, or below its last one."""
    new = {row.fault: row for row in measured}
    lines: list[str] = []
    end = 0
    for line in text.splitlines():
        row = Row.parse(line)
        lines.append(str(new.pop(row.fault, row)) if row else line)
        if row or line.startswith("|---"):
            end = len(lines)
    lines[end:end] = map(str, new.values())
    return "\n".join(lines) + "\n"
