"""`--refine-geometry`: where the detector stands, learned from the crystals while the session runs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from braggstream.formats.geom_write import write_geometry
from braggstream.formats.replaced_file import replace_file
from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.geometry import DetectorOffset, Geometry
from braggstream.model.moved_geometry import moved_geometry
from braggstream.model.offset_estimate import OffsetEstimate
from braggstream.pipeline.offset_consensus import Consensus, OffsetConsensus
from braggstream.run.watching import Watcher

MIN_CRYSTALS = 8
"""So many have to agree before anything is moved or told..."""
MIN_AGREEING = 1.0 / 3.0
"""...and this part of those that are asked."""
ASKED_EVERY = 4
"""After so many more crystals it is looked whether the detector is to be moved."""
MOST_ERROR_PX = 0.3
"""A beam centre is used when it is known this well..."""
MOST_ERROR_LENGTH = 2e-3
"""...and a camera length, relative."""
SMALL_PX = 0.05
"""Smaller changes are not worth a move..."""
SMALL_LENGTH = 3e-4
"""...nor are these, relative."""
SETTLED_CRYSTALS = 60
"""When so many agree and the detector is not to be moved, only some crystals are asked any more."""
SETTLED_ASK_EVERY = 8
SIGNIFICANT = 9.0
"""The squared distance, in standard deviations, from which on a change is one."""


class GeometryWatcher(Watcher):
    """Collects what crystals know of the detector, moves it for the frames that follow, writes a geometry file."""

    def __init__(self, setup: Setup, say: Callable[[str], None]) -> None:
        self._geometry = setup.geometry
        self._is_live = setup.settings.geometry.refine == "live"
        self._path = setup.settings.geometry.refined_file
        self._say = say
        self._pixel = float(np.median([1.0 / panel.res for panel in setup.geometry.panels]))
        self._consensus = OffsetConsensus(self._pixel)
        self._n_asked = 0
        self._told = np.zeros(3)
        """Where the detector stands for the frames that follow or, where nothing is applied, was last told to."""
        self._n_moves = 0

    def see(self, outcome: FrameOutcome, adjustments: Adjustments) -> Adjustments | None:
        """Learn from the crystals of a frame."""
        for numbers in outcome.offsets:
            self._consensus.add(OffsetEstimate.of_numbers(numbers))
        if self._consensus.n_seen - self._n_asked < ASKED_EVERY:
            return None
        self._n_asked = self._consensus.n_seen
        best = self._known()
        if best is None:
            return None
        if not self._is_elsewhere(best):
            ask_every = SETTLED_ASK_EVERY if best.n_agreeing >= SETTLED_CRYSTALS else 1
            return None if ask_every == adjustments.ask_every else replace(adjustments, ask_every=ask_every)
        self._told = best.offset
        self._n_moves += 1
        self._say(f"Geometry: {self._described(best)}; {self._followed()}.")
        x, y, z = best.offset.tolist()
        offset = DetectorOffset(x=x, y=y, z=z) if self._is_live else adjustments.offset
        return replace(adjustments, offset=offset, ask_every=1)

    def finish(self) -> dict[str, Any]:
        """Tell where the detector stands, and write the geometry file."""
        best = self._known()
        summary: dict[str, Any] = {
            "mode": "live" if self._is_live else "report",
            "crystals": self._consensus.n_seen,
            "moves": self._n_moves if self._is_live else 0,
            "geometry_file": None,
        }
        if best is None:
            seen = self._consensus.best()
            n = 0 if seen is None else seen.n_agreeing
            self._say(
                f"Geometry: {n} of {self._consensus.n_seen} crystals agree on where the detector stands, which are "
                "too few: no geometry file is written."
            )
            return {"geometry_refinement": summary}
        self._say(f"Geometry: {self._described(best)}.")
        summary |= {
            "agreeing": best.n_agreeing,
            "asked": best.n_asked,
            "offset_mm": (best.offset * 1e3).tolist(),
            "error_mm": (best.error * 1e3).tolist(),
            "offset_px": (best.offset[:2] / self._pixel).tolist(),
            "camera_length_percent": 100.0 * float(best.offset[2]) / best.camera_length,
            "geometry_file": self._write(best),
        }
        return {"geometry_refinement": summary}

    def _known(self) -> Consensus | None:
        """What crystals agree on, where enough of them do and know it well enough."""
        best = self._consensus.best()
        if best is None or best.n_agreeing < max(MIN_CRYSTALS, MIN_AGREEING * best.n_asked):
            return None
        x, y, z = best.error
        is_known = max(x, y) < MOST_ERROR_PX * self._pixel and z < MOST_ERROR_LENGTH * abs(best.camera_length)
        return best if is_known else None

    def _is_elsewhere(self, best: Consensus) -> bool:
        """Whether the detector is far from where it was last told to stand, beyond what is not known."""
        change = best.offset - self._told
        small = np.array([SMALL_PX * self._pixel] * 2 + [SMALL_LENGTH * abs(best.camera_length)])
        if (np.abs(change) < small).all():
            return False
        return bool(change @ np.linalg.solve(best.covariance + np.diag((small / 3.0) ** 2), change) > SIGNIFICANT)

    def _described(self, best: Consensus) -> str:
        x, y, z = best.offset
        dx, dy, dz = best.error
        pixel, length = self._pixel, best.camera_length
        text = (
            f"{best.n_agreeing} of {best.n_asked} crystals have the detector shifted by "
            f"x {x / pixel:+.2f} ± {dx / pixel:.2f} px, y {y / pixel:+.2f} ± {dy / pixel:.2f} px"
        )
        if dz == 0.0:
            return f"{text}; without a cell the camera length is left alone"
        return f"{text}, camera length {100 * z / length:+.3f} ± {100 * dz / abs(length):.3f} %"

    def _followed(self) -> str:
        return "frames are processed so from now on" if self._is_live else "this is not applied"

    def _write(self, best: Consensus) -> str | None:
        """Write the geometry file, if one is wanted; gives its name."""
        if self._path is None:
            return None
        x, y, z = best.offset.tolist()
        try:
            offset = DetectorOffset(x=x, y=y, z=z)
            text = refined_geometry_text(self._geometry, offset, self._described(best))
            replace_file(self._path, text, say=self._say)
        except (OSError, ValueError) as error:
            self._say(f"Geometry: cannot write {self._path}: {getattr(error, 'strerror', None) or error}")
            return None
        self._say(f"Geometry: the refined geometry is in {self._path}.")
        return self._path


def refined_geometry_text(geometry: Geometry, offset: DetectorOffset, how: str) -> str:
    """Write the geometry with the detector moved, and say at its beginning how that came about."""
    return (
        f"; Made from {geometry.path or 'a geometry'} by Braggstream, with the detector moved: {how}.\n"
        f"; Offset in x, y, z: {offset.x * 1e3:+.5f}, {offset.y * 1e3:+.5f}, {offset.z * 1e3:+.5f} mm.\n\n"
        + write_geometry(moved_geometry(geometry, offset))
    )
