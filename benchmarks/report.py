"""`python -m benchmarks.report` makes the tables and the plot of the documentation from the kept figures."""

import json
from pathlib import Path
from statistics import median

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "results" / "last.json"
TABLES = ROOT / "docs" / "explanation" / "cost-figures.md"
PLOT = ROOT / "docs" / "images" / "growth.png"
STAGES = ("indexing", "prediction", "integration", "format")


def main() -> None:
    kept = json.loads(KEPT.read_text())
    parts = [
        f"Measured on two cores of *{kept['machine']}*; medians.\n",
        "## A frame, by pixels\n",
        _pixel_table(kept["stages"]),
        "## A hit, by peaks\n",
        _growth_table(kept["growth"]["peaks"], "peaks", "Peaks"),
        "## A hit, by volume of the cell\n",
        _growth_table(kept["growth"]["volume"], "volume", "Volume / 238,000 Å³"),
        "## End to end\n",
        _whole_table(kept["end_to_end"]),
    ]
    TABLES.write_text("\n".join(parts))
    _plot(kept)


def _pixel_table(rows: list[dict]) -> str:
    stages = [stage for stage in rows[0]["stages_ms"] if stage != "total"]
    lines = _head(["Frame", "One pass", *(stage.capitalize() for stage in stages), "All [ms]", "All [passes]"])
    for row in rows:
        spent = row["stages_ms"]
        cells = [f"{row['size']} {row['dtype']}", f"{row['pass_ms']:.2f}", *(f"{spent[s]:.2f}" for s in stages)]
        lines.append(_row([*cells, f"{spent['total']:.1f}", f"{spent['total'] / row['pass_ms']:.0f}"]))
    return "\n".join(lines) + "\n"


def _growth_table(rows: list[dict], along: str, title: str) -> str:
    lines = _head([title, *(stage.capitalize() for stage in STAGES), "All [ms]"])
    for row in rows:
        total = sum(row[stage] for stage in STAGES)
        lines.append(_row([f"{row[along]:g}", *(f"{row[stage]:.2f}" for stage in STAGES), f"{total:.1f}"]))
    return "\n".join(lines) + "\n"


def _whole_table(rows: list[dict]) -> str:
    lines = _head(["Frames", "Frames/s", "MiB a worker"])
    for row in rows:
        rate = median(run["frames_per_s"] for run in row["runs"])
        memory = max(run["worker_share_mib"] for run in row["runs"])
        lines.append(_row([row["name"], f"{rate:.1f}", f"{memory:.0f}"]))
    return "\n".join(lines) + "\n"


def _head(titles: list[str]) -> list[str]:
    return [_row(titles), _row(["---"] * len(titles))]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plot(kept: dict) -> None:
    figure, (pixels, peaks, volume) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for dtype in sorted({row["dtype"] for row in kept["stages"]}):
        rows = [row for row in kept["stages"] if row["dtype"] == dtype]
        sizes = [float(row["size"][:-1]) for row in rows]
        pixels.plot(sizes, [row["stages_ms"]["peaks"] for row in rows], "o-", label=dtype)
    pixels.set(xlabel="pixels [2²⁰]", ylabel="peak search [ms]", xscale="log", yscale="log")
    _tick(pixels, sizes)
    for axes, along, label in ((peaks, "peaks", "peaks"), (volume, "volume", "volume of the cell / 238,000 Å³")):
        rows = kept["growth"][along]
        for stage in STAGES:
            axes.plot([row[along] for row in rows], [row[stage] for row in rows], "o-", label=stage)
        axes.set(xlabel=label, ylabel="a hit [ms]", xscale="log", ylim=(0, None))
        _tick(axes, [row[along] for row in rows])
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=110)


def _tick(axes: Axes, values: list[float]) -> None:
    """Tick the values that were measured, and name the lines."""
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(fontsize="small")


main()
