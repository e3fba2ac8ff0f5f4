"""Looks for the frames of HDF5 files in a process of its own, which can be ended where the library does not return.

    python -m braggstream.sources.frame_search

reads a question a line from standard input (JSON: file, path and axes of the first panel) and answers with a line
for each place in the file, and an empty one at the end.  A damaged file may keep HDF5 in a loop, or crash it: that
costs this process, and the file.  While it is at work, whoever asks can be stopped.
"""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from braggstream.formats.events import NOT_A_FRAME
from braggstream.formats.hdf5_places import FramelessPlace, FramePlace, has_places, places_of
from braggstream.model.geometry import Geometry

MAX_SECONDS = 60.0
"""Processor time that may pass between two places of a file, their search in the library included [s]."""
ENDED_BY_CLOCK = -signal.SIGPROF


class FrameSearch:
    """Expands files into frames; the process that does it starts with the first file, and anew where it ends."""

    def __init__(self, geometry: Geometry, *, max_seconds: float = MAX_SECONDS) -> None:
        self._geometry = geometry
        self._max_seconds = max_seconds
        self._process: subprocess.Popen[str] | None = None
        self._is_closed = False

    def events(self, name: str) -> Iterator[str | FramelessPlace]:
        """Give the event ids of all frames of a file, as `expand_file` does."""
        if self._is_closed:
            return
        if not has_places(name, self._geometry):
            yield NOT_A_FRAME
            return
        for place in self._places(name):
            if isinstance(place, FramePlace):
                yield from place.events()
            else:
                yield place

    def close(self) -> None:
        """End the process, whatever it is doing; may be called by another thread than the one that asks."""
        self._is_closed = True
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
            _close_pipes(process)

    def _places(self, name: str) -> Iterator[FramePlace | FramelessPlace]:
        panel = self._geometry.panels[0]
        process = self._started()
        question = {"file": name, "data": panel.data, "dims": panel.dims, "seconds": self._max_seconds}
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # It has ended, or was closed by another thread.
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line == "\n":
                    return
                yield _read_place(json.loads(line))
        self._process = None
        process.wait()
        _close_pipes(process)
        if not self._is_closed:
            how = "does not come to an end with it" if process.returncode == ENDED_BY_CLOCK else "crashes over it"
            yield FramelessPlace(NOT_A_FRAME, f"{name}: cannot be searched for frames: HDF5 {how}; it is damaged")

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "braggstream.sources.frame_search"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="ascii",
                start_new_session=True,  # Signals of the terminal are for the one who asks.
            )
            if self._is_closed:
                self.close()
        return self._process


def _close_pipes(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()


def _read_place(fields: Any) -> FramePlace | FramelessPlace:
    if "complaint" in fields:
        return FramelessPlace(fields["event"], fields["complaint"])
    return FramePlace(tuple(fields["parts"]), tuple(fields["lengths"]))


def _written_place(place: FramePlace | FramelessPlace) -> dict[str, Any]:
    if isinstance(place, FramelessPlace):
        return {"event": place.event, "complaint": place.complaint}
    return {"parts": place.parts, "lengths": place.lengths}


def answer() -> None:
    """Answer questions until there are no more."""
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, question["seconds"])
        for place in places_of(question["file"], question["data"], tuple(question["dims"])):
            sys.stdout.write(json.dumps(_written_place(place)) + "\n")
            signal.setitimer(signal.ITIMER_PROF, question["seconds"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        answer()
