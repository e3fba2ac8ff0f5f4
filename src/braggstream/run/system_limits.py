"""Limits that the system sets to a run: what it refuses is told in one line, with the limit that is the cause."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from braggstream.model.errors import BraggstreamError, UserError

LIMITS = {
    errno.EMFILE: ("ulimit -n", resource.RLIMIT_NOFILE, 1, ""),
    errno.EFBIG: ("ulimit -f", resource.RLIMIT_FSIZE, 1024, " KiB"),
    errno.ENOMEM: ("ulimit -v", resource.RLIMIT_AS, 1024, " KiB"),
    errno.EAGAIN: ("ulimit -u", resource.RLIMIT_NPROC, 1, ""),
}
"""What the shell calls the limit that an error points to, its number here, and the shell's unit."""
REFUSALS = frozenset({*LIMITS, errno.ENOSPC, errno.EDQUOT, errno.ENFILE, errno.EROFS})
"""What the system says where a program is not at fault that wants more than it gets."""
SPARE_DESCRIPTORS = 10
"""Files that a run opens besides those of workers, messages and sockets."""
SOCKET_DESCRIPTORS = 16
"""Files that ZeroMQ or ASAP::O open for themselves."""


class SystemRefusal(BraggstreamError):
    """The system does not give what a run needs."""

    @classmethod
    @contextmanager
    def told(cls, what: str) -> Iterator[None]:
        """Raise this error, which begins with `what`, where the system refuses something inside."""
        try:
            yield
        except OSError as error:
            raise cls.of(error, what) from None

    @classmethod
    def of(cls, error: OSError, what: str) -> Self:
        """Turn an error of the system into this one."""
        return cls(f"{what}: {error.strerror or error}{_limit_behind(error.errno)}")


def refusal_in(error: OSError) -> str:
    """Tell what the system has refused, with its limit; empty where the error is of another kind."""
    if error.errno not in REFUSALS:
        return ""
    place = "" if error.filename is None else f"{error.filename}: "
    return f"{place}{error.strerror}{_limit_behind(error.errno)}"


def _limit_behind(number: int | None) -> str:
    if number not in LIMITS:
        return ""
    name, kind, unit, unit_name = LIMITS[number]
    most = resource.getrlimit(kind)[0]
    return "" if most == resource.RLIM_INFINITY else f" ({name} is {most // unit}{unit_name})"


def raise_descriptor_limit() -> None:
    """Allow as many open files as the system lets us: each worker takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_descriptors(n_workers: int, n_slots: int) -> None:
    """Raise `UserError` where a run would run out of open files; `n_slots` is zero where there are no messages."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = len(list(Path("/proc/self/fd").iterdir())) + SPARE_DESCRIPTORS + n_workers + n_slots
    needed += SOCKET_DESCRIPTORS if n_slots else 0
    if most != resource.RLIM_INFINITY and needed > most:
        raise UserError(
            f"-j {n_workers}: about {needed} open files are needed and {most} allowed: "
            "raise the limit (ulimit -n) or take fewer workers"
        )
