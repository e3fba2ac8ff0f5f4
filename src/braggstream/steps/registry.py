"""Methods by name: what is not chosen is not imported, and so its kernels are neither compiled nor loaded.

A registry maps the name of a method to `module:factory`.  The module imports its kernels at its top; that is how
the warm-up knows of them (`braggstream.kernels.warm`).
"""

from importlib import import_module
from typing import Any


def make(entry: str, settings: Any) -> Any:
    """Call the factory that an entry `module:factory` names with the settings."""
    module, _, factory = entry.partition(":")
    return getattr(import_module(module), factory)(settings)
