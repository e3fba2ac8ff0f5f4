"""Small frames with any panels and any pixels, made in a test."""

import numpy as np

from braggstream.model.detector import Detector
from braggstream.model.frame import Frame, FrameIdentity
from steps.golden_frames import panel_table

PIXEL_M = 1e-4


def made_detector(sizes, corners_px, **columns):
    """Panels of (width, height) pixels whose corners lie at (x, y) pixels, 0.1 m away and facing the beam."""
    n = len(sizes)
    width, height = np.array(sizes, np.int64).T
    poses = np.zeros((n, 3, 3))
    poses[:, 0, :2] = np.array(corners_px, float) * PIXEL_M
    poses[:, 0, 2] = 0.1
    poses[:, 1, 0] = poses[:, 2, 1] = PIXEL_M
    chosen = {
        "min_fs": np.zeros(n, np.int64),
        "min_ss": np.concatenate([[0], np.cumsum(height)[:-1]]).astype(np.int64),
        "adu_per_photon": np.ones(n),
        "max_adu": np.full(n, np.inf),
        "poses": poses,
    } | columns
    return Detector(
        names=tuple(f"p{number}" for number in range(n)),
        width=width,
        height=height,
        pixel_size=np.full(n, PIXEL_M),
        **chosen,
    )


def made_frame(detector, images, *, bad=None, **columns):
    """A frame of one image [ss, fs] a panel."""
    pixels = np.ascontiguousarray(np.concatenate([image.ravel() for image in images]))
    return Frame(
        identity=FrameIdentity(filename="made.h5", event="//0", serial=1),
        detector=detector,
        wavelength=1.2,
        pixels=pixels,
        panel_table=panel_table(detector),
        bad=np.zeros(detector.n_pixels, np.uint8) if bad is None else bad.astype(np.uint8),
        **columns,
    )


SMALL_GEOMETRY = """photon_energy = 9500 eV
clen = 0.1 m
adu_per_photon = 1
res = 10000
data = /entry/data/data
dim0 = %
dim1 = ss
dim2 = fs
p/min_fs = 0
p/max_fs = 63
p/min_ss = 0
p/max_ss = 63
p/corner_x = -32
p/corner_y = -32
p/fs = x
p/ss = y
"""
