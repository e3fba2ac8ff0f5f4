"""DirAx, driven by what a user would type.

Duisenberg (1992), J. Appl. Cryst. 25, 92 (doi:10.1107/S0021889891010634).
"""

import re

import numpy as np
from numpy.typing import NDArray

from braggstream.model.crystal import Crystal
from braggstream.model.settings import IndexingSettings
from braggstream.steps.indexing.external.program import ExternalProgram
from braggstream.steps.indexing.external.spots import numbers_of, reciprocal_of
from braggstream.steps.indexing.external.terminal import Conversation, conversation
from braggstream.steps.indexing.indexer import candidate
from braggstream.steps.view import PeakView

MIN_PEAKS = 4
MAX_CANDIDATES = 5
"""Rows of the table of solutions that are tried."""
SPOTS = "frame.drx"
DUMMY_WAVELENGTH = 0.5
NEAR = 0.25
"""A peak with indices this near to integers is explained."""
_ROW = re.compile(r"^[ \t]*(\d+)[ \t]+(\d+)(?:[ \t]+[-+.\dEe]+)+[ \t\r]*$", re.MULTILINE)


class DiraxIndexer:
    """Asks DirAx for the lattice of a frame; it does not know the cell."""

    def __init__(self, settings: IndexingSettings) -> None:
        self.program = ExternalProgram("dirax", scratch=settings.scratch)

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the first cell that DirAx shows, or nothing."""
        q = view.q[np.isfinite(view.q).all(axis=1)]
        if len(q) < MIN_PEAKS or not self.program.may_try(thorough=thorough):
            return []
        with self.program.folder({SPOTS: spot_file(q)}) as folder, conversation(self.program, folder) as talk:
            direct = _talk(talk)
        axes = None if direct is None else _explaining(direct, q)
        return [] if axes is None else [candidate(axes, None)]


def spot_file(q: NDArray[np.float64]) -> str:
    """Write scattering vectors [Å⁻¹] after a line with a wavelength that does not matter."""
    return f"{DUMMY_WAVELENGTH}\n" + "".join(f"{x:.6f} {y:.6f} {z:.6f} 1.0\n" for x, y, z in q)


def read_choices(table: str) -> list[int]:
    """Read from the table of solutions which levels to try: those with most fitting peaks first."""
    rows = [(int(level), int(n_fitting)) for level, n_fitting in _ROW.findall(table)]
    return [level for level, _ in sorted(rows, key=lambda row: -row[1])][:MAX_CANDIDATES]


def read_cell(text: str) -> NDArray[np.float64] | None:
    """Read the three lines of a cell, float64[3, 3] [Å]; None where they are not there."""
    rows = [numbers_of(line, 3) for line in text.splitlines()]
    for start in range(len(rows) - 2):
        block = rows[start : start + 3]
        if all(row is not None for row in block):
            return np.array(block)
    return None


def _talk(talk: Conversation) -> NDArray[np.float64] | None:
    talk.listen()
    for line in ("echo off", f"read {SPOTS}", "dmax 1000", "indexfit 2", "levelfit 1000"):
        talk.ask(line)
    talk.ask("go")
    for level in read_choices(talk.ask("acl")):
        talk.ask(str(level))
        cell = read_cell(talk.ask("cell"))
        if cell is not None or talk.is_over:
            return cell
        talk.ask("acl")
    return None


def _explaining(shown: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Axes as rows or as columns, whichever explain more peaks: the program does not say which they are."""
    best, most = None, -1
    for direct in (shown.T, shown):
        axes = reciprocal_of(direct)
        if axes is None:
            continue
        away = np.abs(q @ direct.T - np.rint(q @ direct.T))
        n = int((away < NEAR).all(axis=1).sum())
        if n > most:
            best, most = axes, n
    return best


def make_indexer(settings: IndexingSettings) -> DiraxIndexer:
    """Make the indexer; `UserError` where DirAx is not installed."""
    return DiraxIndexer(settings)
