"""Loading: from a slot in a file or a message to a `Frame`, in the order in which CrystFEL does it.

headers -> wavelength -> detector -> pixels -> bad pixels -> saturation -> peak list -> headers to copy
"""

from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.announced import announced, origin_headers
from braggstream.formats.c_numbers import whole_number
from braggstream.formats.compressed import Decompressor
from braggstream.formats.events import parse_event
from braggstream.formats.external_maps import ExternalMaps
from braggstream.formats.hdf5 import Hdf5Frame, OpenFile, StreamedHdf5Frame
from braggstream.formats.hdf5_maps import SIGNATURE, open_hdf5_bytes, reading
from braggstream.formats.msgpack import MsgpackFrame
from braggstream.formats.pixel_room import as_writable
from braggstream.formats.raw import RawFrame, blank_image
from braggstream.model.errors import DecodeError, FileError, FrameError, HeaderError, MissingDataError
from braggstream.model.frame import FileSlot, Frame, FrameIdentity, HeaderValue, Message
from braggstream.model.geometry import Geometry
from braggstream.model.settings import FrameSettings
from braggstream.steps.bad_pixels import BadPixels


class FrameLoader:
    """Loads frames; keeps what frames share (the open file, masks, maps)."""

    def __init__(self, geometry: Geometry, settings: FrameSettings) -> None:
        self._geometry = geometry
        self._settings = settings
        judged = geometry if settings.load_image else _without_flags(geometry)
        self._bad_pixels = BadPixels(judged, highres=settings.highres)
        self._maps = ExternalMaps(geometry)
        self._blank = None if settings.load_image else blank_image(geometry)
        self._decompressor = Decompressor()
        self._opened: OpenFile | None = None
        self._pixel_buffer = np.empty(0, np.uint8)

    def from_file(self, slot: FileSlot) -> Frame:
        """Load a frame of a file; raises `FrameError`.

        The frame is valid until the next one is loaded.
        """
        self._decompressor.room.begin()
        event = parse_event(slot.event)
        opened = self._open(slot.filename)
        identity = FrameIdentity(filename=slot.filename, event=slot.event, serial=slot.serial)
        return self._assemble(Hdf5Frame(opened, event, identity, self._geometry))

    def from_message(self, message: Message) -> Frame:
        """Decode a streamed frame; raises `FrameError`.

        The frame is valid until the next one is loaded, and no longer than the message.
        """
        if message.origin is not None and message.origin.fault:
            raise MissingDataError(message.origin.fault)
        self._decompressor.room.begin()
        data_format = self._settings.data_format
        if data_format is None:
            data_format = "hdf5" if bytes(message.payload[: len(SIGNATURE)]) == SIGNATURE else "msgpack"
        if data_format == "hdf5":
            return self._from_hdf5_message(message)
        raw = MsgpackFrame(message.payload, message.serial, self._geometry, self._maps)
        return self._assemble(announced(raw, message.origin))

    def close(self) -> None:
        """Close the open file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _from_hdf5_message(self, message: Message) -> Frame:
        with reading("the message", DecodeError), open_hdf5_bytes(message.payload) as file:
            opened = OpenFile(file, "the message", in_memory=True, decompressor=self._decompressor)
            identity = FrameIdentity(filename="ZMQdata", event=f"//{message.serial}", serial=message.serial)
            raw = StreamedHdf5Frame(opened, identity, self._geometry, self._maps)
            return self._assemble(announced(raw, message.origin))

    def _open(self, name: str) -> OpenFile:
        """Open a file, or take the one that is open already."""
        if self._opened is not None and self._opened.name == name:
            return self._opened
        self.close()
        _check_signature(name)
        self._opened = OpenFile.open(name, self._decompressor)
        return self._opened

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
            headers=headers.used + _copied(raw, chosen.copy_headers) + origin_headers(raw),
            supplied_peaks=raw.peak_list() if chosen.load_peaks else None,
            has_image=chosen.load_image,
        )

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


class _Headers:
    """Looks headers up as numbers, and remembers which were used."""

    def __init__(self, header: Callable[[str], HeaderValue]) -> None:
        self._header = header
        self._found: list[tuple[str, HeaderValue]] = []

    def number(self, name: str) -> float:
        """Give a header as a number; raises `HeaderError`."""
        value = self._header(name)
        number = whole_number(value) if isinstance(value, str) else float(value)
        if number is None:
            raise HeaderError(f"header {name} is {value!r}, expected a number")
        if not isfinite(number):
            raise HeaderError(f"header {name} is {number}, expected a finite number")
        self._found.append((name, value))
        return number

    @property
    def used(self) -> tuple[tuple[str, HeaderValue], ...]:
        """The headers that were looked up, in order."""
        return tuple(self._found)


def _copied(raw: RawFrame, names: tuple[str, ...]) -> tuple[tuple[str, HeaderValue], ...]:
    """Headers to copy; those that are not there are left out, as CrystFEL does."""
    found = []
    for name in names:
        try:
            found.append((name, raw.header(name)))
        except FrameError:
            continue
    return tuple(found)


def _without_flags(geometry: Geometry) -> Geometry:
    """The geometry for frames without pixels, whose zeroes are no values to be judged."""
    return replace(geometry, panels=tuple(replace(panel, flags=()) for panel in geometry.panels), _cache={})


def _check_signature(name: str) -> None:
    try:
        with Path(name).open("rb") as file:
            start = file.read(len(SIGNATURE))
    except OSError as error:
        raise FileError(f"{name}: {error.strerror or error}") from None
    if start != SIGNATURE:
        raise FileError(f"{name}: not a format that can be read, expected HDF5")
