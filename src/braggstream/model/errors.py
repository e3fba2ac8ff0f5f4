"""The exception tree.

    BraggstreamError
      UserError          a wrong option, file or geometry: one line, an exit code, no traceback
      FrameError         this frame only: recorded with its reason, the run goes on
        DecodeError        bytes that are no frame
        HeaderError        a value that the geometry asks for is missing or of the wrong type
        MismatchError      the frame does not fit the geometry
        FileError          the frame's file is missing or unreadable
        MissingDataError   the service that announced the frame cannot give its bytes
      SourceError        the source of frames
        SourceLost         it broke and cannot be rebuilt
      MissingExtraError  an optional library is not installed (a UserError that names the extra)

Anything outside the tree is a bug and ends the program with a traceback.
"""

from pathlib import Path


class BraggstreamError(Exception):
    """Base of every error that this package raises on purpose."""


class UserError(BraggstreamError):
    """A wrong option, file or geometry, told in one line that says what was expected."""

    def __init__(self, message: str, *, path: str | Path | None = None, line: int | None = None) -> None:
        place = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        super().__init__(place + message)
        self.path = path
        self.line = line


class MissingExtraError(UserError):
    """An optional library is needed and not installed."""

    def __init__(self, *, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {library}: install it with  pip install 'braggstream[{extra}]'")


class FrameError(BraggstreamError):
    """This frame cannot be processed; the run goes on.

    `reason` is the short code under which the ledger counts it.
    """

    reason = "frame"
    contents = ""
    """What the frame's file or message holds instead, in one line, where somebody looked."""


class DecodeError(FrameError):
    """The bytes are not a frame of the expected format."""

    reason = "decode"


class HeaderError(FrameError):
    """A header that the geometry asks for is missing, or is no number."""

    reason = "header"


class MismatchError(FrameError):
    """The frame does not fit the geometry (shape, dtype, dimensions, event)."""

    reason = "geometry"


class FileError(FrameError):
    """The frame's file is missing or unreadable."""

    reason = "file"


class MissingDataError(FrameError):
    """A message service announced the frame, and cannot give its bytes."""

    reason = "data"


class SourceError(BraggstreamError):
    """Something is wrong with the source of frames itself."""


class SourceLost(SourceError):
    """The source broke and cannot be rebuilt."""
