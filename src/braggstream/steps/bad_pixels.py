"""Which pixels of a frame must not be used.

A pixel is bad if one of these says so: `no_index`, `mask_edge_pixels`, bad regions, the resolution cut (all known
before the frame), value flags, NaN and infinity, and bad-pixel masks.  The rules are those of CrystFEL's geometry
files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.blocks import BLOCK
from braggstream.kernels.flags import mark_bits, mark_lab_regions, mark_values, mark_wide_angles, restore
from braggstream.kernels.layout import CORNER
from braggstream.model.detector import Detector
from braggstream.model.errors import MismatchError
from braggstream.model.geometry import Geometry, LabRegion, Panel, PixelRegion
from braggstream.model.mask import BadMap, MaskArray
from braggstream.steps.value_ranges import ValueRanges

__all__ = ["BadPixels", "MaskArray"]

Map = NDArray[np.uint8]


@dataclass(slots=True)
class _Cached:
    """A map, and what it was made from."""

    key: tuple[object, ...]
    map: Map
    held: tuple[object, ...] = ()
    """Objects whose identity is part of the key."""


@dataclass(slots=True)
class _Marked:
    """A map with marks of one frame that can be undone."""

    base: Map
    map: Map
    room: NDArray[np.int64]
    """Ranges of pixels, as many as can ever be marked."""
    n_changes: int = 0


class BadPixels:
    """Makes the bad-pixel map of each frame.

    Maps are uint8[n_pixels] in detector order, nonzero where a pixel is bad.  They belong to this object: they may
    not be written to.  The maps of frames hold until the next call; those of what is bad in every frame never
    change.
    """

    def __init__(self, geometry: Geometry, *, highres: float = inf) -> None:
        """Take the geometry; pixels with 1/d at or beyond `highres` are bad [Å⁻¹]."""
        self._geometry = geometry
        self._highres = highres
        self._sizes = [(panel.height, panel.width) for panel in geometry.panels]
        self._starts = np.cumsum([0, *(height * width for height, width in self._sizes)]).tolist()
        self._lab_regions = [region for region in geometry.bad_regions if isinstance(region, LabRegion)]
        self._unmoved: Map | None = None
        self._static: _Cached | None = None
        self._masked: _Cached | None = None
        self._marked: _Marked | None = None
        self._made: BadMap | None = None
        self._ranges: dict[np.dtype[Any], ValueRanges] = {}

    def static_map(self, detector: Detector, wavelength: float) -> Map:
        """Give the map of what is bad in every frame with this detector position and wavelength [Å].

        It is made again only for another detector object or, with a resolution cut, another wavelength.
        """
        if self._unmoved is None:
            self._unmoved = self._mark_unmoved()
        if not self._lab_regions and self._highres == inf:
            return self._unmoved
        key = (detector, wavelength if self._highres < inf else None)
        if self._static is None or self._static.key != key:
            made = self._unmoved.copy()
            self._mark_lab_regions(made, detector)
            self._mark_beyond(made, detector, wavelength)
            self._static, self._masked = _Cached(key, made), None
        return self._static.map

    def frame_map(
        self,
        detector: Detector,
        wavelength: float,
        pixels: NDArray[Any],
        panel_table: NDArray[np.int64],
        masks: Sequence[MaskArray] = (),
    ) -> Map:
        """Give the map of a frame: the static one, value flags, NaN and infinity, and its masks.

        Parameters
        ----------
        detector, wavelength
            As for `static_map`.
        pixels
            Pixel values, one-dimensional, C-contiguous, native byte order, any integer or float dtype.
        panel_table
            Place of each panel in `pixels`, int64[n_panels, 5].
        masks
            Masks of this frame, as many for each panel as there are.

        Raises
        ------
        MismatchError
            A mask has not the shape of its panel.
        """
        base = self._with_static_masks(self.static_map(detector, wavelength), masks)
        ranges = self._ranges_for(pixels.dtype)
        own_masks = [mask for mask in masks if not mask.is_static]
        if not own_masks and not ranges.can_mark:
            self._made = BadMap(pixels=base, base=base)
            return base
        marked = self._unmarked(base)
        if ranges.can_mark:
            marked.n_changes = mark_values(
                pixels, panel_table, ranges.good, ranges.bad, base, marked.map, marked.room
            )
        self._made = BadMap(pixels=marked.map, base=base, changes=marked.room[: marked.n_changes])
        if own_masks:
            # Any pixel may be marked now, so that the next frame starts from a copy.
            marked.base, self._made = marked.map, None
            self._mark_masks(marked.map, own_masks)
        return marked.map

    @property
    def made(self) -> BadMap | None:
        """How the last frame's map came about; None where any pixel of it may differ from the one before."""
        return self._made

    def _unmarked(self, base: Map) -> _Marked:
        """Give a map that is the same as the base."""
        marked = self._marked
        if marked is None:
            n_blocks = sum(height * -(-width // BLOCK) for height, width in self._sizes)
            marked = self._marked = _Marked(base, base.copy(), np.empty((n_blocks, 2), np.int64))
        elif marked.base is base:
            restore(base, marked.room[: marked.n_changes], marked.map)
        else:
            np.copyto(marked.map, base)
            marked.base = base
        marked.n_changes = 0
        return marked

    def _ranges_for(self, dtype: np.dtype[Any]) -> ValueRanges:
        found = self._ranges.get(dtype)
        if found is None:
            found = self._ranges[dtype] = ValueRanges.of([panel.flags for panel in self._geometry.panels], dtype)
        return found

    def _with_static_masks(self, static: Map, masks: Sequence[MaskArray]) -> Map:
        unchanging = [mask for mask in masks if mask.is_static]
        if not unchanging:
            return static
        key = tuple((id(mask.values), mask.panel, mask.good_bits, mask.bad_bits) for mask in unchanging)
        if self._masked is None or self._masked.key != key:
            made = static.copy()
            self._mark_masks(made, unchanging)
            self._masked = _Cached(key, made, tuple(mask.values for mask in unchanging))
        return self._masked.map

    def _mark_unmoved(self) -> Map:
        """Mark what does not depend on where the detector stands."""
        bad = np.zeros(self._starts[-1], np.uint8)
        by_name = {}
        for number, panel in enumerate(self._geometry.panels):
            view = self._panel(bad, number).reshape(self._sizes[number])
            by_name[panel.name] = view, panel
            _mark_edges(view, panel)
        for region in self._geometry.bad_regions:
            if isinstance(region, PixelRegion):
                view, panel = by_name[region.panel]
                columns = slice(region.min_fs - panel.min_fs, region.max_fs - panel.min_fs + 1)
                rows = slice(region.min_ss - panel.min_ss, region.max_ss - panel.min_ss + 1)
                view[rows, columns] = 1
        return bad

    def _mark_lab_regions(self, bad: Map, detector: Detector) -> None:
        bounds = np.array(
            [(region.min_x, region.max_x, region.min_y, region.max_y) for region in self._lab_regions]
        )
        for number, panel in enumerate(self._geometry.panels):
            plane = _plane(panel, detector.poses[number], float(detector.pixel_size[number]))
            near = bounds[_may_touch(bounds, plane, panel)] if len(bounds) else bounds
            if len(near):
                mark_lab_regions(plane, panel.width, near, self._panel(bad, number))

    def _mark_beyond(self, bad: Map, detector: Detector, wavelength: float) -> None:
        if self._highres == inf:
            return
        sine = max(0.0, self._highres * wavelength / 2.0)
        for number, panel in enumerate(self._geometry.panels):
            mark_wide_angles(detector.poses[number], panel.width, 1.0 - 2.0 * sine * sine, self._panel(bad, number))

    def _mark_masks(self, bad: Map, masks: Sequence[MaskArray]) -> None:
        for mask in masks:
            if mask.values.shape != self._sizes[mask.panel]:
                name, size = self._geometry.panels[mask.panel].name, self._sizes[mask.panel]
                raise MismatchError(f"the mask of panel {name} has the shape {mask.values.shape}, expected {size}")
            _mark_mask(self._panel(bad, mask.panel), mask)

    def _panel(self, bad: Map, number: int) -> Map:
        return bad[self._starts[number] : self._starts[number + 1]]


def _mark_edges(view: Map, panel: Panel) -> None:
    """Mark the whole of a `no_index` panel, else a frame along its sides."""
    if panel.no_index:
        view[:] = 1
    elif panel.mask_edge_pixels > 0:
        n = panel.mask_edge_pixels
        view[:n] = view[-n:] = 1
        view[:, :n] = view[:, -n:] = 1


def _plane(panel: Panel, pose: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Give x and y of the corner and the steps, float64[3, 2] [px].

    The numbers of the geometry file are used as they are, so that a pixel exactly on a region's bound is outside.
    """
    shift_x = (float(pose[CORNER, 0]) - panel.corner_x * size) / size
    shift_y = (float(pose[CORNER, 1]) - panel.corner_y * size) / size
    corner = (panel.corner_x + shift_x, panel.corner_y + shift_y)
    return np.array([corner, panel.fs[:2], panel.ss[:2]])


def _may_touch(bounds: NDArray[np.float64], plane: NDArray[np.float64], panel: Panel) -> NDArray[np.bool_]:
    """Tell which lab regions overlap the box around a panel, bool[n_regions]."""
    steps = np.array([(1, 0, 0), (1, panel.width, 0), (1, 0, panel.height), (1, panel.width, panel.height)])
    corners = steps @ plane
    (low_x, low_y), (high_x, high_y) = corners.min(axis=0), corners.max(axis=0)
    in_x = (bounds[:, 0] < high_x) & (bounds[:, 1] > low_x)
    return np.asarray(in_x & (bounds[:, 2] < high_y) & (bounds[:, 3] > low_y))


def _mark_mask(bad: Map, mask: MaskArray) -> None:
    """Judge a mask by its bits; a bit that its dtype has not counts as 0.

    NaN and infinity have no bits: they mean a bad pixel, whatever the bits.
    """
    values = mask.values
    if values.dtype.kind not in "bui":
        bad |= ~np.isfinite(values).reshape(-1)
        values = np.nan_to_num(values.astype(np.float64)).clip(-(2.0**62), 2.0**62).astype(np.int64)
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    if mask.good_bits >> (8 * unsigned.itemsize):
        bad[:] = 1
        return
    kept = (1 << (8 * unsigned.itemsize)) - 1
    flat = np.ascontiguousarray(values, values.dtype.newbyteorder("=")).reshape(-1).view(unsigned)
    mark_bits(flat, np.array([mask.good_bits], unsigned), np.array([mask.bad_bits & kept], unsigned), bad)
