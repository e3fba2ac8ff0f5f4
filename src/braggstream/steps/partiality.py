"""Partialities of a crystal's reflections by the model that the user names: what merging divides by."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.partiality import GGPM, OFFSET, UNITY, XSPHERE, record_parts
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.near_names import expected_one_of
from braggstream.steps.pairing import pack_beam

MODELS = {"unity": UNITY, "ggpm": GGPM, "offset": OFFSET, "xsphere": XSPHERE}
RANDOM = "random"
LEAST_BANDWIDTH = 1e-8
"""`xsphere` integrates over the spectrum, so there must be one."""


def partialities(
    model: str,
    crystal: Crystal,
    hkl: NDArray[np.int32],
    *,
    wavelength: float,
    bandwidth: float,
    mosaicity: float = 0.0,
    serial: int = 0,
) -> NDArray[np.float64]:
    """Give the part of each reflection that was recorded.

    Parameters
    ----------
    model
        `unity`, `ggpm`, `offset`, `xsphere`, or `random`, which is for tests of merging only.
    crystal
        Its axes and profile radius.
    hkl : int32[n, 3]
        Reflections.
    wavelength, bandwidth
        Wavelength [Å] and its relative standard deviation.
    mosaicity
        Spread of the orientations within the crystal [rad].
    serial
        Serial number of the frame; with the indices it is the seed of `random`.

    Returns
    -------
    float64[n]
        Between 0 and 1.

    Raises
    ------
    UserError
        For a model that is not there.
    """
    if model == RANDOM:
        return random_parts(hkl, serial)
    if model not in MODELS:
        raise UserError(f"--model={model}: {expected_one_of(model, [*MODELS, RANDOM])}")
    q = hkl.astype(np.float64) @ np.ascontiguousarray(crystal.reciprocal_axes)
    beam = pack_beam(wavelength, max(bandwidth, LEAST_BANDWIDTH), crystal.profile_radius)
    parts = np.empty(len(hkl))
    record_parts(q, beam, mosaicity, MODELS[model], parts)
    return parts


def random_parts(hkl: NDArray, serial: int | NDArray) -> NDArray[np.float64]:
    """Give uniform numbers, float64[n], that depend on nothing but serial number and indices (splitmix64)."""
    h, k, l = (hkl.astype(np.int64) + 512).T.astype(np.uint64)  # noqa: E741
    mixed = np.asarray(serial).astype(np.uint64) << np.uint64(30) | h << np.uint64(20) | k << np.uint64(10) | l
    with np.errstate(over="ignore"):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return np.asarray((mixed ^ mixed >> np.uint64(31)) >> np.uint64(11), np.float64) / 2.0**53
