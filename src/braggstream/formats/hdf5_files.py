"""HDF5 files and messages: opening them, and finding datasets in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  Registers compression filters.

from braggstream.formats.hdf5_guard import BROKEN, SIGNATURE, GuardedBytes, HeapGuard, open_guarded
from braggstream.formats.hdf5_links import way_out
from braggstream.model.errors import DecodeError, FileError, FrameError, MismatchError


def open_hdf5(name: str) -> h5py.File:
    """Open a file for reading, whoever writes to it; raises `FileError`."""
    try:
        return _open_whoever_writes(name)
    except OSError as error:
        if not Path(name).exists():
            raise FileError(f"{name}: no such file") from None
        raise FileError(f"{name}: cannot be read as HDF5: {_first_line(error)}") from None


def _open_whoever_writes(name: str) -> h5py.File:
    """Open a file as others in this process do, for ways cannot be mixed; else past a writer, or with it (SWMR)."""
    first: OSError | None = None
    for way in ({}, {"locking": False}, {"swmr": True}, {"swmr": True, "locking": False}):
        try:
            return h5py.File(name, "r", **way)
        except OSError as error:
            first = first or error
            if "lock" not in str(error) and "already open for" not in str(error):
                break
    assert first is not None
    raise first


@contextmanager
def open_hdf5_bytes(payload: memoryview | bytes) -> Iterator[h5py.File]:
    """Open a file that lies in memory, which is not copied; raises `DecodeError`."""
    if bytes(payload[:8]) != SIGNATURE:
        raise DecodeError("the message is no HDF5 file: it lacks the HDF5 signature")
    try:
        content = GuardedBytes(payload, "the message")
        file = open_guarded(content)
    except BROKEN as error:
        raise DecodeError(f"the message is no sound HDF5 file: {_first_line(error)}") from None
    with content, file:
        yield file


@contextmanager
def reading(what: str, error_type: type[FrameError] = FileError) -> Iterator[None]:
    """Turn what h5py raises into an error of the frame."""
    try:
        yield
    except FrameError:
        raise
    except BROKEN as error:
        raise error_type(f"{what} cannot be read: {_first_line(error)}") from None


def find_dataset(
    file: h5py.File, path: str, name: str, *, guard: HeapGuard | None = None, only_inside: bool = False
) -> h5py.Dataset:
    """Find a dataset; raises `MismatchError`.

    `guard` looks first at what the library will read; a message is guarded in itself.  `only_inside` refuses
    whatever leads out of the file: external links, virtual datasets, external storage.
    """
    with reading(f"{name}: {path}"):
        if only_inside:
            _refuse_ways_out(file, path)
        if guard is not None:
            guard.check(path)
        found = file.get(path) if path.strip("/") else None
        if found is None:
            raise MismatchError(f"{name} has no dataset {path}")
        if not isinstance(found, h5py.Dataset):
            raise MismatchError(f"{name}: {path} is a group, expected a dataset")
        if only_inside and (found.is_virtual or found.external):
            raise MismatchError(f"{name}: {path} takes its data from other files, which streamed files may not")
        if found.shape is None:
            raise MismatchError(f"{name}: {path} is empty")
        return found


def _refuse_ways_out(file: h5py.File, path: str) -> None:
    link, _ = way_out(file, path)
    if link is not None:
        raise MismatchError(f"{path}: a link leads to {link.filename[:80]}, another file, which a message may not")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
