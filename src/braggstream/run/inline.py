"""Process frames in this process, one after the other: the reference for other ways of running."""

from collections.abc import Iterable, Iterator

from braggstream.formats.wire import Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.errors import FrameError
from braggstream.model.geometry import Geometry
from braggstream.model.result import FrameResult
from braggstream.model.settings import OutputSettings, Settings
from braggstream.run.processor import FrameProcessor, Work


def process_frames(
    geometry: Geometry, settings: Settings, frames: Iterable[Work], adjustments: Adjustments | None = None
) -> Iterator[FrameResult | FrameError]:
    """Process frames in the order given.

    Parameters
    ----------
    geometry, settings
        What the frames look like, and what is done with them.
    frames : iterable of FileSlot or Message
        The frames, not yet read.
    adjustments
        What a session has learned, to be applied to all of them.

    Yields
    ------
    FrameResult or FrameError
        One for each frame: what was found, or why nothing could be.
    """
    processor = FrameProcessor(
        Setup(processor="", geometry=geometry, settings=settings, output=OutputSettings(stream_file=""))
    )
    processor.adjust(adjustments or Adjustments())
    for work in frames:
        try:
            yield processor.find(processor.load(work))
        except FrameError as error:
            yield error
