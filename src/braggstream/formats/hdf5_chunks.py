"""Chunks of HDF5 datasets, read raw and decoded here: outside HDF5's global lock, and never beyond a chunk's size.

HDF5's own filters decode under the lock, into memory that is fresh for each chunk, and some of them into as much
memory as the compressed bytes ask for.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.compressed import Decompressor
from braggstream.formats.hdf5_plugins import BITSHUFFLE, BLOSC, ZSTD
from braggstream.model.errors import DecodeError, FileError, FrameError

DEFLATE, SHUFFLE, CHECKSUM = 1, 2, 3
CHECKSUM_BYTES = 4
LZ4 = 32004
BITSHUFFLE_LZ4 = 2
"""Value of bitshuffle's parameter for its compression."""
KNOWN = {DEFLATE, SHUFFLE, CHECKSUM, LZ4, BITSHUFFLE, BLOSC, ZSTD}
MOST_WASTE = 4
"""At most so many times the wanted pixels are decoded here."""
MAX_CHUNKS = 4096
"""A part that touches more chunks is left to HDF5, which has a cache for small ones."""

MAX_PLAIN_CHUNKS = 16
"""Chunks without filters are read here where they are few and wanted whole."""

Place = Sequence[int | slice]
Stage = tuple[int, tuple[int, ...]]


def filters_of(dataset: h5py.Dataset) -> list[Stage] | None:
    """Filters of a chunked dataset, first applied first; None where one of them is not decoded here."""
    if dataset.chunks is None or dataset.dtype.kind not in "biuf":
        return None
    plist = dataset.id.get_create_plist()
    stages = [plist.get_filter(number) for number in range(plist.get_nfilters())]
    found = [(int(stage[0]), tuple(int(value) for value in stage[2])) for stage in stages]
    return found if all(code in KNOWN for code, _ in found) else None


def is_filtered(dataset: h5py.Dataset) -> bool:
    """Whether bytes of the file are decoded into others."""
    return dataset.chunks is not None and dataset.id.get_create_plist().get_nfilters() > 0


def is_read_here(dataset: h5py.Dataset, place: Place, stages: list[Stage], *, leaves_small: bool = False) -> bool:
    """Whether a part of a dataset is read chunk by chunk.

    `leaves_small` leaves parts that are much smaller than the chunks they touch to HDF5, whose cache serves the
    next ones: one frame of many in a chunk, one number of a list.
    """
    bounds = bounds_of(place)
    n_chunks = _n_touched(bounds, dataset.chunks)
    n_wanted = prod(stop - start for start, stop in bounds)
    if not stages:
        return _is_whole(bounds, dataset.chunks) and 0 < n_chunks <= MAX_PLAIN_CHUNKS
    is_waste = leaves_small and n_chunks * prod(dataset.chunks) > MOST_WASTE * n_wanted
    return 0 < n_chunks <= MAX_CHUNKS and not is_waste


class ChunkReader:
    """Reads parts of datasets chunk by chunk; arrays are valid until the decompressor's next frame begins."""

    def __init__(self, decompressor: Decompressor) -> None:
        self._decompressor = decompressor

    def read(self, dataset: h5py.Dataset, place: Place, stages: list[Stage]) -> NDArray[Any]:
        """Read a part; `place` holds slices of step one, or numbers."""
        bounds = bounds_of(place)
        kept = [isinstance(axis, slice) for axis in place]
        chunks = list(touched(bounds, dataset.chunks))
        if len(chunks) == 1:
            found = self._inside(dataset, chunks[0], bounds, stages)
        else:
            found = np.empty([stop - start for start, stop in bounds], dataset.dtype)
            room = self._decompressor.room
            for origin in chunks:
                mark = room.mark()
                found[_target(origin, dataset.chunks, bounds)] = self._inside(dataset, origin, bounds, stages)
                room.back_to(mark)
        return found.reshape([length for length, is_kept in zip(found.shape, kept, strict=True) if is_kept])

    def _inside(
        self, dataset: h5py.Dataset, origin: tuple[int, ...], bounds: Sequence[tuple[int, int]], stages: list[Stage]
    ) -> NDArray[Any]:
        """The part of a chunk that lies within bounds."""
        chunk = self._chunk(dataset, origin, stages)
        return chunk[
            tuple(
                slice(max(start - first, 0), min(stop - first, length))
                for (start, stop), first, length in zip(bounds, origin, dataset.chunks, strict=True)
            )
        ]

    def _chunk(self, dataset: h5py.Dataset, origin: tuple[int, ...], stages: list[Stage]) -> NDArray[Any]:
        shape, dtype = tuple(dataset.chunks), dataset.dtype
        what = f"chunk {origin} of {dataset.name}"
        try:
            skipped, raw = dataset.id.read_direct_chunk(origin)
        except (RuntimeError, OSError) as error:
            if "not allocated" not in str(error):
                raise
            raise FileError(f"{file_of(dataset)}: {what} was never written") from None
        try:
            return self._decoded(raw, shape, dtype, _used(stages, skipped), what=what)
        except FrameError:
            # The library does not always tell with the chunk which filters it skipped.  Where it does, it looks
            # through all chunks before this one, so that it is not asked for each.
            told = dataset.id.get_chunk_info_by_coord(origin).filter_mask
            if told == skipped:
                raise
            return self._decoded(raw, shape, dtype, _used(stages, told), what=what)

    def _decoded(
        self, data: Any, shape: tuple[int, ...], dtype: np.dtype[Any], stages: list[Stage], *, what: str
    ) -> NDArray[Any]:
        """Undo filters, the last one first."""
        array: NDArray[Any] | None = None
        for code, values in reversed(stages):
            if code == CHECKSUM:
                data = data[:-CHECKSUM_BYTES]
                continue
            array = self._undone(code, values, data, shape, dtype, what=what)
            data = array.reshape(-1).view(np.uint8).data
        return self._decompressor.decode("none", data, shape, dtype, what=what) if array is None else array

    def _undone(
        self, code: int, values: tuple[int, ...], data: Any, shape: tuple[int, ...], dtype: Any, *, what: str
    ) -> NDArray[Any]:
        decode = self._decompressor.decode
        if code == DEFLATE:
            return decode("deflate", data, shape, dtype, what=what)
        if code == SHUFFLE:
            plain = np.frombuffer(data, np.uint8)
            if len(plain) != prod(shape) * dtype.itemsize:
                raise DecodeError(f"{what} has the wrong size")
            return np.ascontiguousarray(plain.reshape(dtype.itemsize, -1).T).view(dtype).reshape(shape)
        if code == LZ4:
            return decode("lz4", data, shape, dtype, what=what)
        if code == BITSHUFFLE and values[4:5] == (BITSHUFFLE_LZ4,):
            return decode("bslz4", data, shape, dtype, what=what)
        return self._decompressor.by_plugin(code, values, data, shape, dtype, what=what)


def file_of(dataset: h5py.Dataset) -> str:
    """Name of the file that a dataset lies in, which a link may have led to."""
    return os.fsdecode(h5py.h5f.get_name(dataset.id))


def bounds_of(place: Place) -> list[tuple[int, int]]:
    """Give the first index and the one after the last along each axis."""
    return [(axis.start, axis.stop) if isinstance(axis, slice) else (axis, axis + 1) for axis in place]


def _used(stages: list[Stage], skipped: int) -> list[Stage]:
    """Filters that a chunk went through, where bits tell those that it did not."""
    return [stage for number, stage in enumerate(stages) if not skipped >> number & 1]


def _n_touched(bounds: Sequence[tuple[int, int]], chunks: Sequence[int]) -> int:
    return prod(
        max(0, (stop - 1) // length - start // length + 1)
        for (start, stop), length in zip(bounds, chunks, strict=True)
    )


def _is_whole(bounds: Sequence[tuple[int, int]], chunks: Sequence[int]) -> bool:
    """Whether bounds are those of whole chunks."""
    return all(
        not (start % length or (stop - start) % length)
        for (start, stop), length in zip(bounds, chunks, strict=True)
    )


def touched(bounds: Sequence[tuple[int, int]], chunks: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Origins of the chunks that reach into bounds."""
    return product(
        *(
            range(start // length * length, stop, length)
            for (start, stop), length in zip(bounds, chunks, strict=True)
        )
    )


def _target(origin: Sequence[int], chunks: Sequence[int], bounds: Sequence[tuple[int, int]]) -> tuple[slice, ...]:
    """Where a chunk's part comes to lie."""
    return tuple(
        slice(max(first, start) - start, min(first + length, stop) - start)
        for first, length, (start, stop) in zip(origin, chunks, bounds, strict=True)
    )
