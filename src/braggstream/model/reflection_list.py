"""ReflectionList: merged reflections, in the order in which reflection lists hold them."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.shown import Columns, Shown, counted


@dataclass(frozen=True, kw_only=True, eq=False, slots=True, repr=False)
class ReflectionList(Shown):
    """Merged reflections as columns of equal length, in ascending order of h, then k, then l."""

    hkl: NDArray[np.int32]
    """Miller indices, int32[n, 3]."""
    intensity: NDArray[np.float64]
    """Merged intensity, float64[n] [detector units]."""
    sigma: NDArray[np.float64]
    """Its estimated error, float64[n] [detector units]."""
    n_measured: NDArray[np.int32]
    """How often each was measured, int32[n]."""
    phase: NDArray[np.float64]
    """Phase, float64[n] [deg]; NaN where there is none."""
    symmetry: str = "1"
    """Name of the point group; `unknown` where a file says so."""
    notes: str = ""
    """Free text."""

    def __len__(self) -> int:
        return len(self.intensity)

    def _facts(self) -> dict[str, object]:
        return {"": counted(len(self), "reflection"), "point group": self.symmetry}

    def _columns(self) -> Columns:
        h, k, ell = self.hkl.T
        return {"h": h, "k": k, "l": ell, "I": self.intensity, "SIGI": self.sigma, "nmeas": self.n_measured}

    @classmethod
    def of(
        cls,
        hkl: NDArray,
        intensity: NDArray,
        sigma: NDArray,
        *,
        n_measured: NDArray | None = None,
        symmetry: str = "1",
    ) -> "ReflectionList":
        """Make a list from columns in any order; without `n_measured` each was measured once."""
        hkl = np.ascontiguousarray(hkl, np.int32).reshape(-1, 3)
        found = cls(
            hkl=hkl,
            intensity=np.asarray(intensity, np.float64),
            sigma=np.asarray(sigma, np.float64),
            n_measured=np.ones(len(hkl), np.int32) if n_measured is None else np.asarray(n_measured, np.int32),
            phase=np.full(len(hkl), np.nan),
            symmetry=symmetry,
        )
        return found.sorted()

    def take(self, index: NDArray) -> "ReflectionList":
        """Select reflections by index or by a boolean array; whoever breaks the order sorts again."""
        columns = ("hkl", "intensity", "sigma", "n_measured", "phase")
        return replace(self, **{name: getattr(self, name)[index] for name in columns})

    def scaled(self, factor: float) -> "ReflectionList":
        """Multiply intensities and their errors."""
        return replace(self, intensity=factor * self.intensity, sigma=factor * self.sigma)

    def sorted(self) -> "ReflectionList":
        """Bring the reflections into order; equal indices stay in the order in which they came."""
        order = np.lexsort((self.hkl[:, 2], self.hkl[:, 1], self.hkl[:, 0]))
        return self.take(order)

    def to_pandas(self) -> Any:
        """Give a pandas DataFrame with columns I, SIGI and nmeas, and h, k and l as its index."""
        from braggstream.model.tables import pandas_frame

        return pandas_frame(self)

    def to_arrow(self, cell: UnitCell | None = None) -> Any:
        """Give an Arrow table; symmetry, notes and the cell are its metadata."""
        from braggstream.model.tables import arrow_table

        return arrow_table(self, cell)

    def to_reciprocalspaceship(self, cell: UnitCell | None = None) -> Any:
        """Give a `reciprocalspaceship.DataSet`; without a cell it has no space group."""
        from braggstream.model.tables import rs_dataset

        return rs_dataset(self, cell)

    def __post_init__(self) -> None:
        lengths = {len(self.hkl), len(self.intensity), len(self.sigma), len(self.n_measured), len(self.phase)}
        if len(lengths) != 1:
            raise UserError(f"the columns of a reflection list have different lengths: {sorted(lengths)}")
