"""Numba's simulator, mended: its threads run at the same time, and it does not always mind that they do."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

SWITCH_INTERVAL_S = 2e-5
"""The simulator waits for its threads in a busy loop, which starves them when threads are seldom switched."""


def mend() -> None:
    """Let threads get on, and let all threads of a block have the same shared array."""
    from numba.cuda.simulator.kernelapi import FakeCUDAShared

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    FakeCUDAShared.array = _shared_array


def _shared_array(shared: Any, shape: Any, dtype: Any) -> NDArray[Any]:
    """Give the array that belongs to the caller's line; looking it up and making it is one step here."""
    caller = sys._getframe(1)
    key = caller.f_code.co_filename, caller.f_lineno
    found: NDArray[Any] = shared._allocations.setdefault(key, np.empty(shape, dtype))
    return found
