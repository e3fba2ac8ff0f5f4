"""A number for each reflection of the asymmetric unit, in order of arrival.

A table of the box around the origin answers for most reflections at once; what lies outside the box, or was not met
before, is mapped to the asymmetric unit and looked up in a hash table.
"""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels.equivalents import asymmetric_key

EMPTY = -1


@inline_jit
def _place(key: int, slots: NDArray[np.int32], keys: NDArray[np.int64]) -> int:
    """Find the slot of a key, or the empty one where it belongs (linear probing, Fibonacci hashing)."""
    mask = slots.shape[0] - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    slot = int(mixed >> np.uint64(32)) & mask
    while slots[slot] != EMPTY and keys[slots[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@jit
def number_reflections(
    hkl: NDArray[np.int16],
    operators: NDArray[np.int8],
    box: NDArray[np.int32],
    slots: NDArray[np.int32],
    keys: NDArray[np.int64],
    state: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """Number the reflections of a block from place `state[1]` on, as far as there is room for new ones.

    Parameters
    ----------
    hkl : int16[n, 3]
        Indices in the crystals' own setting.
    operators : int8[n_operators, 3, 3]
        The point group.
    box : int32[2 H + 1, 2 K + 1, 2 L + 1], changed
        Number of each reflection near the origin; -1 where it was not met yet.
    slots : int32[2^m], changed
        Hash table of numbers.
    keys : int64[capacity], changed
        Key of each reflection of the asymmetric unit, by number.
    state : int64[2], changed
        How many reflections are numbered, and where in `hkl` to go on.
    out : int32[n], written
        The numbers.
    """
    half_h, half_k, half_l = box.shape[0] // 2, box.shape[1] // 2, box.shape[2] // 2
    n_known = state[0]
    for n in range(state[1], hkl.shape[0]):
        h, k, l = int(hkl[n, 0]), int(hkl[n, 1]), int(hkl[n, 2])  # noqa: E741
        is_inside = abs(h) <= half_h and abs(k) <= half_k and abs(l) <= half_l
        number = box[h + half_h, k + half_k, l + half_l] if is_inside else EMPTY
        if number == EMPTY:
            key = asymmetric_key(h, k, l, operators)
            slot = _place(key, slots, keys)
            number = slots[slot]
            if number == EMPTY:
                if n_known == keys.shape[0]:
                    state[0], state[1] = n_known, n
                    return
                number = n_known
                keys[number], slots[slot] = key, number
                n_known += 1
            if is_inside:
                box[h + half_h, k + half_k, l + half_l] = number
        out[n] = number
    state[0], state[1] = n_known, hkl.shape[0]


@jit
def number_keys(
    wanted: NDArray[np.int64],
    slots: NDArray[np.int32],
    keys: NDArray[np.int64],
    state: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """Number reflections that are given by their keys; there has to be room for all of them."""
    for n in range(wanted.shape[0]):
        slot = _place(wanted[n], slots, keys)
        if slots[slot] == EMPTY:
            slots[slot] = state[0]
            keys[state[0]] = wanted[n]
            state[0] += 1
        out[n] = slots[slot]


@jit
def rehash(keys: NDArray[np.int64], n_known: int, slots: NDArray[np.int32]) -> None:
    """Fill an empty hash table with the reflections that are numbered."""
    for number in range(n_known):
        slots[_place(keys[number], slots, keys)] = number


def warm_up() -> None:
    """Compile the kernels for the signatures that merging uses."""
    slots, keys, state = np.full(4, EMPTY, np.int32), np.zeros(2, np.int64), np.zeros(2, np.int64)
    identity, out = np.eye(3, dtype=np.int8)[None], np.zeros(1, np.int32)
    number_reflections(
        np.zeros((1, 3), np.int16), identity, np.full((1, 1, 1), EMPTY, np.int32), slots, keys, state, out
    )
    number_keys(np.zeros(1, np.int64), slots, keys, state, out)
    rehash(keys, 1, np.full(4, EMPTY, np.int32))
