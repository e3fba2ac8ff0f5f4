"""Observations: what was measured of many crystals, as columns, for merging."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import CENTRINGS, LATTICE_TYPES, Centring, LatticeType, UnitCell, cell_parameters
from braggstream.model.shown import MAX_ROWS, Columns, Shown, counted

UNIQUE_AXES = ("a", "b", "c", "*", "?")
UNKNOWN_AXIS = UNIQUE_AXES.index("?")


@dataclass(frozen=True, kw_only=True, eq=False, slots=True, repr=False)
class CrystalTable(Shown):
    """Crystals as columns of equal length, in the order in which they were found."""

    filename: tuple[str, ...]
    """Name of the frame's file."""
    event: tuple[str, ...]
    """The frame's event."""
    indexed_by: tuple[str, ...]
    """Name of the indexing method."""
    serial: NDArray[np.int64]
    """Serial number of the frame, int64[n]."""
    reciprocal_axes: NDArray[np.float64]
    """Rows a*, b*, c* in the lab frame, float64[n, 3, 3], no 2 pi [Å⁻¹]."""
    wavelength: NDArray[np.float64]
    """Wavelength, float64[n] [Å]."""
    bandwidth: NDArray[np.float64]
    """Relative bandwidth, float64[n]; -1 where it is not known."""
    profile_radius: NDArray[np.float64]
    """Radius of a reciprocal lattice point, float64[n] [Å⁻¹]."""
    resolution_limit: NDArray[np.float64]
    """Apparent resolution as 1/d, float64[n] [Å⁻¹]; infinite where it is not known."""
    det_shift: NDArray[np.float64]
    """Detector shift in x and y, float64[n, 2] [m]."""
    n_saturated: NDArray[np.int64]
    """Saturated reflections met, int64[n]."""
    lattice_type: NDArray[np.uint8]
    """Number of the lattice type in `LATTICE_TYPES`, uint8[n]."""
    centring: NDArray[np.uint8]
    """Number of the centring in `CENTRINGS`, uint8[n]."""
    unique_axis: NDArray[np.uint8]
    """Number of the unique axis in `UNIQUE_AXES`, uint8[n]."""

    def __len__(self) -> int:
        return len(self.serial)

    def lattice_of(self, n: int) -> tuple[LatticeType, Centring, str]:
        """Give lattice type, centring and unique axis of a crystal in words."""
        return (
            LATTICE_TYPES[self.lattice_type[n]],
            CENTRINGS[self.centring[n]],
            UNIQUE_AXES[self.unique_axis[n]],
        )

    def _facts(self) -> dict[str, object]:
        return {"": counted(len(self), "crystal"), "files": len(set(self.filename))}

    def _columns(self) -> Columns:
        first = slice(MAX_ROWS + 1)
        cells = cell_parameters(np.linalg.inv(self.reciprocal_axes[first]).transpose(0, 2, 1))
        columns = dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), cells.T, strict=True))
        lattices = [" ".join(self.lattice_of(n)[:2]) for n in range(len(cells))]
        return {"file": self.filename[first], "event": self.event[first], "lattice": lattices, **columns}

    def to_pandas(self) -> Any:
        """Give a pandas DataFrame, a row for each crystal; columns as those of `to_arrow`."""
        from braggstream.model.tables import crystal_table, import_pandas

        import_pandas()
        return crystal_table(self).to_pandas()

    def to_arrow(self) -> Any:
        """Give an Arrow table, a row for each crystal, with its cell: see `model.tables.crystal_table`."""
        from braggstream.model.tables import crystal_table

        return crystal_table(self)

    def take(self, index: NDArray) -> "CrystalTable":
        """Select crystals by index or by a boolean array."""
        places = np.arange(len(self))[index]
        columns: dict[str, Any] = {field.name: _taken(getattr(self, field.name), places) for field in fields(self)}
        return CrystalTable(**columns)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True, repr=False)
class Observations(Shown):
    """What was measured of a block of crystals, crystal by crystal."""

    crystals: CrystalTable
    start: NDArray[np.int64]
    """Where the observations of each crystal begin; the last number is where all end, int64[n_crystals + 1]."""
    hkl: NDArray[np.int16]
    """Miller indices in the crystal's own setting, int16[n, 3]."""
    intensity: NDArray[np.float32]
    """Integrated intensity, float32[n] [detector units]."""
    sigma: NDArray[np.float32]
    """Its estimated error, float32[n] [detector units]."""
    peak_value: NDArray[np.float32]
    """Highest pixel, background included, float32[n] [detector units]."""
    background: NDArray[np.float32]
    """Mean background, float32[n] [detector units per pixel]."""
    fs: NDArray[np.float32]
    """Fast-scan coordinate in the data array, as in the stream file, float32[n] [px]."""
    ss: NDArray[np.float32]
    """Slow-scan coordinate in the data array, as in the stream file, float32[n] [px]."""
    panel: NDArray[np.int16]
    """Number of the panel in `panel_names`, int16[n]; -1 where it is none of them."""
    panel_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.intensity)

    def _facts(self) -> dict[str, object]:
        return {"": counted(len(self), "observation"), "crystals": self.n_crystals}

    def _columns(self) -> Columns:
        h, k, ell = self.hkl.T
        more = {"I": self.intensity, "SIGI": self.sigma, "fs": self.fs, "ss": self.ss}
        last = min(int(np.searchsorted(self.start, MAX_ROWS + 1)), self.n_crystals)
        crystal = np.repeat(np.arange(last), np.diff(self.start[: last + 1]))
        return {"crystal": crystal[: MAX_ROWS + 1], "h": h, "k": k, "l": ell, **more}

    @property
    def n_crystals(self) -> int:
        """Number of crystals."""
        return len(self.crystals)

    @property
    def crystal(self) -> NDArray[np.int32]:
        """Number of the crystal that each observation belongs to, int32[n]."""
        return np.repeat(np.arange(self.n_crystals, dtype=np.int32), np.diff(self.start))

    @property
    def is_usable(self) -> NDArray[np.bool_]:
        """Which observations can be merged, bool[n]: the intensity is a finite number, the error not negative."""
        return np.isfinite(self.intensity) & ~(self.sigma < 0.0)

    def to_pandas(self) -> Any:
        """Give a pandas DataFrame, a row for each observation; columns as those of `to_arrow`."""
        from braggstream.model.tables import import_pandas, observation_table

        import_pandas()
        return observation_table(self).to_pandas()

    def to_arrow(self) -> Any:
        """Give an Arrow table, a row for each observation: see `model.tables.observation_table`."""
        from braggstream.model.tables import observation_table

        return observation_table(self)

    def to_reciprocalspaceship(self, cell: UnitCell | None = None, symmetry: str | None = None) -> Any:
        """Give an unmerged `reciprocalspaceship.DataSet`; its space group needs a cell and a point group."""
        from braggstream.model.tables import observation_dataset

        return observation_dataset(self, cell, symmetry)

    def take(self, index: NDArray) -> "Observations":
        """Select crystals, with all their observations, by index or by a boolean array."""
        places = np.arange(self.n_crystals)[index]
        lengths = np.diff(self.start)[places]
        start = np.concatenate(([0], np.cumsum(lengths)))
        rows = np.repeat(self.start[places] - start[:-1], lengths) + np.arange(start[-1])
        return self._with(rows, self.crystals.take(places), start)

    def between(self, first: int, end: int) -> "Observations":
        """Give the crystals from `first` to before `end`, without a copy of their observations."""
        start = self.start[first : end + 1]
        rows = slice(int(start[0]), int(start[-1]))
        return self._with(rows, self.crystals.take(np.arange(first, end)), start - start[0])

    def _with(self, rows: NDArray | slice, crystals: CrystalTable, start: NDArray[np.int64]) -> "Observations":
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        return Observations(crystals=crystals, start=start, panel_names=self.panel_names, **columns)


COLUMNS = ("hkl", "intensity", "sigma", "peak_value", "background", "fs", "ss", "panel")
"""Columns of `Observations` with a value for each observation."""


def joined(parts: Sequence[Observations]) -> Observations:
    """Join blocks with the same panels; there is at least one."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(part.start) for part in parts])
    crystals: dict[str, Any] = {
        field.name: _joined([getattr(part.crystals, field.name) for part in parts])
        for field in fields(CrystalTable)
    }
    return Observations(
        crystals=CrystalTable(**crystals),
        start=np.concatenate(([0], np.cumsum(lengths))),
        panel_names=parts[0].panel_names,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS},
    )


def in_blocks(parts: Iterable[Observations], n_crystals: int) -> Iterator[Observations]:
    """Cut a sequence of blocks anew: each has `n_crystals` crystals, the last one what is left."""
    held: list[Observations] = []
    n_held = 0
    for part in parts:
        first = 0
        while n_held + part.n_crystals - first >= n_crystals:
            end = first + n_crystals - n_held
            yield joined([*held, part.between(first, end)])
            held, n_held, first = [], 0, end
        if first < part.n_crystals:
            held.append(part.between(first, part.n_crystals) if first else part)
            n_held += held[-1].n_crystals
    if held:
        yield joined(held)


def _taken(column: tuple[str, ...] | NDArray, places: NDArray) -> tuple[str, ...] | NDArray:
    if isinstance(column, tuple):
        return tuple(column[place] for place in places.tolist())
    return column[places]


def _joined(columns: Sequence[tuple[str, ...] | NDArray]) -> tuple[str, ...] | NDArray:
    if isinstance(columns[0], tuple):
        return tuple(text for column in columns for text in column)
    return np.concatenate([np.asarray(column) for column in columns])
