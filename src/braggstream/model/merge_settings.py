"""What a plain merge does, as `process_hkl` has it."""

from dataclasses import dataclass
from math import inf
from typing import Literal

from braggstream.model.reflection_list import ReflectionList

Parity = Literal["all", "even", "odd"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceSettings:
    """Which crystals are merged."""

    start_after: int = 0
    """Leave out so many crystals, counted over all files (`--start-after`)."""
    stop_after: int = 0
    """Merge at most so many, 0 is all (`--stop-after`)."""
    parity: Parity = "all"
    """Only crystals with an even or odd number, counted from 1 over all files (`--even-only`, `--odd-only`)."""
    half: int | None = None
    """Only crystals of this half set, 0 or 1, as `model.half_sets` tells it (`--half`, which counts from 1)."""
    least_resolution: float = 0.0
    """Leave out crystals whose apparent resolution 1/d is less [Å⁻¹] (`--min-res`)."""

    @property
    def counts_crystals(self) -> bool:
        """Whether the choice depends on a crystal's place among all others."""
        return bool(self.start_after or self.stop_after or self.parity != "all" or self.half is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeSettings:
    """A plain merge: the mean of all observations, each with weight 1."""

    symmetry: str = "1"
    """Point group (`--symmetry`)."""
    choice: ChoiceSettings = ChoiceSettings()
    polarisation: str = "horiz"
    """Polarisation of the beam; `none` corrects nothing (`--polarisation`)."""
    min_snr: float = -inf
    """Leave out observations below so many sigma (`--min-snr`)."""
    max_adu: float = inf
    """Leave out observations with a pixel above this value (`--max-adu`)."""
    push_res: float = inf
    """Leave out observations whose 1/d is further beyond the crystal's limit [Å⁻¹] (`--push-res`)."""
    scale: bool = False
    """Scale each crystal to the merge of all (`--scale`)."""
    min_cc: float = -inf
    """Leave out crystals whose correlation with the merge of all is less (`--min-cc`)."""
    wants_statistics: bool = False
    """Compare each crystal with the merge of all, whatever is done with it (`--stat`)."""
    min_measurements: int = 2
    """Leave out reflections that were measured less often (`--min-measurements`)."""
    unbiased_sigma: bool = False
    """Estimate errors with n - 1, and not with n as the reference does (`--unbiased-sigma`)."""
    histogram_of: tuple[int, int, int] | None = None
    """Keep all values of this reflection (`--histogram`)."""

    @property
    def n_passes(self) -> int:
        """Number of times that the observations are read."""
        return 2 if self.scale or self.min_cc > -inf or self.wants_statistics else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class CrystalRow:
    """A merged crystal, compared with the merge of all."""

    filename: str
    event: str
    scale: float
    """What its intensities were multiplied by."""
    cc: float
    """Correlation of its intensities with the merge of all."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Merged:
    """What a merge gave."""

    reflections: ReflectionList
    n_crystals: int
    """Crystals that were merged."""
    n_crystals_seen: int
    n_crystals_dropped: int
    """Crystals that were chosen, and then left out because of their scale or correlation."""
    n_observations: int
    """Observations that were merged."""
    n_observations_left_out: int
    """Observations of these crystals that were not."""
    rows: tuple[CrystalRow, ...] = ()
    """The merged crystals, after two passes."""
    values: tuple[float, ...] = ()
    """All values of the reflection that `histogram_of` names."""
    warnings: tuple[str, ...] = ()
    """What of crystals and point group does not fit together, a sentence each."""
