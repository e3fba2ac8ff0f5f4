"""Frames of a DECTRIS stream: an image message, with headers and pixel mask of its series' start message."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed import Decompressor
from braggstream.formats.dectris import PackedArray, SeriesMessage
from braggstream.formats.external_maps import ExternalMaps
from braggstream.formats.plain_image import cut_panel
from braggstream.formats.raw import lay_out, native_pixels, text_header
from braggstream.model.errors import DecodeError, HeaderError, MismatchError
from braggstream.model.frame import FrameIdentity, HeaderValue
from braggstream.model.geometry import Geometry
from braggstream.model.mask import MaskArray
from braggstream.model.peaks import SuppliedPeaks

DEFAULT_DATA = "/data/data"
"""What `data` is where the geometry does not name a channel."""
ANY_BIT = 0xFFFFFFFF
MAX_PEAKS = 1 << 20
MAX_NAMES = 40
"""So many values are named where a frame fails."""
SERIES_STEP = 1 << 32
"""Numbers of images in different series are so far apart: the step is no loss."""


class Series:
    """What a start message says, decoded once for all images of its series."""

    def __init__(self, start: SeriesMessage, geometry: Geometry, maps: ExternalMaps) -> None:
        self.start = start
        self._geometry = geometry
        self._maps = maps
        self._masks: list[MaskArray] | None = None

    def masks(self) -> Sequence[MaskArray]:
        """Give the start message's pixel mask, and the masks that the geometry takes from files; the same objects.

        A mask of the geometry that names no file is the start message's, with the geometry's bits; where a panel
        has none of that kind, every bit of the start message's mask is bad.
        """
        if self._masks is None:
            panels = self._geometry.panels
            self._masks = list(self._maps.masks_with_files()) + [
                made
                for number in range(len(panels))
                if not panels[number].no_index
                for made in self._sent_masks(number)
            ]
            self.start = replace(self.start, arrays={})  # The message's bytes are not needed any more.
        return self._masks

    def _sent_masks(self, number: int) -> list[MaskArray]:
        panel = self._geometry.panels[number]
        arrays = self.start.arrays
        is_left_out = panel.data in self.start.channels and panel.data not in arrays
        packed = _channel(arrays, panel.data, "pixel mask") if arrays and not is_left_out else None
        wanted = [mask for mask in panel.masks if mask.file is None]
        if packed is None:
            if wanted:
                raise MismatchError(
                    f"the mask of panel {panel.name} names no file, and the start message brought no pixel mask "
                    "(header_detail = all)"
                )
            return []
        values = cut_panel(native_pixels(self._decoded(packed)), panel, "the pixel mask")
        bits = [(mask.good_bits, mask.bad_bits) for mask in wanted] or [(0, ANY_BIT)]
        return [
            MaskArray(panel=number, values=values, good_bits=good, bad_bits=bad, is_static=True)
            for good, bad in bits
        ]

    def _decoded(self, packed: PackedArray) -> NDArray[Any]:
        return packed.decode(Decompressor(), what="the pixel mask")


class DectrisFrame:
    """One image message; implements `RawFrame`."""

    def __init__(
        self,
        image: SeriesMessage,
        series: Series | None,
        *,
        serial: int,
        geometry: Geometry,
        maps: ExternalMaps,
        decompressor: Decompressor,
    ) -> None:
        """`series` is None where its start message did not arrive."""
        self._image = image
        self._series = series
        self._serial = serial
        self._geometry = geometry
        self._maps = maps
        self._decompressor = decompressor

    @property
    def identity(self) -> FrameIdentity:
        """Named after the series; the event is the number of the image, from 0."""
        image = self._image
        return FrameIdentity(
            filename=_one_line(image.name) or f"series_{image.series}",
            event=f"//{image.image}",
            serial=self._serial,
            sender_number=(image.series % (1 << 30)) * SERIES_STEP + image.image % SERIES_STEP,
        )

    def header(self, name: str) -> HeaderValue:
        """Give a value of the image message, else of its start message."""
        for values in (self._image.values, self._series.start.values if self._series else {}):
            found = values.get(name, values.get(f"user_data/{name}"))
            if found is not None:
                return text_header(name, found) if isinstance(found, str) else found
        if self._series is None:
            raise HeaderError(
                f"the image message has no header {name}, and the start message of series {self._image.series} "
                "did not arrive"
            )
        raise HeaderError(f"neither the image message nor its start message has a header {name}")

    def image(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give flat pixels and the table of panels; a panel's `data` may name a channel."""
        decoded: dict[int, NDArray[Any]] = {}
        windows = []
        for panel in self._geometry.panels:
            packed = _channel(self._image.arrays, panel.data, "image")
            if id(packed) not in decoded:
                found = packed.decode(self._decompressor, what="the image")
                decoded[id(packed)] = native_pixels(found)
            windows.append(cut_panel(decoded[id(packed)], panel, "the image"))
        return lay_out(windows)

    def masks(self) -> Sequence[MaskArray]:
        """Give the pixel mask of the start message, and masks from files of their own."""
        return self._maps.masks() if self._series is None else self._series.masks()

    def saturation(self) -> NDArray[np.float32] | None:
        """Give the saturation map, which comes from a file of its own."""
        return self._maps.saturation()

    def contents(self) -> str:
        """Name the image's channels, and the values that there are."""
        image = self._image
        arrays = ", ".join(
            f"{_one_line(name)[:40]} {array.shape} {array.dtype}" for name, array in image.arrays.items()
        )
        series = self._series.start.values if self._series else {}
        names = ", ".join(_one_line(name)[:40] for name in sorted({*image.values, *series})[:MAX_NAMES])
        begun = "and start message have" if self._series else "has (the start message did not arrive)"
        return f"The image message holds {arrays}; it {begun} the values {names}."

    def peak_list(self) -> SuppliedPeaks:
        """Give the spots that Jungfraujoch found; their places count pixels, as those of other lists do."""
        spots = self._image.spots
        if spots is None:
            raise HeaderError("the image message has no spots: use another method of --peaks")
        if len(spots) > MAX_PEAKS:
            raise DecodeError(f"the image message has {len(spots)} spots, at most {MAX_PEAKS} are taken")
        columns = np.empty((3, len(spots)))
        for number, spot in enumerate(spots):
            values = [spot.get(name) for name in ("x", "y", "I")] if isinstance(spot, dict) else [None]
            if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
                raise DecodeError("a spot of the image message has no numbers x, y and I")
            columns[:, number] = values
        return SuppliedPeaks(fs=columns[0], ss=columns[1], intensity=columns[2])


def _channel(arrays: Mapping[str, PackedArray], name: str, what: str) -> PackedArray:
    """The channel that a geometry's `data` names; where it names none, the first."""
    if not arrays:
        raise DecodeError(f"the message holds no {what}")
    if name in arrays:
        return arrays[name]
    if name == DEFAULT_DATA or len(arrays) == 1:
        return next(iter(arrays.values()))
    raise MismatchError(f"there is no {what} {name} (there are {', '.join(key[:40] for key in arrays)})")


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:1000])
