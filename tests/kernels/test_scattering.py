"""Scattering vectors of peaks, beside those of the detector model."""

import numpy as np
import pytest

from braggstream.kernels.scattering import scattering_vectors
from steps.made_frames import made_detector


@pytest.mark.parametrize("kernel", [scattering_vectors, scattering_vectors.py_func])
def test_vectors_are_those_of_the_detector(kernel):
    rng = np.random.default_rng(1)
    poses = np.array([[[-0.03, 0.01, 0.1]], [[0.02, -0.04, 0.12]]]) + np.zeros((2, 3, 1))
    poses[:, 1:] = 1e-4 * rng.standard_normal((2, 2, 3))
    detector = made_detector([(50, 60), (50, 60)], [(0, 0), (0, 0)], poses=poses)
    panel, (fs, ss) = rng.integers(0, 2, 40).astype(np.int32), rng.uniform(-5, 65, (2, 40))
    q = np.empty((40, 3))
    kernel(detector.poses, panel, fs, ss, 1.3, q)
    np.testing.assert_allclose(q, detector.scattering_vectors(panel, fs, ss, 1.3), rtol=0, atol=1e-15)
