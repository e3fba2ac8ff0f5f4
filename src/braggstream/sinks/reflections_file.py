"""The columnar cache of a session: crystals and reflections, written beside the stream file in whole batches.

The parent process writes it, as it writes the stream file.  A batch is written when it is large enough, or at the
first chance after a second: that is the most that a session which is killed leaves out of it (the stream file has
it).
"""

from errno import EDQUOT, ENOSPC
from time import monotonic

from braggstream.formats.columns import (
    END_OF_STREAM,
    batch_bytes,
    is_without_batches,
    observation_schema,
    schema_bytes,
    whole_length,
)
from braggstream.formats.observation_record import decode_observations
from braggstream.formats.replaced_file import Say, say_on_stderr
from braggstream.formats.wire import WireError
from braggstream.model.errors import BraggstreamError, UserError
from braggstream.model.observations import Observations, joined
from braggstream.sinks.piece_file import PieceFile, PieceForm

BATCH_CRYSTALS = 512
FULL = (ENOSPC, EDQUOT)
"""What the system says where there is no room, now."""
LONGEST_WAIT_S = 1.0
WHAT = "reflections (--reflections-out)"


class ReflectionsFile:
    """Gathers what workers send and writes it batch by batch."""

    def __init__(
        self,
        name: str,
        panel_names: tuple[str, ...],
        audit: str,
        *,
        goes_on: bool = False,
        say: Say = say_on_stderr,
    ) -> None:
        """Open the file; raises `UserError` where it cannot be written, or gone on with, or another run writes it.

        An earlier file is not touched before there is a batch; then it is kept.
        """
        self._panel_names = panel_names
        self._schema = observation_schema(panel_names, audit)
        self._held: list[Observations] = []
        self._n_held = 0
        self._since = 0.0
        form = PieceForm(
            head=schema_bytes(self._schema),
            holds_pieces=lambda _file: not is_without_batches(name),
            whole_length=lambda _file: whole_length(name, self._schema),
        )
        self._file = PieceFile(name, WHAT, goes_on=goes_on, form=form, say=say)

    def write(self, record: bytes) -> None:
        """Take what a worker sent of a frame; raises `OSError` where it cannot be written."""
        try:
            block = decode_observations(record, self._panel_names)
        except WireError as error:
            raise BraggstreamError(str(error)) from error
        # What is held goes first: where that fails, this record comes again.
        if self._n_held >= BATCH_CRYSTALS or monotonic() >= self.deadline():
            self.flush()
        if not self._held:
            self._since = monotonic()
        self._held.append(block)
        self._n_held += block.n_crystals

    def deadline(self) -> float:
        """Give the time when what is held has to be written [s, monotonic]; infinite where nothing is."""
        return self._since + LONGEST_WAIT_S if self._held else float("inf")

    def turn(self) -> None:
        """Write what has been held for long; where the disk is full, that is tried again."""
        if monotonic() < self.deadline():
            return
        try:
            self.flush()
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._since = monotonic()

    def flush(self) -> None:
        """Write what is held; raises `OSError`."""
        if self._held:
            self._file.write(batch_bytes(joined(self._held), self._schema))
            self._held, self._n_held = [], 0

    def close(self) -> None:
        """Write what is held, and the mark of the end; raises `UserError` where it cannot be written."""
        try:
            self.flush()
            self._file.conclude()
            self._file.end(END_OF_STREAM)
        except OSError as error:
            raise UserError(f"cannot write {WHAT}: {error.strerror}", path=error.filename) from None
        finally:
            self._file.close()
