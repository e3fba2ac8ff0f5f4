"""How the C library hands out large blocks of memory."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
KEPT_BYTES = 1 << 30


def keep_large_blocks() -> None:
    """Have freed memory used again instead of given back, in this process and its threads.

    ZeroMQ takes a new block for each message.  By default glibc maps blocks of this size afresh each time, and the
    system then has to find and clear every page of it: for a frame of 64 MB that takes longer than to receive it.
    Where the C library has no `mallopt`, nothing happens.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return
    for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, 1)):
        set_option(option, value)
