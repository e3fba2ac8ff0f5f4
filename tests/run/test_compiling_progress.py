"""While kernels are compiled it is told how far that is; where they come from the cache nothing is said."""

import pytest

from braggstream.cli import kernel_progress
from braggstream.formats.wire import CompilingNote, Setup, WarmNote, decode_note, encode
from braggstream.model.settings import OutputSettings, Settings
from braggstream.run import fork_server
from braggstream.run.fork_server import ForkServer
from braggstream.run.supervisor import Supervisor


class Processor:
    """Four modules of kernels, those from the second on have to be compiled, or none."""

    def __init__(self, n_missing):
        self.n_missing, self.n = n_missing, 0

    def n_compiled(self):
        return self.n

    def warm_up(self, pixel_types, after_each):
        assert tuple(pixel_types) == ("uint16",)
        for number in range(4):
            self.n += number >= 4 - self.n_missing
            after_each(number + 1, 4)


@pytest.mark.parametrize(("n_missing", "expected"), [(0, []), (3, [2, 3, 4])])
def test_programs_that_compile_themselves(monkeypatch, capsys, n_missing, expected):
    monkeypatch.setattr(kernel_progress, "INTERVAL_S", -1.0)
    kernel_progress.warm_up_telling(Processor(n_missing), "uint16")
    said = capsys.readouterr().err.splitlines()
    assert said == [f"Compiling kernels, once: {n} of 4 modules are ready." for n in expected]


@pytest.mark.parametrize(("n_missing", "expected"), [(0, []), (3, [(2, 4), (3, 4), (4, 4)])])
def test_the_fork_server_tells_and_not_too_often(monkeypatch, n_missing, expected):
    notes = []
    server = ForkServer.__new__(ForkServer)
    server._processor = Processor(n_missing)
    server._tell = lambda note: notes.append(decode_note(encode(note)))
    monkeypatch.setattr(fork_server, "PROGRESS_S", -1.0)
    server._warm(("uint16",), "uint16", 0.0)
    assert [(note.n_ready, note.n_all) for note in notes if isinstance(note, CompilingNote)] == expected
    assert isinstance(notes[-1], WarmNote) and notes[-1].n_compiled == n_missing
    notes.clear()
    server._processor = Processor(n_missing)
    monkeypatch.setattr(fork_server, "PROGRESS_S", 3600.0)
    server._warm(("uint16",), "uint16", 0.0)
    assert len(notes) == 1 + bool(expected)


def test_the_parent_says_it(tmp_path):
    from braggstream.formats.geom import parse_geometry
    from pipeline.test_setup_doubts import SOUND

    lines = []
    setup = Setup(
        processor="x", geometry=parse_geometry(SOUND), settings=Settings(), output=OutputSettings(stream_file="")
    )
    supervisor = Supervisor(setup=setup, memory=None, n_workers=0, frame_timeout_s=1.0, say=lines.append)
    supervisor._note(CompilingNote(n_ready=2, n_all=40))
    supervisor._note(CompilingNote(n_ready=17, n_all=40))
    supervisor._note(WarmNote(pixel_type="", n_compiled=12, seconds=61.0))
    assert lines == [
        "Kernels are not in the cache: compiling them, which takes up to some minutes, once.",
        "Compiling kernels: 17 of 40 modules are ready.",
        "Kernels ready after 61.0 s (12 compiled).",
    ]
