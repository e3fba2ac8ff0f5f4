"""Data in memory, bounded: the oldest fall out."""

import threading
import time
from collections import OrderedDict

ID_MASK = (1 << 64) - 1


class DataCache:
    """Data by slot id.  Ids are never used twice, across restarts too."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._slots: OrderedDict[int, bytearray] = OrderedDict()
        self._lock = threading.Lock()
        self._n_bytes = 0
        self._counter = 0

    @property
    def n_bytes(self) -> int:
        """Bytes that are held now."""
        return self._n_bytes

    def put(self, data: bytearray) -> int:
        """Hold data; gives their slot id, 0 where they are too large to be held."""
        if len(data) > self._limit:
            return 0
        with self._lock:
            self._counter += 1
            slot = ((time.time_ns() // 1_000_000) << 32 | self._counter & 0xFFFFFFFF) & ID_MASK
            self._slots[slot] = data
            self._n_bytes += len(data)
            while self._n_bytes > self._limit:
                self._n_bytes -= len(self._slots.popitem(last=False)[1])
        return slot

    def get(self, slot: int, size: int) -> bytearray | None:
        """The data of a slot; None where they have fallen out, or have another size."""
        with self._lock:
            data = self._slots.get(slot)
        return data if data is not None and len(data) == size else None

    def clear(self) -> None:
        """Let all data fall out."""
        with self._lock:
            self._slots.clear()
            self._n_bytes = 0


def signed(slot: int) -> int:
    """A slot id as the records hold it: a signed number of 64 bits."""
    return slot - (1 << 64) if slot >> 63 else slot
