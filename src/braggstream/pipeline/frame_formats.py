"""From a slot in a file, or a message, to a frame in its own format."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.announced import announced, with_metadata
from braggstream.formats.cbf import CbfImage
from braggstream.formats.compressed import Decompressor
from braggstream.formats.dectris import read_series_message
from braggstream.formats.dectris_frame import DectrisFrame, Series
from braggstream.formats.events import parse_event
from braggstream.formats.external_maps import ExternalMaps
from braggstream.formats.file_kind import check_is_file
from braggstream.formats.foreign import refuse_foreign
from braggstream.formats.hdf5 import Hdf5Frame, OpenFile, StreamedHdf5Frame
from braggstream.formats.hdf5_files import open_hdf5_bytes, reading
from braggstream.formats.msgpack import MsgpackFrame
from braggstream.formats.npy import npy_array
from braggstream.formats.parts import is_joined, split_parts
from braggstream.formats.plain_image import PlainImage
from braggstream.formats.raw import RawFrame
from braggstream.formats.recognize import metadata_of, recognize_file, recognize_message
from braggstream.formats.remarks import Remarks
from braggstream.formats.seedee import seedee_array
from braggstream.formats.series_message import SeriesMessage
from braggstream.formats.tiff import tiff_image
from braggstream.model.data_formats import OF_SERIES
from braggstream.model.errors import DecodeError, FileError, MissingDataError
from braggstream.model.frame import FileSlot, FrameIdentity, Message, SeriesStart
from braggstream.model.geometry import Geometry
from braggstream.model.settings import FrameSettings

MAX_FILE_BYTES = 1 << 30
"""Largest file of one image that is read."""
STREAMED_NAME = "ZMQdata"
KEPT_SERIES = 4
"""Start messages are kept for so many series, whose images may come in turns."""

PLAIN_NAMES = {"cbf": "CBF", "cbf.gz": "CBF", "tiff": "TIFF", "npy": "NPY", "seedee": "Seedee"}


class FrameFormats:
    """Opens frames of every format; keeps what frames share: the open file, masks, the start of a series."""

    def __init__(self, geometry: Geometry, settings: FrameSettings) -> None:
        self._geometry = geometry
        self._settings = settings
        self._maps = ExternalMaps(geometry)
        self._decompressor = Decompressor()
        self._opened: OpenFile | None = None
        self._state: tuple[int, ...] = ()
        """Which file it is, its size and the time of the last change, when it was opened."""
        self._series: dict[int, Series] = {}
        """Series of the start messages that were referred to last, by their numbers."""
        self.remarks = Remarks()

    def of_file(self, slot: FileSlot) -> RawFrame:
        """Open a frame of a file; it is valid until the next frame is opened.  Raises `FrameError`."""
        if slot.fault:
            raise FileError(slot.fault)
        self._decompressor.room.begin()
        event = parse_event(slot.event)
        identity = FrameIdentity(filename=slot.filename, event=slot.event, serial=slot.serial)
        if self._opened is not None and self._opened.name == slot.filename:
            return Hdf5Frame(self._opened, event, identity, self._geometry)
        self.close()
        data_format = _file_format(slot.filename)
        if data_format != "hdf5":
            return self._plain(data_format, _file_bytes(slot.filename), identity)
        self._state = _state_of(slot.filename)
        self._opened = OpenFile.open(slot.filename, self._decompressor)
        self._opened.remarks = self.remarks
        return Hdf5Frame(self._opened, event, identity, self._geometry)

    @contextmanager
    def of_message(self, message: Message) -> Iterator[RawFrame]:
        """Open a streamed frame; it is valid until the next one is opened.  Raises `FrameError`."""
        if message.origin is not None and message.origin.fault:
            raise MissingDataError(message.origin.fault)
        self._decompressor.room.begin()
        payload, metadata = message.payload, b"" if message.origin is None else message.origin.metadata
        data_format = self._settings.data_format or recognize_message(payload, metadata)
        sent = metadata_of(payload)
        if data_format in OF_SERIES:
            yield announced(with_metadata(self._of_series(message), sent), message.origin)
            return
        refuse_foreign(payload)
        if is_joined(payload):
            payload, metadata = split_parts(payload)[-1], metadata or sent
        identity = FrameIdentity(filename=STREAMED_NAME, event=f"//{message.serial}", serial=message.serial)
        if data_format == "hdf5":
            with reading("the message", DecodeError), open_hdf5_bytes(payload) as file:
                opened = OpenFile(file, "the message", decompressor=self._decompressor)
                opened.remarks = self.remarks
                raw: RawFrame = StreamedHdf5Frame(opened, identity, self._geometry, self._maps)
                yield announced(with_metadata(raw, sent), message.origin)
            return
        if data_format == "msgpack":
            raw = MsgpackFrame(payload, message.serial, self._geometry, self._maps)
        else:
            raw = self._plain(data_format, payload, identity, metadata)
        yield announced(with_metadata(raw, sent), message.origin)

    def of_image(self, image: NDArray[Any], identity: FrameIdentity) -> RawFrame:
        """Take pixels in memory for a frame."""
        pixels = np.ascontiguousarray(image)
        return PlainImage("array's", lambda: pixels, identity=identity, geometry=self._geometry, maps=self._maps)

    def has_grown(self, slot: FileSlot) -> bool:
        """Close the open file where it was written to since it was opened: what was missing may be there now."""
        if self._opened is None or self._opened.name != slot.filename or self._state == _state_of(slot.filename):
            return False
        self.close()
        return True

    def close(self) -> None:
        """Close the open file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _plain(
        self, data_format: str, payload: memoryview | bytes, identity: FrameIdentity, metadata: bytes = b""
    ) -> PlainImage:
        room, headers = self._decompressor.room, None
        if data_format in ("cbf", "cbf.gz"):
            image = CbfImage(payload, room)
            pixels, headers = image.pixels, image.headers()
        elif data_format == "tiff":
            pixels = lambda: tiff_image(payload, room)  # noqa: E731
        elif data_format == "npy":
            pixels = lambda: npy_array(payload)  # noqa: E731
        else:
            pixels = lambda: seedee_array(payload, metadata, self._decompressor)  # noqa: E731
        return PlainImage(
            PLAIN_NAMES[data_format],
            pixels,
            identity=identity,
            geometry=self._geometry,
            maps=self._maps,
            headers=headers,
        )

    def _of_series(self, message: Message) -> DectrisFrame:
        image = read_series_message(message.payload)
        if image.kind != "image":
            raise DecodeError(f"the message is the {image.kind} of a series, where an image was expected")
        return DectrisFrame(
            image,
            self._started(image, message.start),
            serial=message.serial,
            geometry=self._geometry,
            maps=self._maps,
            decompressor=self._decompressor,
            remarks=self.remarks,
            refusal=message.refusal,
        )

    def _started(self, image: SeriesMessage, start: SeriesStart | None) -> Series | None:
        """What the start message of an image's series says; None where it did not arrive."""
        if start is None:
            return None
        found = self._series.get(start.number)
        if found is None:
            while len(self._series) >= KEPT_SERIES:
                del self._series[next(iter(self._series))]
            found = self._series[start.number] = Series(_kept(start), self._geometry, self._maps, self.remarks)
        return found if found.start.identity.is_of(image.identity) else None


def _kept(start: SeriesStart) -> SeriesMessage:
    """Understand a start message whose bytes will go: what is kept of it is copied."""
    return read_series_message(bytes(start.payload))


def _state_of(name: str) -> tuple[int, ...]:
    try:
        found = Path(name).stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _file_format(name: str) -> str:
    check_is_file(name)
    try:
        with Path(name).open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise FileError(f"{name}: {error.strerror or error}") from None
    found = recognize_file(start)
    if found is None:
        raise FileError(f"{name}: not a format that can be read, expected HDF5, CBF, TIFF or NPY")
    return found


def _file_bytes(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise FileError(f"{name}: {error.strerror or error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise FileError(f"{name}: larger than {MAX_FILE_BYTES} bytes, which is no single image")
    return content
