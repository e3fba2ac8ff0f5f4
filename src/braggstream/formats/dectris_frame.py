"""Frames of a DECTRIS stream: an image message, with headers and pixel mask of its series' start message."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed import Decompressor
from braggstream.formats.dectris import read_spots
from braggstream.formats.dectris_geometry import is_made_of_start
from braggstream.formats.external_maps import ExternalMaps
from braggstream.formats.packed_arrays import DEFAULT_DATA, PackedArray, channel_of
from braggstream.formats.plain_image import cut_panel
from braggstream.formats.raw import lay_out, native_pixels, text_header
from braggstream.formats.remarks import Remarks
from braggstream.formats.series_message import SeriesMessage, sender_number
from braggstream.formats.series_values import SeriesValues
from braggstream.model.errors import FrameError, HeaderError, MismatchError
from braggstream.model.frame import FrameIdentity, HeaderValue
from braggstream.model.geometry import Geometry, Panel
from braggstream.model.mask import MaskArray
from braggstream.model.peaks import SuppliedPeaks

ANY_BIT = 0xFFFFFFFF
OWN_HEADERS = ("series_id", "image_id", "series_date", "start_time", "series", "frame")
"""What an image message says of itself under these names, of version 2 and 1, goes into each chunk."""
MAX_NAMES = 40
"""So many values are named where a frame fails."""


class Series:
    """What a start message says, decoded once for all images of its series."""

    def __init__(self, start: SeriesMessage, geometry: Geometry, maps: ExternalMaps, remarks: Remarks) -> None:
        self.start = start
        self._geometry = geometry
        self._maps = maps
        self._remarks = remarks
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
        wanted = [mask for mask in panel.masks if mask.file is None]
        packed = self._packed_mask(panel, is_wanted=bool(wanted))
        if packed is None:
            return []
        values = cut_panel(native_pixels(self._decoded(packed)), panel, "the pixel mask")
        bits = [(mask.good_bits, mask.bad_bits) for mask in wanted] or [(0, ANY_BIT)]
        return [
            MaskArray(panel=number, values=values, good_bits=good, bad_bits=bad, is_static=True)
            for good, bad in bits
        ]

    def _packed_mask(self, panel: Panel, *, is_wanted: bool) -> PackedArray | None:
        """The mask of a panel's channel; None where the start message has none and the geometry asks for none."""
        sent = self.start.arrays
        if not sent and is_wanted:
            raise MismatchError(
                f"the mask of panel {panel.name} names no file, and the start message brought no pixel mask "
                "(header_detail = all)"
            )
        has_own = panel.data in (DEFAULT_DATA, *sent) or len(sent) == 1
        if sent and not has_own and not is_wanted:
            there = ", ".join(name[:40] for name in sent)
            self._remarks.add(
                f"series {self.start.series} has no pixel mask for channel {panel.data} (there are {there}): "
                "its frames are not masked"
            )
            return None
        return channel_of(sent, panel.data, "pixel mask") if sent else None

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
        remarks: Remarks,
        refusal: str = "",
    ) -> None:
        """`series` is None where its start message did not arrive, or was refused with the reason given."""
        self._image = image
        self._refusal = refusal
        self._remarks = remarks
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
            sender_number=sender_number(image.series, image.image),
        )

    def header(self, name: str) -> HeaderValue:
        """Give a value of the image message, else of its start message."""
        sources = [self._image.values] if self._series is None else [self._image.values, self._series.start.values]
        for values in sources:
            found = values.get(name)
            self._tell_faults(values)
            if found is not None:
                return text_header(name, found) if isinstance(found, str) else found
        faults = "".join(f"; {key} cannot be understood" for values in sources for key in list(values.faults)[:5])
        if self._series is None:
            raise HeaderError(
                f"the image message has no header {name}, and the start message of series {self._image.series} "
                f"{self._missing_start()}{faults}"
            )
        raise HeaderError(f"neither the image message nor its start message has a header {name}{faults}")

    def _missing_start(self) -> str:
        return f"was refused: {self._refusal}" if self._refusal else "did not arrive"

    def _tell_faults(self, values: SeriesValues) -> None:
        for key, reason in values.faults.items():
            self._remarks.add(f"headers in {_one_line(key[:80])} are left out: {reason}", about=f"headers in {key}")

    @property
    def own_headers(self) -> tuple[str, ...]:
        """Series, number and time of the image."""
        return OWN_HEADERS

    def header_names(self) -> Iterable[str]:
        """Give the names of the image message's own values; those of its series are the same for all images."""
        return self._image.values.names()

    def image(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Give flat pixels and the table of panels; a panel's `data` may name a channel."""
        decoded: dict[int, NDArray[Any]] = {}
        windows = []
        for panel in self._geometry.panels:
            packed = channel_of(self._image.arrays, panel.data, "image")
            if id(packed) not in decoded:
                self._check_size(packed)
                found = packed.decode(self._decompressor, what="the image")
                decoded[id(packed)] = native_pixels(found)
            windows.append(cut_panel(decoded[id(packed)], panel, "the image"))
        return lay_out(windows)

    def _check_size(self, packed: PackedArray) -> None:
        """A geometry that was made of a start message is for images of its size only; raises `MismatchError`."""
        panel = self._geometry.panels[0]
        size = tuple(length for length in packed.shape if length > 1)
        if is_made_of_start(self._geometry) and size != (panel.height, panel.width):
            raise MismatchError(
                f"the image of series {self._image.series} has {' x '.join(map(str, size[::-1]))} pixels, and the "
                f"geometry was made for {panel.width} x {panel.height}: begin a new session for it, or give -g"
            )

    def masks(self) -> Sequence[MaskArray]:
        """Give the pixel mask of the start message, and masks from files of their own."""
        return self._maps.masks() if self._series is None else self._series.masks()

    def saturation(self) -> NDArray[np.float32] | None:
        """Give the saturation map, which comes from a file of its own."""
        return self._maps.saturation()

    def contents(self) -> str:
        """Name the image's channels, and the values that there are."""
        image = self._image
        arrays = ", ".join(_described(name, array) for name, array in image.arrays.items())
        values = {*image.values.names(), *(self._series.start.values.names() if self._series else ())}
        names = ", ".join(_one_line(name)[:40] for name in sorted(values)[:MAX_NAMES])
        begun = "and start message have" if self._series else f"has (the start message {self._missing_start()})"
        return f"The image message holds {arrays}; it {begun} the values {names}."

    def peak_list(self) -> SuppliedPeaks:
        """Give the spots that Jungfraujoch found; their places count pixels, as those of other lists do."""
        if self._image.spots is None:
            raise HeaderError("the image message has no spots: use another method of --peaks")
        fs, ss, intensity = read_spots(self._image.spots)
        return SuppliedPeaks(fs=fs, ss=ss, intensity=intensity)


def _described(name: str, array: PackedArray | FrameError) -> str:
    words = "that cannot be read" if isinstance(array, FrameError) else f"{array.shape} {array.dtype}"
    return f"{_one_line(name)[:40]} {words}"


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:1000])
