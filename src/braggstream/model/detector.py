"""Detector: the panels of one frame as arrays, with the camera length and shifts of that frame applied."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.layout import CORNER, FS, SS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """All panels of a detector at one position, as arrays over panels.

    Lab frame: +z along the beam, +y up, right-handed, origin at the sample.  Panel coordinates (fs, ss) are
    pixels from the panel's very corner: the centre of its first pixel is (0.5, 0.5).
    """

    names: tuple[str, ...]
    """Panel names in the order of the geometry file."""
    width: IntArray
    """Pixels along fast scan, int64[n_panels]."""
    height: IntArray
    """Pixels along slow scan, int64[n_panels]."""
    min_fs: IntArray
    """First fast-scan index of the panel in the data, int64[n_panels]."""
    min_ss: IntArray
    """First slow-scan index of the panel in the data, int64[n_panels]."""
    poses: FloatArray
    """Corner, fs step and ss step in the lab frame, float64[n_panels, 3, 3] [m]."""
    pixel_size: FloatArray
    """Pixel pitch, float64[n_panels] [m]."""
    adu_per_photon: FloatArray
    """Gain at this frame's wavelength, float64[n_panels] [detector units per photon]."""
    max_adu: FloatArray
    """Saturation level, float64[n_panels]; +inf where none is set [detector units]."""

    @property
    def n_panels(self) -> int:
        """Number of panels."""
        return len(self.names)

    @cached_property
    def starts(self) -> IntArray:
        """First index of each panel in detector order, and the total: int64[n_panels + 1]."""
        starts = np.zeros(self.n_panels + 1, np.int64)
        np.cumsum(self.width * self.height, out=starts[1:])
        return starts

    @property
    def n_pixels(self) -> int:
        """Number of pixels of all panels."""
        return int(self.starts[-1])

    @cached_property
    def inverses(self) -> FloatArray:
        """Inverse of the matrix with columns corner, fs, ss: float64[n_panels, 3, 3] [1/m].

        For a ray t from the sample, `v = inverse @ t` gives `fs = v[1] / v[0]`, `ss = v[2] / v[0]`; the ray goes
        forward where `v[0] > 0`.
        """
        return np.ascontiguousarray(np.linalg.inv(self.poses.transpose(0, 2, 1)))

    @property
    def average_camera_length(self) -> float:
        """Mean z of the panels' corners [m]."""
        return float(self.poses[:, CORNER, 2].mean())

    def lab_position(
        self,
        panel: NDArray[np.integer],
        fs: FloatArray,
        ss: FloatArray,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> FloatArray:
        """Lab positions of points on panels, float64[n, 3] [m]; `shift` moves the detector in x and y [m]."""
        pose = self.poses[panel]
        lab = pose[:, CORNER] + fs[:, None] * pose[:, FS] + ss[:, None] * pose[:, SS]
        lab[:, 0] += shift[0]
        lab[:, 1] += shift[1]
        return lab

    def scattering_vectors(
        self,
        panel: NDArray[np.integer],
        fs: FloatArray,
        ss: FloatArray,
        wavelength: float,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> FloatArray:
        """Scattering vectors of points on panels, float64[n, 3], no 2 pi [Å⁻¹]; `wavelength` in Å."""
        lab = self.lab_position(panel, fs, ss, shift)
        lab /= np.linalg.norm(lab, axis=1, keepdims=True)
        lab[:, 2] -= 1.0
        lab /= wavelength
        return lab

    def max_inverse_d(self, wavelength: float) -> float:
        """Largest 1/d at any panel corner [Å⁻¹]; `wavelength` in Å."""
        panel = np.repeat(np.arange(self.n_panels), 4)
        fs = np.tile([0.0, 1.0, 0.0, 1.0], self.n_panels) * self.width[panel].astype(np.float64)
        ss = np.tile([0.0, 0.0, 1.0, 1.0], self.n_panels) * self.height[panel].astype(np.float64)
        return float(np.linalg.norm(self.scattering_vectors(panel, fs, ss, wavelength), axis=1).max())
