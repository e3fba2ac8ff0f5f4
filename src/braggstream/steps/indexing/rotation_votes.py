"""Find rough rotations of a known lattice by voting: every peak votes for all rotations that would explain it."""

from math import ceil, pi, radians

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.pink_votes import centre_of_cell, densest, vote
from braggstream.steps.indexing.pink_peaks import tilted_directions

FloatArray = NDArray[np.float64]

MAX_POINTS = 100_000
"""Lattice points that are kept; peaks beyond the last of them do not vote."""
MAX_VOTES = 1_000_000
"""Voting ends with the peak after which there are more."""
TURNS_A_CELL = 1.2
"""Points of a curve in each cell that it crosses."""
MIN_VOTES = 3


class RotationVotes:
    """Cells of rotation space, and the lattice whose rotations are looked for."""

    def __init__(self, reciprocal_axes: FloatArray, *, cell_degrees: float) -> None:
        self.cell_angle = radians(cell_degrees)
        self._n = ceil(180.0 / cell_degrees)
        self._cells = np.zeros(4 * self._n**3, np.uint16)
        n_turns = ceil(TURNS_A_CELL * 2.0 * pi / self.cell_angle)
        angle = pi * np.arange(n_turns) / n_turns
        self._turns = np.ascontiguousarray(np.stack([np.cos(angle), np.sin(angle)], axis=1))
        points = _lattice_points(reciprocal_axes)
        self._lengths = np.linalg.norm(points, axis=1)
        self._units = np.ascontiguousarray(points / self._lengths[:, None])

    def find(
        self, peaks: FloatArray, *, bandwidth: float, radius: float, slack: float, n_wanted: int
    ) -> FloatArray:
        """Rotations that most peaks vote for, as quaternions, float64[n, 4].

        `peaks` are packed, those of lowest resolution first, at most 255; `slack` is added to the radius of a
        lattice point where lengths are compared [Å⁻¹].
        """
        directions, voters, lengths = tilted_directions(peaks, radius=radius, cell_angle=self.cell_angle)
        margin = bandwidth * lengths + radius + slack
        reach = np.stack(
            [np.searchsorted(self._lengths, lengths - margin), np.searchsorted(self._lengths, lengths + margin)],
            axis=1,
        )
        reach[lengths + margin > self._lengths[-1]] = 0
        n_votes = np.cumsum(reach[:, 1] - reach[:, 0]) * len(self._turns)
        n_used = int(np.searchsorted(n_votes, MAX_VOTES, side="right"))
        if n_used < len(voters):
            # Not a part of a peak's directions.
            n_used = int(np.searchsorted(voters, voters[n_used], side="right"))
        self._cells[:] = 0
        vote(directions[:n_used], voters[:n_used], reach[:n_used], self._units, self._turns, self._n, self._cells)
        found = np.empty(n_wanted, np.int64)
        n_found = densest(self._cells, self._n, MIN_VOTES, found)
        rotations = np.empty((n_found, 4))
        for cell, rotation in zip(found[:n_found].tolist(), rotations, strict=True):
            centre_of_cell(cell, self._n, rotation)
        return rotations


def _lattice_points(reciprocal_axes: FloatArray) -> FloatArray:
    """Lattice points in order of length without the origin, float64[n, 3] [Å⁻¹]: all up to the longest one."""
    density = 1.0 / abs(np.linalg.det(reciprocal_axes))
    limit = (MAX_POINTS / (4.0 / 3.0 * pi * density)) ** (1.0 / 3.0)
    largest = np.floor(limit * np.linalg.norm(np.linalg.inv(reciprocal_axes), axis=0)).astype(int)
    grid = np.meshgrid(*[np.arange(-m, m + 1) for m in largest], indexing="ij")
    points = np.stack([index.ravel() for index in grid], axis=1) @ reciprocal_axes
    length = np.linalg.norm(points, axis=1)
    kept = np.flatnonzero((length <= limit) & (length > 0.0))
    return points[kept[np.argsort(length[kept], kind="stable")]]
