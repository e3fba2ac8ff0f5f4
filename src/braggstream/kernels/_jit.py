"""The one place where Numba options are set."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

# No "nnan" and no "ninf": NaN and infinity are data here (bad pixels, absent limits).
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

# A shared, read-only installation can point NUMBA_CACHE_DIR elsewhere; this switch turns the cache off.
CACHE = os.environ.get("BRAGGSTREAM_KERNEL_CACHE", "1") != "0"

KERNELS: list[Any] = []
"""Every compiled function, in order of definition; the warm-up counts cache misses over them."""


def jit(function: Function) -> Function:
    """Compile a kernel with exact IEEE semantics (no re-association)."""
    return _compile(function, fastmath=False)


def fast_jit(function: Function) -> Function:
    """Compile a kernel whose sums may be re-ordered, which lets them use vector instructions."""
    return _compile(function, fastmath=FASTMATH)


def inline_jit(function: Function) -> Function:
    """Compile a small function that kernels call; it is inlined by LLVM into its callers."""
    return _compile(function, fastmath=False)


def n_compiled() -> int:
    """Count the signatures that were compiled in this process instead of being loaded from the cache."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in KERNELS)


def _compile(function: Function, *, fastmath: Any) -> Function:
    kernel: Any = numba.njit(  # noqa: TID251
        function, cache=CACHE, nogil=True, error_model="numpy", fastmath=fastmath
    )
    KERNELS.append(kernel)
    return kernel
