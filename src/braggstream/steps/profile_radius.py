"""Profile radius: how far from the Ewald sphere lattice points still give peaks."""

import numpy as np

from braggstream.model.crystal import Crystal
from braggstream.steps.pairing import MIN_PAIRS, pair_peaks
from braggstream.steps.view import PeakView

PART_LEFT_OUT = 50
"""One pair in so many is left out at the top."""


def measure_profile_radius(crystal: Crystal, view: PeakView) -> float | None:
    """Measure the profile radius of a crystal [Å⁻¹]; None with fewer than three pairs.

    It is the largest excitation error among the peaks, or the 98th percentile where there are 50 or more.
    """
    pairs = pair_peaks(crystal, view)
    n = len(pairs)
    if n < MIN_PAIRS:
        return None
    errors = np.sort(np.abs(pairs.excitation_error))
    return float(errors[max(n - 1 - n // PART_LEFT_OUT, 2)])
