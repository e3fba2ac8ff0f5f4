"""Reflections and observations as tables of other libraries: Arrow, pandas, reciprocalspaceship."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from braggstream.model.cell import UnitCell, cell_parameters
from braggstream.model.errors import MissingExtraError, UserError
from braggstream.model.point_group import point_group
from braggstream.model.space_group import symmorphic_space_group

if TYPE_CHECKING:
    from braggstream.model.observations import CrystalTable, Observations
    from braggstream.model.reflection_list import ReflectionList

KEY = b"braggstream"
"""Key of the file's metadata under which symmetry, cell and notes stand, as JSON."""


def import_pyarrow(purpose: str = "Parquet files") -> Any:
    """Import pyarrow; raises `MissingExtraError`."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError(library="pyarrow", extra="tables", purpose=purpose) from None
    return pyarrow


def arrow_table(reflections: "ReflectionList", cell: UnitCell | None = None) -> Any:
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


def import_pandas() -> Any:
    """Import pandas; raises `MissingExtraError`."""
    try:
        import pandas
    except ImportError:
        raise MissingExtraError(library="pandas", extra="tables", purpose="a DataFrame") from None
    return pandas


def import_reciprocalspaceship() -> Any:
    """Import reciprocalspaceship; raises `UserError`."""
    try:
        import reciprocalspaceship
    except ImportError:
        raise UserError("this needs reciprocalspaceship: pip install reciprocalspaceship") from None
    return reciprocalspaceship


def pandas_frame(reflections: "ReflectionList") -> Any:
    """Make a pandas DataFrame of a list, with h, k and l as its index."""
    pandas = import_pandas()
    index = pandas.MultiIndex.from_arrays(list(reflections.hkl.T), names=["h", "k", "l"])
    columns = {"I": reflections.intensity, "SIGI": reflections.sigma, "nmeas": reflections.n_measured}
    return pandas.DataFrame(columns, index=index)


def rs_dataset(reflections: "ReflectionList", cell: UnitCell | None = None) -> Any:
    """Make a `reciprocalspaceship.DataSet` of a list, in its own asymmetric unit.

    Without a cell it has no space group.
    """
    rs = import_reciprocalspaceship()
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


def observation_table(block: "Observations", *, first_crystal: int = 0) -> Any:
    """Make an Arrow table of observations, a row for each.

    Columns: `crystal` (from 0), `filename`, `event`, `h`, `k`, `l`, `I`, `SIGI`, `peak`, `background`, `fs`, `ss`,
    `panel`, and of the crystal `inverse_d` [Å⁻¹] by its own cell and `wavelength` [Å].
    """
    pyarrow = import_pyarrow("an Arrow table")
    crystals, number = block.crystals, block.crystal
    vectors = np.einsum("ni,nij->nj", block.hkl.astype(np.float64), crystals.reciprocal_axes[number])
    names = np.array([*block.panel_names, ""], object)

    def words(values: tuple[str, ...]) -> Any:
        plain = [value.encode("utf-8", "replace").decode() for value in values]
        return pyarrow.DictionaryArray.from_arrays(number, pyarrow.array(plain, pyarrow.string())).cast("string")

    panel = pyarrow.DictionaryArray.from_arrays(
        np.where(block.panel < 0, len(names) - 1, block.panel).astype(np.int32),
        pyarrow.array(names.tolist(), pyarrow.string()),
    )
    h, k, ell = block.hkl.T
    return pyarrow.table(
        {
            "crystal": (number + first_crystal).astype(np.int64),
            "filename": words(crystals.filename),
            "event": words(crystals.event),
            "h": h,
            "k": k,
            "l": ell,
            "I": block.intensity,
            "SIGI": block.sigma,
            "peak": block.peak_value,
            "background": block.background,
            "fs": block.fs,
            "ss": block.ss,
            "panel": panel.cast("string"),
            "inverse_d": np.sqrt(np.einsum("ij,ij->i", vectors, vectors)).astype(np.float32),
            "wavelength": crystals.wavelength[number].astype(np.float32),
        }
    )


def crystal_table(crystals: "CrystalTable") -> Any:
    """Make an Arrow table of crystals, a row for each.

    Columns: `filename`, `event`, `serial`, `indexed_by`, `lattice_type`, `centring`, `unique_axis`, the cell
    `a`, `b`, `c` [Å], `alpha`, `beta`, `gamma` [deg], `wavelength` [Å], `bandwidth`, `profile_radius` and
    `resolution_limit` [Å⁻¹], `det_shift_x` and `det_shift_y` [m], `n_saturated`.
    """
    pyarrow = import_pyarrow("an Arrow table")
    texts = {
        name: [text.encode("utf-8", "replace").decode() for text in getattr(crystals, name)]
        for name in ("filename", "event", "indexed_by")
    }
    lattices = [crystals.lattice_of(n) for n in range(len(crystals))]
    cells = cell_parameters(np.linalg.inv(crystals.reciprocal_axes).transpose(0, 2, 1))
    columns = ("wavelength", "bandwidth", "profile_radius", "resolution_limit", "n_saturated")
    return pyarrow.table(
        {
            "filename": texts["filename"],
            "event": texts["event"],
            "serial": crystals.serial,
            "indexed_by": texts["indexed_by"],
            "lattice_type": [lattice[0] for lattice in lattices],
            "centring": [lattice[1] for lattice in lattices],
            "unique_axis": [lattice[2] for lattice in lattices],
            **dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), cells.T, strict=True)),
            **{name: getattr(crystals, name) for name in columns},
            "det_shift_x": crystals.det_shift[:, 0],
            "det_shift_y": crystals.det_shift[:, 1],
        }
    )


def observation_dataset(block: "Observations", cell: UnitCell | None = None, symmetry: str | None = None) -> Any:
    """Make an unmerged `reciprocalspaceship.DataSet` of observations, with the number of the crystal as BATCH.

    Without cell and point group it has no space group.
    """
    rs = import_reciprocalspaceship()
    has_group = cell is not None and symmetry is not None
    group = symmorphic_space_group(point_group(symmetry), cell.centring) if has_group else None  # type: ignore[union-attr]
    h, k, ell = block.hkl.T
    columns = {"H": h, "K": k, "L": ell, "BATCH": block.crystal, "I": block.intensity, "SIGI": block.sigma}
    data = rs.DataSet(
        {**columns, "XDET": block.fs, "YDET": block.ss},
        spacegroup=group,
        cell=None if cell is None else cell.parameters,
        merged=False,
    )
    types = {"H": "H", "K": "H", "L": "H", "BATCH": "B", "I": "J", "SIGI": "Q", "XDET": "R", "YDET": "R"}
    return data.astype(types).set_index(["H", "K", "L"])
