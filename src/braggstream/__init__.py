"""Braggstream: real-time serial crystallography.

`import braggstream as bs` gives what `braggstream.api` lists; it is imported when the first name is used.
"""

TYPE_CHECKING = False  # `typing` takes a while to import, and until `__main__` is run Ctrl-C gives a traceback.
if TYPE_CHECKING:
    from typing import Any

    from braggstream.api import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> "Any":
    if not name.startswith("_"):
        from importlib import import_module

        api = import_module("braggstream.api")
        if name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module 'braggstream' has no attribute {name!r}")


def __dir__() -> list[str]:
    from importlib import import_module

    return [*globals(), *import_module("braggstream.api").__all__]
