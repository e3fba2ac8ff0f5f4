"""Scaled but unmerged observations, crystal by crystal (`--unmerged-output`)."""

import numpy as np
from numpy.typing import NDArray

PARTIALITY_TOO_SMALL, NAN_ESD = 1, 2
"""Bits of what an observation is left out for."""
_REMARKS = ("\n", " partiality_too_small\n", " nan_esd\n", " partiality_too_small nan_esd\n")
_LINE = "%4i %4i %4i %10.2f %10.2f%s"


def unmerged_crystal(
    number: int,
    filename: str,
    event: str,
    *,
    is_flagged: bool,
    rows: NDArray[np.float64],
    remarks: NDArray[np.uint8],
) -> str:
    """Write a crystal.

    Parameters
    ----------
    number
        Its number, from 0.
    filename, event
        Of its frame.
    is_flagged
        Whether it is left out of the merge.
    rows : float64[n, 5]
        Asymmetric h, k, l, full intensity, weight.
    remarks : uint8[n]
        Bits of what observations are left out for.
    """
    flagged = "yes" if is_flagged else "no"
    head = f"Crystal {number}\nFilename: {filename} {event}\nFlagged: {flagged}\n"
    words: list[object] = []
    for values, remark in zip(rows.tolist(), remarks.tolist(), strict=True):
        words += [*values, _REMARKS[remark]]
    return head + _LINE * len(rows) % tuple(words) + "\n"
