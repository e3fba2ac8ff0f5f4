"""What happens to one frame.  This is the page that everyone reads; each line has a floor of its own below.

find peaks -> is it a hit? -> centres of spots -> index -> profile radius -> resolution -> predict -> integrate
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from braggstream.model.crystal import Crystal
from braggstream.model.frame import Frame
from braggstream.model.geometry import Geometry
from braggstream.model.offset_estimate import OffsetEstimate
from braggstream.model.result import FrameResult
from braggstream.model.settings import IndexingSettings, Settings
from braggstream.steps.indexing import IndexingOutcome, make_lattice_finder
from braggstream.steps.indexing.methods import NO_INDEXING
from braggstream.steps.integration import make_integrator
from braggstream.steps.peaks import make_peak_finder
from braggstream.steps.prediction import predict_reflections
from braggstream.steps.profile_radius import measure_profile_radius
from braggstream.steps.resolution import peak_resolution, resolution_limit
from braggstream.steps.view import PeakView

if TYPE_CHECKING:
    from braggstream.steps.millepede import Recorder
    from braggstream.steps.offset_finder import OffsetFinder

OVERPREDICTION = 5.0
"""With `--overpredict` reflections are predicted as if the profile radius were so many times larger."""


class Recipe:
    """The steps, set up once; `process` takes one frame through them."""

    def __init__(self, geometry: Geometry, settings: Settings) -> None:
        self._bandwidth = geometry.bandwidth
        self._settings = settings
        self._find_peaks = make_peak_finder(settings.peaks)
        self._find_lattices = make_lattice_finder(settings.indexing)
        self._find_centres = _make_centre_finder(settings.indexing)
        self._integrate = make_integrator(settings.integration)
        self._offset = geometry.offset
        self._find_offsets = _make_offset_finder(settings)
        self._make_records = _make_recorder(geometry, settings)

    def process(self, frame: Frame) -> FrameResult:
        """Take one frame from pixels to integrated reflections."""
        clock = _Clock()
        with clock.step("peaks"):
            peaks = self._find_peaks(frame)
            listed = PeakView.of(frame, peaks, self._bandwidth)
        is_hit = len(peaks) >= self._settings.peaks.min_peaks
        found = IndexingOutcome()
        crystals: tuple[Crystal, ...] = ()
        offsets: tuple[OffsetEstimate, ...] = ()
        warnings = _warnings_of(frame)
        calibration = b""
        if is_hit:
            with clock.step("indexing"):
                view = self._find_centres(frame, listed)
                found = self._find_lattices(view)
            if self._find_offsets is not None and frame.identity.serial % self._settings.geometry.ask_every == 0:
                with clock.step("geometry"):
                    asked = self._find_offsets(found.crystals, view)
                    offsets = tuple(estimate.seen_from(self._offset) for estimate in asked)
            with clock.step("prediction"):
                crystals = tuple(self._measure(crystal, listed, warnings) for crystal in found.crystals)
            if crystals and not self._settings.integration.cell_parameters_only:
                with clock.step("integration"):
                    crystals, complaints = self._integrate(frame, crystals)
                warnings.extend(complaints)
            if found.crystals and self._make_records is not None:
                with clock.step("calibration"):
                    calibration = self._make_records(found.crystals, view)
        return FrameResult(
            identity=frame.identity,
            wavelength=frame.wavelength,
            bandwidth=self._bandwidth,
            divergence=self._settings.integration.fix_divergence,
            average_camera_length=frame.detector.average_camera_length,
            headers=frame.headers,
            peaks=peaks,
            peak_inverse_d=listed.inverse_d,
            peak_resolution=peak_resolution(listed.inverse_d),
            is_hit=is_hit,
            indexed_by=found.indexed_by,
            n_tries=found.n_tries,
            crystals=crystals,
            offsets=offsets,
            calibration=calibration,
            warnings=(*found.warnings, *warnings),
            timings=clock.seconds,
        )

    def _measure(self, crystal: Crystal, view: PeakView, warnings: list[str]) -> Crystal:
        """Give a crystal its profile radius and, unless only cells are wanted, its predicted reflections."""
        chosen = self._settings.integration
        radius = chosen.fix_profile_radius
        if radius is None:
            radius = measure_profile_radius(crystal, view)
        if radius is None:
            warnings.append("too few peaks to measure the profile radius")
        else:
            crystal = replace(crystal, profile_radius=radius)
        if chosen.cell_parameters_only:
            return crystal
        limit = resolution_limit(crystal, view.q)
        if not limit:
            warnings.append("too few peaks to estimate the resolution of the crystal")
        crystal = replace(crystal, resolution_limit=limit)
        reflections = predict_reflections(
            crystal,
            view.detector,
            view.wavelength,
            view.bandwidth,
            max_inverse_d=limit + chosen.push_res,
            profile_radius=crystal.profile_radius * (OVERPREDICTION if chosen.overpredict else 1.0),
        )
        return replace(crystal, reflections=reflections)


def _make_centre_finder(settings: IndexingSettings) -> Callable[[Frame, PeakView], PeakView]:
    """Make what moves peaks to the centres of their spots, if lattices are refined; only then it is loaded."""
    if not (settings.refine and settings.spot_centres) or settings.methods == (NO_INDEXING,):
        return lambda _frame, view: view
    from braggstream.steps.spot_centres import at_spot_centres

    return at_spot_centres


def _make_recorder(geometry: Geometry, settings: Settings) -> "Recorder | None":
    """Make what writes records for Millepede, if they are wanted; only then its kernels are loaded."""
    if not settings.calibration.write_records or not settings.indexing.refine:
        return None
    from braggstream.steps.millepede import Recorder

    return Recorder(geometry, settings)


def _make_offset_finder(settings: Settings) -> "OffsetFinder | None":
    """Make what asks crystals where the detector stands, if that is wanted; only then its kernels are loaded."""
    if settings.geometry.refine == "off":
        return None
    from braggstream.steps.offset_finder import OffsetFinder

    return OffsetFinder(settings.indexing)


def _warnings_of(frame: Frame) -> list[str]:
    """Say what is odd about a frame before anything is done with it."""
    supplied = frame.supplied_peaks
    if supplied is None or not supplied.n_left_out:
        return []
    return [f"the peak list counts {supplied.n_left_out} peaks more than it holds"]


class _Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is inside."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - start
