"""Shared memory in which messages lie while they are processed.

One anonymous file without a name (so nothing can be left behind) holds all slots.  Each slot has room for the
largest message that is accepted, as address space: memory is taken by the page as messages touch it.
"""

import contextlib
import mmap
import os
from typing import Self

PAGE = mmap.PAGESIZE


class SlotMemory:
    """The slots, seen from one process; `fill` is for the parent, `view` for workers."""

    def __init__(self, descriptor: int, slot_bytes: int) -> None:
        self.descriptor = descriptor
        self._stride = _whole_pages(slot_bytes)
        self._maps: dict[int, mmap.mmap] = {}
        self._views: dict[int, memoryview] = {}

    @classmethod
    def create(cls, n_slots: int, slot_bytes: int) -> Self:
        """Make the file; its descriptor is inherited by processes that are given it."""
        descriptor = os.memfd_create("braggstream-slots")
        os.ftruncate(descriptor, n_slots * _whole_pages(slot_bytes))
        return cls(descriptor, slot_bytes)

    def fill(self, slot: int, payload: memoryview | bytes) -> int:
        """Copy a message into a slot; gives its size [bytes]."""
        n_bytes = len(payload)
        if n_bytes > self._stride:
            raise ValueError(f"a message of {n_bytes} bytes is larger than a slot")
        self._window(slot, n_bytes)[:n_bytes] = payload
        return n_bytes

    def view(self, slot: int, n_bytes: int) -> memoryview:
        """Give the message in a slot, read-only."""
        return self._window(slot, n_bytes)[:n_bytes].toreadonly()

    def close(self) -> None:
        """Give the memory back."""
        for slot in list(self._maps):
            self._unmap(slot)
        os.close(self.descriptor)

    def _window(self, slot: int, n_bytes: int) -> memoryview:
        """Map a slot, or map it anew where it has to be larger."""
        found = self._views.get(slot)
        if found is None or len(found) < n_bytes:
            self._unmap(slot)
            size = max(PAGE, min(self._stride, _whole_pages(n_bytes + n_bytes // 4)))
            self._maps[slot] = mmap.mmap(self.descriptor, size, offset=slot * self._stride)
            found = self._views[slot] = memoryview(self._maps[slot])
        return found

    def _unmap(self, slot: int) -> None:
        """Forget a slot's map; one whose bytes are still looked at goes with its last view."""
        view = self._views.pop(slot, None)
        window = self._maps.pop(slot, None)
        if view is None or window is None:
            return
        with contextlib.suppress(BufferError):
            view.release()
            window.close()


def _whole_pages(n_bytes: int) -> int:
    return -(-n_bytes // PAGE) * PAGE
