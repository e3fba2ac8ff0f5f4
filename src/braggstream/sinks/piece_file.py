"""A file that is written in whole pieces only, by one process at a time, and never at the cost of an earlier one.

What stands under the name is not touched before there is a first piece; then it is kept as `NAME.previous`.  A file
that is removed, replaced or cut short by something else while it is written is made whole again under its name.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from braggstream.formats.replaced_file import Say, place_of, say_on_stderr
from braggstream.model.errors import UserError
from braggstream.sinks.file_lock import is_under, open_locked
from braggstream.sinks.placed_files import copy_all, placed_anew, put_back, write_all

WITNESS_BYTES = 64
"""By its last bytes it is seen whether a file that has grown is the same still."""
LOOK_S = 1.0
"""The name is looked at so often; whether the file still has one, and its size, with each piece."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PieceForm:
    """What files of a kind look like."""

    head: bytes = b""
    """What stands before the first piece."""
    holds_pieces: Callable[[BinaryIO], bool] = lambda file: bool(file.seek(0, os.SEEK_END))
    """Whether a file holds more than its head: one that does not is nothing to keep."""
    whole_length: Callable[[BinaryIO], int] = lambda file: file.seek(0, os.SEEK_END)
    """Length up to the end of the last whole piece [bytes]; raises `UserError` where nothing can be added."""
    n_pieces: Callable[[BinaryIO, int, int], int] | None = None
    """Number of whole pieces between two places [bytes], where they can be told apart."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What should be found under the name of a file."""

    place: Path
    device: int
    inode: int
    length: int
    """Bytes that were written."""
    n_losses: int
    """How often something of it was lost."""


class PieceFile:
    """Each `write` puts a whole piece at the end of the file, or none of it."""

    def __init__(
        self,
        name: str,
        what: str,
        *,
        goes_on: bool = False,
        form: PieceForm | None = None,
        say: Say = say_on_stderr,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the file.

        Parameters
        ----------
        name, what
            The file, and what a user knows it as.
        goes_on
            Whether pieces are added to those that it holds; a torn one at its end is cut off.
        form
            What its pieces look like.
        say
            Is told what happens to it.
        begun
            Called when the file begins to be this run's own.

        Raises
        ------
        UserError
            The file cannot be written or gone on with, or another run writes it.
        """
        self._name = name
        self._form = form or PieceForm()
        self._say = say
        self._begun = begun
        self._place = place_of(name)
        self._descriptor = -1
        self._waits = False
        """Whether an earlier result stands under the name."""
        self._is_made = False
        """Whether there was nothing, or nothing to keep, under the name."""
        self._base = self._length = 0
        self._next_look = 0.0
        self._witness = b""
        self._n_losses = 0
        self._n_pieces = self._n_lost = 0
        self.standing: Standing | None = None
        """What should be under the name; None where there is nothing to be found, or nothing yet."""
        try:
            self._open(goes_on=goes_on)
        except OSError as error:
            self.close()
            raise UserError(f"cannot write {what}: {error.strerror or error}", path=name) from None
        except BaseException:
            self.close()
            raise

    # ---- what users call -----------------------------------------------------------------------------------

    def write(self, piece: bytes) -> None:
        """Write a piece; raises `OSError`, and then nothing of it stays in the file."""
        if self._waits:
            self._take_place(piece)
        else:
            self.look()
            self._put(piece)
        self._n_pieces += 1

    def end(self, mark: bytes) -> None:
        """Write what stands at the end, which is no piece; an earlier result is left alone; raises `OSError`."""
        if not self._waits:
            self._put(mark)

    def look(self, *, at_name: bool = False) -> None:
        """See whether the file is whole and stands under its name, and make it so; `at_name`: also just now.

        Raises `OSError` where that is not possible, and `UserError` where the name is another run's by now.
        """
        if self.standing is None or self._place is None:
            return
        now = monotonic()
        try:
            found = os.fstat(self._descriptor)
        except OSError as error:
            if error.errno != errno.ESTALE:  # What NFS says of a file that another machine has removed.
                raise
            self._mend(is_cut=True, is_there=False, is_gone=True)
            return
        if found.st_size > self._length:
            self._heed_growth(found.st_size)
            return
        is_cut = found.st_size < self._length
        if found.st_nlink and not is_cut and now < self._next_look and not at_name:
            return
        try:
            is_there = bool(found.st_nlink) and is_under(self._place, found)
        except OSError:
            if at_name:
                raise
            is_there = True  # Nobody can tell, now; it is asked again.
        if is_cut or not is_there:
            self._mend(is_cut=is_cut, is_there=is_there)
        self._next_look = now + LOOK_S

    def take_lost(self) -> int:
        """Give the number of pieces that this run has written and that are gone, since this was last asked."""
        n_lost, self._n_lost = self._n_lost, 0
        return n_lost

    def conclude(self) -> None:
        """Look for the last time; raises `OSError` where what was written is not under its name: all is lost."""
        try:
            self.look(at_name=True)
        except (OSError, UserError):
            self._n_lost, self._n_pieces = self._n_lost + self._n_pieces, 0
            raise

    def withdraw(self) -> None:
        """Take the file away again where this run has made it, and put nothing into it."""
        is_empty = self._is_made and not self._n_pieces and self.standing is not None and self._place is not None
        if is_empty and self._place is not None and is_under(self._place, os.fstat(self._descriptor)):
            self._place.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file; raises `OSError` where the system could not keep what was written."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self.standing = None
            os.close(descriptor)

    # ---- beginning -----------------------------------------------------------------------------------------

    def _open(self, *, goes_on: bool) -> None:
        if self._place is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._name, flags, 0o666)
            self._begin()
            return
        opened = open_locked(self._place, makes=True)
        assert opened is not None
        self._descriptor, is_locked = opened
        if not is_locked:
            self._say(f"{self._name}: there are no locks here: take care that no other run writes this file")
        size = os.fstat(self._descriptor).st_size
        if goes_on and size:
            with self._reading() as file:
                self._base = self._length = self._form.whole_length(file)
            if self._length < size:
                os.ftruncate(self._descriptor, self._length)
            self._stand()
            self._begun()
            return
        with self._reading() as file:
            self._waits = bool(size) and self._form.holds_pieces(file)
        if self._waits and not os.access(self._place.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "none can be made in its folder, and this one is not overwritten")
        if not self._waits:
            self._is_made = True
            os.ftruncate(self._descriptor, 0)
            self._begin()

    def _begin(self) -> None:
        """Begin with the head."""
        if self._place is not None:
            self._stand()
        if self._form.head:
            self._put(self._form.head)
        self._base = self._length
        self._begun()

    def _take_place(self, piece: bytes) -> None:
        """Begin with head and first piece in a new file, which takes the name; what had it is kept."""
        assert self._place is not None
        earlier = self._claim()
        try:
            descriptor = placed_anew(self._place, self._form.head + piece, self._say)
        except OSError as error:
            error.filename = self._name
            raise
        finally:
            if earlier is not None:
                os.close(earlier)
        self._adopt(descriptor)
        self._witness = piece[-WITNESS_BYTES:]
        self._base, self._waits = len(self._form.head), False
        self._begun()

    def _claim(self) -> int | None:
        """Lock what stands under the name, where that is another file than ours; raises `UserError`."""
        assert self._place is not None
        with suppress(OSError):
            if is_under(self._place, os.fstat(self._descriptor)):
                return None
        opened = open_locked(self._place, makes=False)
        return None if opened is None else opened[0]

    # ---- writing -------------------------------------------------------------------------------------------

    def _put(self, piece: bytes) -> None:
        size = os.fstat(self._descriptor).st_size
        try:
            write_all(self._descriptor, piece)
        except OSError as error:
            self._take_back(size)
            error.filename = self._name
            raise
        self._length = size + len(piece)
        self._witness = piece[-WITNESS_BYTES:]
        if self.standing is not None:
            self._stand()

    def _take_back(self, size: int) -> None:
        """Cut off what was written of a piece; a pipe or a device cannot."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:
            return

    def _stand(self) -> None:
        assert self._place is not None
        if self.standing is None:
            found = os.fstat(self._descriptor)
            self._device, self._inode = found.st_dev, found.st_ino
        self.standing = Standing(self._place, self._device, self._inode, self._length, self._n_losses)

    def _adopt(self, descriptor: int) -> None:
        """Go on with another file, which stands under the name."""
        os.close(self._descriptor)
        self._descriptor, self._length = descriptor, os.fstat(descriptor).st_size
        self.standing = None
        self._stand()

    def _reading(self) -> BinaryIO:
        return os.fdopen(os.dup(self._descriptor), "rb")

    # ---- mending -------------------------------------------------------------------------------------------

    def _heed_growth(self, size: int) -> None:
        """Go on behind what something else has added; where it has overwritten the file, begin anew."""
        if os.pread(self._descriptor, len(self._witness), self._length - len(self._witness)) != self._witness:
            self._mend(is_cut=True, is_there=False, is_gone=True, is_foreign=True)
            return
        self._say(f"{self._name}: something else writes to this file, too; going on behind that.")
        self._length = size
        self._stand()

    def _mend(self, *, is_cut: bool, is_there: bool, is_gone: bool = False, is_foreign: bool = False) -> None:
        """Make the file whole, as far as there is something left of it, and have it under its name; say so."""
        n_before, n_losses, told = self._n_lost, self._n_losses, "cut short"
        try:
            if is_gone:
                self._lose_all()
            elif is_cut:
                self._cut_to_whole()
            if not is_there:
                told = self._put_back(is_foreign=is_foreign)
        except OSError as error:
            error.filename = self._name
            raise
        n_lost = self._n_lost - n_before
        what = f"{n_lost} pieces that this run had written are gone" if n_lost else "nothing of this run is gone"
        if self._form.n_pieces is None:
            what = "what is left of it stays"
        if n_losses == self._n_losses:
            what = "it is written anew, whole"
        self._say(f"{self._name} was {told} by something else; {what}; going on.")

    def _cut_to_whole(self) -> None:
        """Go on behind the last whole piece that is left."""
        with self._reading() as file:
            size = file.seek(0, os.SEEK_END)
            kept = self._whole_length(file) if size > len(self._form.head) else 0
            count = self._form.n_pieces
            n_left = self._n_pieces if count is None else count(file, min(self._base, kept), kept)
        os.ftruncate(self._descriptor, kept)
        self._n_lost += max(0, self._n_pieces - n_left)
        self._n_pieces = min(self._n_pieces, n_left)
        self._n_losses += 1
        self._length, self._witness = kept, b""
        if not kept:
            self._put(self._form.head)
            self._base = self._length
        self._base = min(self._base, self._length)
        self._stand()

    def _lose_all(self) -> None:
        """Begin anew: nothing of the file can be read any more."""
        self._n_lost, self._n_pieces = self._n_lost + self._n_pieces, 0
        self._n_losses += 1
        self._base = self._length = 0
        self._witness = b""

    def _whole_length(self, file: BinaryIO) -> int:
        """Give the length up to the last whole piece, 0 where so much is gone that nothing can be added."""
        try:
            return self._form.whole_length(file)
        except UserError:
            return 0

    def _put_back(self, *, is_foreign: bool) -> str:
        """Copy what was written into a new file under the name; what stands there meanwhile is kept."""
        assert self._place is not None
        other = self._claim()
        try:
            is_taken = is_foreign or other is not None
            descriptor = put_back(self._place, self._fill, is_taken=is_taken, say=self._say)
        finally:
            if other is not None:
                os.close(other)
        self._adopt(descriptor)
        self._base = self._base or len(self._form.head)
        return "replaced" if is_taken else "removed"

    def _fill(self, descriptor: int) -> None:
        if self._length:
            copy_all(self._descriptor, descriptor, self._length)
        else:
            write_all(descriptor, self._form.head)
