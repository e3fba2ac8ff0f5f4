"""HDF5 files read through reads of our own, which look at each global heap before the library walks through it.

Texts of variable length, references and the maps of virtual datasets lie in *global heaps* (HDF5 File Format
Specification, III.E).  The library adds the sizes that the objects of a heap state, and trusts them: one of zero,
or one that wraps around, keeps it in a loop that nothing ends.  h5py's `fileobj` driver asks for each block of
metadata by itself, so a heap is seen here, whole, before it is understood there.
"""

import io
import os
from pathlib import Path
from typing import Any
from weakref import finalize

import h5py

from braggstream.formats.hdf5_links import linked_file, way_out
from braggstream.model.errors import FrameError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAP = b"GCOL"
CACHE_IMAGE = b"MDCI"
"""Metadata that were stored as they lay in the library's cache: heaps among them are not seen one by one."""
MIN_HEAP_BYTES = 4096
MAX_HEAP_BYTES = 1 << 28
MAX_OBJECTS = 1 << 17
"""Objects of a heap have numbers of 16 bits; between them there may be gaps."""
MAX_FILES = 64
"""A path may lead through so many files."""
BROKEN = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    UnicodeError,
)
"""What h5py raises for damaged files."""


class DamagedHeap(OSError):
    """A global heap in which the library would lose its way."""


def open_guarded(content: "GuardedBytes") -> h5py.File:
    """Open a file for reading through its own bytes, which are closed where that fails; raises one of `BROKEN`."""
    try:
        return h5py.File(content, "r")
    except BaseException:
        content.close()
        raise


class GuardedBytes(io.RawIOBase):
    """The bytes of an HDF5 file, for h5py's `fileobj` driver; reading a damaged global heap raises `DamagedHeap`.

    Nothing is copied but what is asked for.
    """

    def __init__(self, content: memoryview | bytes | Path, name: str = "") -> None:
        """Take a file that lies in memory, or open one; raises `OSError`.  `name` is what h5py will call it."""
        super().__init__()
        self._name = name or str(content)
        self._descriptor = -1
        self._content = memoryview(b"")
        if isinstance(content, Path):
            self._descriptor = os.open(content, os.O_RDONLY | os.O_CLOEXEC)
        else:
            self._content = memoryview(content).cast("B")
        self._place = 0
        try:
            self._length_bytes = _length_bytes(self._at(0, 16))
        except OSError:
            self.close()
            raise

    def __repr__(self) -> str:
        return self._name  # h5py makes it the name of the file.

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read anywhere."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        self._place = offset + (
            self._place if whence == os.SEEK_CUR else self._size if whence == os.SEEK_END else 0
        )
        return self._place

    def tell(self) -> int:
        """Give the place."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read as much as the buffer takes, all of it; raises `OSError` where the file ends before."""
        target = memoryview(buffer)
        n_bytes = len(target)
        if self._descriptor < 0:
            found = self._content[self._place : self._place + n_bytes]
            target[: len(found)] = found
            n_read = len(found)
        else:
            n_read = self._read_file(target)
        if n_read < n_bytes:
            raise OSError(f"the file ends {n_bytes - n_read} bytes too early")
        start = bytes(target[:4])
        if start == HEAP:
            self._check_heap(self._place)
        elif start == CACHE_IMAGE and HEAP in bytes(target):
            raise DamagedHeap("the file holds global heaps in an image of the library's cache")
        self._place += n_bytes
        return n_bytes

    def close(self) -> None:
        """Close the file, where one was opened."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._content = memoryview(b"")
        super().close()

    @property
    def _size(self) -> int:
        return len(self._content) if self._descriptor < 0 else os.fstat(self._descriptor).st_size

    def _read_file(self, target: memoryview) -> int:
        n_read = 0
        while n_read < len(target):
            n_more = os.preadv(self._descriptor, [target[n_read:]], self._place + n_read)
            if n_more == 0:
                break
            n_read += n_more
        return n_read

    def _at(self, place: int, n_bytes: int) -> bytes:
        if self._descriptor < 0:
            return bytes(self._content[place : place + n_bytes])
        return os.pread(self._descriptor, n_bytes, place)

    def _check_heap(self, place: int) -> None:
        """Walk through a global heap as the library will; raises `DamagedHeap` where that would have no end."""
        length = self._length_bytes
        size = int.from_bytes(self._at(place + 8, length), "little")
        if not MIN_HEAP_BYTES <= size <= MAX_HEAP_BYTES:
            raise DamagedHeap(f"the global heap at byte {place} states a size of {size} bytes")
        heap = self._at(place, size)
        head = _aligned(8 + length)
        at, n_objects = head, 0
        while at + head <= len(heap):
            number = int.from_bytes(heap[at : at + 2], "little")
            n_bytes = int.from_bytes(heap[at + 8 : at + 8 + length], "little")
            step = head + _aligned(n_bytes) if number else n_bytes
            n_objects += 1
            if not 0 < step <= len(heap) - at or n_objects > MAX_OBJECTS:
                raise DamagedHeap(f"the global heap at byte {place} is damaged: an object states {n_bytes} bytes")
            at += step


def _length_bytes(start: bytes) -> int:
    """Bytes of a length in this file, as its superblock says; raises `OSError`."""
    if start[:8] != SIGNATURE or len(start) < 16:
        raise OSError("the HDF5 signature is missing")
    length = start[14] if start[8] < 2 else start[10]
    if length not in (2, 4, 8):
        raise OSError(f"lengths of {length} bytes are not read")
    return length


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // 8) * 8


class HeapGuard:
    """Looks at what lies in a file, and in those that it links to, before the library's own reads do."""

    def __init__(self, name: str, *, n_files: int = 0) -> None:
        """Take the name of a file; it is opened when something is looked at."""
        self._name = name
        self._n_files = n_files
        self._sound: set[str] = set()
        self._others: dict[str, HeapGuard] = {}
        self._opened: h5py.File | None = None

    def check(self, path: str) -> None:
        """Look at all that opening a path makes the library read; raises `DamagedHeap` where a heap is damaged.

        What else is wrong with the path is left to be found where it is opened.
        """
        if path in self._sound:
            return
        try:
            link, rest = way_out(self._file(), path)
            if link is None:
                self._file().get(path)
            elif self._n_files < MAX_FILES:
                self._other(linked_file(self._name, link.filename)).check(f"{link.path}/{rest}")
        except DamagedHeap:
            raise
        except (*BROKEN, FrameError):
            return
        self._sound.add(path)

    def text(self, dataset: h5py.Dataset, place: tuple[int, ...]) -> Any:
        """Read a text of a dataset, which may have come from another file by a link."""
        name = dataset.file.filename
        guard = self if name == self._name else self._other(name)
        found = guard._file()[dataset.name]
        return found[place]

    def close(self) -> None:
        """Close what was opened."""
        for other in self._others.values():
            other.close()
        self._others.clear()
        if self._opened is not None:
            self._closing()
            self._opened = None

    def _file(self) -> h5py.File:
        if self._opened is None:
            content = GuardedBytes(Path(self._name))
            self._opened = open_guarded(content)
            # The library must not ask for bytes any more when Python ends.
            self._closing = finalize(self, _close, self._opened, content)
        return self._opened

    def _other(self, name: str) -> "HeapGuard":
        if name not in self._others:
            self._others[name] = HeapGuard(name, n_files=self._n_files + 1)
        return self._others[name]


def _close(file: h5py.File, content: GuardedBytes) -> None:
    file.close()
    content.close()
