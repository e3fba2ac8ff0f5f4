"""Where the parts of a virtual dataset come from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]
Bounds = list[tuple[int, int]]
"""First index and the one after the last along each axis."""

START, STRIDE, COUNT, BLOCK = range(4)
UNLIMITED = 1 << 31
"""Counts and blocks that have no end are cut to this, so that products of two keep within 64 bits."""


@dataclass(frozen=True, slots=True)
class SourcePart:
    """A part of a virtual dataset, in its source."""

    file: str
    """As written in the dataset; `.` is the dataset's own file."""
    path: str
    first: Array
    end: Array
    """Which of the selected indices are wanted along each axis of the virtual dataset, int64[n_axes]."""
    filled: Array
    """What the source fills there, int64[n_axes, 4]."""
    taken: Array | None
    """What is taken of the source, int64[n_axes, 4]; None for all of it."""
    is_block: bool = False
    """Whether the source holds one block of many; then it is not told which part of it is wanted."""

    def bounds(self, shape: tuple[int, ...]) -> Bounds | None:
        """Give the box in a source of this shape, None where it cannot be told.

        The axes of both are the same, but for those on which one index is chosen.  The box may reach beyond it.
        """
        if self.is_block:
            return None
        taken = np.array([(0, length, 1, length) for length in shape]) if self.taken is None else self.taken
        lengths = self.filled[:, COUNT] * self.filled[:, BLOCK]
        wide = [axis for axis in range(len(lengths)) if lengths[axis] != 1]
        found: Bounds = []
        for axis in taken:
            if axis[COUNT] * axis[BLOCK] == 1 and len(wide) < len(taken) - len(found):
                found.append((int(axis[START]), int(axis[START]) + 1))
                continue
            number = wide.pop(0) if wide else -1
            if number < 0 or (self.taken is not None and lengths[number] != axis[COUNT] * axis[BLOCK]):
                return None
            found.append((_index(axis, int(self.first[number])), _index(axis, int(self.end[number]) - 1) + 1))
        return None if wide else found


class VirtualMap:
    """The sources of a virtual dataset; each takes regular blocks along each axis (a hyperslab of HDF5)."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        found = dataset.virtual_sources()
        self._names = [(source.file_name, source.dset_name) for source in found]
        self._taken = [
            None if source.src_space.get_select_type() == h5py.h5s.SEL_ALL else _blocks(source.src_space)
            for source in found
        ]
        self._parts = np.array([_blocks(source.vspace) for source in found], np.int64).reshape(
            len(found), dataset.ndim, 4
        )
        """Start, stride, count and block of what each source fills, int64[n_sources, n_axes, 4]."""

    def parts(self, bounds: Bounds) -> Iterator[SourcePart]:
        """Give the sources that a part of the dataset is taken from."""
        low, high = np.array(bounds, np.int64).T
        first, end = _n_below(self._parts, low), _n_below(self._parts, high)
        for number in np.flatnonzero((first < end).all(axis=1)):
            chosen = self._parts[number]
            file, path = self._names[number]
            endless = np.flatnonzero(chosen[:, COUNT] >= UNLIMITED)
            is_numbered = "%b" in file + path and len(endless) == 1
            if is_numbered:
                axis = endless[0]
                block = str(first[number, axis] // chosen[axis, BLOCK])
                file, path = file.replace("%b", block), path.replace("%b", block)
            yield SourcePart(
                file.replace("%%", "%"),
                path.replace("%%", "%"),
                first[number],
                end[number],
                chosen,
                self._taken[number],
                is_numbered,
            )


def _blocks(space: Any) -> Array:
    """Start, stride, count and block along each axis, int64[n_axes, 4]; the box around what is not regular."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return np.array([(0, length, 1, length) for length in space.get_simple_extent_dims()], np.int64)
    if space.is_regular_hyperslab():
        found = np.minimum(np.array(space.get_regular_hyperslab(), np.uint64), UNLIMITED).astype(np.int64).T
        found[:, STRIDE] = np.maximum(found[:, STRIDE], found[:, BLOCK])  # One block has no stride.
        return found
    low, high = np.array(space.get_select_bounds(), np.int64)
    return np.stack([low, high - low + 1, np.ones_like(low), high - low + 1], axis=1)


def _n_below(blocks: Array, index: Array) -> Array:
    """Count what is selected below an index of each axis."""
    number, rest = np.divmod(np.maximum(index - blocks[..., START], 0), np.maximum(blocks[..., STRIDE], 1))
    n_whole = np.minimum(number, blocks[..., COUNT])
    is_within = number < blocks[..., COUNT]
    n_begun: Array = n_whole * blocks[..., BLOCK] + is_within * np.minimum(rest, blocks[..., BLOCK])
    return n_begun


def _index(axis: Array, number: int) -> int:
    """Index of something selected, by its number along the axis."""
    start, stride, _, block = (int(value) for value in axis)
    return start + number // block * stride + number % block
