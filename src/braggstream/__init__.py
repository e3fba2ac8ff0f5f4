"""Braggstream: real-time serial crystallography.

    import braggstream as bs

    processor = bs.Processor("x.geom", cell="x.cell", threshold=10, min_snr=5, min_peaks=15)
    for frame in bs.open_files("frames.h5", "x.geom"):
        result = processor.process(frame)

Frames         open_files, open_zmq, Frame, FrameIdentity, FrameFiles; assemble and draw (Picture) show one
Processing     Processor, FrameResult, PeakTable, Crystal, ReflectionTable, index_q, and Settings with its parts
Stream files   read_stream, write_stream, StreamFile
Merging        load_observations, merge, load_reflections, check, compare; Observations, CrystalTable,
               ReflectionList, ShellTable
Geometry       load_geometry, Geometry, load_cell, UnitCell
Errors         BraggstreamError, UserError, FrameError

All of it is in docs/reference/python.md.  It is imported when the first name is used.
"""

TYPE_CHECKING = False  # `typing` takes a while to import, and until `__main__` is run Ctrl-C gives a traceback.
if TYPE_CHECKING:
    from typing import Any

    from braggstream.api import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> "Any":
    if name == "__all__" or not name.startswith("_"):
        from importlib import import_module

        api = import_module("braggstream.api")
        if name == "__all__":  # What `help(bs)` and `from braggstream import *` go by.
            return api.__all__
        if name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module 'braggstream' has no attribute {name!r}")


def __dir__() -> list[str]:
    from importlib import import_module

    own = [name for name in globals() if name.startswith("__")]
    return sorted({*own, "__all__", *import_module("braggstream.api").__all__})
