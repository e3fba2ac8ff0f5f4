"""The unit cell of the crystals in the beam, found from the first hits while the session runs (`--find-cell`)."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from braggstream.formats.cell import write_cell
from braggstream.formats.replaced_file import replace_file
from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.cell import HAS_UNIQUE_AXIS, UnitCell
from braggstream.run.watching import Watcher
from braggstream.steps.indexing.methods import KNOWN_CELL_METHOD

if TYPE_CHECKING:
    from braggstream.steps.indexing.cell_clusters import CellClusters, FoundCell

MOST_HITS = 300
"""After so many hits the search ends, whatever it has found."""
RULES = ((20, 0.6, 0), (20, 0.3, 100), (5, 0.3, MOST_HITS))
"""A cell is taken when so many crystals have it, that are at least this part of all, after so many hits."""
FEWEST_AT_END = 3
"""Crystals that must have the cell where the frames end before."""
LEAST_PART = 0.3
"""Of all crystals; in the end, and for a further cell to be told."""


class CellWatcher(Watcher):
    """Sorts the cells of the first hits; once one is clear, the frames that follow are indexed with it."""

    def __init__(self, setup: Setup, say: Callable[[str], None]) -> None:
        self._indexing = setup.settings.indexing
        self._path = setup.output.found_cell_file
        self._say = say
        self._clusters: CellClusters | None = None
        self._found: list[FoundCell] = []
        self._n_hits = 0
        self.is_looking = True
        """Whether the cell may still become known."""

    def see(self, outcome: FrameOutcome, adjustments: Adjustments) -> Adjustments | None:
        """Sort the cells of a hit in; gives adjustments when the cell is clear."""
        if not self.is_looking or not outcome.is_hit:
            return None
        if not self._n_hits:
            self._say("Looking for the unit cell: hits are written when it is known")
        self._n_hits += 1
        clusters = self._sorted
        for numbers in outcome.cells:
            clusters.add(np.array(numbers).reshape(3, 3))
        n, n_all = clusters.n_largest, clusters.n_cells
        if any(n >= fewest and n >= part * n_all and self._n_hits >= n_hits for fewest, part, n_hits in RULES):
            return self._take_cell(adjustments)
        if self._n_hits >= MOST_HITS:
            self._give_up()
        return None

    def conclude(self, adjustments: Adjustments) -> Adjustments | None:
        """Decide with what is there, because no more frames come."""
        if not self.is_looking:
            return None
        n, n_all = self._sorted.n_largest, self._sorted.n_cells
        if n >= FEWEST_AT_END and n >= LEAST_PART * n_all:
            return self._take_cell(adjustments)
        self._give_up()
        return None

    def finish(self) -> dict[str, Any]:
        """Say what is known of the cell where the session was stopped before; gives the JSON summary's part."""
        if self.is_looking:
            n, n_all = self._sorted.n_largest, self._sorted.n_cells
            if n >= FEWEST_AT_END and n >= LEAST_PART * n_all:
                self._take_cell(Adjustments())
            else:
                self._give_up()
        cells = [found.as_record() for found in self._found]
        return {
            "found_cell": {
                "n_hits": self._n_hits,
                "n_lattices": self._sorted.n_cells,
                "cells": cells,
                "file": self._path if cells else None,
            }
        }

    @property
    def _sorted(self) -> "CellClusters":
        if self._clusters is None:
            from braggstream.steps.indexing.cell_clusters import CellClusters

            self._clusters = CellClusters()
        return self._clusters

    def _take_cell(self, adjustments: Adjustments) -> Adjustments | None:
        fewest = max(FEWEST_AT_END, int(LEAST_PART * self._sorted.n_cells))
        self._found = self._sorted.found_cells(fewest)
        if not self._found:
            self._give_up()
            return None
        self.is_looking = False
        cell = self._found[0].cell
        self._say(f"Unit cell found after {self._n_hits} hits: {_in_words(self._found[0], self._sorted.n_cells)}")
        for other in self._found[1:]:
            self._say(f"Another unit cell, not indexed from now on: {_in_words(other, self._sorted.n_cells)}")
        self._write(cell)
        indexing = replace(self._indexing, methods=(KNOWN_CELL_METHOD,), target_cell=cell, find_cell=False)
        return replace(adjustments, indexing=indexing)

    def _give_up(self) -> None:
        self.is_looking = False
        self._say(
            f"No unit cell found: of {self._sorted.n_cells} lattices in {self._n_hits} hits only "
            f"{self._sorted.n_largest} are alike; frames are indexed without a cell"
        )

    def _write(self, cell: UnitCell) -> None:
        if self._path is None:
            return
        try:
            replace_file(self._path, write_cell(cell, decimals=3), say=self._say)
            self._say(f"Unit cell file: {self._path}")
        except OSError as error:
            self._say(f"{self._path}: cannot write the unit cell file: {error.strerror or error}")


def _in_words(found: "FoundCell", n_all: int) -> str:
    cell = found.cell
    unique = f", unique axis {cell.unique_axis}" if cell.lattice_type in HAS_UNIQUE_AXIS else ""
    lengths = " ".join(f"{length:.2f}±{spread:.2f}" for length, spread in _pairs(found)[:3])
    angles = " ".join(f"{angle:.2f}±{spread:.2f}" for angle, spread in _pairs(found)[3:])
    return (
        f"{cell.lattice_type} {cell.centring}{unique}: {lengths} Å, {angles} deg "
        f"({found.n_crystals} of {n_all} lattices)"
    )


def _pairs(found: "FoundCell") -> list[tuple[float, float]]:
    return list(zip(found.cell.parameters, found.spread, strict=True))
