"""`braggstream picture`: process one frame of a file and draw it."""

import sys
from collections.abc import Iterator, Sequence

from braggstream.cli.indexamajig import understand
from braggstream.cli.kernel_progress import warm_up_telling
from braggstream.cli.option import option
from braggstream.cli.option_parser import Program, parse_beside
from braggstream.formats.wire import Setup
from braggstream.model.errors import FrameError, UserError
from braggstream.model.frame import FileSlot, Frame
from braggstream.model.result import FrameResult
from braggstream.model.settings import FileSourceSettings, OutputSettings
from braggstream.picture import draw
from braggstream.run.local import open_frames
from braggstream.run.processor import FrameProcessor

PROGRAM = Program(
    name="braggstream picture",
    usage="braggstream picture --png=FILE [--event=EVENT] -i FILE -g FILE [options of indexamajig]",
    description="Process frames as indexamajig does, with the same options, and draw one of them: "
    "the one that --event names, else the first that is indexed, else the first.",
    syntax_error=2,
)
OWN = {
    "Picture": (
        option("--png", "text", "the picture", argument="FILE"),
        option("--event", "text", "the frame, such as //3", argument="EVENT"),
    )
}


def run(words: Sequence[str]) -> int:
    """Run `braggstream picture` with the words after its name; gives the exit status."""
    chosen, rest = parse_beside(words, OWN, program=PROGRAM)
    if chosen["png"] is None:
        raise UserError("a picture to write is needed: give it with --png=FILE")
    session = understand([*rest, "-o", "/dev/null"])
    if not isinstance(session.source, FileSourceSettings):
        raise UserError("pictures are made of frames in files: give a list with -i")
    setup = Setup(
        processor="", geometry=session.geometry, settings=session.settings, output=OutputSettings(stream_file="")
    )
    slots = open_frames(session.source, session.geometry, session.run.serial_start)
    found = _choose(_processed(FrameProcessor(setup), slots, chosen["event"]))
    if found is None:
        place = f" at event {chosen['event']}" if chosen["event"] else ""
        raise UserError(f"no frame could be processed{place}")
    draw(*found).save(chosen["png"])
    frame, result = found
    name = f"{frame.identity.filename} {frame.identity.event}"
    print(f"{chosen['png']}: {name}, {len(result.peaks)} peaks, {len(result.crystals)} crystals")
    return 0


def _processed(
    processor: FrameProcessor, slots: Iterator[FileSlot], event: str | None
) -> Iterator[tuple[Frame, FrameResult]]:
    """Give the frames in question with what was found; those that cannot be loaded are told."""
    warmed: set[str] = set()
    for slot in slots:
        if event is None or slot.event == event:
            try:
                frame = processor.load(slot)
                if frame.pixels.dtype.name not in warmed:
                    warmed.add(frame.pixels.dtype.name)
                    warm_up_telling(processor, frame.pixels.dtype.name)
                yield frame, processor.find(frame)
            except FrameError as error:
                print(f"{slot.filename} {slot.event}: {error}", file=sys.stderr)


def _choose(frames: Iterator[tuple[Frame, FrameResult]]) -> tuple[Frame, FrameResult] | None:
    """Choose the first indexed frame, else the first."""
    first: tuple[Frame, FrameResult] | None = None
    for found in frames:
        if found[1].crystals:
            return found
        first = first or found
    return first
