"""What every format gives to the loader: pixels as windows into one flat array, headers, masks, peaks."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.layout import HEIGHT, N_COLUMNS, OFFSET, START, STRIDE, WIDTH
from braggstream.model.errors import MismatchError
from braggstream.model.frame import FrameIdentity, HeaderValue
from braggstream.model.geometry import Geometry, Panel
from braggstream.model.mask import MaskArray
from braggstream.model.peaks import SuppliedPeaks

MAX_TEXT_HEADER = 16384
"""Longest text that is taken as a header [bytes]."""


class RawFrame(Protocol):
    """A frame in its own format; each part is read when it is asked for.

    All methods raise `FrameError` for what is missing or does not fit.
    """

    @property
    def identity(self) -> FrameIdentity:
        """How the frame is called."""
        ...

    def header(self, name: str) -> HeaderValue:
        """Give a header."""
        ...

    @property
    def own_headers(self) -> tuple[str, ...]:
        """Names of the headers in which the sender says which frame this is, and of when; often none."""
        ...

    def header_names(self) -> Iterable[str]:
        """Give the names of the frame's own headers, in their order; some may turn out to be none."""
        ...

    def image(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give flat pixels and the table of panels (see `kernels.layout`)."""
        ...

    def masks(self) -> Sequence[MaskArray]:
        """Give the bad-pixel masks."""
        ...

    def saturation(self) -> NDArray[np.float32] | None:
        """Give the saturation level of each pixel in detector order; None where the geometry names no map."""
        ...

    def peak_list(self) -> SuppliedPeaks:
        """Give the peak list that the geometry names."""
        ...

    def contents(self) -> str:
        """Say in one line what its file or message holds: names, shapes and types, as many as fit."""
        ...


def native_pixels(array: NDArray[Any]) -> NDArray[Any]:
    """Give pixels in a dtype that kernels take, without a copy where that is possible; raises `MismatchError`."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.view(np.uint8)
    if kind == "f" and size == 2:
        return array.astype(np.float32)
    if kind not in "iuf" or size > 8:
        raise MismatchError(f"pixels of type {array.dtype} cannot be used, expected integers or floats")
    if not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def panel_window(array: NDArray[Any], panel: Panel, indices: Sequence[int], name: str) -> NDArray[Any]:
    """Cut a panel out of a data array as a view, [height, width].

    Parameters
    ----------
    array
        The whole array, its axes as the panel's `dims` say.
    panel
        The panel.
    indices
        Values for its `%` axes, in order.
    name
        What the array is called in complaints.

    Raises
    ------
    MismatchError
        The array does not hold the panel.
    """
    window = array[window_slices(array.shape, panel, indices, name)]
    return window


def window_slices(shape: Sequence[int], panel: Panel, indices: Sequence[int], name: str) -> tuple[int | slice, ...]:
    """Say where a panel lies in an array of this shape; raises `MismatchError` where it does not fit."""
    if len(shape) != len(panel.dims):
        raise MismatchError(
            f"{name} has the shape {tuple(shape)}, the geometry gives {len(panel.dims)} axes to panel {panel.name}"
        )
    left = iter(indices)
    place: list[int | slice] = []
    for length, role in zip(shape, panel.dims, strict=True):
        if role == "fs":
            first, last = panel.min_fs, panel.max_fs
            place.append(slice(first, last + 1))
        elif role == "ss":
            first, last = panel.min_ss, panel.max_ss
            place.append(slice(first, last + 1))
        else:
            number = next(left, None) if role == "%" else int(role)
            if number is None:
                raise MismatchError(f"the event has too few numbers for the % axes of panel {panel.name}")
            first = last = number
            place.append(first)
        if not 0 <= first <= last < length:
            raise MismatchError(
                f"{name} has the shape {tuple(shape)}, panel {panel.name} reaches from {first} to {last} there"
            )
    return tuple(place)


def lay_out(windows: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Describe panels as windows into one flat array.

    Windows of one C-contiguous array stay where they are; others are copied, one after the other.

    Parameters
    ----------
    windows : sequence of array[height, width]
        The panels, of a dtype that `native_pixels` gives.
    """
    table = np.zeros((len(windows), N_COLUMNS), np.int64)
    sizes = np.array([window.shape for window in windows], np.int64)
    table[:, HEIGHT], table[:, WIDTH] = sizes[:, 0], sizes[:, 1]
    table[1:, START] = np.cumsum(sizes[:, 0] * sizes[:, 1])[:-1]
    base = _common_base(windows)
    if base is None:
        table[:, OFFSET], table[:, STRIDE] = table[:, START], table[:, WIDTH]
        return np.concatenate([window.reshape(-1) for window in windows]), table
    item = base.itemsize
    start = base.ctypes.data
    for number, window in enumerate(windows):
        table[number, OFFSET] = (window.ctypes.data - start) // item
        table[number, STRIDE] = window.strides[0] // item
    return base.reshape(-1), table


def _common_base(windows: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    """The C-contiguous array of which all windows are views; None where there is none."""
    bases = {id(_owner(window)): _owner(window) for window in windows}
    if len(bases) != 1:
        return None
    base = next(iter(bases.values()))
    if base.dtype != windows[0].dtype or not base.flags.c_contiguous or not base.flags.aligned:
        return None
    if any(window.strides[1] != base.itemsize or window.strides[0] < 0 for window in windows):
        return None
    return base


def _owner(array: NDArray[Any]) -> NDArray[Any]:
    """The array that a view was cut from."""
    while isinstance(array.base, np.ndarray) and array.base.dtype == array.dtype:
        array = array.base
    return array


def blank_image(geometry: Geometry) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Pixels that are all zero, for `--no-image-data`: one row serves for all."""
    heights = np.array([panel.height for panel in geometry.panels], np.int64)
    widths = np.array([panel.width for panel in geometry.panels], np.int64)
    table = np.zeros((len(widths), N_COLUMNS), np.int64)
    table[:, HEIGHT], table[:, WIDTH] = heights, widths
    table[1:, START] = np.cumsum(heights * widths)[:-1]
    return np.zeros(int(widths.max()), np.int32), table


def text_header(name: str, text: str) -> str:
    """Cut a text at its first line end; raises `MismatchError` for one that is too long."""
    if len(text) > MAX_TEXT_HEADER:
        raise MismatchError(
            f"header {name} is a text of {len(text)} characters, at most {MAX_TEXT_HEADER} are taken"
        )
    return text.replace("\r", "\n").split("\n", 1)[0]
