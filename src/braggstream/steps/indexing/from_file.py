"""Indexing by looking the lattices up in a list, which another run or another program made."""

from braggstream.formats.solutions import Solutions, read_solutions
from braggstream.model.crystal import Crystal
from braggstream.model.settings import IndexingSettings
from braggstream.steps.view import PeakView


class FileIndexer:
    """Gives the crystals that a list has for the frame's names; the peaks do not matter."""

    def __init__(self, solutions: Solutions) -> None:
        self._solutions = solutions

    def __call__(self, view: PeakView, *, thorough: bool = True) -> list[Crystal]:
        """Give the frame's crystals, in the order of the list."""
        return [] if view.identity is None else self._solutions.of(view.identity)


def make_indexer(settings: IndexingSettings) -> FileIndexer:
    """Read the list; `UserError` with the line at fault."""
    assert settings.solutions_file is not None  # As the list of methods was checked.
    return FileIndexer(read_solutions(settings.solutions_file))
