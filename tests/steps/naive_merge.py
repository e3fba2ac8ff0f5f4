"""A plain merge written from the specification, one observation after the other."""

from collections import defaultdict
from math import atan2, cos, inf, pi, sin, sqrt

import numpy as np

from braggstream.formats.stream_read import read_stream


def crystals_of(path):
    """Crystals of a stream file, with the wavelength of their frames."""
    return [(chunk, crystal) for chunk in read_stream(path) for crystal in chunk.crystals]


def polarisation_factor(q, wavelength, angle, fraction):
    """Section 3.3: from the angle 2θ of the diffracted beam and its azimuth."""
    v = q + np.array([0.0, 0.0, 1.0 / wavelength])
    two_theta = atan2(sqrt(v[0] ** 2 + v[1] ** 2), v[2])
    phi = atan2(q[1], q[0]) - angle * pi / 180.0
    along = 1.0 - cos(phi) ** 2 * sin(two_theta) ** 2
    across = 1.0 - sin(phi) ** 2 * sin(two_theta) ** 2
    return fraction * along + (1.0 - fraction) * across


def naive_merge(crystals, group, *, angle=0.0, fraction=1.0, corrects=True, min_snr=-inf, max_adu=inf, push_res=inf,
                reference=None, scales=False, min_cc=-inf):  # fmt: skip
    """Merge; gives the values of each reflection, and scale and correlation of each crystal."""
    values, rows = defaultdict(list), []
    for chunk, crystal in crystals:
        table = crystal.reflections
        asymmetric = [tuple(hkl) for hkl in group.asymmetric(table.hkl).tolist()]
        q = table.hkl @ crystal.reciprocal_axes
        corrected = []
        for n in range(len(table)):
            p = polarisation_factor(q[n], chunk.wavelength, angle, fraction) if corrects else 1.0
            corrected.append((float(np.float32(table.intensity[n])) / p, float(np.float32(table.sigma[n])) / p))
        scale, cc = 1.0, 0.0
        if reference is not None:
            pairs = [
                (reference[hkl], i) for hkl, (i, _) in zip(asymmetric, corrected, strict=True) if hkl in reference
            ]
            r, i = np.array(pairs).T
            cc = np.corrcoef(r, i)[0, 1]
            scale = (r @ i) / (i @ i) if scales else 1.0
            if cc < min_cc or not scale > 0:
                continue
            rows.append((scale, cc))
        for n, (intensity, sigma) in enumerate(corrected):
            is_far = sqrt(q[n] @ q[n]) > crystal.resolution_limit + push_res
            if not (is_far or table.peak_value[n] > max_adu or intensity < min_snr * sigma):
                values[asymmetric[n]].append(scale * intensity)
    return values, rows


def means_of(values, least=2):
    """Mean, error and number of the values of each reflection."""
    return {
        hkl: (np.mean(own), np.std(own) / sqrt(len(own)), len(own))
        for hkl, own in values.items()
        if len(own) >= least
    }
