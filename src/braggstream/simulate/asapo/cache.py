"""Data in memory, bounded: the oldest fall out."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ID_MASK = (1 << 64) - 1


@dataclass(eq=False, slots=True)
class _Slot:
    data: memoryview
    n_readers: int = 0
    is_out: bool = False
    """Fallen out; held only for those who read it still."""


class DataCache:
    """Data by slot id.  Ids are never used twice, across restarts too.

    What has fallen out while it is being sent to a slow reader counts until it is sent: the limit is kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._slots: OrderedDict[int, _Slot] = OrderedDict()
        self._lock = threading.Lock()
        self._n_bytes = 0
        self._counter = 0

    @property
    def n_bytes(self) -> int:
        """Bytes that are held now."""
        return self._n_bytes

    def put(self, data: memoryview) -> int:
        """Hold data; gives their slot id, 0 where there is no room for them."""
        with self._lock:
            while self._slots and self._n_bytes + len(data) > self._limit:
                self._drop(self._slots.popitem(last=False)[1])
            if self._n_bytes + len(data) > self._limit:
                return 0
            self._counter += 1
            slot = ((time.time_ns() // 1_000_000) << 32 | self._counter & 0xFFFFFFFF) & ID_MASK
            self._slots[slot] = _Slot(data)
            self._n_bytes += len(data)
        return slot

    @contextmanager
    def reading(self, slot: int, size: int) -> Iterator[memoryview | None]:
        """The data of a slot inside the block; None where they have fallen out, or have another size."""
        with self._lock:
            found = self._slots.get(slot)
            if found is None or len(found.data) != size:
                found = None
            else:
                found.n_readers += 1
        try:
            yield None if found is None else found.data
        finally:
            if found is not None:
                with self._lock:
                    found.n_readers -= 1
                    if found.is_out and not found.n_readers:
                        self._n_bytes -= len(found.data)

    def clear(self) -> None:
        """Let all data fall out."""
        with self._lock:
            while self._slots:
                self._drop(self._slots.popitem()[1])

    def _drop(self, slot: _Slot) -> None:
        slot.is_out = True
        if not slot.n_readers:
            self._n_bytes -= len(slot.data)


def signed(slot: int) -> int:
    """A slot id as the records hold it: a signed number of 64 bits."""
    return slot - (1 << 64) if slot >> 63 else slot
