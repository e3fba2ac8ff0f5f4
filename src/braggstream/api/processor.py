"""From a frame to its crystals, in one process."""

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.api.frame_files import independent
from braggstream.api.understood import CellLike, GeometryLike, cell_of, geometry_of, kind_of
from braggstream.model.errors import UserError
from braggstream.model.frame import Frame, FrameIdentity
from braggstream.model.lazy_sequence import LazySequence
from braggstream.model.near_names import did_you_mean
from braggstream.model.result import FrameResult
from braggstream.model.settings import IndexingSettings, IntegrationSettings, PeakSettings, Settings
from braggstream.model.shown import Shown
from braggstream.pipeline.loading import FrameLoader
from braggstream.pipeline.recipe import Recipe


class Processor(Shown):
    """Takes frames from pixels to integrated reflections.

    Parameters
    ----------
    geometry
        The geometry of the frames; or its file.
    cell
        The cell that is expected, or its file; without it nothing is indexed.
    peaks
        Method of the peak search, as `--peaks` of indexamajig.
    indexing
        Methods, as `--indexing`, such as `"asdf,xgandalf"`; without it `ffbidx` where there is a cell.
    integration
        `rings` or `none`.
    int_radius
        Radii of integration rings [px], also of those of the peak search where it has some.
    settings
        Everything at once; then nothing else may be given.
    **options
        Any field of `PeakSettings`, `IndexingSettings` or `IntegrationSettings`, such as `threshold=10`,
        `multi=True` or `overpredict=True`.

    Raises
    ------
    UserError
        For an option that is not there, or a method that is not known.
    """

    def __init__(
        self,
        geometry: GeometryLike,
        *,
        cell: CellLike | None = None,
        peaks: str = "peakfinder8",
        indexing: str | None = None,
        integration: str = "rings",
        int_radius: tuple[float, float, float] | None = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        geometry, cell = geometry_of(geometry), cell_of(cell)
        if settings is None:
            radii: dict[str, Any] = {} if int_radius is None else {"radii": int_radius}
            methods: tuple[str, ...] = ("none",) if cell is None else ("ffbidx",)
            if indexing is not None:
                methods = tuple(word.strip() for word in indexing.split(","))
            given = _sorted_options(options)
            settings = Settings(
                peaks=PeakSettings(method=peaks, **radii, **given[PeakSettings]),
                indexing=IndexingSettings(**{"methods": methods, "target_cell": cell, **given[IndexingSettings]}),
                integration=IntegrationSettings(method=integration, **radii, **given[IntegrationSettings]),
            )
        elif options or indexing is not None:
            raise UserError("give either settings= or single options")
        self.geometry = geometry
        self.settings = settings
        self._recipe = Recipe(geometry, settings)
        self._loader = FrameLoader(geometry, settings.frame)
        self._n_images = 0

    def process(self, frame: Frame | NDArray[Any]) -> FrameResult:
        """Process one frame.

        Parameters
        ----------
        frame
            What `open_files` or `open_zmq` gives, or pixels as for `frame_of`.

        Raises
        ------
        UserError
            For what is no frame.
        FrameError
            An image does not fit the geometry.
        """
        return self._recipe.process(frame if isinstance(frame, Frame) else self._shared_frame(frame))

    def frame_of(self, image: NDArray[Any]) -> Frame:
        """Make a frame of pixels in an array, laid out as the geometry's `data` array is.

        Wavelength and camera length have to stand in the geometry file: an array has no headers.  Masks are those
        that the geometry takes from files of their own.

        Raises
        ------
        UserError
            For what is no array, or where the geometry looks values up in the frame.
        FrameError
            The array does not fit the geometry.
        """
        return independent(self._shared_frame(image))

    def _shared_frame(self, image: NDArray[Any]) -> Frame:
        """Make a frame that is valid until the next one is made."""
        if not isinstance(image, np.ndarray):
            hint = ": take them one by one, in a loop" if isinstance(image, LazySequence | list | tuple) else ""
            raise UserError(f"process: expected a frame or an image as an array, not {kind_of(image)}{hint}")
        geometry = self.geometry
        quantities = (geometry.beam, geometry.clen, geometry.shift_x, geometry.shift_y)
        looked_up = [each.header for each in quantities if each is not None and each.header is not None]
        if looked_up:
            raise UserError(
                f"an array has no headers, and {', '.join(looked_up)} would be looked up in the frame: write "
                "numbers into the geometry file, or take frames from bs.open_files",
                path=geometry.path or None,
            )
        self._n_images += 1
        identity = FrameIdentity(filename="array", event=f"//{self._n_images - 1}", serial=self._n_images)
        return self._loader.from_image(image, identity)

    def _facts(self) -> dict[str, object]:
        chosen = self.settings
        cell = chosen.indexing.target_cell
        return {
            "geometry": self.geometry.path or "without a file",
            "peaks": chosen.peaks.method,
            "indexing": ", ".join(chosen.indexing.methods),
            "cell": "none" if cell is None else cell.text,
            "integration": chosen.integration.method,
        }


def _sorted_options(options: dict[str, Any]) -> dict[type, dict[str, Any]]:
    """Give each option to the settings that have it."""
    given: dict[type, dict[str, Any]] = {PeakSettings: {}, IndexingSettings: {}, IntegrationSettings: {}}
    owners = {field.name: kind for kind in given for field in fields(kind) if field.name not in {"method", "radii"}}
    for name, value in options.items():
        if name not in owners:
            known = sorted(owners)
            raise UserError(f"there is no option {name}; there are {', '.join(known)}{did_you_mean(name, known)}")
        given[owners[name]][name] = value
    return given
