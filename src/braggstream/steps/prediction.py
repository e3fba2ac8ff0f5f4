"""Prediction of the reflections of a crystal."""

from math import inf, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.ewald import WAVENUMBER_SIGMA
from braggstream.kernels.layout import CORNER, HEIGHT, N_COLUMNS, WIDTH
from braggstream.kernels.predict import EXCITATION, FS, MAX_INDEX, MIN_PARTIALITY, PARTIALITY, SS, predict
from braggstream.model.crystal import Crystal, ReflectionTable
from braggstream.model.detector import Detector
from braggstream.steps.pairing import pack_beam

ROOM = 1.2
"""Room is made for so many times the reflections expected..."""
MOST_ROOM = 1e6
"""... but not at once for more than these."""


def predict_reflections(
    crystal: Crystal,
    detector: Detector,
    wavelength: float,
    bandwidth: float,
    *,
    max_inverse_d: float = inf,
    profile_radius: float | None = None,
) -> ReflectionTable:
    """Predict which reflections a crystal gives, and where.

    A reflection is predicted where its partiality is at least exp(-1.7²/2), its centring allows it and a panel is
    hit; where panels overlap, the first one counts.

    Parameters
    ----------
    crystal
        Axes, centring, detector shift and profile radius.
    detector
        The panels.
    wavelength, bandwidth
        Wavelength [Å] and its relative standard deviation.
    max_inverse_d
        Resolution limit [Å⁻¹]; the detector's corner limits it as well.
    profile_radius
        Used in place of the crystal's [Å⁻¹].

    Returns
    -------
    ReflectionTable
        In ascending order of h, k, l, nothing measured yet.
    """
    radius = crystal.profile_radius if profile_radius is None else profile_radius
    beam = pack_beam(wavelength, bandwidth, radius)
    limit = min(detector.max_inverse_d(wavelength), max_inverse_d)
    axes = np.ascontiguousarray(crystal.reciprocal_axes)
    lengths = np.linalg.norm(crystal.direct_axes, axis=1)
    most = [min(MAX_INDEX, int(limit * length)) if limit > 0 else 0 for length in lengths]
    first, second, third = (int(number) for number in np.argsort(lengths, kind="stable"))
    reach = _reach(radius, float(beam[WAVENUMBER_SIGMA]))
    # The part of the Ewald sphere within the resolution limit has the area π limit².
    expected = 2.0 * pi * max(limit, 0.0) ** 2 * reach * abs(float(np.linalg.det(crystal.direct_axes)))
    capacity = int(ROOM * min(expected, MOST_ROOM)) + 64
    while True:
        hkl, panel = np.empty((capacity, 3), np.int32), np.empty(capacity, np.int32)
        columns = np.empty((capacity, 4))
        n = predict(
            axes,
            (first, second, third),
            (most[first], most[second], most[third]),
            ord(crystal.centring),
            beam,
            reach,
            max(limit, 0.0),
            _shifted_inverses(detector, crystal.det_shift),
            _sizes(detector),
            hkl,
            panel,
            columns,
        )
        if n <= capacity:
            break
        capacity = n
    packed = hkl[:n].astype(np.int64) + (MAX_INDEX + 1)
    order = np.argsort((packed[:, 0] << 20) + (packed[:, 1] << 10) + packed[:, 2])
    return ReflectionTable.predicted(
        hkl=hkl.take(order, axis=0),
        panel=panel[order],
        fs=columns[:, FS][order],
        ss=columns[:, SS][order],
        excitation_error=columns[:, EXCITATION][order],
        partiality=columns[:, PARTIALITY][order],
    )


def _reach(radius: float, spread: float) -> float:
    """Distance from the sphere beyond which no reflection reaches the smallest partiality [Å⁻¹]."""
    if radius <= 0:
        return 0.0
    growth = 0.5 * log(1.0 + (spread / radius) ** 2)
    return sqrt(2.0 * (radius**2 + 4.0 * spread**2) * (-log(MIN_PARTIALITY) + growth))


def _shifted_inverses(detector: Detector, shift: tuple[float, float]) -> NDArray[np.float64]:
    if shift == (0.0, 0.0):
        return detector.inverses
    poses = detector.poses.copy()
    poses[:, CORNER, :2] += shift
    return np.ascontiguousarray(np.linalg.inv(poses.transpose(0, 2, 1)))


def _sizes(detector: Detector) -> NDArray[np.int64]:
    """A panel table of which only the sizes matter."""
    table = np.zeros((detector.n_panels, N_COLUMNS), np.int64)
    table[:, WIDTH], table[:, HEIGHT] = detector.width, detector.height
    return table
