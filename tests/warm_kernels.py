"""Compile all kernels before the tests, side by side: `python tests/warm_kernels.py`.

Processes that start at the same time compile the same kernels, each for itself, until the first of them is ready:
with an empty cache that was half of the time that the tests took.
"""

import multiprocessing
import os
from importlib import import_module
from pkgutil import iter_modules

import braggstream.kernels
from braggstream.kernels.warm import warm_up_module

PIXEL_TYPES = ("uint16", "int32", "float32")
"""Those that most tests use."""


def warm_up(name: str) -> None:
    """Compile one module of kernels."""
    module = import_module(f"braggstream.kernels.{name}")
    if name != "warm" and hasattr(module, "warm_up"):
        warm_up_module(module, PIXEL_TYPES)


def main() -> None:
    names = [module.name for module in iter_modules(braggstream.kernels.__path__) if not module.ispkg]
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 4)) as pool:
        pool.map(warm_up, names, chunksize=1)


if __name__ == "__main__":
    main()
