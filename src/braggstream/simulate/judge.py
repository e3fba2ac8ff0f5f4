"""Compare a stream file with the truth: which lattices were found, how well, and what was made up."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braggstream.model.cell import Centring
from braggstream.simulate.lattices import Comparison, compare, is_equivalent_setting
from braggstream.simulate.reflections import find_space_group, laue_rotations
from braggstream.simulate.truth import FrameTruth, Truth

UNNAMED_FRAMES = "ZMQdata"
"""`Image filename` of streamed frames that do not say who they are; they are known by their serial numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """How far a right lattice may be off."""

    misorientation: float = 1.0
    """[deg]"""
    length: float = 0.02
    """Relative."""
    angle: float = 1.5
    """[deg]"""

    def accepts(self, comparison: Comparison) -> bool:
        """Whether a lattice is near enough to the true one."""
        return (
            comparison.misorientation <= self.misorientation
            and comparison.length_error <= self.length
            and comparison.angle_error <= self.angle
        )


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class FoundFrame:
    """What a stream file says about one frame."""

    filename: str
    event: str
    serial: int
    is_hit: bool
    crystals: tuple[tuple[NDArray[np.float64], Centring], ...]
    """Reciprocal axes, float64[3, 3] [Å⁻¹], and centring of each crystal."""


@dataclass(kw_only=True, slots=True)
class Judgement:
    """Counts over a stream file, and the errors of the right lattices."""

    n_frames: int = 0
    """Frames that were simulated."""
    n_chunks: int = 0
    """Frames in the stream file that are among them."""
    n_unknown: int = 0
    """Frames in the stream file that are not."""
    n_repeated: int = 0
    """Frames in the stream file that were there before."""
    n_true_hits: int = 0
    """Frames of the stream file with crystals in the beam."""
    n_hits_found: int = 0
    """Of those, the ones that are hits in the stream file."""
    n_false_hits: int = 0
    """Hits of the stream file without a crystal in the beam."""
    n_indexed: int = 0
    """Frames with crystals in the beam and in the stream file."""
    n_lattices: int = 0
    """Crystals in the beam in the frames of the stream file."""
    n_crystals: int = 0
    """Crystals in the stream file."""
    n_right: int = 0
    """Crystals that are one in the beam, each of which counts once."""
    n_other_setting: int = 0
    """Of those, the ones described by axes that the space group tells apart (an indexing ambiguity)."""
    n_wrong: int = 0
    """Crystals that are none in the beam, or one that was found before."""
    misorientations: list[float] = field(default_factory=list)
    """Of the right lattices [deg]."""
    length_errors: list[float] = field(default_factory=list)
    """Of the right lattices, relative."""
    angle_errors: list[float] = field(default_factory=list)
    """Of the right lattices [deg]."""

    @property
    def n_missed(self) -> int:
        """Crystals in the beam that were not found."""
        return self.n_lattices - self.n_right

    def lines(self) -> list[str]:
        """Tell it in a few lines."""
        absent = self.n_frames - self.n_chunks
        return [
            f"frames       {self.n_chunks} of {self.n_frames} are in the stream file, {absent} are not; "
            f"{self.n_repeated} repeated, {self.n_unknown} unknown",
            f"hits         {self.n_hits_found} of {self.n_true_hits} found, {self.n_false_hits} false",
            f"indexed      {self.n_indexed} of {self.n_true_hits} frames with crystals",
            f"lattices     {self.n_right} right, {self.n_wrong} wrong, {self.n_missed} of {self.n_lattices} missed",
            f"setting      {self.n_other_setting} of {self.n_right} on other axes than the space group's",
            f"orientation  {_spread(self.misorientations, 'deg')}",
            f"cell         lengths {_spread([100 * error for error in self.length_errors], '%')}, "
            f"angles {_spread(self.angle_errors, 'deg')}",
        ]


def judge(stream_file: str | Path, truth: Truth, tolerance: Tolerance | None = None) -> Judgement:
    """Compare a stream file with the truth; raises `UserError` for a file that cannot be read."""
    return judge_frames(found_frames(stream_file), truth, tolerance or Tolerance())


def found_frames(stream_file: str | Path) -> Iterator[FoundFrame]:
    """Read from a stream file what the judgement needs."""
    from braggstream.formats.stream_read import read_stream

    for chunk in read_stream(stream_file):
        yield FoundFrame(
            filename=chunk.identity.filename,
            event=chunk.identity.event,
            serial=chunk.identity.serial,
            is_hit=chunk.is_hit,
            crystals=tuple((crystal.reciprocal_axes, crystal.centring) for crystal in chunk.crystals),
        )


def judge_frames(frames: Iterable[FoundFrame], truth: Truth, tolerance: Tolerance) -> Judgement:
    """Compare frames with the truth."""
    judgement = Judgement(n_frames=truth.n_frames)
    rotations = _laue_rotations(truth)
    seen: set[int] = set()
    for frame in frames:
        number = frame_number(frame, truth)
        if number is None:
            judgement.n_unknown += 1
            judgement.n_crystals += len(frame.crystals)
            judgement.n_wrong += len(frame.crystals)
        elif number in seen:
            judgement.n_repeated += 1
        else:
            seen.add(number)
            _judge_frame(judgement, frame, truth.frame(number), _Standard(truth, rotations, tolerance))
    return judgement


def frame_number(frame: FoundFrame, truth: Truth) -> int | None:
    """Which simulated frame, from 0, a frame of the stream file is; None where it is none of them."""
    if truth.owns(frame.filename):
        return truth.number(frame.event)
    if frame.filename == UNNAMED_FRAMES and 1 <= frame.serial <= truth.n_frames:
        return frame.serial - 1
    return truth.number_in_name(frame.filename, frame.event)


@dataclass(frozen=True, eq=False, slots=True)
class _Standard:
    """What lattices are measured by."""

    truth: Truth
    rotations: NDArray[np.int64] | None
    tolerance: Tolerance

    def compare(
        self, true: NDArray[np.float64], found: NDArray[np.float64], centring: Centring
    ) -> Comparison | None:
        """Compare two lattices; None where the found one is not right."""
        true_centring: Centring = "P" if self.truth.cell is None else self.truth.cell.centring
        comparison = compare(true, found, true_centring=true_centring, found_centring=centring)
        return comparison if comparison is not None and self.tolerance.accepts(comparison) else None


def _laue_rotations(truth: Truth) -> NDArray[np.int64] | None:
    """The Laue group's matrices; None where the space group is not known."""
    if truth.cell is None or not truth.space_group:
        return None
    return laue_rotations(find_space_group(truth.cell, truth.space_group))


def _judge_frame(judgement: Judgement, frame: FoundFrame, truth: FrameTruth, standard: _Standard) -> None:
    judgement.n_chunks += 1
    judgement.n_true_hits += truth.is_hit
    judgement.n_hits_found += truth.is_hit and frame.is_hit
    judgement.n_false_hits += frame.is_hit and not truth.is_hit
    judgement.n_indexed += truth.is_hit and bool(frame.crystals)
    judgement.n_lattices += len(truth.lattices)
    judgement.n_crystals += len(frame.crystals)
    matches = _match(frame, truth, standard)
    judgement.n_right += len(matches)
    judgement.n_wrong += len(frame.crystals) - len(matches)
    for comparison in matches:
        judgement.misorientations.append(comparison.misorientation)
        judgement.length_errors.append(comparison.length_error)
        judgement.angle_errors.append(comparison.angle_error)
        if standard.rotations is not None:
            judgement.n_other_setting += not is_equivalent_setting(comparison.setting, standard.rotations)


def _match(frame: FoundFrame, truth: FrameTruth, standard: _Standard) -> list[Comparison]:
    """Pair found and true lattices, the nearest first; each takes part once."""
    pairs: list[tuple[float, int, int, Comparison]] = []
    for n_found, (found, centring) in enumerate(frame.crystals):
        for n_true, true in enumerate(truth.lattices):
            comparison = standard.compare(true, found, centring)
            if comparison is not None:
                pairs.append((comparison.misorientation, n_found, n_true, comparison))
    matches, used_found, used_true = [], set(), set()
    for _, n_found, n_true, comparison in sorted(pairs, key=lambda pair: pair[:3]):
        if n_found not in used_found and n_true not in used_true:
            used_found.add(n_found)
            used_true.add(n_true)
            matches.append(comparison)
    return matches


def _spread(errors: list[float], unit: str) -> str:
    if not errors:
        return "no right lattice"
    middle, most = np.median(errors), max(errors)
    return f"{middle:.3f} {unit} in the middle, {most:.3f} {unit} at most"
