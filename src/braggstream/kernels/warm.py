"""Compile every kernel that this process uses, or load it from the cache, before the first frame comes.

Which kernels those are is told by what has been imported: a step imports the kernel modules that it uses at the top
of its own module, and the registries of methods import only the methods that were chosen.
"""

import inspect
import sys
from collections.abc import Callable, Iterable
from types import ModuleType

import numpy as np


def warm_up(
    pixel_types: Iterable[str], *, after_each: Callable[[int, int], None] | None = None, device: str = "cpu"
) -> None:
    """Call each kernel in use once, those that touch pixels once for each pixel type.

    It has to come after the steps are set up.

    Parameters
    ----------
    pixel_types : iterable of str
        NumPy names of pixel types.
    after_each : callable, optional
        Called after each module with how many are ready, and how many there are.
    device : str
        `cpu` or `cuda`: whose kernels; those for a CUDA device open it, which no process does that will fork.
    """
    wanted = list(pixel_types)
    modules = kernels_in_use(device)
    for n_ready, module in enumerate(modules, start=1):
        warm_up_module(module, wanted)
        if after_each is not None:
            after_each(n_ready, len(modules))


def warm_up_module(module: ModuleType, pixel_types: Iterable[str]) -> None:
    """Call each kernel of a module that can be warmed up once, those that touch pixels once for each pixel type."""
    function = module.warm_up
    if not inspect.signature(function).parameters:
        function()
        return
    for name in pixel_types:
        function(np.dtype(name))


def kernels_in_use(device: str = "cpu") -> list[ModuleType]:
    """Modules of kernels for a device that have been imported, those that can be warmed up, by name."""
    floor, twins = __package__ + ".", __package__ + ".cuda."
    names = [name for name in sorted(sys.modules) if name.startswith(floor) and name != __name__]
    loaded = [sys.modules[name] for name in names if name.startswith(twins) == (device == "cuda")]
    return [module for module in loaded if hasattr(module, "warm_up")]
