"""The logs of partial merging: how crystals were refined, and what there is to see of their partialities."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from braggstream.kernels.post_refinement import PATH_FREE, PATH_RESIDUAL
from braggstream.model.errors import UserError
from braggstream.steps.partialator.cycle import PartialMerge
from braggstream.steps.partialator.refinement import Ways
from braggstream.steps.partialator.settings import MODELS
from braggstream.steps.partialator.told import (
    GRID_ANGLES,
    GRID_RADII,
    GRID_WAVELENGTHS,
    ToldCrystal,
    graph_rows,
    radius_and_wavelength,
    told_crystals,
)

FINAL = "F"
N_GRIDS = 50
"""Crystals with grids of residuals, which cost more than all refinement."""

LOGS = re.compile(
    r"pgraph\.dat|crystal\d+-cycle\w+\.log|(parameters|specgraph)-crystal\d+\.dat"
    r"|grid-crystal\d+-.*\.dat"
)
"""Names of logs."""

GRAPH_TITLE = "  cr    h    k    l    1/d(nm^-1)      I/G          pcalc       pobs   cycle\n"
PATH_TITLE = "iter      residual  free_residual     rotx/mrad     roty/mrad     R/nm^-1    lambda/A\n"
PARAMETER_TITLE = "cycle   R/A^-1  mosaicity   lambda/A  bandwidth          G   astar bstar cstar (nm^-1)\n"
SPECTRUM_TITLE = "  k_mid/nm^-1    1/d/nm^-1      pcalc       pobs  cycle    h    k    l\n"


class PartialatorLogs:
    """A folder of logs."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self.previous = self._folder / "previous"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.existed = self._keep_previous()
            (self._folder / "pgraph.dat").write_text(GRAPH_TITLE)
        except OSError as error:
            raise UserError(f"--log-folder: cannot be written: {error.strerror or error}", path=folder) from None
        self._begun: set[str] = set()

    def _keep_previous(self) -> bool:
        """Move the logs of an earlier run into a folder of their own; gives whether there were any."""
        logs = [path for path in self._folder.iterdir() if path.is_file() and LOGS.fullmatch(path.name)]
        if logs:
            self.previous.mkdir(exist_ok=True)
            for path in self.previous.iterdir():
                if LOGS.fullmatch(path.name):
                    path.unlink()
        for path in logs:
            path.rename(self.previous / path.name)
        return bool(logs)

    def write(self, merge: PartialMerge, cycle: int | str, ways: Ways) -> None:
        """Write what there is after a cycle, or, with `FINAL`, at the end; raises `UserError` where that fails."""
        try:
            self._write(merge, cycle, ways)
        except OSError as error:
            reason = f"cannot be written: {error.strerror or error}"
            raise UserError(f"--log-folder: {reason}", path=self._folder) from None

    def _write(self, merge: PartialMerge, cycle: int | str, ways: Ways) -> None:
        self._graph(merge, cycle)
        for number, way in ways.items():
            self._way(number, cycle, way, merge)
        for told in merge.crew.work(told_crystals, merge.merged, MODELS[merge.settings.model], N_GRIDS):
            for number, crystal in told.items():
                self._crystal(number, cycle, crystal)

    def _graph(self, merge: PartialMerge, cycle: int | str) -> None:
        with (self._folder / "pgraph.dat").open("a") as file:
            for rows in merge.crew.work(graph_rows, merge.merged, merge.merged_sigma, merge.unique):
                rows[:, 4] *= 10.0
                line = f"%4i %4i %4i %4i %10.4f %14.2f %10.5f %10.5f {cycle:>5}\n"
                file.write(line * len(rows) % tuple(rows.ravel().tolist()))

    def _way(self, number: int, cycle: int | str, way: np.ndarray, merge: PartialMerge) -> None:
        radius, wavelength = radius_and_wavelength(merge.first_shapes[number])
        lines = [PATH_TITLE]
        for n, row in enumerate(way):
            lines.append(
                f"{n:4d} {row[PATH_RESIDUAL]:13.6e} {row[PATH_FREE]:13.6e} {1e3 * row[0]:13.4f}"
                f" {1e3 * row[1]:13.4f} {10 * (radius + row[2]):11.6f} {wavelength + row[3]:11.7f}\n"
            )
        self._new(f"crystal{number}-cycle{cycle}.log", lines)

    def _crystal(self, number: int, cycle: int | str, crystal: ToldCrystal) -> None:
        radius, wavelength = radius_and_wavelength(crystal.shape)
        axes = " ".join(f"{10 * value:+10.6f}" for value in crystal.shape[:9])
        self._more(
            f"parameters-crystal{number}.dat",
            PARAMETER_TITLE,
            f"{cycle:>5} {radius:8.6f} {0.0:10.4f} {wavelength:10.7f} {crystal.shape[11]:10.2e}"
            f" {crystal.scale:10.4g} {axes}\n",
        )
        line = f"%13.6f %12.6f %10.6f %10.6f {cycle:>6} %4i %4i %4i\n"
        rows = crystal.spectrum * [10.0, 10.0, 1, 1, 1, 1, 1]
        text = line * len(rows) % tuple(rows.ravel().tolist())
        self._more(f"specgraph-crystal{number}.dat", SPECTRUM_TITLE, text)
        if crystal.angles.size:
            ranges = _range_line(GRID_ANGLES) * 2
            self._new(f"grid-crystal{number}-cycle{cycle}-ang1-ang2.dat", [ranges, *_grid_lines(crystal.angles)])
            ranges = _range_line(1e-10 * GRID_WAVELENGTHS) + _range_line(1e10 * GRID_RADII)
            self._new(f"grid-crystal{number}-cycle{cycle}-R-wave.dat", [ranges, *_grid_lines(crystal.widths)])

    def _new(self, name: str, lines: Iterable[str]) -> None:
        (self._folder / name).write_text("".join(lines))

    def _more(self, name: str, title: str, text: str) -> None:
        """Add to a file that this run begins."""
        is_new = name not in self._begun
        self._begun.add(name)
        with (self._folder / name).open("w" if is_new else "a") as file:
            file.write((title if is_new else "") + text)


def _range_line(values: np.ndarray) -> str:
    return f"{values[0]:e} {values[-1]:e} {len(values)}\n"


def _grid_lines(grid: np.ndarray) -> Iterable[str]:
    return (" ".join(f"{value:e}" for value in row) + "\n" for row in grid)
