"""LZ4 and bitshuffle/LZ4 as HDF5 filters frame them: what detectors and files compress frames with.

Nothing here trusts a length: each read and each write is checked against the arrays, whatever the bytes say.

The block format is that of the LZ4 project (lz4_Block_format.md); the framings are those of the HDF5 filters 32004
and 32008.  Bitshuffle (Masui et al. 2015, doi:10.1016/j.ascom.2015.07.002) keeps a block of n items as bit planes
of n/8 bytes each: plane 8 b + k holds bit k of byte b of each item.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import inline_jit, jit
from braggstream.kernels._memory import (
    copy,
    copy16,
    fill,
    gather_bits,
    load1,
    load8,
    store8,
    widen2,
    widen4,
    widen8,
)

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

BROKEN = -1
"""What decoders give for bytes that are not what they should be."""
WIDE = 16
"""Bytes that are copied at once, beyond the end of what is wanted, where there is room."""
SHORT = 64
"""Up to so many bytes are copied here; for more, calling what the system has for that pays."""
HEAD = 12
"""Bytes before the first block: total and block size."""
DEFAULT_BLOCK_BYTES = 8192
"""What bitshuffle takes for a block size of zero."""


@inline_jit
def big_endian(source: Bytes, start: int, n_bytes: int) -> int:
    """Read an unsigned number; the caller has checked that it is there."""
    number = 0
    for place in range(start, start + n_bytes):
        number = (number << 8) | load1(source, place)
    return number


@inline_jit
def copy_literals(source: Bytes, at: int, out: Bytes, place: int, length: int) -> None:
    """Copy bytes; where both arrays have room beyond them, sixteen at a time."""
    if length <= SHORT and at + length + WIDE <= len(source) and place + length + WIDE <= len(out):
        for n in range(0, length, WIDE):
            copy16(out, place + n, source, at + n)
    else:
        copy(out, place, source, at, length)


@inline_jit
def copy_match(out: Bytes, place: int, offset: int, length: int) -> None:
    """Repeat what lies `offset` before `place`; what is copied already serves as source for the rest."""
    first = place - offset
    if place + length + WIDE > len(out):
        for n in range(length):
            out[place + n] = out[first + n]
    elif offset >= WIDE:
        for n in range(0, length, WIDE):
            copy16(out, place + n, out, first + n)
    elif offset >= 8:
        for n in range(0, length, 8):
            store8(out, place + n, load8(out, first + n))
    elif offset == 1 and length > SHORT:
        fill(out, place, length, out[first])
    else:
        # A word with the period; of it as many bytes count as there are whole periods in it.
        bits = np.uint64(8 * offset)
        word = load8(out, first) & ((np.uint64(1) << bits) - np.uint64(1))
        word |= word << bits
        if offset < 4:
            word |= word << (bits + bits)
        if offset == 1:
            word |= word << (bits << np.uint64(2))
        for n in range(0, length, 8 // offset * offset):
            store8(out, place + n, word)


@jit
def lz4_block(source: Bytes, start: int, stop: int, out: Bytes, first: int, last: int) -> int:
    """Decode one raw LZ4 block.

    Parameters
    ----------
    source : uint8[n]
        Holds the block from `start` to before `stop`.
    out : uint8[m], written
        Takes the bytes from `first` on, none at `last` or beyond; matches do not reach before `first`.

    Returns
    -------
    int
        Number of bytes decoded, or `BROKEN`.
    """
    if not 0 <= start <= stop <= len(source) or not 0 <= first <= last <= len(out):
        return BROKEN
    at, place = start, first
    while at < stop:
        token = load1(source, at)
        at += 1
        length = token >> 4
        if length == 15:
            more = 255
            while more == 255:
                if at >= stop:
                    return BROKEN
                more = load1(source, at)
                at += 1
                length += more
        if length > stop - at or length > last - place:
            return BROKEN
        copy_literals(source, at, out, place, length)
        at += length
        place += length
        if at == stop:
            return place - first
        if stop - at < 2:
            return BROKEN
        offset = load1(source, at) | (load1(source, at + 1) << 8)
        at += 2
        length = token & 15
        if length == 15:
            more = 255
            while more == 255:
                if at >= stop:
                    return BROKEN
                more = load1(source, at)
                at += 1
                length += more
        length += 4
        if offset == 0 or offset > place - first or length > last - place:
            return BROKEN
        copy_match(out, place, offset, length)
        place += length
    return BROKEN


@jit
def framed_lz4(source: Bytes, out: Bytes) -> int:
    """Decode what the HDF5 filter 32004 writes: total, block size, then each block with its stored length.

    Parameters
    ----------
    source : uint8[n]
        The compressed bytes.
    out : uint8[m], written
        Exactly as long as the decoded bytes have to be.

    Returns
    -------
    int
        Length of `out`, or `BROKEN`.
    """
    if len(source) < HEAD or big_endian(source, 0, 8) != len(out):
        return BROKEN
    block, at, place = big_endian(source, 8, 4), HEAD, 0
    while place < len(out):
        if block <= 0 or len(source) - at < 4:
            return BROKEN
        stored = big_endian(source, at, 4)
        at += 4
        wanted = min(block, len(out) - place)
        if stored > len(source) - at:
            return BROKEN
        if stored == wanted:
            for index in range(wanted):
                out[place + index] = source[at + index]
        elif lz4_block(source, at, at + stored, out, place, place + wanted) != wanted:
            return BROKEN
        at += stored
        place += wanted
    return place


@inline_jit
def gather_byte(planes: Bytes, first: int, stride: int, letters: Bytes) -> None:
    """Gather eight bit planes into one byte of each item."""
    whole = stride - stride % 8
    for at in range(0, whole, 8):
        gather_bits(planes, first + at, stride, letters, 8 * at)
    for at in range(whole, stride):
        for item in range(8):
            letter = 0
            for plane in range(8):
                letter |= ((int(planes[first + plane * stride + at]) >> item) & 1) << plane
            letters[8 * at + item] = letter


@inline_jit
def is_zero(planes: Bytes, first: int, n_bytes: int) -> bool:
    """Whether bytes, a multiple of eight, are all zero."""
    some = np.uint64(0)
    for at in range(0, n_bytes, 8):
        some |= load8(planes, first + at)
    return some == 0


@inline_jit
def unshuffle1(planes: Bytes, n_items: int, letters: Bytes, out: Bytes, place: int) -> None:
    """Turn bit planes into items of one byte, from `place` on."""
    gather_byte(planes, 0, n_items // 8, letters)
    copy(out, place, letters, 0, n_items)


@inline_jit
def unshuffle2(planes: Bytes, n_items: int, letters: Bytes, out: Bytes, place: int) -> None:
    """Turn bit planes into items of two bytes; groups of planes that are all zero cost little."""
    is_first = True
    for byte in range(2):
        if is_zero(planes, byte * n_items, n_items):
            continue
        gather_byte(planes, byte * n_items, n_items // 8, letters)
        for n in range(0, n_items, 8):
            widen2(letters, n, out, place + 2 * n, 8 * byte, is_first)
        is_first = False
    if is_first:
        fill(out, place, 2 * n_items, np.uint8(0))


@inline_jit
def unshuffle4(planes: Bytes, n_items: int, letters: Bytes, out: Bytes, place: int) -> None:
    """The same for items of four bytes."""
    is_first = True
    for byte in range(4):
        if is_zero(planes, byte * n_items, n_items):
            continue
        gather_byte(planes, byte * n_items, n_items // 8, letters)
        for n in range(0, n_items, 8):
            widen4(letters, n, out, place + 4 * n, 8 * byte, is_first)
        is_first = False
    if is_first:
        fill(out, place, 4 * n_items, np.uint8(0))


@inline_jit
def unshuffle8(planes: Bytes, n_items: int, letters: Bytes, out: Bytes, place: int) -> None:
    """The same for items of eight bytes."""
    is_first = True
    for byte in range(8):
        if is_zero(planes, byte * n_items, n_items):
            continue
        gather_byte(planes, byte * n_items, n_items // 8, letters)
        for n in range(0, n_items, 8):
            widen8(letters, n, out, place + 8 * n, 8 * byte, is_first)
        is_first = False
    if is_first:
        fill(out, place, 8 * n_items, np.uint8(0))


@jit
def bitshuffled_lz4(source: Bytes, scratch: Bytes, letters: Bytes, out: Bytes, item: int) -> int:
    """Decode what the HDF5 filter 32008 writes with LZ4: total, block size, then each block with its stored length.

    Parameters
    ----------
    source : uint8[n]
        The compressed bytes.
    scratch, letters : uint8[s]
        Room for the bit planes of one block: as long as the block size in `source`.
    out : uint8[m], written
        Exactly as long as the decoded bytes have to be, a whole number of items; aligned to them.
    item : int
        Bytes of an item: 1, 2, 4 or 8.

    Returns
    -------
    int
        Length of `out`, or `BROKEN`.
    """
    if len(source) < HEAD or big_endian(source, 0, 8) != len(out) or len(out) % item:
        return BROKEN
    block = shuffled_block_bytes(source)
    n_block = block // item
    if n_block * item != block or n_block == 0 or n_block % 8:
        return BROKEN
    at, place = HEAD, 0
    whole = len(out) // item // 8 * 8
    while place < whole:
        n_items = min(n_block, whole - place)
        n_bytes = n_items * item
        if len(source) - at < 4 or n_bytes > len(scratch) or n_items > len(letters):
            return BROKEN
        stored = big_endian(source, at, 4)
        at += 4
        if stored > len(source) - at or lz4_block(source, at, at + stored, scratch, 0, n_bytes) != n_bytes:
            return BROKEN
        at += stored
        if item == 4:
            unshuffle4(scratch, n_items, letters, out, 4 * place)
        elif item == 2:
            unshuffle2(scratch, n_items, letters, out, 2 * place)
        elif item == 8:
            unshuffle8(scratch, n_items, letters, out, 8 * place)
        else:
            unshuffle1(scratch, n_items, letters, out, place)
        place += n_items
    first = whole * item
    if len(source) - at < len(out) - first:
        return BROKEN
    for index in range(len(out) - first):
        out[first + index] = source[at + index]
    return len(out)


@inline_jit
def shuffled_block_bytes(source: Bytes) -> int:
    """Block size of bitshuffled bytes that are at least a head long."""
    block = big_endian(source, 8, 4)
    return block if block else DEFAULT_BLOCK_BYTES


ITEM_BYTES = (1, 2, 4, 8)
"""Bytes of the items that are decoded."""


def warm_up() -> None:
    """Compile every signature that is used."""
    source, out, room = np.zeros(HEAD, np.uint8), np.zeros(0, np.uint8), np.zeros(8, np.uint8)
    framed_lz4(source, out)
    bitshuffled_lz4(source, room, room, out, 4)
    lz4_block(source, 0, 0, out, 0, 0)
