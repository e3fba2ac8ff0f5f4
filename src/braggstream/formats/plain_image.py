"""Frames that are one image, with few or no headers: CBF, TIFF, NPY and Seedee."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.external_maps import ExternalMaps
from braggstream.formats.raw import lay_out, native_pixels, panel_window
from braggstream.model.errors import HeaderError
from braggstream.model.frame import FrameIdentity, HeaderValue
from braggstream.model.geometry import Geometry, Panel
from braggstream.model.mask import MaskArray
from braggstream.model.peaks import SuppliedPeaks

MAX_NAMES = 20
"""So many headers are named where a frame fails."""


class PlainImage:
    """One image that all panels are cut from; implements `RawFrame`.

    The geometry's `data` counts for nothing.  Of its axes only slow and fast scan count where the image has two; an
    image with more axes needs as many in the geometry.
    """

    def __init__(
        self,
        name: str,
        pixels: Callable[[], NDArray[Any]],
        *,
        identity: FrameIdentity,
        geometry: Geometry,
        maps: ExternalMaps,
        headers: Mapping[str, HeaderValue] | None = None,
    ) -> None:
        """Take what gives the image when it is asked for; `name` is what the format is called in complaints."""
        self._name = name
        self._pixels = pixels
        self._identity = identity
        self._geometry = geometry
        self._maps = maps
        self._headers = headers or {}

    @property
    def identity(self) -> FrameIdentity:
        """How the frame is called."""
        return self._identity

    def header(self, name: str) -> HeaderValue:
        """Give one of the few headers that there are."""
        if name not in self._headers:
            raise HeaderError(f"the {self._name} image has no header {name}: write the value into the geometry")
        return self._headers[name]

    own_headers: tuple[str, ...] = ()

    def header_names(self) -> Iterable[str]:
        """Give the names of the few headers."""
        return self._headers

    def image(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give flat pixels and the table of panels."""
        return cut_panels(self._pixels(), self._geometry.panels, f"the {self._name} image")

    def masks(self) -> Sequence[MaskArray]:
        """Give the masks, which come from files of their own."""
        return self._maps.masks()

    def saturation(self) -> NDArray[np.float32] | None:
        """Give the saturation map, which comes from a file of its own."""
        return self._maps.saturation()

    def contents(self) -> str:
        """Say how large the image is."""
        pixels = self._pixels()
        names = ", ".join(sorted(self._headers)[:MAX_NAMES]) or "none"
        return f"The {self._name} image has the shape {pixels.shape} and type {pixels.dtype}; its headers: {names}."

    def peak_list(self) -> SuppliedPeaks:
        """There is none."""
        raise HeaderError(f"a {self._name} image holds no peak list: use another method of --peaks")


def cut_panels(array: NDArray[Any], panels: Sequence[Panel], name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Cut all panels out of one array; gives flat pixels and the table of panels."""
    pixels = native_pixels(array)
    return lay_out([cut_panel(pixels, panel, name) for panel in panels])


def cut_panel(pixels: NDArray[Any], panel: Panel, name: str) -> NDArray[Any]:
    """Cut a panel out of an array; axes that the geometry gives beside slow and fast scan need not be there."""
    while pixels.ndim > max(2, len(panel.dims)) and pixels.shape[0] == 1:
        pixels = pixels[0]  # One frame, with an axis for more.
    if "%" in panel.dims or pixels.ndim == 2:
        panel = replace(panel, dims=tuple(role for role in panel.dims if role in ("ss", "fs")))
    return panel_window(pixels, panel, (), name)
