"""Kernels of live merging, ready before the first frame: the session's own process uses them, and no other."""

from braggstream.kernels import (
    equivalents,
    live_ambiguity,
    live_scale,
    live_sums,
    mean,
    possible,
    reflection_index,
    stream_text,
)


def warm_up_live_kernels() -> None:
    """Compile them or load them from the cache."""
    for module in (
        equivalents,
        reflection_index,
        mean,
        stream_text,
        live_sums,
        live_scale,
        live_ambiguity,
        possible,
    ):
        module.warm_up()
