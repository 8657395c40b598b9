"""What a measurement found: figures beside those of others, as a table and as JSON, and what a report needs to plot."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Goal:
    """A bound on the figure, or, where `of` names one of the others, on its ratio to theirs."""

    least: float | None = None
    most: float | None = None
    of: str = ""

    def __str__(self) -> str:
        words = [
            f">= {self.least:g}" if self.least is not None else "",
            f"<= {self.most:g}" if self.most is not None else "",
        ]
        return " ".join(filter(None, words)) + (f" of {self.of}" if self.of else "")

    def is_met(self, value: float) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class Figure:
    """`others`: the same figure of others in the same run, by their names. `command` repeats it. A time until what never came is infinite."""

    name: str
    unit: str
    ours: float
    command: str
    others: dict[str, float] = field(default_factory=dict)
    goal: Goal | None = None

    @property
    def ratios(self) -> dict[str, float]:
        """Ours to each of the others, as they are shown."""
        return {
            name: round(self.ours / value, 3)
            for name, value in self.others.items()
            if value and math.isfinite(value) and math.isfinite(self.ours)
        }

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none, or nobody to compare with."""
        if self.goal is None or (self.goal.of and self.goal.of not in self.others):
            return None
        return self.goal.is_met(_ratio(self.ours, self.others[self.goal.of]) if self.goal.of else self.ours)


def _ratio(ours: float, theirs: float) -> float:
    """Beside nothing everything is infinitely much; of two that are nothing, or that never came, none, and that reaches no goal."""
    return ours / theirs if theirs else math.inf if ours else math.nan


@dataclass(frozen=True)
class Series:
    """One line of a plot, or its bars where `x` are words."""

    label: str
    x: list[Any]
    y: list[float]


@dataclass(frozen=True)
class Plot:
    """`name` is that of its file, without the ending."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: list[Series]


@dataclass(frozen=True)
class Result:
    title: str
    figures: list[Figure]
    plots: list[Plot] = field(default_factory=list)


HEADING = ("", "ours", "unit", "others (ratio)", "goal", "")


def _row(figure: Figure) -> tuple[str, ...]:
    others = [
        _short(value).join((f"{name} ", f" ({figure.ratios[name]:.2f})" if name in figure.ratios else ""))
        for name, value in figure.others.items()
    ]
    met = {None: "", True: "met", False: "MISSED"}[figure.met]
    return figure.name, _short(figure.ours), figure.unit, ", ".join(others), str(figure.goal or ""), met


def table(figures: Sequence[Figure]) -> str:
    """For people: a line for each figure."""
    rows = [HEADING, *map(_row, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def markdown(figures: Sequence[Figure]) -> str:
    """The same for a page, and the command that repeats each."""
    rows = [(*HEADING, "command"), ("---",) * (len(HEADING) + 1)]
    rows += [(*_row(figure), f"`{figure.command}`") for figure in figures]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_dict(result: Result) -> dict[str, Any]:
    """As JSON has it: what was never reached, and is infinite, is null."""
    told = asdict(result)
    for figure, entry in zip(result.figures, told["figures"], strict=True):
        entry.update(
            ours=_finite(figure.ours),
            others={name: _finite(value) for name, value in figure.others.items()},
            ratios=figure.ratios,
            met=figure.met,
        )
    return told


def as_json(result: Result) -> str:
    """One line."""
    return json.dumps(as_dict(result), allow_nan=False)


def show(result: Result) -> None:
    print(f"{result.title}\n\n{table(result.figures)}\n")
    print(as_json(result), flush=True)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _short(value: float) -> str:
    if not math.isfinite(value):
        return "never"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
