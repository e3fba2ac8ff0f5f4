"""Simulated frames as a detector's series: DECTRIS stream versions 1 and 2, and Jungfraujoch's image stream.

Written after the makers' public descriptions, with libraries that the receiver does not use.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import MissingExtraError
from braggstream.simulate.frames import SimulatedFrame, Simulator
from braggstream.simulate.image_payloads import one_image, photon_energy
from braggstream.simulate.layout import check_stated
from braggstream.simulate.payloads import FILENAME

SERIES = 1
TICKS = 50_000_000
"""Ticks of a detector's clock per second."""
EXPOSURE = 0.01
"""Time of one image [s]."""
SATURATION = 1 << 20
"""Largest valid value of the simulated detector."""
NO_DATA = 0xFFFFFFFF
CHANNELS = ("threshold_1", "threshold_2")
MAGIC = 0x52320000
"""Number with which Jungfraujoch tells its version."""

NO_PIXEL, DEAD, GOOD = range(3)

Message = bytes | list[bytes]


@dataclass(frozen=True, slots=True)
class SeriesPayload:
    """A compressed image that is ready to be sent under any number."""

    maker: "SeriesMaker"
    frame: SimulatedFrame
    arrays: Mapping[str, bytes]
    """Compressed pixels by channel."""
    metadata: Mapping[str, object] = field(default_factory=dict)

    def message(self, number: int) -> Message:
        """Make the image message."""
        return self.maker.image(number, self.arrays, self.frame)


class SeriesMaker:
    """Makes start, image and end messages; raises `UserError` for a geometry with more than one array."""

    name = ""
    dtype = "<u4"
    channels: tuple[str, ...] = CHANNELS

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.array = one_image(simulator)
        states = np.full(simulator.detector.n_pixels, GOOD, np.uint32)
        states[simulator.defects.bad] = DEAD
        self.mask = np.choose(self.array.assemble(simulator.detector, states), (1, 2, 0)).astype("<u4")
        """Bits as DECTRIS sets them: 1 where there is no pixel, 2 where it is dead."""
        meant = {"eV": photon_energy(simulator), "m": simulator.camera_length}
        check_stated(simulator.geometry, self.stated, meant, f"{self.name} frames")

    def encode(self, frame: SimulatedFrame) -> SeriesPayload:
        """Compress the image; the second channel shows half of it, as a higher threshold would."""
        pixels = self.array.assemble(self.simulator.detector, frame.values).astype(np.int64)
        half = np.where(pixels > 0, pixels // 2, pixels)
        packed = {
            name: bslz4(np.where(values < 0, self.no_data, values).astype(self.dtype))
            for name, values in zip(self.channels, (pixels, half), strict=False)
        }
        return SeriesPayload(self, frame, packed)

    @property
    def no_data(self) -> int:
        """Value of pixels without data."""
        return NO_DATA

    @property
    def values(self) -> dict[str, Any]:
        """What a start message says, under the names of version 2."""
        simulator, detector = self.simulator, self.simulator.detector
        height, width = self.array.shape
        beam = np.linalg.solve(detector.poses[0, 1:, :2].T, -detector.poses[0, 0, :2])
        return {
            "beam_center_x": float(beam[0] + detector.min_fs[0]),
            "beam_center_y": float(beam[1] + detector.min_ss[0]),
            "count_time": EXPOSURE,
            "detector_description": "Simulated detector",
            "detector_serial_number": "E-00-0000",
            "detector_translation": [0.0, 0.0, self.distance],
            "frame_time": EXPOSURE,
            "image_size_x": int(width),
            "image_size_y": int(height),
            "incident_energy": photon_energy(simulator),
            "incident_wavelength": simulator.wavelength,
            "pixel_size_x": float(detector.pixel_size[0]),
            "pixel_size_y": float(detector.pixel_size[0]),
            "saturation_value": SATURATION,
            "sensor_material": "Si",
            "sensor_thickness": 4.5e-4,
        }

    @property
    def stated(self) -> dict[str, float]:
        """The numbers of a start message about beam and distance, under the names of all versions [m, eV, Å]."""
        found = self.values
        return {
            "incident_energy": found["incident_energy"],
            "photon_energy": found["incident_energy"],
            "incident_wavelength": found["incident_wavelength"],
            "wavelength": found["incident_wavelength"],
            "detector_distance": self.distance,
            "detector_translation/2": self.distance,
        }

    @property
    def distance(self) -> float:
        """From the sample to the detector along the beam [m]."""
        return float(self.simulator.detector.poses[0, 0, 2])

    def own_headers(self, frame: SimulatedFrame) -> dict[str, float]:
        """Headers of a frame that the start message does not state just so."""
        stated = self.stated
        return {name: value for name, value in frame.headers.items() if value != stated.get(name)}

    def start(self, n_frames: int) -> Message:
        """Make the start message."""
        raise NotImplementedError

    def image(self, number: int, arrays: Mapping[str, bytes], frame: SimulatedFrame) -> Message:
        """Make an image message."""
        raise NotImplementedError

    def end(self) -> Message:
        """Make the end message."""
        raise NotImplementedError


class CborMaker(SeriesMaker):
    """Stream version 2."""

    name = "dectris2"
    compression = "bslz4"

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(simulator)
        try:
            import cbor2
        except ImportError:
            raise MissingExtraError(library="cbor2", extra="formats", purpose="--data-format=dectris2") from None
        self._cbor = cbor2

    def start(self, n_frames: int) -> bytes:
        """Make the start message."""
        mask = self._typed(69 + 1, bslz4(self.mask), self.mask.shape, 4)
        return self._message(
            "start",
            {
                "channels": list(self.channels),
                "number_of_images": n_frames,
                "pixel_mask": dict.fromkeys(self.channels, mask),
                "pixel_mask_enabled": True,
                "threshold_energy": dict.fromkeys(self.channels, photon_energy(self.simulator) / 2),
                **self.values,
            },
        )

    def image(self, number: int, arrays: Mapping[str, bytes], frame: SimulatedFrame) -> bytes:
        """Make an image message."""
        tag = {"<u4": 70, "<i4": 78}[self.dtype]
        return self._message(
            "image",
            {
                "image_id": number,
                "real_time": [int(EXPOSURE * TICKS), TICKS],
                "start_time": [int(number * EXPOSURE * TICKS), TICKS],
                "stop_time": [int((number + 1) * EXPOSURE * TICKS), TICKS],
                "user_data": self.own_headers(frame),
                "data": {name: self._typed(tag, data, self.array.shape, 4) for name, data in arrays.items()},
                **self.more(frame),
            },
        )

    def end(self) -> bytes:
        """Make the end message."""
        return self._message("end", {})

    def more(self, frame: SimulatedFrame) -> dict[str, Any]:
        """What an image message says beside that."""
        return {}

    def _message(self, kind: str, values: Mapping[str, Any]) -> bytes:
        identity = {"type": kind, "series_id": SERIES, "series_unique_id": FILENAME}
        message: bytes = self._cbor.dumps(self._cbor.CBORTag(55799, identity | dict(values)))
        return message

    def _typed(self, tag: int, data: bytes, shape: tuple[int, ...], item: int) -> Any:
        packed = self._cbor.CBORTag(56500, [self.compression, item, data])
        return self._cbor.CBORTag(40, [[int(length) for length in shape], self._cbor.CBORTag(tag, packed)])


class JungfraujochMaker(CborMaker):
    """Jungfraujoch's image stream: signed pixels, one channel, spots in the image message."""

    name = "jungfraujoch"
    dtype = "<i4"
    channels = ("default",)

    @property
    def no_data(self) -> int:
        """Value of pixels without data."""
        return -(1 << 31)

    @property
    def values(self) -> dict[str, Any]:
        """What a start message says."""
        found = super().values
        del found["detector_translation"]
        return found | {
            "detector_distance": self.distance,
            "magic_number": MAGIC,
            "error_value": self.no_data,
            "file_prefix": FILENAME,
        }

    def more(self, frame: SimulatedFrame) -> dict[str, Any]:
        """Give the strong spots."""
        detector, strong = self.simulator.detector, frame.strong
        x = strong.fs + detector.min_fs[strong.panel] - 0.5
        y = strong.ss + detector.min_ss[strong.panel] - 0.5
        columns = zip(x.tolist(), y.tolist(), strong.photons.tolist(), strict=True)
        return {"magic_number": MAGIC, "spots": [{"x": x, "y": y, "I": photons} for x, y, photons in columns]}


class JsonMaker(SeriesMaker):
    """Stream version 1: several parts, JSON before each block of bytes."""

    name = "dectris1"
    channels = CHANNELS[:1]

    def start(self, n_frames: int) -> list[bytes]:
        """Make the global header, with configuration and pixel mask."""
        found = self.values
        height, width = self.array.shape
        told = {
            "beam_center_x": found["beam_center_x"],
            "beam_center_y": found["beam_center_y"],
            "bit_depth_image": 32,
            "compression": "bslz4",
            "count_time": EXPOSURE,
            "countrate_correction_count_cutoff": SATURATION,
            "description": found["detector_description"],
            "detector_distance": self.distance,
            "nimages": n_frames,
            "ntrigger": 1,
            "photon_energy": found["incident_energy"],
            "wavelength": found["incident_wavelength"],
            "x_pixel_size": found["pixel_size_x"],
            "x_pixels_in_detector": width,
            "y_pixel_size": found["pixel_size_y"],
            "y_pixels_in_detector": height,
        }
        mask = {"htype": "dpixelmask-1.0", "shape": [width, height], "type": "uint32"}
        head = {"htype": "dheader-1.0", "series": SERIES, "header_detail": "all"}
        return [_json(head), _json(told), _json(mask), self.mask.tobytes()]

    def image(self, number: int, arrays: Mapping[str, bytes], frame: SimulatedFrame) -> list[bytes]:
        """Make an image message."""
        (data,) = arrays.values()
        height, width = self.array.shape
        told = {"htype": "dimage_d-1.0", "shape": [width, height], "type": "uint32", "encoding": "bs32-lz4<"}
        start = int(number * EXPOSURE * 1e9)
        times = {"htype": "dconfig-1.0", "start_time": start, "stop_time": start + int(EXPOSURE * 1e9)}
        return [
            _json({"htype": "dimage-1.0", "series": SERIES, "frame": number, "hash": ""}),
            _json(told | {"size": len(data)}),
            data,
            _json(times | {"real_time": int(EXPOSURE * 1e9)}),
            _json(self.own_headers(frame)),
        ]

    def end(self) -> list[bytes]:
        """Make the end message."""
        return [_json({"htype": "dseries_end-1.0", "series": SERIES})]


SERIES_MAKERS: dict[str, type[SeriesMaker]] = {
    "dectris1": JsonMaker,
    "dectris2": CborMaker,
    "jungfraujoch": JungfraujochMaker,
}


def bslz4(pixels: NDArray[Any]) -> bytes:
    """Compress an array with HDF5's own filter."""
    with h5py.File("chunk.h5", "w", driver="core", backing_store=False) as file:
        made = file.create_dataset("image", data=pixels, chunks=pixels.shape, **hdf5plugin.Bitshuffle(cname="lz4"))
        return bytes(made.id.read_direct_chunk((0,) * pixels.ndim)[1])


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode()
