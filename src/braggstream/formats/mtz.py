"""MTZ files of merged reflections, through gemmi (format: CCP4, Winn et al. (2011), Acta Cryst. D67, 235)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream import __version__
from braggstream.formats.replaced_file import check_has_content, replacing
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup
from braggstream.model.reflection_list import ReflectionList
from braggstream.model.space_group import (
    import_gemmi,
    named_space_group,
    point_group_of,
    symmorphic_space_group,
)

FloatArray = NDArray[np.float64]

MAX_BYTES = 4 << 30
"""Largest file that is read [bytes]."""
INTENSITIES = (("i", "sigi"), ("imean", "sigimean"), ("iobs", "sigiobs"))
"""Columns of an intensity and its error, under the names in use: small letters, without `-` and `_`."""
BIJVOET = tuple((f"{name}(+)", f"sig{name}(+)", f"{name}(-)", f"sig{name}(-)") for name in ("i", "iobs"))
"""The same for Bijvoet mates."""


def read_mtz(path: str | Path) -> ReflectionList:
    """Read merged intensities; Bijvoet pairs (`I(+)`, `I(-)`) where the file has no mean intensities.

    The symmetry is that of the file's space group, with a centre for mean intensities.  Each reflection counts as
    measured once.  Raises `UserError` where the file holds no merged intensities.
    """
    gemmi = import_gemmi()
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise UserError(f"the MTZ file is larger than {MAX_BYTES} bytes", path=path)
        mtz = gemmi.read_mtz_file(str(path))
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"the MTZ file cannot be read: {_reason(error)}", path=path) from None
    labels = list(mtz.column_labels())
    if mtz.batches or "M/ISYM" in labels:
        raise UserError("holds unmerged reflections, expected merged ones", path=path)
    table = np.array(mtz.array, np.float64).reshape(-1, len(labels))
    hkl = np.rint(table[:, :3]).astype(np.int32)
    columns = _intensity_columns(labels, [column.type for column in mtz.columns])
    is_merged_by_friedel = len(columns) == 2
    if is_merged_by_friedel:
        intensity, sigma = (table[:, place] for place in columns)
    elif columns:
        plus, plus_sigma, minus, minus_sigma = (table[:, place] for place in columns)
        hkl = np.concatenate([hkl, -hkl])
        intensity, sigma = np.concatenate([plus, minus]), np.concatenate([plus_sigma, minus_sigma])
    else:
        raise UserError(f"has no columns I and SIGI, but {', '.join(labels)[:200]}", path=path)
    group = None if mtz.spacegroup is None else point_group_of(mtz.spacegroup, friedel=is_merged_by_friedel)
    known = np.isfinite(intensity) & np.isfinite(sigma)
    hkl, name = hkl[known], "unknown"
    if group is not None:
        hkl, name = group.asymmetric(hkl), group.name
    found = ReflectionList.of(hkl, intensity[known], sigma[known], symmetry=name)
    return found if is_merged_by_friedel else _without_repeated_centrics(found)


def _intensity_columns(labels: Sequence[str], types: Sequence[str]) -> list[int]:
    """Find intensity and error, or those of both Bijvoet mates; by their names, or else by CCP4's types."""
    places = {label.lower().replace("-", "").replace("_", ""): place for place, label in enumerate(labels)}
    for names in (*INTENSITIES, *BIJVOET):
        if set(names) <= places.keys():
            return [places[name] for name in names]
    kinds = "".join(types)
    for pattern in ("JQ", "KMKM"):
        if kinds.count(pattern) == 1 and kinds.count(pattern[0]) == len(pattern) // 2:
            return list(range(kinds.index(pattern), kinds.index(pattern) + len(pattern)))
    return []


def write_mtz(
    path: str | Path,
    reflections: ReflectionList,
    cell: UnitCell,
    group: PointGroup,
    *,
    space_group: str | None = None,
    bijvoet: bool = False,
) -> None:
    """Write merged intensities, brought to the asymmetric unit of CCP4.

    Parameters
    ----------
    path
        The file; what it held is gone.
    reflections, group
        The list, and the point group in which it was merged.
    cell
        The unit cell.
    space_group
        Symbol of the space group; without it the symmorphic one of the point group and the cell's centring.
    bijvoet
        Whether Bijvoet pairs stay apart, in columns `I(+)`, `SIGI(+)`, `I(-)` and `SIGI(-)`.

    Raises
    ------
    UserError
        The space group does not fit, pairs would fall together, or the file cannot be written.
    """
    symmetry = fitting_space_group(group, cell, space_group)
    hkl, is_plus = to_ccp4_unit(reflections.hkl, symmetry)
    layout: tuple[tuple[str, str], ...]
    if bijvoet:
        columns, hkl = _bijvoet_columns(reflections, group, hkl, is_plus)
        layout = (("I(+)", "K"), ("SIGI(+)", "M"), ("I(-)", "K"), ("SIGI(-)", "M"))
    else:
        if len(np.unique(hkl, axis=0)) < len(hkl):
            raise UserError(
                f"{group.name} keeps Bijvoet mates apart, which become one reflection in an MTZ file:"
                " write them with --output-format=mtz-bij"
            )
        columns = np.column_stack([reflections.intensity, reflections.sigma])
        layout = (("I", "J"), ("SIGI", "Q"))
    mtz = empty_mtz(cell, symmetry, [("H", "H"), ("K", "H"), ("L", "H"), *layout])
    check_has_content(path, len(hkl), "reflections")
    mtz.set_data(np.ascontiguousarray(np.column_stack([hkl, columns]), np.float32))
    save_mtz(mtz, path)


def empty_mtz(cell: UnitCell, symmetry: Any, columns: Sequence[tuple[str, str]]) -> Any:
    """Make an MTZ file in memory, with columns of the given names and types and no reflections."""
    gemmi = import_gemmi()
    mtz = gemmi.Mtz()
    mtz.title = f"Data exported via CrystFEL-compatible Braggstream {__version__}"
    mtz.spacegroup = symmetry
    dataset = mtz.add_dataset("dataset")
    dataset.project_name, dataset.crystal_name, dataset.wavelength = "project", "crystal", 0.0
    mtz.set_cell_for_all(gemmi.UnitCell(*cell.parameters))
    for name, kind in columns:
        mtz.add_column(name, kind)
    return mtz


def save_mtz(mtz: Any, path: str | Path) -> None:
    """Write an MTZ file; raises `UserError`."""
    try:
        with replacing(path) as part:
            mtz.write_to_file(str(part))
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot write the MTZ file: {_reason(error)}", path=path) from None


def fitting_space_group(group: PointGroup, cell: UnitCell, symbol: str | None) -> Any:
    """Find the space group of merged data; raises `UserError` where the named one does not fit the point group."""
    simplest = symmorphic_space_group(group, cell.centring)
    if symbol is None:
        return simplest
    named = named_space_group(symbol)
    if point_group_of(named, friedel=True) != point_group_of(simplest, friedel=True):
        raise UserError(f"--space-group={symbol} does not fit data that were merged in point group {group.name}")
    return named


def to_ccp4_unit(hkl: NDArray[np.int32], symmetry: Any) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Bring indices to CCP4's asymmetric unit; also tells which got there without inversion, bool[n]."""
    moved, isym = with_isym(hkl, symmetry)
    return moved, isym % 2 == 1


def with_isym(hkl: NDArray[np.int32], symmetry: Any) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Bring indices to CCP4's asymmetric unit; gives them and the ISYM of the move, int32[n, 3] and int32[n]."""
    unit, operations = import_gemmi().ReciprocalAsu(symmetry), symmetry.operations()
    found = [unit.to_asu(each, operations) for each in hkl.tolist()]
    moved = np.array([indices for indices, _ in found], np.int32).reshape(-1, 3)
    return moved, np.array([isym for _, isym in found], np.int32)


def _bijvoet_columns(
    reflections: ReflectionList, group: PointGroup, hkl: NDArray[np.int32], is_plus: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.int32]]:
    """Put mates beside each other: columns, float64[m, 4], and indices, int32[m, 3]."""
    unique, row = np.unique(hkl, axis=0, return_inverse=True)
    columns = np.full((len(unique), 4), np.nan)
    values = np.column_stack([reflections.intensity, reflections.sigma])
    is_centric = group.is_centric(reflections.hkl)
    for side, belongs in ((0, is_plus | is_centric), (2, ~is_plus | is_centric)):
        columns[row.ravel()[belongs], side : side + 2] = values[belongs]
    return columns, unique.astype(np.int32)


def _without_repeated_centrics(found: ReflectionList) -> ReflectionList:
    """Keep one of the two sides of a centric reflection: they hold the same value."""
    _, first = np.unique(found.hkl, axis=0, return_index=True)
    return found.take(first).sorted()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0][:200]
