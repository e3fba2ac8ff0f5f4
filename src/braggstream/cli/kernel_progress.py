"""Getting kernels ready in this process, and saying so where it takes long."""

from math import inf
from time import monotonic

from braggstream.cli.notices import say
from braggstream.run.processor import FrameProcessor

INTERVAL_S = 10.0
"""It is told so often how many are ready [s]."""


def warm_up_telling(processor: FrameProcessor, pixel_type: str) -> None:
    """Compile or load the kernels for a pixel type; what has to be compiled is told, with how far that is."""
    n_before, told_at = processor.n_compiled(), -inf

    def tell(n_ready: int, n_all: int) -> None:
        nonlocal told_at
        if processor.n_compiled() > n_before and monotonic() - told_at > INTERVAL_S:
            told_at = monotonic()
            say(f"Compiling kernels, once: {n_ready} of {n_all} modules are ready.")

    processor.warm_up((pixel_type,), tell)
