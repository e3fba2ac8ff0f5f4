"""What all CUDA kernels share: whether there is a device, how they are compiled, and memory that is kept on it.

A device is touched by the first call of a kernel, or by `why_unavailable`, and not before: a CUDA context does not
survive a fork, so that a process from which workers are forked may call neither.
"""

import importlib.util
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, cuda
from numpy.typing import NDArray

from braggstream.kernels._jit import CACHE
from braggstream.kernels.cuda.simulated import mend

DeviceArray = Any
"""An array in device memory."""

IS_SIMULATED = bool(getattr(config, "ENABLE_CUDASIM", False))
"""Numba's simulator (`NUMBA_ENABLE_CUDASIM=1`) runs each thread of a block as a thread of the processor."""

# Numba warns of small grids; what there is to do for one frame is small, and workers share a device.
vars(config)["CUDA_LOW_OCCUPANCY_WARNINGS"] = 0
if IS_SIMULATED:
    mend()

TEAM = 4 if IS_SIMULATED else 128
"""Threads of a block; kernels take their work in strides, so that any number of threads and blocks does it all."""
FEW = 4 if IS_SIMULATED else 32
"""Threads of a block that works on one small fit."""
MOST_BLOCKS = 2 if IS_SIMULATED else 4096
SPARSE_BLOCKS = 2 if IS_SIMULATED else 64
"""Blocks of kernels whose amount of work only the device knows."""

_PACKAGE = "numba_cuda"


def why_unavailable() -> str | None:
    """Tell in a few words why no CUDA device can be used; None where one can.

    It touches the device.
    """
    if IS_SIMULATED:
        return None
    if importlib.util.find_spec(_PACKAGE) is None:
        return "the extra is not installed: pip install 'braggstream[cuda]'"
    try:
        is_there = bool(cuda.is_available()) and len(cuda.gpus) > 0
    except Exception as error:  # Drivers fail in many ways, and Numba has a class of its own for each.
        return f"no CUDA device can be used: {error}".splitlines()[0]
    return None if is_there else "no CUDA device is found"


def use_device(number: int) -> None:
    """Let this process use one of the devices, the first for number 0 and so on in turn; it touches the device."""
    cuda.select_device(number % len(cuda.gpus))


def kernel(function: Callable[..., None]) -> Any:
    """Compile a kernel that is launched on a grid of threads."""
    if IS_SIMULATED or not CACHE:
        return cuda.jit(function)
    return cuda.jit(function, cache=True)


def device_function(function: Any) -> Any:
    """Compile a function that kernels call; of a CPU kernel its Python function is compiled once more."""
    return cuda.jit(getattr(function, "py_func", function), device=True)


@device_function
def add_columns(parts: DeviceArray, thread: int, totals: DeviceArray) -> None:
    """Add up some columns of what the threads of a block hold, float64[n_threads, n] to float64[n].

    The order is fixed, so that the same numbers always give the same sums.  Every thread has to call it, with its
    number, between two calls of `cuda.syncthreads`.
    """
    for column in range(thread, totals.shape[0], parts.shape[0]):
        total = 0.0
        for row in range(parts.shape[0]):
            total += parts[row, column]
        totals[column] = total


@device_function
def add_rows(parts: DeviceArray, thread: int) -> None:
    """Add up the rows of what the threads of a block hold, float64[n, n_threads]; the sums are in its first column.

    They are added two by two, always the same ones, so that the same numbers always give the same sums.  The number
    of threads is a power of two.  Every thread has to call it, with its number, and `cuda.syncthreads` before it
    writes to `parts` again.
    """
    cuda.syncthreads()
    half = parts.shape[1] // 2
    while half > 0:
        if thread < half:
            for row in range(parts.shape[0]):
                parts[row, thread] += parts[row, thread + half]
        cuda.syncthreads()
        half //= 2


def blocks(n_items: int, *, per_block: int = TEAM) -> int:
    """Blocks for so many items of work, at least one."""
    return max(1, min(MOST_BLOCKS, -(-n_items // per_block)))


def bring(array: NDArray[Any]) -> DeviceArray:
    """Copy an array to memory of its own on the device."""
    return cuda.to_device(array)


class DeviceArrays:
    """Arrays in device memory that are kept, and grow where they have to, so that frames allocate nothing.

    It is empty until its first use, and may be made before a fork.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, np.dtype[Any]], DeviceArray] = {}
        self._staging: dict[tuple[str, np.dtype[Any]], NDArray[Any]] = {}
        self._kept: dict[int, tuple[weakref.ref[NDArray[Any]], DeviceArray]] = {}

    def room(self, name: str, size: int, dtype: Any) -> DeviceArray:
        """Give the one-dimensional array of this name; what it holds is not defined."""
        key = name, np.dtype(dtype)
        found = self._arrays.get(key)
        if found is None or found.size < size:
            self._arrays.pop(key, None)
            found = self._arrays[key] = cuda.device_array(max(size, 1), dtype)
        return found if found.size == size else found[:size]

    def upload(self, name: str, array: NDArray[Any]) -> DeviceArray:
        """Copy an array to the one of this name and of its shape, through memory that the device reads directly."""
        key = name, array.dtype
        staging = self._staging.get(key)
        if staging is None or staging.size < array.size:
            self._staging.pop(key, None)
            staging = self._staging[key] = cuda.pinned_array(max(array.size, 1), array.dtype)
        target = self.room(name, array.size, array.dtype)
        if array.size:
            np.copyto(staging[: array.size].reshape(array.shape), array)
            target.copy_to_device(staging[: array.size])
        return target if array.ndim == 1 else target.reshape(array.shape)

    def keep(self, array: NDArray[Any]) -> DeviceArray:
        """Copy an array that never changes; it is copied once, and dropped with the array itself."""
        key = id(array)
        found = self._kept.get(key)
        if found is None or found[0]() is not array:
            drop = weakref.ref(array, lambda _: self._kept.pop(key, None))
            found = self._kept[key] = drop, cuda.to_device(array)
        return found[1]
