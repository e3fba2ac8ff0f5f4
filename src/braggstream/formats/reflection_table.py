"""Merged reflections as Parquet: columns h, k, l, I, SIGI, nmeas and phase, with the symmetry beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from braggstream.model.cell import UnitCell
from braggstream.model.errors import MissingExtraError, UserError
from braggstream.model.point_group import point_group
from braggstream.model.reflection_list import ReflectionList
from braggstream.model.space_group import symmorphic_space_group

KEY = b"braggstream"
"""Key of the file's metadata under which symmetry, cell and notes stand, as JSON."""


def import_pyarrow(purpose: str = "Parquet files") -> Any:
    """Import pyarrow; raises `MissingExtraError`."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(library="pyarrow", extra="tables", purpose=purpose) from None
    return pyarrow


def arrow_table(reflections: ReflectionList, cell: UnitCell | None = None) -> Any:
    """Make an Arrow table of a list; symmetry, notes and cell are its metadata."""
    pyarrow = import_pyarrow("an Arrow table")
    h, k, l = reflections.hkl.T  # noqa: E741
    table = pyarrow.table(
        {
            "h": h,
            "k": k,
            "l": l,
            "I": reflections.intensity,
            "SIGI": reflections.sigma,
            "nmeas": reflections.n_measured,
            "phase": pyarrow.array(reflections.phase, from_pandas=True),
        }
    )
    about: dict[str, Any] = {"symmetry": reflections.symmetry, "notes": reflections.notes}
    if cell is not None:
        about |= {"cell": list(cell.parameters), "centring": cell.centring}
    return table.replace_schema_metadata({KEY: json.dumps(about).encode()})


def pandas_frame(reflections: ReflectionList) -> Any:
    """Make a pandas DataFrame of a list, with h, k and l as its index."""
    try:
        import pandas
    except ImportError:
        raise MissingExtraError(library="pandas", extra="tables", purpose="a DataFrame") from None
    index = pandas.MultiIndex.from_arrays(list(reflections.hkl.T), names=["h", "k", "l"])
    columns = {"I": reflections.intensity, "SIGI": reflections.sigma, "nmeas": reflections.n_measured}
    return pandas.DataFrame(columns, index=index)


def rs_dataset(reflections: ReflectionList, cell: UnitCell | None = None) -> Any:
    """Make a `reciprocalspaceship.DataSet` of a list, in its own asymmetric unit.

    Without a cell it has no space group.
    """
    try:
        import reciprocalspaceship as rs
    except ImportError:
        raise UserError("this needs reciprocalspaceship: pip install reciprocalspaceship") from None
    group = symmorphic_space_group(point_group(reflections.symmetry), cell.centring) if cell else None
    h, k, ell = reflections.hkl.T
    columns = {"H": h, "K": k, "L": ell, "I": reflections.intensity, "SIGI": reflections.sigma}
    data = rs.DataSet(
        {**columns, "N": reflections.n_measured},
        spacegroup=group,
        cell=None if cell is None else cell.parameters,
        merged=True,
    )
    types = {"H": "H", "K": "H", "L": "H", "I": "J", "SIGI": "Q", "N": "I"}
    return data.astype(types).set_index(["H", "K", "L"])


def write_parquet(path: str | Path, reflections: ReflectionList, cell: UnitCell | None = None) -> None:
    """Write a list as Parquet; raises `UserError`."""
    pyarrow = import_pyarrow()
    try:
        pyarrow.parquet.write_table(arrow_table(reflections, cell), str(path), compression="zstd")
    except OSError as error:
        raise UserError(f"cannot write the table: {error.strerror or error}", path=path) from None


def read_parquet(path: str | Path) -> ReflectionList:
    """Read a list that `write_parquet` wrote, or another table with columns h, k, l, I and SIGI."""
    pyarrow = import_pyarrow()
    try:
        table = pyarrow.parquet.read_table(str(path))
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UserError(f"cannot be read as Parquet: {str(error).splitlines()[0][:200]}", path=path) from None
    missing = {"h", "k", "l", "I", "SIGI"} - set(table.column_names)
    if missing:
        raise UserError(f"has no column {', '.join(sorted(missing))}", path=path)
    about = _about((table.schema.metadata or {}).get(KEY, b"{}"))
    try:
        columns = {name: table[name].to_numpy() for name in ("h", "k", "l", "I", "SIGI")}
        n = len(table)
        found = ReflectionList(
            hkl=np.column_stack([columns[name] for name in "hkl"]).astype(np.int32),
            intensity=columns["I"].astype(np.float64),
            sigma=columns["SIGI"].astype(np.float64),
            n_measured=_column(table, "nmeas", np.ones(n)).astype(np.int32),
            phase=_column(table, "phase", np.full(n, np.nan)).astype(np.float64),
            symmetry=str(about.get("symmetry", "unknown")),
            notes=str(about.get("notes", "")),
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"holds no reflections: {error}", path=path) from None
    return found.sorted()


def _column(table: Any, name: str, default: np.ndarray) -> np.ndarray:
    return table[name].to_numpy() if name in table.column_names else default


def _about(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
