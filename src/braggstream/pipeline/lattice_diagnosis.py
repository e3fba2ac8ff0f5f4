"""Why hits have no lattices: each cause is tried on a few hits, and the one that indexes most is told.

The peak search, the options of indexing, the beam centre, the camera length, the unit cell: for each of them a
session that was set up a little differently is tried, and nothing is said of what indexes no more than the session.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import UnitCell
from braggstream.model.constants import photon_energy_of
from braggstream.model.crystal import Crystal
from braggstream.model.exposure import Exposure
from braggstream.model.frame_sample import FrameSample, unpacked_peaks
from braggstream.model.geometry import Geometry
from braggstream.model.peaks import PeakTable
from braggstream.model.settings import IndexingSettings, Settings
from braggstream.pipeline.offset_consensus import OffsetConsensus
from braggstream.pipeline.session_samples import (
    FEWEST_SPOTS,
    SampledFrame,
    SessionCounts,
    typical_levels,
    wrong_search,
)
from braggstream.pipeline.setup_doubts import geometry_doubts
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.indexing.cell_check import CellCheck
from braggstream.steps.indexing.cell_clusters import CellClusters
from braggstream.steps.indexing.methods import KNOWN_CELL_METHOD, NO_CELL_METHOD
from braggstream.steps.offset_finder import OffsetFinder
from braggstream.steps.view import PeakView

MOST_HITS = 12
"""So many hits are tried."""
REACH_PX = 25.0
"""A beam centre is looked for so far from where the geometry has it."""
LEAST_OFF_PX = 0.5
"""One that is off by less spoils no indexing."""
FEWEST_INDEXED = 3
LEAST_PART = 0.4
"""A cause is told where, without it, this part of the hits is indexed..."""
LEAST_GAIN = 1.5
"""...and so many times as many as with it."""
ENOUGH = 0.75
"""What indexes this part of the hits is the cause, and nothing else is tried."""
LENGTH_FACTORS = (1.1, 0.9, 1.05, 0.95, 1.2, 0.8, 0.85, 1.15, 1.5, 0.67, 2.0, 0.5)
"""Camera lengths that are tried, as parts of the one given."""
SAME_SHAPE = (3.0, 3.0, 3.0, 2.0, 2.0, 2.0)
"""A cell that agrees with the expected one so well, but for its size, is that cell."""

FloatArray = NDArray[np.float64]
Attempt = Callable[[], "Remedy | None"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """Something that makes hits index."""

    n_indexed: int
    cause: str
    advice: str


def of_no_lattices(
    geometry: Geometry, settings: Settings, counts: SessionCounts, frames: Sequence[SampledFrame]
) -> list[str]:
    """Find out why hits have no lattices; gives lines for the user."""
    rate = f"{counts.n_indexed} of {counts.n_hits} hits are indexed"
    doubts = geometry_doubts(geometry, frames[-1].sample.exposure) if frames else ()
    for doubt in doubts:
        return [f"{rate}.  Likely cause: {doubt}."]
    trials = _Trials(geometry, settings, frames)
    if trials.n_hits < min(FEWEST_INDEXED, len(frames)):
        return [] if counts.n_indexed else [_of_few_peaks(rate, frames)]
    n_before = sum(each.is_indexed for each in trials.frames)
    least = max(trials.fewest, LEAST_PART * trials.n_hits, LEAST_GAIN * n_before)
    best: Remedy | None = None
    for attempt in trials.attempts():
        remedy = attempt()
        if remedy is not None and remedy.n_indexed >= least and (best is None or remedy.n_indexed > best.n_indexed):
            best = remedy
            if remedy.n_indexed >= ENOUGH * trials.n_hits:
                break
    if best is not None:
        return [
            f"{rate}.  Likely cause: {best.cause}.",
            f"With that put right {best.n_indexed} of {trials.n_hits} sampled hits index.  Try {best.advice}.",
        ]
    return [] if counts.n_indexed else [_of_nothing_found(rate, trials)]


def _of_few_peaks(rate: str, frames: Sequence[SampledFrame]) -> str:
    n_peaks = int(np.median([each.sample.n_peaks for each in frames] or [0]))
    return (
        f"{rate}: half of the sampled ones have {n_peaks} peaks or fewer, from which no lattice is found.  Try "
        "--min-peaks=15, and a lower --threshold or --min-snr where spots are missed (braggstream check)."
    )


def _of_nothing_found(rate: str, trials: "_Trials") -> str:
    n_peaks = int(np.median([len(view) for view in trials.views]))
    return (
        f"{rate}, with {n_peaks} peaks a hit.  Neither a beam centre off by {REACH_PX:g} pixels nor another cell "
        "or camera length explains that: are the peaks spots?  Look: braggstream check draws a frame."
    )


class _Trials:
    """Sampled hits, and what might make them index."""

    def __init__(self, geometry: Geometry, settings: Settings, frames: Sequence[SampledFrame]) -> None:
        self._geometry = geometry
        self._settings = settings
        self._target = settings.indexing.target_cell
        self._pixel = float(np.median([1.0 / panel.res for panel in geometry.panels]))
        wanted = [each for each in frames if max(each.sample.n_peaks, each.sample.n_spots) >= FEWEST_SPOTS]
        self.frames = wanted[-MOST_HITS:]
        self.views = [self._view(each.sample, unpacked_peaks(each.sample.peaks)) for each in self.frames]
        self._spots = [self._view(each.sample, _best_peaks(each.sample)) for each in self.frames]
        self._finder = make_lattice_finder(_plain(self._target))
        self.n_hits = len(self.frames)
        self.fewest = min(FEWEST_INDEXED, max(self.n_hits, 1))

    def attempts(self) -> Iterator[Attempt]:
        """Give what might help, likely causes first; of two that help as much the first one counts."""
        yield self._other_options
        yield self._other_search
        yield self._other_centre
        if self._target is not None:
            yield self._other_cell
            yield self._other_length

    def _other_options(self) -> Remedy | None:
        """The same peaks, with the usual options of indexing."""
        given = self._settings.indexing
        usual = _plain(self._target)
        changed = [f"--indexing={','.join(given.methods)}"] if given.methods != usual.methods else []
        changed += ["--tolerance"] if given.tolerance != usual.tolerance else []
        if not changed:
            return None
        return Remedy(
            n_indexed=self._n_indexed(self.views),
            cause=" ".join(changed),
            advice=f"--indexing={usual.methods[0]}, and no other options of indexing",
        )

    def _other_search(self) -> Remedy | None:
        """Peaks of another search."""
        asked = [each for each in self.frames if each.sample.n_spots >= 0]
        if not asked:
            return None
        threshold = max(each.sample.spot_threshold for each in asked)
        levels = typical_levels(self.frames)
        assert levels is not None
        listed = int(np.median([each.sample.n_peaks for each in asked]))
        spots = int(np.median([each.sample.n_spots for each in asked]))
        return Remedy(
            n_indexed=self._n_indexed(self._spots),
            cause=f"{wrong_search(self._settings.peaks, threshold)} lists {listed} peaks a hit where there are "
            f"{spots} spots; background {levels.middle:.3g} ± {levels.noise:.3g}",
            advice=f"--peaks=peakfinder8 --threshold={threshold:g} --min-snr=5",
        )

    def _other_centre(self) -> Remedy | None:
        """The detector elsewhere in x and y, where crystals agree on that."""
        find = OffsetFinder(_plain(self._target), most_off_px=REACH_PX)
        consensus = OffsetConsensus(self._pixel)
        offset: FloatArray | None = None
        for view in self._spots:
            for estimate in find((), view):
                consensus.add(estimate)
                offset = estimate.offset
        best = consensus.best()
        if self.n_hits >= FEWEST_INDEXED:
            offset = None if best is None or best.n_agreeing < FEWEST_INDEXED else best.offset
        if offset is None or np.hypot(*offset[:2]) < LEAST_OFF_PX * self._pixel:
            return None
        dx, dy = offset[:2].tolist()
        x, y = dx / self._pixel, dy / self._pixel
        n_indexed = self._n_indexed(self._moved(lambda seen: _shifted(seen, dx, dy)))
        return Remedy(
            n_indexed=n_indexed,
            cause=f"the beam centre: the detector stands x {x:+.1f}, y {y:+.1f} px from where the geometry has it",
            advice=self._shift_statements(x, y, dx, dy),
        )

    def _shift_statements(self, x: float, y: float, dx: float, dy: float) -> str:
        by = f"corner_x {x:+.1f} and corner_y {y:+.1f} for all panels"
        if self._geometry.shift_x is None:
            by = f"detector_shift_x = {1e3 * dx:.3f} mm and detector_shift_y = {1e3 * dy:.3f} mm"
        return f"{by} in the geometry file, or --refine-geometry=live"

    def _other_cell(self) -> Remedy | None:
        """The cell that the peaks show without one."""
        assert self._target is not None
        without_cell = make_lattice_finder(_plain(None))
        clusters = CellClusters()
        for view in self._spots:
            for crystal in without_cell(view).crystals:
                clusters.add(crystal.reciprocal_axes, crystal.centring)
        found = clusters.found_cells(self.fewest)
        if not found or _has_same_shape(found[0].cell, self._target):
            return None
        finder = make_lattice_finder(_plain(found[0].cell))
        return Remedy(
            n_indexed=sum(bool(finder(view).crystals) for view in self._spots),
            cause=f"the cell of -p ({_cell_in_words(self._target)}): without one {NO_CELL_METHOD} finds "
            f"{_cell_in_words(found[0].cell)}",
            advice="--find-cell in place of -p",
        )

    def _other_length(self) -> Remedy | None:
        """Another camera length; a photon energy that is wrong by as much looks nearly the same."""
        best, n_best = 1.0, 0
        for factor in LENGTH_FACTORS:
            n = self._n_indexed(self._moved(_nearer(factor)))
            if n > n_best:
                best, n_best = factor, n
            if n_best >= ENOUGH * self.n_hits:
                break
        if n_best < self.fewest:
            return None
        best *= self._length_correction(self._moved(_nearer(best)))
        n_indexed = self._n_indexed(self._moved(_nearer(best)))
        seen = self.frames[-1].sample.exposure
        assert seen.clen is not None and seen.wavelength is not None
        energy = photon_energy_of(seen.wavelength)
        return Remedy(
            n_indexed=n_indexed,
            cause=f"clen: {1e3 * best * seen.clen:.4g} mm in place of {1e3 * seen.clen:.4g} mm (or a photon energy "
            f"of {energy / best:.5g} eV in place of {energy:.5g} eV)",
            advice=f"clen = {1e3 * best * seen.clen:.4g} mm",
        )

    def _length_correction(self, views: Sequence[PeakView]) -> float:
        """What crystals that are found say of the camera length, relative."""
        find = OffsetFinder(_plain(self._target))
        consensus = OffsetConsensus(self._pixel)
        for view in views:
            crystals = self._finder(view).crystals
            for estimate in find(crystals, view) if crystals else ():
                consensus.add(estimate)
        best = consensus.best()
        return 1.0 if best is None else 1.0 + float(best.offset[2]) / best.camera_length

    def _n_indexed(self, views: Sequence[PeakView]) -> int:
        return sum(bool(self._finder(view).crystals) for view in views)

    def _moved(self, change: Callable[[Exposure], Exposure]) -> list[PeakView]:
        """The frames as they are with another exposure."""
        changed = [replace(each.sample, exposure=change(each.sample.exposure)) for each in self.frames]
        return [self._view(sample, _best_peaks(sample)) for sample in changed]

    def _view(self, sample: FrameSample, peaks: PeakTable) -> PeakView:
        assert sample.exposure.wavelength is not None
        detector = sample.exposure.detector(self._geometry)
        empty = PeakView(
            peaks=peaks,
            q=np.empty((len(peaks), 3)),
            detector=detector,
            wavelength=sample.exposure.wavelength,
            bandwidth=self._geometry.bandwidth,
        )
        return empty.with_peaks(peaks)


def _best_peaks(sample: FrameSample) -> PeakTable:
    """Peaks of the other search, where one was made, else of the one that the user chose."""
    return unpacked_peaks(sample.spots if sample.n_spots >= FEWEST_SPOTS else sample.peaks)


def _plain(target: UnitCell | None) -> IndexingSettings:
    return IndexingSettings(
        methods=(NO_CELL_METHOD if target is None else KNOWN_CELL_METHOD,), target_cell=target, max_lattices=1
    )


def _shifted(seen: Exposure, dx: float, dy: float) -> Exposure:
    return replace(seen, shift_x=(seen.shift_x or 0.0) + dx, shift_y=(seen.shift_y or 0.0) + dy)


def _nearer(factor: float) -> Callable[[Exposure], Exposure]:
    """Give what multiplies the camera length."""
    return lambda seen: replace(seen, clen=factor * (seen.clen or 0.0))


def _has_same_shape(found: UnitCell, expected: UnitCell) -> bool:
    """Whether cells agree but for their size: then the camera length is in question, and not the cell."""
    scale = (found.volume / expected.volume) ** (1.0 / 3.0)
    a, b, c, *angles = expected.parameters
    crystal = Crystal(
        reciprocal_axes=np.ascontiguousarray(found.reciprocal_axes()),
        lattice_type=found.lattice_type,
        centring=found.centring,
        unique_axis=found.unique_axis,
    )
    grown = expected.with_parameters([a * scale, b * scale, c * scale, *angles])
    return CellCheck(grown, SAME_SHAPE).reindexed(crystal) is not None


def _cell_in_words(cell: UnitCell) -> str:
    lengths = " ".join(f"{length:.1f}" for length in cell.parameters[:3])
    angles = " ".join(f"{angle:.4g}" for angle in cell.parameters[3:])
    return f"{cell.lattice_type} {cell.centring} {lengths} Å {angles}°"
