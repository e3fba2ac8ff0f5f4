"""Work for a device that is handed over as one: kernels and copies that do not wait for the host in between.

Several processes share a device by turns: it goes on to the next one whenever the one has nothing waiting, and each
change takes longer than most kernels here.  So what belongs together is recorded as a graph, which is launched in
one call, and the host waits once.
"""

import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

from numba import cuda

from braggstream.kernels.cuda.device import IS_SIMULATED

Stream = Any
"""A queue of the device: `kernel[blocks, threads, stream](...)`."""


class Turn:
    """The same kernels and copies again and again, always with the same arrays.

    Parameters
    ----------
    enqueue : callable
        Puts kernels and copies into a stream, without waiting and without allocating memory.  Copies are between
        the device and page-locked memory (`cuda.pinned_array`).  What differs from one time to the next has to be
        in these arrays, not in arguments.

    The first time all is put into the stream one by one, which compiles and loads the kernels; the second time it
    is recorded; from then on the record is launched.
    """

    def __init__(self, enqueue: Callable[[Stream], None]) -> None:
        self._enqueue = enqueue
        self._stream: Stream | None = None
        self._graph: Any = None

    def __call__(self) -> None:
        """Do all of it, and wait for the end."""
        if self._stream is None or IS_SIMULATED:
            self._stream = cuda.stream()
            self._enqueue(self._stream)
        else:
            if self._graph is None:
                self._graph = _record(self._enqueue, self._stream)
                weakref.finalize(self, _bindings().cuGraphExecDestroy, self._graph).atexit = False
            _checked(_bindings().cuGraphLaunch(self._graph, int(self._stream)))
        self._stream.synchronize()


def _record(enqueue: Callable[[Stream], None], stream: Stream) -> Any:
    """Record what is put into a stream as a graph that can be launched."""
    driver = _bindings()
    relaxed = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
    _checked(driver.cuStreamBeginCapture(int(stream), relaxed))
    try:
        enqueue(stream)
    finally:
        (recorded,) = _checked(driver.cuStreamEndCapture(int(stream)))
    (graph,) = _checked(driver.cuGraphInstantiate(recorded, 0))
    _checked(driver.cuGraphDestroy(recorded))
    return graph


def _bindings() -> Any:
    """The driver's own interface, which Numba is built on as well."""
    return import_module("cuda.bindings.driver")


def _checked(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give what a call of the driver gave, without its status; `RuntimeError` where that is not success."""
    status, *values = answer
    if int(status):
        raise RuntimeError(f"the CUDA driver answers {status!s}")
    return tuple(values)
