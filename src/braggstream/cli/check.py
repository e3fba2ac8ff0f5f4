"""`braggstream check`: what a run with these options would make of its first frames, before it is started."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import devnull

import numpy as np

from braggstream.cli.config_file import read_options
from braggstream.cli.indexamajig import INPUTS, Session, cell_lines, understand_options
from braggstream.cli.kernel_progress import warm_up_telling
from braggstream.cli.notices import say
from braggstream.cli.option import option
from braggstream.cli.option_parser import Program, parse_beside
from braggstream.formats.wire import Setup
from braggstream.model.errors import FrameError, UserError
from braggstream.model.frame import Frame
from braggstream.model.result import FrameResult
from braggstream.model.settings import OutputSettings
from braggstream.picture import draw
from braggstream.pipeline.diagnosis import diagnose_hits
from braggstream.pipeline.first_frame import first_frame_lines
from braggstream.pipeline.frame_levels import good_pixels, suggested_threshold
from braggstream.pipeline.frame_samples import FrameSampler
from braggstream.pipeline.session_samples import SampledFrame
from braggstream.pipeline.setup_overview import labelled, overview
from braggstream.run.few_frames import few_frames
from braggstream.run.processor import FrameProcessor

PROGRAM = Program(
    name="braggstream check",
    usage="braggstream check [--png=FILE] -g FILE [-i FILE | --zmq-input=ADDRESS] [options of indexamajig]",
    description="Tell what a run of indexamajig with the same options would do: geometry, first frame, "
    "threshold, peaks, lattice, and what cannot be.  Without -i or --zmq-input the geometry alone is looked "
    "at.  Of files and of a broadcast up to 24 frames are taken, else one, which nobody else then gets.",
    syntax_error=2,
)
OWN = {"Picture": (option("--png", "text", "draw the frame (needs the extra `plot`)", argument="FILE"),)}


@dataclass(frozen=True, slots=True)
class _Seen:
    """The frame that is told of and drawn."""

    frame: Frame
    result: FrameResult
    sampled: SampledFrame


def run(words: Sequence[str]) -> int:
    """Run `braggstream check` with the words after its name; gives the exit status."""
    chosen, rest = parse_beside(words, OWN, program=PROGRAM)
    rest, options = read_options([*rest, "-o", devnull])
    has_source = any(options[name] is not None for name in INPUTS)
    if not has_source:
        if chosen["png"] is not None:
            raise UserError("--png draws a frame: give files with -i, or --zmq-input")
        options["input"] = devnull
    session = understand_options(rest, options)
    say(*session.geometry.notices)
    _print(overview(session.geometry, session.settings))
    _print(cell_lines(session.settings.indexing))
    if has_source:
        _print(_of_frames(session, chosen["png"]))
    return 0


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _of_frames(session: Session, png: str | None) -> Iterator[str]:
    """Look at the first frames; one that is indexed is told of, else a hit, else the first."""
    seen: _Seen | None = None
    sampled: list[SampledFrame] = []
    for found in _processed(session):
        sampled.append(found.sampled)
        if seen is None or (found.sampled.is_hit and not seen.sampled.is_hit) or found.sampled.is_indexed:
            seen = found
        if found.sampled.is_indexed:
            break
    if seen is None:
        raise UserError("no frame could be processed")
    yield from _of_frame(session, seen)
    if not seen.sampled.is_indexed:
        yield from diagnose_hits(session.geometry, session.settings, sampled)
    if png is not None:
        draw(seen.frame, seen.result).save(png)
        yield labelled("Picture", png)


def _processed(session: Session) -> Iterator[_Seen]:
    """Process frames one by one; those that cannot be loaded are told."""
    setup = Setup(
        processor="", geometry=session.geometry, settings=session.settings, output=OutputSettings(stream_file="")
    )
    processor, sampler = FrameProcessor(setup), FrameSampler(session.geometry, session.settings)
    warmed: set[str] = set()
    for work in few_frames(session.source, session.geometry, session.settings.frame, session.run, say):
        try:
            frame = processor.load(work)
            if frame.pixels.dtype.name not in warmed:
                warmed.add(frame.pixels.dtype.name)
                warm_up_telling(processor, frame.pixels.dtype.name)
            result = processor.find(frame)
        except FrameError as error:
            say(f"frame {work.serial}: failed ({error.reason}): {error}")
            continue
        sample = sampler.sample_of(frame, result)
        yield _Seen(
            frame, result, SampledFrame(sample=sample, is_hit=result.is_hit, is_indexed=bool(result.crystals))
        )


def _of_frame(session: Session, seen: _Seen) -> Iterator[str]:
    frame, result, sample = seen.frame, seen.result, seen.sampled.sample
    yield labelled("Frame", f"{frame.identity.filename} {frame.identity.event}")
    good = good_pixels(frame, session.geometry, session.settings.frame.highres)
    yield from first_frame_lines(session.geometry, session.settings, replace(sample, good=good))
    if sample.levels is not None:
        gain = float(np.median(frame.detector.adu_per_photon))
        wanted = suggested_threshold(sample.levels, gain)
        in_photons = f" = {wanted / gain:.4g} photons" if gain > 0.0 else ""
        if gain > 0.0 and gain != 1.0:
            photons = f"{sample.levels.middle / gain:.3g} ± {sample.levels.noise / gain:.3g} photons"
            yield labelled("Background", photons)
        yield labelled("Proposed", f"--peaks=peakfinder8 --threshold={wanted:g}{in_photons}")
        if sample.n_spots >= 0:
            yield labelled("", f"with which this frame has {sample.n_spots} peaks")
    hit = "a hit" if result.is_hit else "no hit"
    yield labelled("Found", f"{len(result.peaks)} peaks, {hit}, to {_resolution(result.peak_resolution)}")
    yield labelled("Lattice", _lattices(result))


def _resolution(inverse_d: float) -> str:
    return f"{1.0 / inverse_d:.2f} Å" if inverse_d > 0.0 else "no resolution"


def _lattices(result: FrameResult) -> str:
    if not result.crystals:
        return "none"
    crystal = result.crystals[0]
    lengths = " ".join(f"{length:.2f}" for length in crystal.cell.parameters[:3])
    angles = " ".join(f"{angle:.2f}" for angle in crystal.cell.parameters[3:])
    more = f", and {len(result.crystals) - 1} more" if len(result.crystals) > 1 else ""
    n = 0 if crystal.reflections is None else len(crystal.reflections)
    return (
        f"{result.indexed_by}: {crystal.lattice_type} {crystal.centring} {lengths} Å {angles} deg, {n} reflections"
        f"{more}"
    )
