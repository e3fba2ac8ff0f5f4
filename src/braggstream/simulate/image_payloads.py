"""Simulated frames as image files: CBF, gzipped CBF, TIFF, NPY."""

import gzip
import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from braggstream.model.constants import HC_EV_ANGSTROM
from braggstream.model.errors import MissingExtraError, UserError
from braggstream.simulate.frames import SimulatedFrame, Simulator
from braggstream.simulate.layout import DataArray, check_stated
from braggstream.simulate.payloads import FilePayload, streamed_arrays

CBF_HEADERS = ("Wavelength", "Detector_distance")
"""Headers that a CBF file carries; the other formats have none."""


def one_image(simulator: Simulator) -> DataArray:
    """The one two-dimensional array of the geometry; raises `UserError` where there are others."""
    array, *others = streamed_arrays(simulator.geometry)
    if others or len(array.shape) != 2:
        raise UserError("does not have one two-dimensional array of pixels", path=simulator.geometry.path)
    return array


class ImageMaker:
    """Makes payloads of one format; raises `UserError` for a geometry that asks for headers it cannot have."""

    def __init__(self, simulator: Simulator, data_format: str) -> None:
        self._array = one_image(simulator)
        self._simulator = simulator
        self._encode = ENCODERS[data_format]
        wanted = {quantity.header for quantity in (simulator.geometry.beam, simulator.geometry.clen)} - {None}
        if not wanted <= set(CBF_HEADERS if data_format.startswith("cbf") else ()):
            raise UserError(
                f"looks up {', '.join(map(str, wanted))}, which {data_format} frames do not carry",
                path=simulator.geometry.path,
            )
        meant = {"eV": photon_energy(simulator), "m": simulator.camera_length}
        stated = {"Wavelength": simulator.wavelength, "Detector_distance": simulator.camera_length}
        check_stated(simulator.geometry, stated, meant, f"{data_format} frames")

    def encode(self, frame: SimulatedFrame) -> FilePayload:
        """Write the image."""
        pixels = self._array.assemble(self._simulator.detector, frame.values)
        return FilePayload(self._encode(pixels, self._simulator))


def cbf(pixels: NDArray[np.int32], simulator: Simulator) -> bytes:
    """Write a CBF image as PILATUS detectors do."""
    try:
        from fabio.compression import compByteOffset
    except ImportError:
        raise MissingExtraError(library="fabio", extra="formats", purpose="--data-format=cbf") from None
    data = compByteOffset(pixels)
    height, width = pixels.shape
    lines = [
        "###CBF: VERSION 1.5, braggstream simulation",
        "",
        "data_simulated",
        "",
        '_array_data.header_convention "PILATUS_1.2"',
        "_array_data.header_contents",
        ";",
        f"# Wavelength {simulator.wavelength:.6f} A",
        f"# Detector_distance {simulator.camera_length:.6f} m",
        ";",
        "",
        "_array_data.data",
        ";",
        "--CIF-BINARY-FORMAT-SECTION--",
        "Content-Type: application/octet-stream;",
        '     conversions="x-CBF_BYTE_OFFSET"',
        "Content-Transfer-Encoding: BINARY",
        f"X-Binary-Size: {len(data)}",
        "X-Binary-ID: 1",
        'X-Binary-Element-Type: "signed 32-bit integer"',
        "X-Binary-Element-Byte-Order: LITTLE_ENDIAN",
        f"X-Binary-Number-of-Elements: {pixels.size}",
        f"X-Binary-Size-Fastest-Dimension: {width}",
        f"X-Binary-Size-Second-Dimension: {height}",
        "X-Binary-Size-Padding: 0",
        "",
        "",
    ]
    head = "\r\n".join(lines).encode() + b"\x0c\x1a\x04\xd5"
    return b"".join([head, bytes(data), b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n"])


def tiff(pixels: NDArray[np.int32], _simulator: Simulator) -> bytes:
    """Write a TIFF image."""
    try:
        import tifffile
    except ImportError:
        raise MissingExtraError(library="tifffile", extra="formats", purpose="--data-format=tiff") from None
    target = io.BytesIO()
    tifffile.imwrite(target, pixels)
    return target.getvalue()


def npy(pixels: NDArray[np.int32], _simulator: Simulator) -> bytes:
    """Write an array as NumPy saves it."""
    target = io.BytesIO()
    np.save(target, pixels, allow_pickle=False)
    return target.getvalue()


ENCODERS: dict[str, Callable[[NDArray[np.int32], Simulator], bytes]] = {
    "cbf": cbf,
    "cbf.gz": lambda pixels, simulator: gzip.compress(cbf(pixels, simulator), 1),
    "tiff": tiff,
    "npy": npy,
}
"""Writers by format."""


def photon_energy(simulator: Simulator) -> float:
    """Mean photon energy of the simulated frames [eV]."""
    return HC_EV_ANGSTROM / simulator.wavelength
