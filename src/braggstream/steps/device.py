"""Where kernels run (`--device`): on the processor, or on a CUDA device those that have a twin there."""

from importlib import import_module
from typing import Any

from braggstream.model.errors import UserError

CPU, CUDA, AUTO = "cpu", "cuda", "auto"
DEVICES = (CPU, CUDA, AUTO)


def choose_device(word: str) -> tuple[str, str | None]:
    """Turn what the user asks for into `cpu` or `cuda`, and a notice for the user where it is not plain which.

    It touches the device, unless `cpu` is asked for; a process from which workers are forked may not call it.

    Raises
    ------
    UserError
        For a word that is none of `DEVICES`, and for `cuda` where no CUDA device can be used.
    """
    if word not in DEVICES:
        raise UserError(f"--device={word}: expected one of {', '.join(DEVICES)}")
    if word == CPU:
        return CPU, None
    from braggstream.kernels.cuda.device import why_unavailable

    reason = why_unavailable()
    if word == CUDA and reason is not None:
        raise UserError(f"--device={word}: {reason}")
    if word == AUTO:
        chosen = CUDA if reason is None else CPU
        return chosen, f"--device={word}: {chosen} is used" + (f", {reason}" if reason else "")
    return CUDA, None


def kernels_on(device: str, name: str) -> Any:
    """Import a module of kernels for a device; the functions of both have the same names and arguments."""
    package = "braggstream.kernels.cuda" if device == CUDA else "braggstream.kernels"
    return import_module(f"{package}.{name}")
