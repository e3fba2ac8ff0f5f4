"""Files of merged reflections, whichever format their name tells: CrystFEL's list, MTZ or Parquet."""

from pathlib import Path

from braggstream.formats.hkl import read_hkl
from braggstream.model.reflection_list import ReflectionList


def read_reflections(path: str | Path) -> ReflectionList:
    """Read a list of merged reflections; raises `UserError` where it cannot be."""
    match Path(path).suffix.lower():
        case ".mtz":
            from braggstream.formats.mtz import read_mtz

            return read_mtz(path)
        case ".parquet":
            from braggstream.formats.reflection_table import read_parquet

            return read_parquet(path)
        case _:
            return read_hkl(path)
