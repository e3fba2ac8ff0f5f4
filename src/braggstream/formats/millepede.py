"""Millepede-II's binary records: measurements of one crystal, and how parameters change them.

The layout is that of Millepede's C interface (V. Blobel; C. Kleinwort, DESY): a record is its number of words, then
so many float32 and so many int32, entry by entry.  A measurement begins with its value beside a zero, derivatives
with respect to local parameters follow beside their numbers from one, then its error beside a zero, then those with
respect to global parameters beside their labels.
"""

import os
from collections.abc import Iterator
from struct import pack
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray


def pack_record(
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    local: NDArray[np.float64],
    labels: NDArray[np.int64],
    shared: NDArray[np.float64],
) -> bytes:
    """Pack the measurements of one crystal; derivatives that are zero are left out.

    Parameters
    ----------
    values, errors : float64[n]
        Measurements and their errors.
    local : float64[n, n_local]
        Derivatives with respect to the crystal's own parameters.
    labels : int64[n, n_shared], shared : float64[n, n_shared]
        Labels of parameters that all crystals share, and derivatives with respect to them.
    """
    columns = values.shape[0], 1
    numbers = np.hstack([values.reshape(columns), local, errors.reshape(columns), shared])
    n_local = local.shape[1]
    own = np.tile(np.concatenate([[0], np.arange(1, n_local + 1), [0]]), (len(values), 1))
    names = np.hstack([own, labels])
    kept = (numbers.astype(np.float32) != 0) & (names != 0)
    kept[:, [0, n_local + 1]] = True
    floats = np.concatenate([[0.0], numbers[kept]]).astype("<f4")
    integers = np.concatenate([[0], names[kept]]).astype("<i4")
    return pack("<i", 2 * len(floats)) + floats.tobytes() + integers.tobytes()


def whole_length(file: BinaryIO) -> int:
    """Measure a file up to the end of its last whole record [bytes]."""
    size, at = file.seek(0, os.SEEK_END), 0
    while size - at >= 4:
        file.seek(at)
        n = int.from_bytes(file.read(4), "little", signed=True)
        if n < 2 or n % 2 or size - at - 4 < 4 * n:
            break
        at += 4 + 4 * n
    return at


def unpack_records(data: bytes) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]:
    """Split a file into the floats and integers of its records; raises `ValueError` where it is torn."""
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise ValueError("a record is torn")
        n = int(np.frombuffer(data, "<i4", 1, at)[0])
        at += 4
        if n < 2 or n % 2 or len(data) - at < 4 * n:
            raise ValueError("a record is torn")
        yield np.frombuffer(data, "<f4", n // 2, at), np.frombuffer(data, "<i4", n // 2, at + 2 * n)
        at += 4 * n
