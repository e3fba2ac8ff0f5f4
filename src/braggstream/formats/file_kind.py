"""What is no file that frames could be in: to open a pipe is to wait for its other end, perhaps for ever."""

from pathlib import Path

from braggstream.model.errors import FileError


def check_is_file(name: str) -> None:
    """Raise `FileError` for a pipe, a socket or a device; what is missing is told where it is opened."""
    path = Path(name)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileError(f"{name}: is a pipe, a socket or a device, expected a file")
