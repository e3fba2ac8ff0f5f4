"""Libraries that are only there with an extra of this package, imported when they are used."""

from importlib import import_module
from typing import Any

from braggstream.model.errors import MissingExtraError


def optional_library(name: str, *, extra: str, purpose: str) -> Any:
    """Import a library; raises `MissingExtraError`, which tells how to install it."""
    try:
        return import_module(name)
    except ImportError:
        raise MissingExtraError(library=name.replace("_", "-"), extra=extra, purpose=purpose) from None
