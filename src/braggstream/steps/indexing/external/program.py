"""Run another program for one frame: in a folder of its own, for a limited time, and with nothing left behind.

The program is killed when its time is up, and with it all that it has started, which may also still run when it has
ended itself; by the kernel and the fork server where the worker dies.  No shell is involved.
"""

import contextlib
import ctypes
import os
import resource
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from braggstream.model.errors import UserError
from braggstream.steps.indexing.external.descendants import MARK, end_children, kill_descendants

TIMEOUT_S = 30.0
"""Programs that take longer on one frame are killed."""
MAX_OUTPUT_BYTES = 16 << 20
"""Most of a file that is read, and four times as much is the most that a program can write into one."""
SAID = "said.txt"
"""What the program wrote to its standard output and error."""
_GROUP = ".group"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ExternalProgram:
    """A program on the search path."""

    def __init__(self, name: str, *, scratch: str | None, timeout_s: float = TIMEOUT_S) -> None:
        self.name = name
        self._path = find_program(name)
        self._scratch = scratch
        self._timeout_s = timeout_s
        self._complaints: list[str] = []
        self._is_too_slow = False

    def run(
        self,
        words: Sequence[str],
        files: Mapping[str, str | bytes],
        *,
        answers: str | None = None,
        results: Sequence[str] = (),
    ) -> dict[str, str]:
        """Run the program to its end.

        Parameters
        ----------
        words
            Its arguments.
        files
            Contents of the files that it finds in its folder.
        answers
            What it reads from standard input.
        results
            Files to read afterwards.

        Returns
        -------
        dict
            Text of each result that is there, and of what the program said as `said.txt`; empty where it was
            killed.
        """
        with self.folder(files) as folder, (folder / SAID).open("wb") as said:
            if answers is not None:
                (folder / "answers.txt").write_text(answers)
            with self._input(folder, answers) as source, self.started(folder, words, source, said) as pid:
                if not self.wait(pid):
                    return {}
            return {name: text for name in (*results, SAID) if (text := _read(folder / name)) is not None}

    def complaints(self) -> tuple[str, ...]:
        """Take what went wrong since the last time, one line each."""
        taken, self._complaints = tuple(self._complaints), []
        return taken

    def may_try(self, *, thorough: bool) -> bool:
        """Whether to run it: not again on a frame for which it took too long; a first attempt is thorough."""
        self._is_too_slow = self._is_too_slow and not thorough
        return not self._is_too_slow

    @property
    def timeout_s(self) -> float:
        """Time for one frame [s]."""
        return self._timeout_s

    def time_is_up(self) -> None:
        """Keep in mind that the program took too long."""
        self._is_too_slow = True
        self.complain(f"was killed after {self._timeout_s:g} s")

    def complain(self, what: str) -> None:
        """Keep a line about what went wrong."""
        self._complaints.append(f"{self.name} {what}")

    @contextmanager
    def folder(self, files: Mapping[str, str | bytes]) -> Iterator[Path]:
        """Make a folder with these files, which is gone afterwards."""
        folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}.", dir=self._scratch))
        try:
            for name, content in files.items():
                (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def started(self, folder: Path, words: Sequence[str], source: Any, said: Any) -> Iterator[int]:
        """Start the program and give its process id; it and all of its group are ended afterwards."""
        process = subprocess.Popen(
            [self._path, *words],
            cwd=folder,
            stdin=source,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env={**os.environ, MARK: str(self._scratch)},
            preexec_fn=_prepare,  # noqa: PLW1509  (workers have no threads)
        )
        try:
            (folder / _GROUP).write_text(str(process.pid))
            yield process.pid
        finally:
            # Not yet waited for, so its number cannot belong to another process.
            kill_descendants(process.pid)
            _kill_group(process.pid)
            status = process.wait()
            end_children()
            if status < 0 and status != -signal.SIGKILL:
                self.complain(f"died with signal {-status}")

    def wait(self, pid: int) -> bool:
        """Wait until the program has ended; False where its time was up."""
        descriptor = os.pidfd_open(pid)
        try:
            ended, _, _ = select.select([descriptor], [], [], self._timeout_s)
        finally:
            os.close(descriptor)
        if not ended:
            self.time_is_up()
        return bool(ended)

    @contextmanager
    def _input(self, folder: Path, answers: str | None) -> Iterator["IO[bytes] | int"]:
        if answers is None:
            yield subprocess.DEVNULL
        else:
            with (folder / "answers.txt").open("rb") as file:
                yield file


def find_program(name: str) -> str:
    """Give the program's path; `UserError` where it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise UserError(
            f"--indexing={name}: there is no program '{name}' on the search path; PATH={os.environ.get('PATH', '')}"
        )
    return path


def end_left_behind(scratch: str, pid: int) -> None:
    """End what a dead worker's programs left: their process groups and folders; `pid` is the worker's."""
    for folder in Path(scratch).glob(f"{pid}.*"):
        group = _read(folder / _GROUP)
        if group is not None and group.isdecimal() and int(group) > 1:
            _kill_group(int(group))
        shutil.rmtree(folder, ignore_errors=True)


def _prepare() -> None:
    """In the child: die with the worker, hear all signals, write no endless files."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    most = 4 * MAX_OUTPUT_BYTES
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_OUTPUT_BYTES).decode("latin-1")
    except OSError:
        return None
