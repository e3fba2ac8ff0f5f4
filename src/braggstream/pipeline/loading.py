"""Loading: from a slot in a file or a message to a `Frame`, in the order in which CrystFEL does it.

headers -> wavelength -> detector -> pixels -> bad pixels -> saturation -> peak list -> headers to copy
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.announced import origin_headers
from braggstream.formats.c_numbers import whole_number
from braggstream.formats.pixel_room import as_writable
from braggstream.formats.raw import RawFrame, blank_image
from braggstream.formats.remarks import Remarks
from braggstream.model.errors import FrameError, HeaderError
from braggstream.model.frame import FileSlot, Frame, FrameIdentity, HeaderValue, Message
from braggstream.model.geometry import Geometry
from braggstream.model.settings import ALL_HEADERS, FrameSettings
from braggstream.pipeline.frame_formats import FrameFormats
from braggstream.steps.bad_pixels import BadPixels

MAX_ALL_HEADERS = 128
"""So many are copied under that name."""
MAX_NAMES = 2048
"""So many names are looked at for them."""
OUR_NAMES = ("asapo/", "braggstream/")
"""Names of headers that tell of the session and the service begin like this."""
MAX_SHORT = 256
"""Longer texts are copied under their own names only [characters]."""
MOST_DESCRIBED = 3
"""So many failed frames say what their file or message holds."""
MAX_CONTENTS = 2000


class FrameLoader:
    """Loads frames; keeps what frames share (the open file, masks, maps)."""

    def __init__(self, geometry: Geometry, settings: FrameSettings) -> None:
        self._geometry = geometry
        self._settings = settings
        judged = geometry if settings.load_image else _without_flags(geometry)
        self._bad_pixels = BadPixels(judged, highres=settings.highres)
        self._formats = FrameFormats(geometry, settings)
        self._blank = None if settings.load_image else blank_image(geometry)
        self._pixel_buffer = np.empty(0, np.uint8)
        self._n_described = 0
        self.missing_headers: tuple[str, ...] = ()
        """Headers that were to be copied and that the last frame has not."""

    @property
    def remarks(self) -> Remarks:
        """What is to be told once of the frames that were loaded."""
        return self._formats.remarks

    def from_file(self, slot: FileSlot) -> Frame:
        """Load a frame of a file; raises `FrameError`.

        The frame is valid until the next one is loaded.
        """
        try:
            return self._described(self._formats.of_file(slot))
        except FrameError:
            if not self._formats.has_grown(slot):
                raise
        return self._described(self._formats.of_file(slot))

    def from_message(self, message: Message) -> Frame:
        """Decode a streamed frame; raises `FrameError`.

        The frame is valid until the next one is loaded, and no longer than the message.
        """
        with self._formats.of_message(message) as raw:
            return self._described(raw)

    def from_image(self, image: NDArray[Any], identity: FrameIdentity) -> Frame:
        """Make a frame of pixels in memory, which it shares; raises `FrameError`.

        The frame is valid until the next one is loaded.
        """
        return self._assemble(self._formats.of_image(image, identity))

    def close(self) -> None:
        """Close the open file."""
        self._formats.close()

    def _described(self, raw: RawFrame) -> Frame:
        """Make a frame; the first that cannot be made say what there is instead."""
        try:
            return self._assemble(raw)
        except FrameError as error:
            if self._n_described < MOST_DESCRIBED:
                self._n_described += 1
                with suppress(FrameError):
                    error.contents = raw.contents()[:MAX_CONTENTS]
            raise

    def _assemble(self, raw: RawFrame) -> Frame:
        chosen = self._settings
        headers = _Headers(raw.header)
        if self._blank is None:
            pixels, table = raw.image()
            pixels = self._usable(pixels)
        else:
            pixels, table = self._blank
        wavelength = self._geometry.wavelength(headers.number)
        detector = self._geometry.detector(headers.number, wavelength)
        masks = raw.masks() if chosen.load_masks else ()
        bad = self._bad_pixels.frame_map(detector, wavelength, pixels, table, masks)
        return Frame(
            identity=raw.identity,
            detector=detector,
            wavelength=wavelength,
            pixels=pixels,
            panel_table=table,
            bad=bad,
            bad_map=self._bad_pixels.made,
            saturation=raw.saturation(),
            headers=headers.used + self._copied(raw, [name for name, _ in headers.used]) + origin_headers(raw),
            supplied_peaks=raw.peak_list() if chosen.load_peaks else None,
            has_image=chosen.load_image,
        )

    def _copied(self, raw: RawFrame, used: Sequence[str]) -> tuple[tuple[str, HeaderValue], ...]:
        """Headers to copy, and those in which senders say which frame this is.

        Those that are not there are left out, as CrystFEL does; what is asked for and missing is remembered.
        """
        names = self._settings.copy_headers
        found, self.missing_headers = _found_headers(raw, [name for name in names if name != ALL_HEADERS])
        if ALL_HEADERS in names:
            found |= self._all_headers(raw, {*used, *found})
        own, _ = _found_headers(raw, [name for name in raw.own_headers if name not in {*used, *found}])
        return (*own.items(), *found.items())

    def _all_headers(self, raw: RawFrame, others: set[str]) -> dict[str, HeaderValue]:
        """All headers of a frame, but for long texts and beyond a number that is told once."""
        names = [name for name in islice(raw.header_names(), MAX_NAMES) if name not in others and _is_safe(name)]
        found, _ = _found_headers(raw, names)
        short = {name: value for name, value in found.items() if not _is_long(name, value)}
        if len(short) > MAX_ALL_HEADERS:
            line = f"--copy-header=all: frames have more than {MAX_ALL_HEADERS} headers; the first ones are copied"
            self.remarks.add(line)
        return dict(islice(short.items(), MAX_ALL_HEADERS))

    def _usable(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Give the kernels pixels at an aligned, writable address, which they were compiled for.

        They do not write; a read-only array is another type to them.  Only an image at an odd address is copied.
        """
        if pixels.flags.aligned and pixels.flags.c_contiguous:
            return as_writable(pixels)
        if len(self._pixel_buffer) < pixels.nbytes:
            self._pixel_buffer = np.empty(pixels.nbytes, np.uint8)
        copy = self._pixel_buffer[: pixels.nbytes].view(pixels.dtype)
        np.copyto(copy, pixels)
        return copy


def _found_headers(raw: RawFrame, names: Iterable[str]) -> tuple[dict[str, HeaderValue], tuple[str, ...]]:
    """Headers by name, and the names of those that are not there."""
    found: dict[str, HeaderValue] = {}
    missing = []
    for name in names:
        try:
            value = raw.header(name)
        except FrameError:
            missing.append(name)
        else:
            found[name] = int(value) if isinstance(value, bool) else value
    return found, tuple(missing)


def _is_safe(name: str) -> bool:
    """Whether a sender's name for a header can be written as it is, and is none that we give ourselves."""
    return name.isprintable() and " = " not in name and not name.startswith(OUR_NAMES)


def _is_long(name: str, value: HeaderValue) -> bool:
    """Whether a header would make a line that is longer than what is copied without having been asked for."""
    return len(name) > MAX_SHORT or (isinstance(value, str) and len(value) > MAX_SHORT)


class _Headers:
    """Looks headers up as numbers, and remembers which were used."""

    def __init__(self, header: Callable[[str], HeaderValue]) -> None:
        self._header = header
        self._found: list[tuple[str, HeaderValue]] = []

    def number(self, name: str) -> float:
        """Give a header as a number; raises `HeaderError`."""
        value = self._header(name)
        number = whole_number(value) if isinstance(value, str) else float(value)
        if number is None or isinstance(value, bool):
            raise HeaderError(f"header {name} is {value!r}, expected a number")
        if not isfinite(number):
            raise HeaderError(f"header {name} is {number}, expected a finite number")
        self._found.append((name, value))
        return number

    @property
    def used(self) -> tuple[tuple[str, HeaderValue], ...]:
        """The headers that were looked up, in order."""
        return tuple(self._found)


def _without_flags(geometry: Geometry) -> Geometry:
    """The geometry for frames without pixels, whose zeroes are no values to be judged."""
    return replace(geometry, panels=tuple(replace(panel, flags=()) for panel in geometry.panels), _cache={})
