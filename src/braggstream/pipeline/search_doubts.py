"""What cannot be in the options of a run, seen from its geometry: told with the option that says so."""

from collections.abc import Iterator
from math import inf, pi

import numpy as np

from braggstream.model.cell import UnitCell
from braggstream.model.detector import Detector
from braggstream.model.exposure import Exposure
from braggstream.model.geometry import Geometry
from braggstream.model.settings import IndexingSettings, PeakSettings, Settings
from braggstream.pipeline.detector_extent import Extent, panel_rim

LEAST_PHOTONS = 0.5
"""A threshold below so much of a photon is no threshold."""
LEAST_RADIUS_PX = 50.0
"""A search that ends so near to the beam was meant in Å."""
LEAST_POINTS = 1000.0
"""A lattice with fewer points within the detector's reach shows hardly any on one still."""
MOST_AXIS = 2000.0
"""[Å]"""
USE_THRESHOLD = ("zaef", "peakfinder8")


def search_doubts(geometry: Geometry, exposure: Exposure, settings: Settings) -> Iterator[str]:
    """Tell what cannot be in the options; needs a wavelength and a place of the detector."""
    yield from _saturation_doubts(geometry, settings.peaks)
    if settings.indexing.target_cell is not None:
        yield from _cell_doubts(settings.indexing.target_cell)
    if not exposure.is_complete or exposure.wavelength is None:
        return
    detector = exposure.detector(geometry)
    extent = Extent.of(detector, exposure.wavelength)
    yield from _gain_doubts(detector, settings.peaks)
    yield from _radius_doubts(extent, settings.peaks)
    if settings.frame.highres < _least_inverse_d(detector, exposure.wavelength):
        yield f"--highres={1.0 / settings.frame.highres:g}: every pixel of the detector is beyond this resolution"
    yield from _few_points(extent, settings.indexing)


def _saturation_doubts(geometry: Geometry, peaks: PeakSettings) -> Iterator[str]:
    if peaks.method not in USE_THRESHOLD:
        return
    for panel in geometry.panels:
        if panel.max_adu <= peaks.threshold:
            yield (
                f"--threshold={peaks.threshold:g}: max_adu of panel {panel.name} is {panel.max_adu:g}, so that "
                "every peak is saturated"
            )
            return


def _gain_doubts(detector: Detector, peaks: PeakSettings) -> Iterator[str]:
    gain = float(np.median(detector.adu_per_photon))
    if peaks.method in USE_THRESHOLD and gain > 0 and 0 < peaks.threshold < LEAST_PHOTONS * gain:
        yield (
            f"--threshold={peaks.threshold:g} is {peaks.threshold / gain:.2g} photons: it is in detector units, of "
            f"which a photon gives {gain:g}"
        )


def _radius_doubts(extent: Extent, peaks: PeakSettings) -> Iterator[str]:
    if peaks.method != "peakfinder8":
        return
    low, high = peaks.min_res, peaks.max_res or inf
    if low >= high:
        yield f"--min-res={low:g} is not below --max-res={high:g}: no pixel is searched"
    elif low > extent.farthest_px or high < extent.nearest_px:
        yield (
            f"--min-res={low:g} --max-res={high:g}: the detector's pixels are {extent.nearest_px:.0f} to "
            f"{extent.farthest_px:.0f} pixels from the beam"
        )
    elif high < min(LEAST_RADIUS_PX, 0.2 * extent.farthest_px):
        yield f"--max-res={high:g} is a radius in pixels, not Å: the detector reaches to {extent.farthest_px:.0f}"


def _cell_doubts(cell: UnitCell) -> Iterator[str]:
    lengths = cell.parameters[:3]
    shown = " ".join(f"{length:g}" for length in lengths)
    if max(lengths) > MOST_AXIS:
        yield f"-p: the cell is {shown} Å: are its lengths in Å?"
    elif min(lengths) < 2.0:
        yield f"-p: the cell is {shown} Å: are its lengths in nm?  The unit stands behind each number: nm or A"


def _few_points(extent: Extent, indexing: IndexingSettings) -> Iterator[str]:
    cell = indexing.target_cell
    if cell is None or "smallcell" in indexing.methods or min(cell.parameters[:3]) < 2.0:
        return
    n_points = 4.0 / 3.0 * pi * extent.corner**-3 * cell.volume
    if n_points < LEAST_POINTS:
        lengths = " ".join(f"{length:g}" for length in cell.parameters[:3])
        yield (
            f"-p: the lattice of the cell {lengths} Å has only {n_points:.0f} points within the detector's reach "
            f"of {extent.corner:.3g} Å: are its lengths in Å, and is clen right?"
        )


def _least_inverse_d(detector: Detector, wavelength: float) -> float:
    """Smallest 1/d on the detector, 0 where the beam hits it [Å⁻¹]."""
    extent = Extent.of(detector, wavelength)
    if extent.nearest_px == 0.0:
        return 0.0
    lab = np.concatenate([panel_rim(detector, panel) for panel in range(detector.n_panels)])
    sine = 1.0 - lab[:, 2] / np.linalg.norm(lab, axis=1)
    return float(np.sqrt(2.0 * np.clip(sine, 0.0, None)).min()) / wavelength
