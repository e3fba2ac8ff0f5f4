"""Lists that tell which data set each frame belongs to (`--custom-split`): `FILENAME EVENT DATASET`."""

from dataclasses import dataclass
from pathlib import Path

from braggstream.formats.text_file import read_text_file
from braggstream.model.errors import UserError

MAX_BYTES = 1 << 30
EVENT_MARK = "//"
MAX_DATASETS = 1000


@dataclass(frozen=True, slots=True)
class CustomSplit:
    """Data sets by frame."""

    names: tuple[str, ...]
    """Names of the data sets, in the order in which they first stand in the file."""
    dataset: dict[tuple[str, str], int]
    """Number of the data set of each file name and event."""

    def of(self, filename: str, event: str) -> int:
        """Give the number of a frame's data set, -1 where it is in none."""
        return self.dataset.get((filename, event or EVENT_MARK), -1)


def read_custom_split(path: str | Path) -> CustomSplit:
    """Read a list of data sets; raises `UserError` with the line at fault.

    The words are separated by single blanks.  The last is the data set; the one before is the event if it holds
    `//`, or else belongs to the file name, and the event is `//`.
    """
    names: dict[str, int] = {}
    dataset: dict[tuple[str, str], int] = {}
    text = read_text_file(path, "list of data sets", max_bytes=MAX_BYTES)
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        frame, _, name = line.rstrip().rpartition(" ")
        filename, _, event = frame.rpartition(" ")
        if EVENT_MARK not in event or not filename:
            filename, event = frame, EVENT_MARK
        if not frame or not name or "/" in name:
            raise UserError("expected FILENAME EVENT DATASET, the data set without a slash", path=path, line=number)
        dataset[filename, event] = names.setdefault(name, len(names))
    if len(names) > MAX_DATASETS:
        raise UserError(f"{len(names)} data sets: expected at most {MAX_DATASETS}", path=path)
    return CustomSplit(tuple(names), dataset)
