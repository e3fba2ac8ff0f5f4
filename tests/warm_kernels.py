"""Compile all kernels before the tests, side by side: `python tests/warm_kernels.py`.

Processes that start at the same time compile the same kernels, each for itself, until the first of them is ready:
with an empty cache that was half of the time that the tests took.
"""

import inspect
import multiprocessing
import os
from importlib import import_module
from pkgutil import iter_modules

import numpy as np

import braggstream.kernels

PIXEL_TYPES = ("uint16", "int32", "float32")
"""Those that most tests use."""


def warm_up(name: str) -> None:
    """Compile one module of kernels."""
    function = getattr(import_module(f"braggstream.kernels.{name}"), "warm_up", None)
    if name == "warm" or function is None:
        return
    if not inspect.signature(function).parameters:
        function()
        return
    for kind in PIXEL_TYPES:
        function(np.dtype(kind))


def main() -> None:
    names = [module.name for module in iter_modules(braggstream.kernels.__path__) if not module.ispkg]
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 4)) as pool:
        pool.map(warm_up, names, chunksize=1)


if __name__ == "__main__":
    main()
