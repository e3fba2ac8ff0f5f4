"""The file of Millepede records: whole records only.

The parent process writes it, as it writes the stream file: a worker that is killed takes no half record with it.
"""

from pathlib import Path

from braggstream.formats.millepede import whole_length
from braggstream.formats.replaced_file import Say, say_on_stderr
from braggstream.model.errors import UserError
from braggstream.sinks.piece_file import PieceFile, PieceForm


def open_mille_file(name: str, *, goes_on: bool = False, say: Say = say_on_stderr) -> PieceFile:
    """Open the file, in a folder for its owner alone where there is none yet; raises `UserError`.

    An earlier file is not touched before there is a record; then it is kept, unless this one `goes_on` with it.
    """
    folder = Path(name).parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder (--mille-dir): {error.strerror}", path=str(folder)) from None
    form = PieceForm(whole_length=whole_length)
    return PieceFile(name, "Millepede records (--mille-file)", goes_on=goes_on, form=form, say=say)
