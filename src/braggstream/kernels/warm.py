"""Compile every kernel, or load it from the cache, before the first frame comes."""

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

import braggstream.kernels as ground_floor

PIXEL_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
"""Every pixel type that kernels can be compiled for."""


def warm_up(pixel_types: Iterable[str], *, after_each: Callable[[], None] | None = None) -> None:
    """Call each kernel once, those that touch pixels once for each pixel type.

    Parameters
    ----------
    pixel_types : iterable of str
        NumPy names of pixel types.
    after_each : callable, optional
        Called after each module, for instance to see whether anything had to be compiled.
    """
    wanted = [np.dtype(name) for name in pixel_types]
    for function in _warm_ups():
        if inspect.signature(function).parameters:
            for dtype in wanted:
                function(dtype)
        else:
            function()
        if after_each is not None:
            after_each()


def _warm_ups() -> Iterator[Callable[..., Any]]:
    """Find the warm-up function of each module of this package."""
    for module in pkgutil.iter_modules(ground_floor.__path__):
        if module.name == "warm":
            continue
        function = getattr(import_module(f"{ground_floor.__name__}.{module.name}"), "warm_up", None)
        if function is not None:
            yield function
