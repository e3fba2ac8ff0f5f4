"""Crystals as the kernels of partial merging want them: blocks of columns, and what is told of each crystal."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from braggstream.model.observations import CrystalTable

BLOCK = 512
"""Crystals of a block.  Sums are taken block by block, so this number and not that of threads decides rounding."""

GOOD, WORSENS, LARGE_B = 0, 1, 2
"""Why a crystal is left out: it makes CC1/2 worse, or its B factor is too large."""
REASONS = {GOOD: "OK", WORSENS: "negative delta CC½", LARGE_B: "B too big"}

FLAGS = {GOOD: "ok", WORSENS: "dcc", LARGE_B: "B"}
"""The same in a word, for tables."""

INDEX_BITS = 21
INDEX_OFFSET = 1 << (INDEX_BITS - 1)


def packed(hkl: NDArray) -> NDArray[np.int64]:
    """Pack indices into one number each, whose order is that of reflection lists, int64[n]."""
    h, k, l = hkl.T.astype(np.int64) + INDEX_OFFSET  # noqa: E741
    return np.asarray(h << (2 * INDEX_BITS) | k << INDEX_BITS | l)


def unpacked(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    """Give the indices that were packed, int32[n, 3]."""
    mask = (1 << INDEX_BITS) - 1
    columns = [keys >> (2 * INDEX_BITS), keys >> INDEX_BITS & mask, keys & mask]
    return (np.stack(columns, axis=1) - INDEX_OFFSET).astype(np.int32)


@dataclass(kw_only=True, eq=False, slots=True)
class CrystalBlock:
    """Up to `BLOCK` crystals; each one's observations stand in the order of their unique reflections."""

    first: int
    """Number of the first crystal among those accepted."""
    start: NDArray[np.int64]
    """Where the observations of each crystal start, int64[n + 1]."""
    hkl: NDArray[np.int16]
    """Indices as measured, int16[m, 3]."""
    uid: NDArray[np.int32]
    """Number of the unique reflection, int32[m]."""
    intensity: NDArray[np.float64]
    sigma: NDArray[np.float64]
    """Corrected for polarisation, float64[m]."""
    s2: NDArray[np.float64]
    """s² = 1/(4d²), float64[m] [Å⁻²]."""
    part: NDArray[np.float64]
    """Partiality, float64[m]."""
    log_full: NDArray[np.float64]
    """ln(I/p), float64[m]."""
    flags: NDArray[np.uint8]
    """Bits of `kernels.crystal_columns`, uint8[m]."""
    state: NDArray[np.float64]
    """Scales and such, float64[n, N_STATE]."""
    shape: NDArray[np.float64]
    """Axes, radius, wavelength, bandwidth, float64[n, N_SHAPE]."""

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def numbers(self) -> slice:
        """Where these crystals stand in columns of all crystals."""
        return slice(self.first, self.first + len(self))


@dataclass(kw_only=True, eq=False, slots=True)
class CrystalList:
    """What is told of each accepted crystal beside its observations."""

    tables: list[CrystalTable] = field(default_factory=list)
    halves: list[NDArray[np.int64]] = field(default_factory=list)
    """Which half set each is in, 0 or 1, for each table."""
    n_accepted: int = 0
    n_read: int = 0
    """Crystals in the streams, as far as they were read."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Crystals that were not accepted, by reason."""
    n_saturated: int = 0
    """Observations left out for their highest pixel."""
    n_unusable: int = 0
    """Observations left out because they are not `is_usable`."""

    def __len__(self) -> int:
        return self.n_accepted

    def accept(self, table: CrystalTable, halves: NDArray[np.int64]) -> None:
        """Add crystals with their half sets."""
        self.tables.append(table)
        self.halves.append(halves)
        self.n_accepted += len(table)

    def skip(self, reason: str, number: int) -> None:
        """Count crystals that are not accepted."""
        if number:
            self.skipped[reason] = self.skipped.get(reason, 0) + number

    @property
    def frames(self) -> Iterator[tuple[str, str]]:
        """File name and event of each crystal."""
        for table in self.tables:
            yield from zip(table.filename, table.event, strict=True)
