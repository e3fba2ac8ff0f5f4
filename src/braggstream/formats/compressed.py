"""Compressed arrays as detectors, HDF5 chunks and Seedee carry them.

What is decoded is never larger than what was asked for, and what was asked for is checked against the compressed
bytes before memory is taken: no format here expands more than a known number of times.
"""

import zlib
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.hdf5_plugins import BITSHUFFLE, decode_by_plugin
from braggstream.formats.pixel_room import SPARE, PixelRoom, aligned_bytes, as_writable
from braggstream.kernels.lz4 import HEAD, ITEM_BYTES, bitshuffled_lz4, framed_lz4, lz4_block, shuffled_block_bytes
from braggstream.model.errors import DecodeError, MismatchError

DEFLATE_RATIO = 1032
RATIOS = {"bslz4": 255, "lz4": 255, "lz4 block": 255, "deflate": DEFLATE_RATIO, "bszstd": 1 << 17}
"""A compressed byte is at most so many decoded ones."""
BITSHUFFLE_ZSTD = 3
"""Value of bitshuffle's parameter for its compression."""
MAX_BLOCK_BYTES = 1 << 24
"""Largest block of bit planes."""

Bytes = memoryview | bytes


class Decompressor:
    """Decodes arrays into memory that is used again; the arrays are valid until the next frame begins."""

    def __init__(self, room: PixelRoom | None = None) -> None:
        self.room = room or PixelRoom()
        self._scratch = np.empty(0, np.uint8)
        self._letters = np.empty(0, np.uint8)

    def decode(self, algorithm: str, data: Bytes, shape: tuple[int, ...], dtype: Any, *, what: str) -> NDArray[Any]:
        """Decode an array.

        Parameters
        ----------
        algorithm
            `bslz4`, `bszstd`, `lz4` (framed as by HDF5 filters), `lz4 block` (not framed), `deflate` or `none`.
        data
            The compressed bytes.
        shape, dtype
            What has to come out.
        what
            What the array is called in complaints.

        Raises
        ------
        DecodeError, MismatchError
            The bytes are broken, or are no such array.
        """
        kind = np.dtype(dtype)
        if algorithm == "none":
            return _plain(data, shape, kind, what)
        ratio = RATIOS.get(algorithm)
        if ratio is None:
            raise MismatchError(f"{what} is compressed with {algorithm[:40]!r}, expected bslz4, lz4 or none")
        n_bytes = prod(shape) * kind.itemsize
        if n_bytes > ratio * (len(data) + 1):
            raise DecodeError(f"{what}: {len(data)} compressed bytes cannot be an array of {n_bytes} bytes")
        if algorithm == "deflate":
            return self._inflated(data, shape, kind, what)
        if algorithm == "bszstd":
            return self.by_plugin(
                BITSHUFFLE, (0, 0, kind.itemsize, 0, BITSHUFFLE_ZSTD), data, shape, kind, what=what
            )
        out = self.room.take(shape, kind)
        source = as_writable(np.frombuffer(data, np.uint8))
        flat = out.reshape(-1).view(np.uint8)
        if algorithm == "bslz4":
            is_sound = self._unshuffled(source, flat, kind.itemsize, what)
        elif algorithm == "lz4" or int.from_bytes(data[:8], "big") == n_bytes:
            is_sound = framed_lz4(source, flat) == n_bytes
        else:
            is_sound = lz4_block(source, 0, len(source), flat, 0, n_bytes) == n_bytes
        if not is_sound:
            raise DecodeError(f"{what}: the {algorithm} data are damaged, or are no {kind.str} array of {shape}")
        return out

    def by_plugin(
        self, code: int, values: tuple[int, ...], data: Bytes, shape: tuple[int, ...], dtype: Any, *, what: str
    ) -> NDArray[Any]:
        """Decode an array with the function of an HDF5 plugin, see `decode_by_plugin`."""
        out = self.room.take(shape, dtype)
        decode_by_plugin(code, values, data, out.reshape(-1).view(np.uint8), what=what)
        return out

    def _unshuffled(self, source: NDArray[np.uint8], out: NDArray[np.uint8], item: int, what: str) -> bool:
        if item not in ITEM_BYTES:
            raise MismatchError(f"{what} has items of {item} bytes, expected 1, 2, 4 or 8")
        if len(source) < HEAD:
            return False
        block = min(shuffled_block_bytes(source), len(out))
        if block > MAX_BLOCK_BYTES:
            raise MismatchError(f"{what} has blocks of {block} bytes, at most {MAX_BLOCK_BYTES} are taken")
        if len(self._letters) < block:
            self._scratch, self._letters = aligned_bytes(block + SPARE), aligned_bytes(block)
        return bool(bitshuffled_lz4(source, self._scratch, self._letters, out, item) == len(out))

    def _inflated(self, data: Bytes, shape: tuple[int, ...], kind: np.dtype[Any], what: str) -> NDArray[Any]:
        n_bytes = prod(shape) * kind.itemsize
        try:
            found = inflate(data, n_bytes)
        except zlib.error as error:
            raise DecodeError(f"{what}: the deflate data are damaged ({error})") from None
        if len(found) != n_bytes:
            raise DecodeError(f"{what}: the deflate data do not hold an array of {n_bytes} bytes")
        return as_writable(np.frombuffer(found, kind)).reshape(shape)


def inflate(data: Bytes, n_bytes: int, window: int = zlib.MAX_WBITS) -> bytes:
    """Decode deflate, but no more than one byte beyond what is wanted; raises `zlib.error`."""
    engine = zlib.decompressobj(window)
    return engine.decompress(data, n_bytes + 1)


def _plain(data: Bytes, shape: tuple[int, ...], kind: np.dtype[Any], what: str) -> NDArray[Any]:
    n_bytes = prod(shape) * kind.itemsize
    if len(data) < n_bytes:
        raise DecodeError(f"{what} has {len(data)} bytes, shape {shape} and type {kind.str} need {n_bytes}")
    return np.frombuffer(data[:n_bytes], kind).reshape(shape)
