"""Levels of a frame's pixels, which of them are good, and the threshold that they call for."""

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, floor, inf, isqrt, log10, sqrt

import numpy as np
from numpy.typing import NDArray

from braggstream.model.frame import Frame
from braggstream.model.frame_sample import GoodPixels, PixelLevels
from braggstream.model.geometry import Geometry
from braggstream.steps.bad_pixels import BadPixels

N_PIXELS = 10_000
"""About so many pixels are looked at."""
QUANTILES = (0.5, 0.84, 0.95)
ABOVE_BRIGHT = 2.0
"""A threshold lies so many standard deviations above what only one pixel in twenty exceeds."""
LEAST_PHOTONS = 2.0


def pixel_levels(frame: Frame) -> PixelLevels | None:
    """Measure the levels of a frame; None where it has no good pixels."""
    values = np.concatenate(list(_some_pixels(frame)))
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    middle, upper, bright = np.quantile(values, QUANTILES).tolist()
    return PixelLevels(middle=middle, noise=upper - middle, bright=bright, highest=float(values.max()))


def suggested_threshold(levels: PixelLevels, adu_per_photon: float) -> float:
    """Give the threshold that parts spots from the background, two digits of it [detector units]."""
    gain = adu_per_photon if 0.0 < adu_per_photon < 1e12 else 1.0
    poisson = sqrt(gain * max(levels.bright, 0.0))
    wanted = max(levels.bright + ABOVE_BRIGHT * max(levels.noise, poisson), LEAST_PHOTONS * gain)
    step = 10.0 ** (floor(log10(wanted)) - 1)
    return float(f"{ceil(wanted / step) * step:.6g}")


def good_pixels(frame: Frame, geometry: Geometry, highres: float) -> GoodPixels:
    """Count the good pixels of a frame, and the bad ones by reason; `highres` as for `BadPixels`."""
    n_bad = np.add.reduceat(frame.bad != 0, frame.detector.starts[:-1], dtype=np.int64)
    sizes = np.diff(frame.detector.starts)
    why_bad = dict(_static_reasons(frame, geometry, highres))
    static = BadPixels(geometry, highres=highres).static_map(frame.detector, frame.wavelength)
    n_others = int(np.count_nonzero(frame.bad)) - int(np.count_nonzero(static))
    if n_others:
        has_masks = any(panel.masks for panel in geometry.panels)
        why_bad["masks and values" if has_masks else "values"] = n_others
    return GoodPixels(
        n_good=int(sizes.sum() - n_bad.sum()),
        n_all=int(sizes.sum()),
        why_bad=why_bad,
        dead_panels=tuple(
            panel.name
            for panel, size, bad in zip(geometry.panels, sizes, n_bad, strict=True)
            if bad == size and not panel.no_index
        ),
    )


def _static_reasons(frame: Frame, geometry: Geometry, highres: float) -> Iterator[tuple[str, int]]:
    """Count what is bad in every frame, each reason as if it were the only one."""
    plain = tuple(
        replace(panel, no_index=False, mask_edge_pixels=0, masks=(), flags=()) for panel in geometry.panels
    )
    nothing = replace(geometry, panels=plain, bad_regions=(), _cache={})
    unused = tuple(
        replace(each, no_index=panel.no_index) for each, panel in zip(plain, geometry.panels, strict=True)
    )
    edges = tuple(
        replace(each, mask_edge_pixels=panel.mask_edge_pixels)
        for each, panel in zip(plain, geometry.panels, strict=True)
    )
    for reason, alone, limit in (
        ("no_index", replace(nothing, panels=unused), inf),
        ("panel edges", replace(nothing, panels=edges), inf),
        ("bad regions", replace(nothing, bad_regions=geometry.bad_regions), inf),
        ("--highres", nothing, highres),
    ):
        if alone.panels == plain and not alone.bad_regions and limit == inf:
            continue
        found = BadPixels(alone, highres=limit).static_map(frame.detector, frame.wavelength)
        n_bad = int(np.count_nonzero(found))
        if n_bad:
            yield reason, n_bad


def _some_pixels(frame: Frame) -> Iterator[NDArray[np.float64]]:
    """Give good pixels of each panel, spread over it."""
    step = isqrt(frame.detector.n_pixels // N_PIXELS) | 1
    for panel in range(frame.detector.n_panels):
        pixels, bad = frame.panel_pixels(panel)[::step, ::step], frame.panel_bad(panel)[::step, ::step]
        yield pixels[bad == 0].astype(np.float64)
