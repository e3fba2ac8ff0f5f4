"""The notebook door: everything that `import braggstream as bs` offers, see there."""

from braggstream.api.frame_files import FrameFiles, open_files
from braggstream.api.processor import Processor
from braggstream.api.sockets import open_zmq
from braggstream.api.stream_output import write_stream
from braggstream.formats.cell import read_cell
from braggstream.formats.geom import read_geometry
from braggstream.formats.observation_files import load_observations
from braggstream.formats.reflection_file import read_reflections
from braggstream.formats.shell_table import ShellTable
from braggstream.formats.stream_read import StreamFile, read_stream
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal, ReflectionTable
from braggstream.model.errors import BraggstreamError, FrameError, UserError
from braggstream.model.frame import Frame, FrameIdentity
from braggstream.model.geometry import Geometry
from braggstream.model.observations import CrystalTable, Observations
from braggstream.model.peaks import PeakTable
from braggstream.model.reflection_list import ReflectionList
from braggstream.model.result import FrameResult
from braggstream.model.settings import (
    FfbidxSettings,
    FrameSettings,
    IndexingSettings,
    IntegrationSettings,
    PeakSettings,
    Settings,
)
from braggstream.picture import Picture, assemble, draw
from braggstream.pipeline.judged_lists import check, compare
from braggstream.pipeline.merge_tables import merge
from braggstream.steps.indexing import index_q

__all__ = [
    "BraggstreamError",
    "Crystal",
    "CrystalTable",
    "FfbidxSettings",
    "Frame",
    "FrameError",
    "FrameFiles",
    "FrameIdentity",
    "FrameResult",
    "FrameSettings",
    "Geometry",
    "IndexingSettings",
    "IntegrationSettings",
    "Observations",
    "PeakSettings",
    "PeakTable",
    "Picture",
    "Processor",
    "ReflectionList",
    "ReflectionTable",
    "Settings",
    "ShellTable",
    "StreamFile",
    "UnitCell",
    "UserError",
    "assemble",
    "check",
    "compare",
    "draw",
    "index_q",
    "load_cell",
    "load_geometry",
    "load_observations",
    "load_reflections",
    "merge",
    "open_files",
    "open_zmq",
    "read_stream",
    "write_stream",
]

load_geometry = read_geometry
load_cell = read_cell
load_reflections = read_reflections
