"""What may be given where a geometry or a cell is expected: the object, or the file that it is in."""

from os import PathLike
from pathlib import Path

from braggstream.formats.cell import read_cell
from braggstream.formats.geom import read_geometry
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.geometry import Geometry

GeometryLike = Geometry | str | Path
CellLike = UnitCell | str | Path


def geometry_of(given: object) -> Geometry:
    """Give a geometry, from its file where it is one; raises `UserError`."""
    if isinstance(given, Geometry):
        return given
    if isinstance(given, str | PathLike):
        return read_geometry(Path(given))
    raise UserError(
        f"geometry: expected what bs.load_geometry gives, or the path of a geometry file, not {kind_of(given)}"
    )


def cell_of(given: object) -> UnitCell | None:
    """Give a unit cell, from its file where it is one, or None; raises `UserError`."""
    if given is None or isinstance(given, UnitCell):
        return given
    if isinstance(given, str | PathLike):
        return read_cell(Path(given))
    raise UserError(f"cell: expected what bs.load_cell gives, or the path of a cell file, not {kind_of(given)}")


def kind_of(given: object) -> str:
    """Name what was given in a few words."""
    shape = getattr(given, "shape", None)
    described = f"{type(given).__name__} of shape {shape}" if isinstance(shape, tuple) else type(given).__name__
    return f"{'an' if described[0].lower() in 'aeiou' else 'a'} {described}"
