"""Plots as SVG, with matplotlib (the extra `bench`). The same plot gives the same file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from figures import Plot

#: Inches. Pages show it as wide as their text.
SIZE = (8.0, 4.0)
#: Of a group of bars; the rest is the space to the next one.
GROUP = 0.8
#: Told apart by those who see no red or green, too (Okabe and Ito).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
SETTINGS = {
    "svg.hashsalt": "ropeway",  # else the names of its parts are random
    "svg.fonttype": "none",  # text stays text: smaller, and found by a search
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(plot: Plot, path: Path) -> None:
    """Bars where `x` are words, else lines. Raises ImportError without matplotlib."""
    # By its name, as the checks run where it is not installed.
    matplotlib = importlib.import_module("matplotlib")
    figures = importlib.import_module("matplotlib.figure")
    with matplotlib.rc_context(SETTINGS):
        figure = figures.Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        axes.set_prop_cycle(color=COLOURS)
        if any(isinstance(x, str) for series in plot.series for x in series.x):
            _bars(axes, plot)
        else:
            for series in plot.series:
                axes.plot(series.x, series.y, label=series.label, linewidth=1.2)
        axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", alpha=0.3)
        if len(plot.series) > 1:
            axes.legend(frameon=False)
        # White below the text, for pages that are dark.
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def _bars(axes: Any, plot: Plot) -> None:
    names = list(dict.fromkeys(x for series in plot.series for x in series.x))
    width = GROUP / len(plot.series)
    for number, series in enumerate(plot.series):
        shift = (number - (len(plot.series) - 1) / 2) * width
        axes.bar([names.index(x) + shift for x in series.x], series.y, width, label=series.label)
    axes.set_xticks(range(len(names)), names)
