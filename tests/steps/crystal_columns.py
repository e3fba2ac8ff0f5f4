"""Crystals as columns, made by hand for tests of merging."""

import numpy as np

from braggstream.model.cell import CENTRINGS, LATTICE_TYPES
from braggstream.model.observations import UNIQUE_AXES, CrystalTable, Observations


def observations_of(crystals, *, edge=100.0, wavelength=1.0, radius=1e-3, limit=np.inf):
    """Make a block of crystals from lists of (h, k, l, intensity, sigma)."""
    n = len(crystals)
    rows = np.array([row for crystal in crystals for row in crystal], float).reshape(-1, 5)
    m = len(rows)
    table = CrystalTable(
        filename=("made.h5",) * n,
        event=tuple(f"//{number}" for number in range(n)),
        indexed_by=("none",) * n,
        serial=np.arange(1, n + 1),
        reciprocal_axes=np.broadcast_to(np.eye(3) / edge, (n, 3, 3)).copy(),
        wavelength=np.full(n, wavelength),
        bandwidth=np.full(n, 1e-8),
        profile_radius=np.full(n, radius),
        resolution_limit=np.full(n, limit),
        det_shift=np.zeros((n, 2)),
        n_saturated=np.zeros(n, np.int64),
        lattice_type=np.full(n, LATTICE_TYPES.index("tetragonal"), np.uint8),
        centring=np.full(n, CENTRINGS.index("P"), np.uint8),
        unique_axis=np.full(n, UNIQUE_AXES.index("c"), np.uint8),
    )
    return Observations(
        crystals=table,
        start=np.concatenate(([0], np.cumsum([len(crystal) for crystal in crystals]))).astype(np.int64),
        hkl=rows[:, :3].astype(np.int16),
        intensity=rows[:, 3].astype(np.float32),
        sigma=rows[:, 4].astype(np.float32),
        peak_value=rows[:, 3].astype(np.float32),
        background=np.zeros(m, np.float32),
        fs=np.zeros(m, np.float32),
        ss=np.zeros(m, np.float32),
        panel=np.zeros(m, np.int16),
        panel_names=("p0",),
    )
