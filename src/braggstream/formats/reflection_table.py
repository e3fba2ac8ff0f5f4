"""Merged reflections as Parquet: columns h, k, l, I, SIGI, nmeas and phase, with the symmetry beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from braggstream.formats.replaced_file import check_has_content, replacing
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.reflection_list import ReflectionList
from braggstream.model.tables import KEY, arrow_table, import_pyarrow


def write_parquet(path: str | Path, reflections: ReflectionList, cell: UnitCell | None = None) -> None:
    """Write a list as Parquet; raises `UserError`."""
    pyarrow = import_pyarrow()
    check_has_content(path, len(reflections), "reflections")
    try:
        with replacing(path) as part:
            pyarrow.parquet.write_table(arrow_table(reflections, cell), str(part), compression="zstd")
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
