"""What the first frame of a session shows: its good pixels, its background, and what cannot be of its headers."""

from collections.abc import Iterator

from braggstream.model.errors import HeaderError
from braggstream.model.exposure import Exposure
from braggstream.model.frame_sample import FrameSample, GoodPixels
from braggstream.model.geometry import Geometry
from braggstream.model.settings import Settings
from braggstream.pipeline.session_samples import told
from braggstream.pipeline.setup_overview import all_doubts, doubts_in_words, exposure_lines, labelled

MOST_NAMES = 4


def first_frame_lines(geometry: Geometry, settings: Settings, sample: FrameSample) -> Iterator[str]:
    """Describe the first frame; what was told of the geometry alone is not told again."""
    try:
        stated = Exposure.stated(geometry)
        known = set(all_doubts(geometry, stated, settings))
        if not stated.is_complete:
            yield from exposure_lines(geometry, sample.exposure)
    except HeaderError:
        known = set()
    if sample.good is not None:
        yield labelled("Pixels", _pixels(sample, sample.good))
    doubts = [doubt for doubt in all_doubts(geometry, sample.exposure, settings) if doubt not in known]
    if sample.good is not None:
        doubts += _pixel_doubts(geometry, sample.good)
    yield from doubts_in_words(doubts)


def _pixels(sample: FrameSample, good: GoodPixels) -> str:
    why = ", ".join(f"{reason} {_part(n_bad, good.n_all)}" for reason, n_bad in good.why_bad.items())
    background = "" if sample.levels is None else f"; background {told(sample.levels)}"
    bad = f" (bad: {why})" if why else ""
    return f"{sample.pixel_type}, {good.n_good} good, {_part(good.n_good, good.n_all)}{bad}{background}"


def _pixel_doubts(geometry: Geometry, good: GoodPixels) -> Iterator[str]:
    if good.n_good == 0:
        yield f"{geometry.path}: there is no good pixel{_by_far(good)}"
    elif good.dead_panels:
        names = ", ".join(good.dead_panels[:MOST_NAMES]) + (", ..." if len(good.dead_panels) > MOST_NAMES else "")
        yield f"{geometry.path}: no good pixel in panels {names}{_by_far(good)}"


def _by_far(good: GoodPixels) -> str:
    """Name what marks most pixels as bad."""
    if not good.why_bad:
        return ""
    return f": look at {max(good.why_bad, key=lambda reason: good.why_bad[reason])}"


def _part(part: int, whole: int) -> str:
    return f"{100.0 * part / whole if whole else 0.0:.1f} %"
