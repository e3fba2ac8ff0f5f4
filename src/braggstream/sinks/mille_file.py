"""The file of Millepede records: whole records only.

The parent process writes it, as it writes the stream file: a worker that is killed takes no half record with it.
"""

from pathlib import Path

from braggstream.model.errors import UserError
from braggstream.sinks.piece_file import PieceFile


def open_mille_file(name: str) -> PieceFile:
    """Open the file anew, in a folder for its owner alone where there is none yet; raises `UserError`."""
    folder = Path(name).parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder (--mille-dir): {error.strerror}", path=str(folder)) from None
    return PieceFile(name, "Millepede records (--mille-file)")
