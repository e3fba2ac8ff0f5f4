"""Peak search: a method is one module and one line in `PEAK_METHODS` (`--peaks`)."""

from collections.abc import Callable, Mapping

from braggstream.model.errors import UserError
from braggstream.model.frame import Frame
from braggstream.model.near_names import expected_one_of
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings
from braggstream.steps.device import CUDA
from braggstream.steps.registry import make

PeakFinder = Callable[[Frame], PeakTable]


def no_peaks(_: PeakSettings) -> PeakFinder:
    """Make the finder that finds none."""
    return lambda _frame: PeakTable.empty()


PEAK_METHODS: Mapping[str, str] = {
    "zaef": "braggstream.steps.peaks.zaef:Zaef",
    "peakfinder8": "braggstream.steps.peaks.peakfinder8:Peakfinder8",
    "peakfinder9": "braggstream.steps.peaks.peakfinder9:Peakfinder9",
    "msgpack": "braggstream.steps.peaks.supplied:SuppliedPeakFinder",
    "hdf5": "braggstream.steps.peaks.supplied:SuppliedPeakFinder",
    "cxi": "braggstream.steps.peaks.supplied:SuppliedPeakFinder",
    "none": "braggstream.steps.peaks:no_peaks",
}
"""Method name -> `module:factory`; the factory takes the settings and gives a finder."""

CUDA_PEAK_METHODS: Mapping[str, str] = {
    "peakfinder8": "braggstream.steps.peaks.peakfinder8_cuda:CudaPeakfinder8",
}
"""Methods that a CUDA device takes over; the others run on the CPU whatever the device."""


def check_peak_method(name: str) -> None:
    """Raise `UserError` where there is no such method."""
    if name not in PEAK_METHODS:
        raise UserError(f"--peaks={name}: {expected_one_of(name, PEAK_METHODS)}")


def make_peak_finder(settings: PeakSettings) -> PeakFinder:
    """Make the peak finder that the user chose; raises `UserError` where there is none."""
    check_peak_method(settings.method)
    if settings.median_filter < 0:
        raise UserError(f"--median-filter={settings.median_filter}: expected a half-width in pixels, 0 for none")
    methods = {**PEAK_METHODS, **CUDA_PEAK_METHODS} if settings.device == CUDA else PEAK_METHODS
    finder: PeakFinder = make(methods[settings.method], settings)
    if settings.method != "none" and (settings.median_filter > 0 or settings.filter_noise):
        from braggstream.steps.peaks.filters import FilteredSearch

        return FilteredSearch(settings, finder)
    return finder
