"""Crystal: one lattice found in one frame, and its reflections."""

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import Centring, LatticeType, UnitCell
from braggstream.model.shown import Columns, Shown, counted

STRONG = 3.0
"""Reflections above so many sigma are counted where a table shows itself."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True, repr=False)
class ReflectionTable(Shown):
    """Reflections of one crystal, as columns of equal length, in ascending order of h, then k, then l."""

    hkl: NDArray[np.int32]
    """Miller indices in the crystal's own setting, int32[n, 3]."""
    panel: NDArray[np.int32]
    """Panel number, int32[n]."""
    fs: NDArray[np.float64]
    """Predicted fast-scan coordinate on the panel, float64[n] [px]."""
    ss: NDArray[np.float64]
    """Predicted slow-scan coordinate on the panel, float64[n] [px]."""
    excitation_error: NDArray[np.float64]
    """Signed distance from the Ewald sphere, positive inside, float64[n] [Å⁻¹]."""
    partiality: NDArray[np.float64]
    """Predicted fraction of the full reflection, float64[n]."""
    intensity: NDArray[np.float64]
    """Integrated intensity, float64[n] [detector units]."""
    sigma: NDArray[np.float64]
    """Estimated error of the intensity, float64[n] [detector units]."""
    peak_value: NDArray[np.float64]
    """Highest pixel of the box, background included, float64[n] [detector units]."""
    background: NDArray[np.float64]
    """Mean background, float64[n] [detector units per pixel]."""

    def __len__(self) -> int:
        return len(self.fs)

    def take(self, index: NDArray) -> "ReflectionTable":
        """Select reflections by index or by a boolean array."""
        return ReflectionTable(**{name: getattr(self, name)[index] for name in self.__slots__})

    def to_pandas(self) -> Any:
        """Give a pandas DataFrame, a row for each reflection, with h, k and l as its index.

        Columns: I, SIGI, peak and background [detector units], fs and ss on the panel [px], panel, excitation_error
        [Å⁻¹] and partiality.
        """
        from braggstream.model.tables import import_pandas

        pandas = import_pandas()
        index = pandas.MultiIndex.from_arrays(list(self.hkl.T), names=["h", "k", "l"])
        columns = {"I": self.intensity, "SIGI": self.sigma, "peak": self.peak_value}
        more = ("background", "fs", "ss", "panel", "excitation_error", "partiality")
        return pandas.DataFrame(columns | {name: getattr(self, name) for name in more}, index=index)

    def _facts(self) -> dict[str, object]:
        n_strong = int(np.count_nonzero(self.intensity > STRONG * self.sigma))
        return {"": counted(len(self), "reflection"), "above 3 sigma": n_strong}

    def _columns(self) -> Columns:
        h, k, ell = self.hkl.T
        return {"h": h, "k": k, "l": ell, "I": self.intensity, "SIGI": self.sigma, "fs": self.fs, "ss": self.ss}

    @classmethod
    def predicted(
        cls,
        *,
        hkl: NDArray[np.int32],
        panel: NDArray[np.int32],
        fs: NDArray[np.float64],
        ss: NDArray[np.float64],
        excitation_error: NDArray[np.float64],
        partiality: NDArray[np.float64],
    ) -> "ReflectionTable":
        """Make a table of predictions: nothing measured yet, all intensities zero."""
        zeros = np.zeros(len(fs))
        return cls(
            hkl=hkl,
            panel=panel,
            fs=fs,
            ss=ss,
            excitation_error=excitation_error,
            partiality=partiality,
            intensity=zeros,
            sigma=zeros,
            peak_value=zeros,
            background=zeros,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Residual:
    """Sum of squared residuals of a prediction refinement, as the stream file's notes give it."""

    excitation: float
    """Part of the excitation errors, (1e-7 m × error)² summed."""
    fs: float
    """Part of the fast-scan positions [px²]."""
    ss: float
    """Part of the slow-scan positions [px²]."""

    @property
    def total(self) -> float:
        """Sum of the three parts."""
        return self.excitation + self.fs + self.ss


@dataclass(frozen=True, kw_only=True, eq=False, slots=True, repr=False)
class Crystal(Shown):
    """One lattice found in one frame."""

    reciprocal_axes: NDArray[np.float64]
    """Rows a*, b*, c* in the lab frame, float64[3, 3], no 2 pi [Å⁻¹]."""
    lattice_type: LatticeType = "triclinic"
    centring: Centring = "P"
    unique_axis: str = "?"
    indexed_by: str = "none"
    """Name of the method that found it."""
    profile_radius: float = 0.002
    """Radius of a reciprocal lattice point [Å⁻¹]; CrystFEL's starting value is 0.02 nm⁻¹."""
    det_shift: tuple[float, float] = (0.0, 0.0)
    """Detector shift in x and y that belongs to this crystal [m]."""
    residuals: tuple[tuple[str, Residual], ...] = ()
    """Notes of the refinement: name (`initial_residual`, ...) and value."""
    resolution_limit: float = 0.0
    """Apparent resolution as 1/d [Å⁻¹]; 0 where it could not be estimated."""
    reflections: ReflectionTable | None = None
    """Integrated reflections; None before integration and with `--cell-parameters-only`."""
    n_saturated: int = 0
    """Saturated reflections met, whether kept or not."""
    n_implausible: int = 0
    """Reflections below -5 sigma, which are left out."""

    def _facts(self) -> dict[str, object]:
        limit = f"{1.0 / self.resolution_limit:.2f} Å" if 0 < self.resolution_limit < inf else "?"
        return {
            "": self.cell.text,
            "lattice": f"{self.lattice_type} {self.centring}",
            "indexed by": self.indexed_by,
            "resolution": limit,
            "profile radius": f"{self.profile_radius:.5f} Å⁻¹",
            "reflections": "none" if self.reflections is None else len(self.reflections),
        }

    @property
    def direct_axes(self) -> NDArray[np.float64]:
        """Rows a, b, c in the lab frame, float64[3, 3] [Å]."""
        return np.asarray(np.linalg.inv(self.reciprocal_axes).T, np.float64)

    @property
    def cell(self) -> UnitCell:
        """The crystal's own unit cell."""
        return UnitCell.from_direct_axes(
            self.direct_axes,
            lattice_type=self.lattice_type,
            centring=self.centring,
            unique_axis=self.unique_axis,
        )
