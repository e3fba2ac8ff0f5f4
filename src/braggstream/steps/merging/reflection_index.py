"""ReflectionIndex: numbers the reflections of the asymmetric unit as they are met."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.equivalents import BITS, MASK, OFFSET
from braggstream.kernels.reflection_index import EMPTY, number_keys, number_reflections, rehash
from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup

FIRST_CAPACITY = 1 << 16
MAX_CAPACITY = 1 << 27
"""Most reflections; beyond, the file is no diffraction."""
MAX_BOX = 1 << 24
"""Most entries of the table around the origin (64 MB)."""


class ReflectionIndex:
    """Numbers from 0 on for the reflections of a point group's asymmetric unit, in order of arrival."""

    def __init__(self, group: PointGroup) -> None:
        self._group = group
        self._box = np.full((1, 1, 1), EMPTY, np.int32)
        self._keys = np.zeros(FIRST_CAPACITY, np.int64)
        self._slots = np.full(2 * FIRST_CAPACITY, EMPTY, np.int32)
        self._state = np.zeros(2, np.int64)

    def __len__(self) -> int:
        return int(self._state[0])

    @property
    def keys(self) -> NDArray[np.int64]:
        """Key of each reflection, in the order of h, then k, then l, int64[n]."""
        return self._keys[: len(self)]

    @property
    def hkl(self) -> NDArray[np.int32]:
        """Indices of each reflection, int32[n, 3]."""
        keys = self.keys
        parts = [(keys >> (2 * BITS)) - OFFSET, ((keys >> BITS) & MASK) - OFFSET, (keys & MASK) - OFFSET]
        return np.stack(parts, axis=1).astype(np.int32)

    def numbers(self, hkl: NDArray[np.int16]) -> NDArray[np.int32]:
        """Number reflections in any setting of the point group, int32[n]; new ones get new numbers."""
        out = np.empty(len(hkl), np.int32)
        if len(self._box) == 1 and len(hkl):
            self._box = _box_around(hkl)
        self._state[1] = 0
        while True:
            number_reflections(hkl, self._group.operators, self._box, self._slots, self._keys, self._state, out)
            if self._state[1] == len(hkl):
                return out
            self._make_room(len(self) + 1)

    def numbers_of_keys(self, keys: NDArray[np.int64]) -> NDArray[np.int32]:
        """Number the reflections of another index, given by its keys."""
        self._make_room(len(self) + len(keys))
        out = np.empty(len(keys), np.int32)
        number_keys(keys, self._slots, self._keys, self._state, out)
        return out

    def _make_room(self, n_wanted: int) -> None:
        capacity = len(self._keys)
        if n_wanted <= capacity:
            return
        if n_wanted > MAX_CAPACITY:
            raise UserError(f"there are more than {MAX_CAPACITY} different reflections")
        while capacity < n_wanted:
            capacity *= 2
        self._keys = np.concatenate((self._keys, np.zeros(capacity - len(self._keys), np.int64)))
        self._slots = np.full(2 * capacity, EMPTY, np.int32)
        rehash(self._keys, len(self), self._slots)


def _box_around(hkl: NDArray[np.int16]) -> NDArray[np.int32]:
    """Make the table around the origin, with room for reflections a bit further out than the first ones."""
    half = np.abs(hkl.astype(np.int64)).max(axis=0) * 5 // 4 + 2
    while np.prod(2 * half + 1) > MAX_BOX:
        half = half * 3 // 4
    return np.full(tuple(2 * half + 1), EMPTY, np.int32)
