"""Plots of cells and of merged data, with Matplotlib."""

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.replaced_file import replacing
from braggstream.model.errors import MissingExtraError, UserError

FloatArray = NDArray[np.float64]

COLOURS = ("#3b6ea8", "#c8553d", "#5b8c5a", "#8a6bb1", "#b08a3c", "#4d4d4d")
CELL_LABELS = ("a [Å]", "b [Å]", "c [Å]", "α [°]", "β [°]", "γ [°]")
N_BINS = 80
LEAST_WIDTH = 0.2
"""Narrowest histogram of an angle [deg]."""
MOST_PERCENT = 150.0
OUTERMOST = 0.005
"""Part of the values on each side that histograms leave out, so that a stray one does not set the scale."""


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure of so many inches; raises `MissingExtraError`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(library="matplotlib", extra="plot", purpose="drawing") from None
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Any, path: str | Path) -> None:
    """Write a figure as PNG; raises `UserError`."""
    try:
        with replacing(path) as part:
            figure.savefig(str(part), format="png")
    except OSError as error:
        raise UserError(f"cannot write the picture: {error.strerror or error}", path=path) from None


def svg_of(figure: Any) -> str:
    """Give a figure as an SVG element for a page of HTML."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    content = text.getvalue()
    return content[content.index("<svg") :]


def cell_figure(populations: Sequence[tuple[str, FloatArray]]) -> Any:
    """Draw histograms of the six cell parameters, a colour for each population.

    Parameters
    ----------
    populations
        One or more: name, and lengths [Å] and angles [deg] of each crystal, float64[n, 6].
    """
    figure = new_figure(10.0, 5.6)
    for number, label in enumerate(CELL_LABELS):
        axes = figure.add_subplot(2, 3, number + 1)
        values = [parameters[:, number] for _, parameters in populations]
        low, high = _range(np.concatenate(values), LEAST_WIDTH if number > 2 else 0.0)
        edges = np.linspace(low, high, N_BINS + 1)
        for colour, (name, _), each in zip(_colours(len(values)), populations, values, strict=True):
            axes.hist(each, edges, histtype="stepfilled", color=colour, alpha=0.65, label=name)
        axes.set_xlabel(label)
        axes.set_yticks([])
        axes.ticklabel_format(axis="x", useOffset=False)
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)
    if populations:
        figure.axes[0].legend(fontsize=7, frameon=False, loc="upper left")
    return figure


def shell_figure(inverse_d: FloatArray, panels: Mapping[str, Mapping[str, FloatArray]]) -> Any:
    """Draw values against resolution, a panel for each kind.

    Parameters
    ----------
    inverse_d
        Middles of the shells as 1/d, float64[n] [Å⁻¹].
    panels
        Title of each panel, and its curves by name, float64[n] each.
    """
    figure = new_figure(3.4 * len(panels), 2.9)
    for number, (title, curves) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number)
        for colour, (name, values) in zip(_colours(len(curves)), curves.items(), strict=True):
            axes.plot(inverse_d, values, color=colour, marker="o", markersize=3.5, linewidth=1.4, label=name)
        axes.set_title(title, fontsize=10)
        ticks = np.linspace(inverse_d[0], inverse_d[-1], 4)
        axes.set_xticks(ticks, [f"{1.0 / tick:.2f}" for tick in ticks])
        axes.set_xlabel("d [Å]")
        # Figures of noise go anywhere; a shell of them must not set the scale of all.
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -0.3), min(high, MOST_PERCENT) if "%" in title else high)
        axes.grid(alpha=0.25)
        for side in ("right", "top"):
            axes.spines[side].set_visible(False)
        if len(curves) > 1:
            axes.legend(fontsize=7, frameon=False)
    return figure


def line_figure(title: str, x_label: str, x: FloatArray, curves: Mapping[str, FloatArray]) -> Any:
    """Draw the first of some curves as points, and the others as lines, float64[n] each."""
    figure = new_figure(5.0, 2.9)
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(curves.items()):
        style = {"marker": "o", "markersize": 3.5, "linestyle": "none"} if number == 0 else {"linewidth": 1.4}
        axes.plot(x, values, color=COLOURS[number % len(COLOURS)], label=name, **style)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x_label)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, frameon=False)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    return figure


def histogram_figure(label: str, values: FloatArray) -> Any:
    """Draw a histogram, without the outermost values."""
    figure = new_figure(5.0, 2.4)
    axes = figure.add_subplot()
    axes.hist(values, np.linspace(*_range(values, 0.0), N_BINS + 1), color=COLOURS[0], alpha=0.75)
    axes.set_xlabel(label)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    return figure


def _range(values: FloatArray, least_width: float) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    low, high = (float(each) for each in np.quantile(values, (OUTERMOST, 1.0 - OUTERMOST)))
    margin = max(0.05 * (high - low), 0.5 * (least_width - (high - low))) or 1e-3 * max(1.0, abs(low))
    return low - margin, high + margin


def _colours(n: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(n)]
