"""The file of Millepede records: whole records only.

The parent process writes it, as it writes the stream file: a worker that is killed takes no half record with it.
"""

from pathlib import Path

from braggstream.model.errors import UserError
from braggstream.sinks.whole_pieces import WholeFile


def open_mille_file(name: str) -> WholeFile:
    """Open the file anew, in a folder for its owner alone where there is none yet; raises `UserError`."""
    folder = Path(name).parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder (--mille-dir): {error.strerror}", path=str(folder)) from None
    return WholeFile(name, "Millepede records (--mille-file)")
