"""The sets: which crystals, what is added to their peaks, and what is asked."""

from dataclasses import dataclass, replace
from typing import Literal

from braggstream.model.cell import Centring, LatticeType, UnitCell

Kind = Literal["lattices", "noise"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameSet:
    """Hits of one kind."""

    name: str
    cell: UnitCell
    """Cell of the crystals in the beam; each swells a little."""
    expected_cell: UnitCell
    """What the cell file says."""
    d_min: float = 2.0
    """Diffraction limit [Å]."""
    peaks: tuple[int, int] = (20, 400)
    """Fewest and most peaks of one lattice; weak crystals of a small cell give fewer than the most."""
    n_lattices: int = 1
    """0: random peaks, as many as `peaks` says."""
    n_random: int = 0
    """Random peaks added to those of the lattices."""
    is_indexable: bool = True
    """Whether the cell file describes the crystals; otherwise every lattice that is found is wrong."""
    asked_with_cell: float | None = 99.0
    """Right lattices that are asked for [% of all]; None = there is no such task."""
    asked_without_cell: float | None = 99.0


def _cell(
    lengths: tuple[float, float, float],
    lattice_type: LatticeType,
    centring: Centring = "P",
    *,
    angles: tuple[float, float, float] = (90.0, 90.0, 90.0),
    unique_axis: str = "*",
) -> UnitCell:
    (a, b, c), (alpha, beta, gamma) = lengths, angles
    return UnitCell(
        a=a,
        b=b,
        c=c,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        lattice_type=lattice_type,
        centring=centring,
        unique_axis=unique_axis,
    )


def _set(name: str, cell: UnitCell, **more: object) -> FrameSet:
    return replace(FrameSet(name=name, cell=cell, expected_cell=cell), **more)


HEXAGONAL_ANGLES = (90.0, 90.0, 120.0)
TETRAGONAL = _cell((79.2, 79.2, 38.0), "tetragonal", unique_axis="c")
MONOCLINIC = _cell((52.4, 61.3, 70.9), "monoclinic", angles=(90.0, 103.7, 90.0), unique_axis="b")
SPEED_CELL = _cell((80.0, 80.0, 38.0), "tetragonal", unique_axis="c")
OTHER_CELL = _cell((64.0, 93.0, 51.0), "orthorhombic")


def _stretched(cell: UnitCell, a: float, b: float, c: float) -> UnitCell:
    return replace(cell, a=cell.a * a, b=cell.b * b, c=cell.c * c)


SETS = (
    _set("tetragonal P", TETRAGONAL),
    _set("monoclinic P", MONOCLINIC),
    _set("orthorhombic I", _cell((60.0, 85.0, 110.0), "orthorhombic", "I")),
    _set(
        "hexagonal P", _cell((93.0, 93.0, 130.0), "hexagonal", angles=HEXAGONAL_ANGLES, unique_axis="c"), d_min=2.5
    ),
    _set("cubic I", _cell((106.0, 106.0, 106.0), "cubic", "I")),
    _set("triclinic", _cell((41.0, 52.0, 63.0), "triclinic", angles=(82.0, 97.0, 104.0))),
    _set("rhombohedral R", _cell((81.0, 81.0, 81.0), "rhombohedral", "R", angles=(59.2, 59.2, 59.2))),
    _set(
        "rhombohedral H",
        _cell((80.0, 80.0, 200.0), "hexagonal", "H", angles=HEXAGONAL_ANGLES, unique_axis="c"),
    ),
    _set(
        "monoclinic C", _cell((110.0, 50.0, 70.0), "monoclinic", "C", angles=(90.0, 110.0, 90.0), unique_axis="b")
    ),
    _set("large", _cell((117.0, 223.0, 309.0), "orthorhombic"), d_min=3.3, asked_without_cell=90.0),
    _set("70 + 70 random", TETRAGONAL, peaks=(70, 70), n_random=70, asked_with_cell=98.0, asked_without_cell=98.0),
    _set("two lattices", TETRAGONAL, n_lattices=2, peaks=(40, 150), asked_with_cell=98.0, asked_without_cell=98.0),
    _set("four lattices", TETRAGONAL, n_lattices=4, peaks=(40, 120), asked_with_cell=95.0, asked_without_cell=95.0),
    _set(
        "cell 2.5 % long",
        TETRAGONAL,
        expected_cell=_stretched(TETRAGONAL, 1.025, 1.025, 1.025),
        asked_without_cell=None,
    ),
    _set(
        "cell 2.5 % short",
        TETRAGONAL,
        expected_cell=_stretched(TETRAGONAL, 0.975, 0.975, 0.975),
        asked_without_cell=None,
    ),
    _set(
        "cell 2.5 % either",
        MONOCLINIC,
        expected_cell=_stretched(MONOCLINIC, 1.025, 0.975, 1.025),
        asked_without_cell=None,
    ),
    _set("random peaks", TETRAGONAL, n_lattices=0, asked_with_cell=None, asked_without_cell=None),
    _set(
        "another cell",
        OTHER_CELL,
        expected_cell=TETRAGONAL,
        is_indexable=False,
        asked_with_cell=None,
        asked_without_cell=None,
    ),
    _set("200 peaks (speed)", SPEED_CELL, peaks=(200, 200)),
)
ASKED_WRONG = 0.3
"""Wrong lattices, at most [% of the hits]."""
ASKED_MISORIENTATION = 0.010
"""Median over frames with many peaks [deg]."""
ASKED_CELL_ERROR = 1e-4
"""Median of the largest relative error of a length, over frames with many peaks."""
MANY_PEAKS = 150
"""Precision is asked for with so many peaks."""
ASKED_MS = {"with": 8.0, "without": 50.0}
"""Median time a hit [ms]; one that cannot be indexed may take twice that."""
