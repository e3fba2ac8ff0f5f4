"""What the user asks of partial merging."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.partiality import GGPM, OFFSET, UNITY, XSPHERE
from braggstream.model.point_group import PointGroup
from braggstream.steps.merging.polarisation import Polarisation

RANDOM = "random"
MODELS: Mapping[str, int] = {"unity": UNITY, "xsphere": XSPHERE, "ggpm": GGPM, "offset": OFFSET, RANDOM: -1}
"""Models of partiality by name; the numbers are the kernels'."""


HORIZONTAL = Polarisation()


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PartialSettings:
    """Settings of partial merging; the defaults are those of `partialator`."""

    symmetry: PointGroup
    """Point group in which is merged."""
    model: str = "xsphere"
    """One of `MODELS`."""
    n_cycles: int = 10
    """Cycles of refinement and scaling after the first merge."""
    scale: bool = True
    """Fit scales."""
    by_errors: bool = False
    """Scale and weight by a model of errors, and not by logarithms and partialities as the reference does."""
    compat_sigma: bool = False
    """Give the reference's errors of merged intensities all the same."""
    scale_b: bool = True
    """Fit B factors with them."""
    refine: bool = True
    """Post-refine; never with `unity` and `random`, which have nothing to refine."""
    reject_by_half_sets: bool = True
    """Leave out crystals that make CC1/2 worse."""
    max_b: float = 100.0
    """Crystals whose B factor is beyond this are left out [Å²]."""
    min_measurements: int = 2
    max_adu: float = inf
    """Observations whose highest pixel is this or more are left out."""
    min_resolution: float = 0.0
    """Crystals that diffract to less than this 1/d are left out [Å⁻¹]."""
    push_resolution: float = inf
    """Observations further than this beyond their crystal's 1/d are not merged [Å⁻¹]."""
    start_after: int = 0
    stop_after: int = 0
    """Crystals to skip, and accepted crystals after which to stop (0: none)."""
    polarisation: Polarisation | None = HORIZONTAL
    """Of the beam; None: no correction."""
    hash_halves: bool = False
    """Half sets by the names of frames, and not by the order of the crystals."""
    only_half: int | None = None
    """Use the crystals of one half set only, 0 or 1, as if there were no others."""
    hold_free_set: bool = True
    """Hold 5 % of the observations out of refinement."""
    operators: tuple[NDArray[np.int32], ...] = ()
    """Operators of an indexing ambiguity, int32[3, 3] each: hkl' = hkl · operator."""
    force_bandwidth: float | None = None
    force_radius: float | None = None
    """Instead of every crystal's profile radius [Å⁻¹]."""
    force_wavelength: float | None = None
    """Instead of every frame's wavelength [Å]."""

    @property
    def refines(self) -> bool:
        """Whether there is anything that post-refinement can change."""
        return self.refine and self.model not in ("unity", RANDOM)
