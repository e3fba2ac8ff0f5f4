"""Numba's simulator, mended: its threads run at the same time, and it does not always mind that they do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

SWITCH_INTERVAL_S = 2e-5
"""The simulator waits for its threads in a busy loop, which starves them when threads are seldom switched."""


def mend() -> None:
    """Let threads get on, share a block's arrays, and keep its module while any of them needs it."""
    from numba.cuda.simulator import kernel
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    FakeCUDAShared.array = _shared_array
    kernel.swapped_cuda_module = _swapped_cuda_module


def _shared_array(shared: Any, shape: Any, dtype: Any) -> NDArray[Any]:
    """Give the array that belongs to the caller's line; looking it up and making it is one step here."""
    caller = sys._getframe(1)
    key = caller.f_code.co_filename, caller.f_lineno
    found: NDArray[Any] = shared._allocations.setdefault(key, np.empty(shape, dtype))
    return found


_lock = Lock()
_users: dict[int, int] = {}
"""How many calls are under way of functions with the same globals, by the identity of these."""


@contextmanager
def _swapped_cuda_module(function: Any, stand_in: Any) -> Iterator[None]:
    """Let a function see the simulator's `cuda`; the first thread to leave must not take it from the others."""
    from numba import cuda

    namespace = function.__globals__
    key = id(namespace)
    with _lock:
        _users[key] = _users.get(key, 0) + 1
        names = [name for name, value in namespace.items() if value is cuda or value is stand_in]
        namespace.update(dict.fromkeys(names, stand_in))
    try:
        yield
    finally:
        with _lock:
            _users[key] -= 1
            if not _users[key]:
                namespace.update(dict.fromkeys(names, cuda))
