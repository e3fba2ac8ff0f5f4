"""Simulated frames as messages: MsgPack like that of `msgpack_numpy`, a whole HDF5 file in memory, or Seedee."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import h5py
import msgspec
import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import MissingExtraError, UserError
from braggstream.model.geometry import Geometry
from braggstream.simulate.diffraction import Spots
from braggstream.simulate.frames import SimulatedFrame, Simulator
from braggstream.simulate.layout import DataArray, data_arrays

FILENAME = "simulated"
"""`Image filename` of streamed frames that carry a name."""

_encode = msgspec.msgpack.Encoder().encode


class Payload(Protocol):
    """A frame that is ready to be sent, any number of times."""

    @property
    def metadata(self) -> Mapping[str, object]:
        """What has to go with the message where a service carries metadata; empty where the message says it all."""

    def message(self, number: int) -> bytes | list[bytes]:
        """The message for frame `number`, counted from 0; a list where it has several parts."""


class PayloadMaker(Protocol):
    """Turns simulated frames into payloads of one format."""

    def encode(self, frame: SimulatedFrame) -> Payload:
        """Prepare a frame for sending."""


@dataclass(frozen=True, slots=True)
class MsgPackPayload:
    """A MsgPack map whose first entries say which frame it is; the others do not change."""

    n_entries: int
    body: bytes
    metadata: Mapping[str, object] = field(default_factory=dict)

    def message(self, number: int) -> bytes:
        """Put the frame's name, event and serial (from 1) in front of the pixels."""
        identity = {"filename": FILENAME, "event": number, "serial": number + 1}
        head = bytes([0xDE]) + (self.n_entries + len(identity)).to_bytes(2, "big")
        return b"".join([head, *_entries(identity), self.body])


@dataclass(frozen=True, slots=True)
class FilePayload:
    """An HDF5 file, or a Seedee array with its metadata; it does not say which frame it is."""

    content: bytes
    metadata: Mapping[str, object] = field(default_factory=dict)

    def message(self, number: int) -> bytes:
        """Give the file."""
        return self.content


class MsgPackMaker:
    """Makes MsgPack payloads with the geometry's keys; raises `UserError` for a geometry of files."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._arrays = streamed_arrays(simulator.geometry)

    def encode(self, frame: SimulatedFrame) -> MsgPackPayload:
        """Encode the image, the headers and, where the geometry wants one, the peak list."""
        geometry, detector = self._simulator.geometry, self._simulator.detector
        entries: dict[str, Any] = dict(frame.headers)
        for array in self._arrays:
            entries[array.path] = numpy_map(array.assemble(detector, frame.values))
        if geometry.peak_list is not None and len(self._arrays) == 1:
            entries[geometry.peak_list] = _peak_list(frame.strong, geometry)
        return MsgPackPayload(len(entries), b"".join(_entries(entries)))


class FileMaker:
    """Makes HDF5 payloads; raises `UserError` for a geometry with more than one frame in a file."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._arrays = streamed_arrays(simulator.geometry)

    def encode(self, frame: SimulatedFrame) -> FilePayload:
        """Write the file in memory."""
        with h5py.File("frame.h5", "w", driver="core", backing_store=False) as file:
            for array in self._arrays:
                file[array.path] = array.assemble(self._simulator.detector, frame.values)
            for name, value in frame.headers.items():
                file[name] = value
            file.flush()
            return FilePayload(bytes(file.id.get_file_image()))


class SeedeeMaker:
    """Makes Seedee payloads, compressed; raises `UserError` for a geometry with more than one array."""

    def __init__(self, simulator: Simulator) -> None:
        try:
            import seedee
        except ImportError:
            raise MissingExtraError(library="seedee", extra="seedee", purpose="--data-format=seedee") from None
        self._seedee = seedee
        self._simulator = simulator
        self._array, *others = streamed_arrays(simulator.geometry)
        if others or len(self._array.shape) != 2:
            raise UserError("does not have one two-dimensional array, as Seedee has", path=simulator.geometry.path)

    def encode(self, frame: SimulatedFrame) -> FilePayload:
        """Compress the image; its description and the headers are metadata."""
        array = self._array.assemble(self._simulator.detector, frame.values)
        content, description = self._seedee.serialize(array, self._seedee.COMPRESSION_BITSHUFFLE)
        return FilePayload(bytes(content), frame.headers | {"_data_format": description})


MAKERS: dict[str, type[MsgPackMaker] | type[FileMaker] | type[SeedeeMaker]] = {
    "msgpack": MsgPackMaker,
    "hdf5": FileMaker,
    "seedee": SeedeeMaker,
}


def streamed_arrays(geometry: Geometry) -> tuple[DataArray, ...]:
    """The arrays of one streamed frame; raises `UserError` where the geometry counts frames in a file."""
    arrays = data_arrays(geometry)
    if any("%" in array.path or array.frame_axis is not None for array in arrays):
        raise UserError("has a '%', which streamed frames cannot have (data paths, dimN)", path=geometry.path)
    return arrays


def numpy_map(array: NDArray) -> dict[bytes, Any]:
    """An array as `msgpack_numpy` writes it."""
    contiguous = np.ascontiguousarray(array)
    return {
        b"nd": True,
        b"type": contiguous.dtype.str,
        b"kind": b"",
        b"shape": list(contiguous.shape),
        b"data": contiguous.data.cast("B"),
    }


def _entries(entries: dict[str, Any]) -> list[bytes]:
    """Encode keys and values of a map, without the map's own head."""
    return [part for key, value in entries.items() for part in (_encode(key), _encode(value))]


def _peak_list(strong: Spots, geometry: Geometry) -> dict[str, Any]:
    """Strong spots as OM sends peaks: positions in the data array, counted from the centre of the first pixel."""
    min_fs = np.array([panel.min_fs for panel in geometry.panels])[strong.panel]
    min_ss = np.array([panel.min_ss for panel in geometry.panels])[strong.panel]
    return {
        "num_peaks": len(strong.fs),
        "fs": (strong.fs + min_fs - 0.5).tolist(),
        "ss": (strong.ss + min_ss - 0.5).tolist(),
        "intensity": strong.photons.tolist(),
    }
