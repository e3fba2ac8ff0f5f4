"""Runs a session in a process of its own, as the command line would: python session_script.py CHUNKS JSON."""

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from braggstream.model.errors import BraggstreamError
from braggstream.model.frame import FileSlot
from braggstream.model.geometry import DetectorOffset, Geometry, Quantity
from braggstream.model.settings import (
    AsapoServiceSettings,
    AsapoSourceSettings,
    FileSourceSettings,
    FrameSettings,
    IndexingSettings,
    OutputSettings,
    RunSettings,
    Settings,
    ZmqSourceSettings,
)
from braggstream.run import cell_watcher, local
from braggstream.run.watching import Watcher


class ChunkFile:
    """The simplest sink: chunks one after the other."""

    def __init__(self, path):
        self.file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by `close`

    def write(self, chunk):
        if b"frame full " in chunk and not Path(f"{self.file.name}.room").exists():
            raise OSError(28, "No space left on device", self.file.name)
        if b"frame broken " in chunk:
            raise OSError(5, "Input/output error", self.file.name)
        self.file.write(chunk)

    def close(self):
        self.file.close()


def empty_geometry(path=""):
    return Geometry(
        panels=(),
        wavelength_kind="photon_energy",
        beam=Quantity(value=9000.0),
        clen=Quantity(value=1.0),
        path=path,
    )


def named_frames(names, start=1):
    return [FileSlot(filename=name, event="//0", serial=start + n) for n, name in enumerate(names)]


class Mover(Watcher):
    """Moves the detector by a metre more with every n-th outcome."""

    def __init__(self, n):
        self.n = n
        self.seen = []

    def see(self, outcome, adjustments):
        self.seen.append([outcome.filename, outcome.adjustment if outcome.status != "failed" else None])
        if len(self.seen) % self.n:
            return None
        return replace(adjustments, offset=DetectorOffset(x=adjustments.offset.x + 1.0))

    def finish(self):
        return {"seen": self.seen}


def run(
    chunks,
    *,
    zmq=None,
    asapo=None,
    names=None,
    output=None,
    run=None,
    geometry="",
    move_after=None,
    rules=None,
    constants=None,
):
    """Run with the fake processor; gives the exit status.

    `constants` are numbers of the package with other values, such as `run.intake.LAST_REPLIES_S`.
    """
    for name, value in (constants or {}).items():
        module, _, constant = name.rpartition(".")
        setattr(import_module(f"braggstream.{module}"), constant, value)
    if move_after is not None:
        local.make_watchers = lambda setup, run, say: [Mover(move_after)]
    if rules is not None:
        cell_watcher.RULES = tuple(rules)
    if asapo is not None:
        source = AsapoSourceSettings(**{**asapo, "service": AsapoServiceSettings(**asapo["service"])})
    elif zmq is None:
        source = FileSourceSettings(list_file="-")
        local.open_frames = lambda source, geometry, start: named_frames(names, start)
    else:
        source = ZmqSourceSettings(**{**zmq, "subscribe": tuple(zmq.get("subscribe", ()))})
    return local.run_session(
        empty_geometry(geometry),
        Settings(
            frame=FrameSettings(max_message_bytes=1 << 24),
            indexing=IndexingSettings(methods=("asdf",), find_cell=rules is not None),
        ),
        source,
        OutputSettings(stream_file=str(chunks), **(output or {})),
        RunSettings(**(run or {})),
        processor="session_fakes.fake_processor:FakeProcessor",
        sink=ChunkFile(chunks),
    )


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1], **json.loads(sys.argv[2])))
    except BraggstreamError as error:
        print(f"indexamajig: {error}", file=sys.stderr)
        sys.exit(1)
