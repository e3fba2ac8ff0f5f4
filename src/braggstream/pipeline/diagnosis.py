"""Why a session finds no hits, only hits, or hits without lattices: the likely cause, as measured on its frames.

Nothing is said of a session that goes well, and of one that goes badly nothing that was not tried on its frames.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from braggstream.model.frame_sample import FrameSample, PixelLevels
from braggstream.model.geometry import Geometry
from braggstream.model.settings import PeakSettings, Settings
from braggstream.pipeline.session_samples import (
    FEWEST_SPOTS,
    SampledFrame,
    SessionCounts,
    told,
    typical_levels,
    wrong_search,
)
from braggstream.steps.indexing.methods import NO_INDEXING

MIN_FRAMES = 5
"""Fewer frames are no session."""
MIN_HITS = 3
GOOD_PART = 0.5
"""A session that indexes so large a part of its hits goes well."""
LEAST_HITS = 0.02
"""Part of the frames that another search has to find spots in, to be worth a word."""
SUPPLIED = ("hdf5", "cxi", "msgpack")
"""Methods whose peaks come with the frames."""
TOO_MANY = 3.0
"""Peaks in excess of spots by this factor are noise."""


def complaints(counts: SessionCounts, settings: Settings) -> tuple[str, ...]:
    """Tell what is wrong with a session, if anything is: `no hits`, `all hits`, `no lattices`."""
    if counts.n_processed < MIN_FRAMES:
        return ()
    if counts.n_hits == 0:
        return ("no hits",)
    is_indexing = settings.indexing.methods != (NO_INDEXING,)
    goes_well = is_indexing and counts.n_indexed >= GOOD_PART * counts.n_hits
    found = []
    if counts.n_hits == counts.n_processed and (settings.peaks.min_peaks <= 0 or not goes_well):
        found.append("all hits")
    if is_indexing and not goes_well and counts.n_hits >= MIN_HITS:
        found.append("no lattices")
    return tuple(found)


def diagnose(
    geometry: Geometry, settings: Settings, counts: SessionCounts, frames: Sequence[SampledFrame]
) -> list[str]:
    """Find the likely causes of what is wrong; gives lines for the user, none where nothing was found out.

    Parameters
    ----------
    geometry, settings
        Of the session.
    counts
        How it stands.
    frames
        Samples of its frames.
    """
    lines: list[str] = []
    for complaint in complaints(counts, settings):
        if complaint == "no hits":
            lines += _of_no_hits(settings.peaks, counts, frames)
        elif complaint == "all hits":
            lines += _of_all_hits(settings.peaks, counts, frames)
        else:
            from braggstream.pipeline.lattice_diagnosis import of_no_lattices

            lines += of_no_lattices(geometry, settings, counts, [each for each in frames if each.is_hit])
    return list(dict.fromkeys(lines))


def diagnose_hits(geometry: Geometry, settings: Settings, frames: Sequence[SampledFrame]) -> list[str]:
    """Diagnose a few frames of which none is indexed, however few they are; gives lines for the user."""
    hits = [each for each in frames if each.is_hit]
    counts = SessionCounts(n_processed=len(frames), n_hits=len(hits), n_indexed=0)
    if not hits:
        return list(_of_no_hits(settings.peaks, counts, frames))
    lines = list(_of_all_hits(settings.peaks, counts, frames)) if len(hits) == len(frames) else []
    if settings.indexing.methods != (NO_INDEXING,):
        from braggstream.pipeline.lattice_diagnosis import of_no_lattices

        lines += of_no_lattices(geometry, settings, counts, hits)
    return lines


def _of_no_hits(peaks: PeakSettings, counts: SessionCounts, frames: Sequence[SampledFrame]) -> Iterator[str]:
    start = f"No hits in {counts.n_processed} frames"
    most = max((each.sample.n_peaks for each in frames), default=0)
    if peaks.method == "none":
        yield f"{start}: --peaks=none finds none."
        return
    if not frames:
        return
    most_spots = max((each.sample.n_spots for each in frames), default=0)
    if peaks.min_peaks > FEWEST_SPOTS and most >= max(FEWEST_SPOTS, GOOD_PART * most_spots):
        yield (
            f"{start}: --min-peaks={peaks.min_peaks}, but no sampled frame has more than {most} peaks.  "
            f"Try --min-peaks={max(FEWEST_SPOTS, most // 2)}."
        )
        return
    levels = typical_levels(frames)
    with_spots = [each.sample for each in frames if each.sample.n_spots >= FEWEST_SPOTS]
    if len(with_spots) > LEAST_HITS * len(frames) and levels is not None:
        threshold = max(sample.spot_threshold for sample in with_spots)
        n_spots = int(np.median([sample.n_spots for sample in with_spots]))
        yield f"{start}.  Likely cause: {wrong_search(peaks, threshold)}.  Background: {told(levels)}."
        yield (
            f"With --peaks=peakfinder8 --threshold={threshold:g} --min-snr=5, {len(with_spots)} of {len(frames)} "
            f"sampled frames have some {n_spots} peaks: try that."
        )
    elif peaks.method in SUPPLIED:
        yield f"{start}: the peak lists that come with the frames have {most} peaks at most.  Is peak_list right?"
    elif levels is not None:
        yield f"{start}.  {_of_blank_frames(levels, frames)}"


def _of_blank_frames(levels: PixelLevels, frames: Sequence[SampledFrame]) -> str:
    if levels.highest <= 0.0:
        return (
            "Likely cause: no pixel of the sampled frames is above 0: is the shutter open, is `data` in the "
            "geometry the right array?"
        )
    if all(each.sample.n_spots < 0 for each in frames):
        return f"Their background is {told(levels)}: does the threshold suit it?  Look: braggstream check."
    return (
        f"Likely cause: blank frames.  Background {told(levels)}; with a threshold that suits it peakfinder8 finds "
        f"no spots either in {len(frames)} sampled frames: is there beam on crystals, does the mask leave spots in?"
    )


def _of_all_hits(peaks: PeakSettings, counts: SessionCounts, frames: Sequence[SampledFrame]) -> Iterator[str]:
    start = f"All {counts.n_processed} frames are hits"
    n_peaks = [each.sample.n_peaks for each in frames]
    n_few = sum(n < FEWEST_SPOTS for n in n_peaks)
    if peaks.min_peaks <= 0 and n_few:
        yield (
            f"{start}, because --min-peaks is {peaks.min_peaks}: {n_few} of {len(frames)} sampled frames have "
            f"fewer than {FEWEST_SPOTS} peaks.  Try --min-peaks=15."
        )
        return
    noisy = [each.sample for each in frames if _is_noisy(each.sample)]
    levels = typical_levels(frames)
    if levels is None or len(noisy) < GOOD_PART * len(frames):
        return
    threshold = max(sample.spot_threshold for sample in noisy)
    n_spots = int(np.median([sample.n_spots for sample in noisy]))
    yield (
        f"{start}.  Likely cause: {wrong_search(peaks, threshold)}: the peaks are noise, {int(np.median(n_peaks))} "
        f"a frame.  Background: {told(levels)}."
    )
    yield f"With --peaks=peakfinder8 --threshold={threshold:g} --min-snr=5 they have some {n_spots}: try that."


def _is_noisy(sample: FrameSample) -> bool:
    return sample.n_spots >= 0 and sample.n_peaks > TOO_MANY * sample.n_spots + 2 * FEWEST_SPOTS
