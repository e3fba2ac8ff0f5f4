"""Peak search: one entry a method (`--peaks`)."""

from collections.abc import Callable

from braggstream.model.errors import UserError
from braggstream.model.frame import Frame
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import PeakSettings
from braggstream.steps.peaks.filters import FilteredSearch
from braggstream.steps.peaks.peakfinder8 import Peakfinder8
from braggstream.steps.peaks.peakfinder9 import Peakfinder9
from braggstream.steps.peaks.supplied import SuppliedPeakFinder
from braggstream.steps.peaks.zaef import Zaef

PeakFinder = Callable[[Frame], PeakTable]


def _no_peaks(_: PeakSettings) -> PeakFinder:
    return lambda _frame: PeakTable.empty()


PEAK_METHODS: dict[str, Callable[[PeakSettings], PeakFinder]] = {
    "zaef": Zaef,
    "peakfinder8": Peakfinder8,
    "peakfinder9": Peakfinder9,
    "msgpack": SuppliedPeakFinder,
    "hdf5": SuppliedPeakFinder,
    "cxi": SuppliedPeakFinder,
    "none": _no_peaks,
}


def check_peak_method(name: str) -> None:
    """Raise `UserError` where there is no such method."""
    if name not in PEAK_METHODS:
        raise UserError(f"--peaks={name}: expected one of {', '.join(PEAK_METHODS)}")


def make_peak_finder(settings: PeakSettings) -> PeakFinder:
    """Make the peak finder that the user chose; raises `UserError` where there is none."""
    check_peak_method(settings.method)
    if settings.median_filter < 0:
        raise UserError(f"--median-filter={settings.median_filter}: expected a half-width in pixels, 0 for none")
    search = PEAK_METHODS[settings.method](settings)
    if settings.method != "none" and (settings.median_filter > 0 or settings.filter_noise):
        return FilteredSearch(settings, search)
    return search
