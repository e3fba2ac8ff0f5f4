"""Lists of indexing solutions (`--fromfile-input-file`): one crystal a line, found earlier or by another program.

    FILENAME EVENT a*x a*y a*z b*x b*y b*z c*x c*y c*z SHIFT_X SHIFT_Y LATTICE

Reciprocal axes are in nm⁻¹ without 2 pi, detector shifts in mm.  LATTICE is a letter for the lattice type, one for
the centring, and for monoclinic, tetragonal and hexagonal lattices the unique axis: `aP`, `mCb`, `tPc`, `rR`.  The
name of the file may hold blanks.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import CENTRINGS, HAS_UNIQUE_AXIS, Centring, LatticeType
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.frame import FrameIdentity
from braggstream.model.result import FrameResult

MAX_CRYSTALS = 16
"""Most crystals of one frame."""
MAX_SOLUTIONS = 2_000_000
"""Most lines of one file."""
MAX_LINE = 8192
"""Longest line [characters]."""
_N_FIELDS = 14
_LETTERS: Mapping[LatticeType, str] = {
    "triclinic": "a",
    "monoclinic": "m",
    "orthorhombic": "o",
    "tetragonal": "t",
    "cubic": "c",
    "rhombohedral": "r",
    "hexagonal": "h",
}
_TYPES: Mapping[str, LatticeType] = {letter: name for name, letter in _LETTERS.items()}
_Lattice = tuple[LatticeType, Centring, str]


class Solutions:
    """Known crystals by the names of their frames."""

    def __init__(self, numbers: NDArray[np.float64], lattices: list[_Lattice], rows: dict[str, list[int]]) -> None:
        self._numbers = numbers
        self._lattices = lattices
        self._rows = rows

    def __len__(self) -> int:
        return len(self._lattices)

    def of(self, identity: FrameIdentity) -> list[Crystal]:
        """Give the crystals of a frame, in the order of the file; none where it is not in the list."""
        return [self._crystal(row) for row in self._rows.get(_key(identity.filename, identity.event), ())]

    def _crystal(self, row: int) -> Crystal:
        numbers = self._numbers[row]
        lattice_type, centring, unique_axis = self._lattices[row]
        return Crystal(
            reciprocal_axes=numbers[:9].reshape(3, 3) / 10.0,
            lattice_type=lattice_type,
            centring=centring,
            unique_axis=unique_axis,
            det_shift=(float(numbers[9]) / 1000.0, float(numbers[10]) / 1000.0),
        )


def read_solutions(path: str | Path) -> Solutions:
    """Read a list of solutions; raises `UserError` with the line at fault."""
    numbers: list[NDArray[np.float64]] = []
    lattices: list[_Lattice] = []
    rows: dict[str, list[int]] = {}
    # Few lattices occur: all crystals of one share it.
    known: dict[str, _Lattice] = {}
    for number, line in _lines(Path(path)):
        fields = line.rsplit(None, _N_FIELDS - 1)
        if len(fields) != _N_FIELDS:
            raise UserError(
                f"has {len(fields)} fields, expected FILENAME EVENT, nine components, two shifts, LATTICE",
                path=path,
                line=number,
            )
        if len(lattices) == MAX_SOLUTIONS:
            raise UserError(f"holds more than {MAX_SOLUTIONS} solutions: split it", path=path, line=number)
        try:
            numbers.append(_numbers(fields[2:13]))
            lattice = known.get(fields[13]) or known.setdefault(fields[13], _lattice(fields[13]))
        except ValueError as fault:
            raise UserError(str(fault), path=path, line=number) from None
        of_frame = rows.setdefault(_key(fields[0].lstrip(), fields[1]), [])
        if len(of_frame) == MAX_CRYSTALS:
            raise UserError(
                f"is the {MAX_CRYSTALS + 1}th crystal of {fields[0].strip()} {fields[1]}, "
                f"at most {MAX_CRYSTALS} are possible",
                path=path,
                line=number,
            )
        of_frame.append(len(lattices))
        lattices.append(lattice)
    return Solutions(np.array(numbers).reshape(-1, 11), lattices, rows)


def solution_lines(frame: FrameResult) -> str:
    """Write the crystals of a frame as lines of a list, at most 16 of them."""
    name = f"{frame.identity.filename} {frame.identity.event}"
    return "".join(f"{name} {_fields(crystal)}\n" for crystal in islice(frame.crystals, MAX_CRYSTALS))


def lattice_code(lattice_type: LatticeType, centring: Centring, unique_axis: str) -> str:
    """Name a lattice, for instance `tPc`."""
    return f"{_LETTERS[lattice_type]}{centring}{unique_axis if lattice_type in HAS_UNIQUE_AXIS else ''}"


def _fields(crystal: Crystal) -> str:
    axes = " ".join(f"{component:+.9f}" for component in (crystal.reciprocal_axes * 10.0).ravel())
    shifts = " ".join(f"{shift * 1000.0:.6f}" for shift in crystal.det_shift)
    return f"{axes} {shifts} {lattice_code(crystal.lattice_type, crystal.centring, crystal.unique_axis)}"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not empty."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise UserError(f"is longer than {MAX_LINE} characters", path=path, line=number)
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except OSError as error:
        raise UserError(f"cannot read the list of solutions: {error.strerror or error}", path=path) from None


def _numbers(words: list[str]) -> NDArray[np.float64]:
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.full(11, np.nan)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{' '.join(words)[:120]!r}: expected eleven numbers")
    axes = numbers[:9].reshape(3, 3)
    volume, lengths = abs(np.linalg.det(axes)), np.linalg.norm(axes, axis=1)
    if not volume > 1e-9 * lengths.prod():
        raise ValueError("the three axes span no volume")
    return numbers


def _lattice(code: str) -> _Lattice:
    expected = "a letter of amotcrh, a centring of PABCIFRH, and the unique axis for m, t and h, such as tPc"
    lattice_type = _TYPES.get(code[:1])
    centring: Centring | None = next((letter for letter in CENTRINGS if letter == code[1:2]), None)
    if lattice_type is None or centring is None:
        raise ValueError(f"lattice {code!r}: expected {expected}")
    axis = code[2:]
    if axis not in ({"a", "b", "c", "?"} if lattice_type in HAS_UNIQUE_AXIS else {"", "*", "?"}):
        raise ValueError(f"lattice {code!r}: expected {expected}")
    return lattice_type, centring, axis or "*"


def _key(filename: str, event: str) -> str:
    return f"{filename}\n{event}"
