"""Peak lists that come with the frame: half-pixel shift, panels, revalidation."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.three_rings import integrate_list
from braggstream.model.detector import Detector
from braggstream.model.errors import MismatchError
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable, SuppliedPeaks
from braggstream.model.settings import PeakSettings

HALF_PIXEL = 0.5
"""From pixel numbers, which count the first centre as 0, to distances from the corner."""

GOOD, SATURATED = 1, 2


class SuppliedPeakFinder:
    """Takes a frame's own peak list."""

    def __init__(self, settings: PeakSettings) -> None:
        self._settings = settings

    def __call__(self, frame: Frame) -> PeakTable:
        """Place the peaks on panels and, unless told not to, integrate them again."""
        if frame.supplied_peaks is None:
            return PeakTable.empty()
        shift = HALF_PIXEL if self._settings.half_pixel_shift else 0.0
        peaks = place_peaks(frame.supplied_peaks, frame.detector, shift)
        return self._revalidated(frame, peaks) if self._settings.revalidate else peaks

    def _revalidated(self, frame: Frame, peaks: PeakTable) -> PeakTable:
        """Keep the peaks that can be integrated, with the intensities found; positions stay as they are."""
        chosen, n = self._settings, len(peaks)
        found, state = np.empty((n, 2)), np.empty(n, np.uint8)
        inner, middle, outer = (float(int(radius)) for radius in chosen.radii)
        integrate_list(
            frame.pixels,
            frame.panel_table,
            frame.bad,
            peaks.panel,
            np.trunc(np.stack([peaks.fs, peaks.ss], axis=1)).astype(np.int64),
            (inner, middle, outer),
            frame.detector.max_adu,
            frame.detector.adu_per_photon,
            found,
            state,
        )
        keep = state >= GOOD
        if not chosen.use_saturated:
            keep &= state != SATURATED
        if chosen.check_snr:
            keep &= np.abs(found[:, 0]) >= chosen.min_snr * found[:, 1]
        kept = peaks.take(keep)
        return PeakTable(panel=kept.panel, fs=kept.fs, ss=kept.ss, intensity=found[keep, 0])


def place_peaks(supplied: SuppliedPeaks, detector: Detector, shift: float) -> PeakTable:
    """Find each peak's panel; peaks on none, or on more than one, are dropped.

    Raises
    ------
    MismatchError
        The list names a panel that the geometry has not.
    """
    fs, ss = supplied.fs + shift, supplied.ss + shift
    panel = _panels(supplied, detector, fs, ss)
    keep = panel >= 0
    panel = panel[keep]
    return PeakTable(
        panel=panel.astype(np.int32),
        fs=fs[keep] - detector.min_fs[panel],
        ss=ss[keep] - detector.min_ss[panel],
        intensity=supplied.intensity[keep],
    )


def _panels(
    supplied: SuppliedPeaks, detector: Detector, fs: NDArray[np.float64], ss: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Number of the panel of each peak; -1 where none or more than one holds it."""
    finite = np.isfinite(fs) & np.isfinite(ss) & np.isfinite(supplied.intensity)
    inside = (
        (detector.min_fs <= fs[:, None])
        & (fs[:, None] < detector.min_fs + detector.width)
        & (detector.min_ss <= ss[:, None])
        & (ss[:, None] < detector.min_ss + detector.height)
        & finite[:, None]
    )
    if supplied.panel is None:
        return np.where(inside.sum(axis=1) == 1, inside.argmax(axis=1), -1)
    numbers = {name: number for number, name in enumerate(detector.names)}
    unknown = [name for name in supplied.panel if name not in numbers]
    if unknown:
        raise MismatchError(f"the peak list names panel {unknown[0][:80]!r}, which the geometry has not")
    named = np.array([numbers[name] for name in supplied.panel], np.int64)
    return np.where(inside[np.arange(len(named)), named], named, -1)
