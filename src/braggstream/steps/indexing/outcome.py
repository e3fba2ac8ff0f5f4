"""What looking for lattices in one frame gives."""

from dataclasses import dataclass

from braggstream.model.crystal import Crystal


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class IndexingOutcome:
    """Crystals of one frame, and how they were found."""

    crystals: tuple[Crystal, ...] = ()
    indexed_by: str = "none"
    """Method that found the crystals, or `none`."""
    n_tries: int = 0
    """Attempts of the successful method; 0 where none was."""
    warnings: tuple[str, ...] = ()
    """One line each, for the log."""
