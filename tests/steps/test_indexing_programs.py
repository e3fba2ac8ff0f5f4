"""Indexing by other programs: what they are given, what they answer, and what becomes of those that do not."""

import os
import signal
import subprocess

import numpy as np
import pytest

from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.frame import Message
from braggstream.model.settings import IndexingSettings
from braggstream.run.processor import outcome_of
from braggstream.simulate.lattices import compare
from braggstream.steps.indexing import make_lattice_finder
from braggstream.steps.indexing.external import dirax, felix, mosflm, symmetry, xds
from braggstream.steps.indexing.external.descendants import adopt_orphans, end_children, end_marked
from braggstream.steps.indexing.external.program import ExternalProgram, end_left_behind
from session_fakes.session_process import eventually
from steps import stand_in_programs as stand_in
from steps.still_frames import lattice_spots, random_rotation, random_spots, view_of

CELL = UnitCell(a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", unique_axis="c")
NAMES = tuple(stand_in.SCRIPTS)


@pytest.fixture
def still():
    rng = np.random.default_rng(12)
    axes = CELL.reciprocal_axes() @ random_rotation(rng).T
    return axes, view_of(lattice_spots(axes, "P", rng, n=80))


@pytest.fixture
def installed(tmp_path, monkeypatch, still):
    """Install stand-ins that know the still's lattice."""

    def install(name, script=None, **facts):
        axes, _ = still
        truth = {"reciprocal": axes.tolist(), "direct": np.linalg.inv(axes).T.tolist(), "symbol": "P4", **facts}
        return stand_in.install(tmp_path / "bin", name, script or stand_in.SCRIPTS[name], truth)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "scratch").mkdir()
    return install


def finder(tmp_path, name, **more):
    settings = {"target_cell": CELL, "scratch": str(tmp_path / "scratch"), "retry": False, **more}
    return make_lattice_finder(IndexingSettings(methods=(name,), **settings))


@pytest.mark.parametrize("name", NAMES)
def test_protocols_there_and_back(name, installed, tmp_path, still):
    axes, view = still
    installed(name)
    find = finder(tmp_path, name)
    found = find(view)
    assert found.warnings == () and found.indexed_by == name
    (crystal,) = found.crystals
    assert compare(axes, crystal.reciprocal_axes).misorientation < 0.1
    assert crystal.lattice_type == "tetragonal"
    # Another frame is another lattice, and nothing of the first one's files is left.
    assert not find(view_of(random_spots(np.random.default_rng(3), 60))).crystals
    assert not find(view_of(np.zeros((0, 3)))).crystals
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("script", ["CRASHES", "GARBAGE"])
def test_crashes_and_garbage_are_frames_without_a_lattice(name, script, installed, tmp_path, still):
    installed(name, getattr(stand_in, script))
    found = finder(tmp_path, name, retry=True)(still[1])
    assert not found.crystals
    if script == "CRASHES":
        assert found.warnings and all(line == f"{name} died with signal 11" for line in found.warnings)
    assert list((tmp_path / "scratch").iterdir()) == []


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("name", NAMES)
def test_a_program_that_hangs_is_killed_with_what_it_started(name, installed, tmp_path, still):
    installed(name, stand_in.HANGS)
    find = finder(tmp_path, name, retry=True)
    program = find._indexers[name].program
    program._timeout_s = 5.0  # It has to get as far as to hang.
    found = find(still[1])
    # Once a frame, however many attempts are allowed.
    assert found.warnings == (f"{name} was killed after 5 s",)
    pids = [int(pid) for pid in (tmp_path / "bin" / "pids").read_text().split()]
    eventually(lambda: not any(map(is_running, pids)))
    assert list((tmp_path / "scratch").iterdir()) == []
    assert find(still[1]).warnings == found.warnings


def in_a_child(work):
    """Do something in a forked process; gives its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


@pytest.mark.parametrize("way", ["session", "daemon"])
@pytest.mark.parametrize("ends", ["hangs", "ends"])
def test_what_leaves_the_group_of_a_program_is_ended_too(way, ends, installed, tmp_path):
    """A grandchild in a session of its own; and one whose parent has ended before, without an environment."""
    installed("xds", stand_in.ESCAPES, way=way, ends=ends)
    marks = tmp_path / "bin" / "pids"

    def work():
        adopt_orphans()
        program = ExternalProgram(
            "xds", scratch=str(tmp_path / "scratch"), timeout_s=60.0 if ends == "ends" else 12.0
        )
        program.run([], {})
        if any(is_running(int(pid)) for pid in marks.read_text().split()):
            os._exit(3)

    worker = in_a_child(work)
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0
    assert len(marks.read_text().split()) == 2


@pytest.mark.parametrize("way", ["session", "daemon"])
def test_what_has_escaped_does_not_outlive_a_worker_that_is_killed(way, installed, tmp_path):
    """The process that forks workers adopts it."""
    installed("xds", stand_in.ESCAPES, way=way, ends="hangs")
    marks = tmp_path / "bin" / "pids"

    def work():
        adopt_orphans()
        ExternalProgram("xds", scratch=str(tmp_path / "scratch")).run([], {})

    def serve():
        adopt_orphans()
        worker = in_a_child(work)
        eventually(lambda: marks.exists() and len(marks.read_text().split()) == 2)
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        end_children()
        if any(is_running(int(pid)) for pid in marks.read_text().split()):
            os._exit(3)

    assert os.waitstatus_to_exitcode(os.waitpid(in_a_child(serve), 0)[1]) == 0


def test_programs_bear_the_mark_of_their_session(installed, tmp_path):
    """All processes of ours were killed at once: what is left is found by its environment."""
    installed("xds", stand_in.ESCAPES, way="session", ends="hangs")
    scratch, marks = str(tmp_path / "scratch"), tmp_path / "bin" / "pids"
    worker = in_a_child(lambda: ExternalProgram("xds", scratch=scratch).run([], {}))
    eventually(lambda: marks.exists() and len(marks.read_text().split()) == 2)
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    program, escaped = map(int, marks.read_text().split())
    eventually(lambda: not is_running(program))
    end_marked(scratch + "-of-another-session")
    assert is_running(escaped)
    end_marked(scratch)
    eventually(lambda: not is_running(escaped))


def test_children_of_another_kind_are_left_alone_where_no_orphans_are_adopted(installed, tmp_path):
    """In a notebook: only what the program has started is ended."""
    installed("xds", "\n")
    with subprocess.Popen(["sleep", "1000"]) as other:
        ExternalProgram("xds", scratch=str(tmp_path / "scratch")).run([], {})
        end_children()
        assert other.poll() is None
        other.kill()


def test_temporary_folder_without_room_fails_the_frame_and_is_no_bug(capfd):
    """`/dev/full` is what a full disk is like."""

    class Writing:
        def process(self, work):
            with open("/dev/full", "w") as file:
                file.write("x")

    outcome = outcome_of(Writing(), Message(payload=b"", serial=3))
    assert (outcome.status, outcome.reason) == ("failed", "system")
    assert outcome.complaint == "No space left on device"
    assert capfd.readouterr().err == ""


def test_output_without_end_is_cut(installed, tmp_path, still):
    installed("mosflm", stand_in.ENDLESS)
    found = finder(tmp_path, "mosflm")(still[1])
    assert not found.crystals and len(found.warnings) <= 1
    installed("dirax", stand_in.ENDLESS)
    find = finder(tmp_path, "dirax")
    find._indexers["dirax"].program._timeout_s = 2.0
    assert not find(still[1]).crystals


def test_nothing_outlives_a_worker_that_is_killed(installed, tmp_path):
    installed("xds", stand_in.HANGS)
    scratch = tmp_path / "scratch"
    pid = os.fork()
    if pid == 0:
        try:
            ExternalProgram("xds", scratch=str(scratch)).run([], {})
        finally:
            os._exit(0)
    marks = tmp_path / "bin" / "pids"
    eventually(lambda: marks.exists() and len(marks.read_text().split()) == 2)
    program, child = (int(number) for number in marks.read_text().split())
    (folder,) = scratch.iterdir()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    eventually(lambda: not is_running(program))
    assert is_running(child) and folder.is_dir()
    end_left_behind(str(scratch), pid)
    eventually(lambda: not is_running(child))
    assert list(scratch.iterdir()) == []


def test_a_program_that_is_not_there_is_told_with_the_path(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere/bin")
    for name in NAMES:
        with pytest.raises(UserError, match=rf"--indexing={name}: there is no program '{name}'.*PATH=/nowhere/bin"):
            make_lattice_finder(IndexingSettings(methods=(name,), target_cell=CELL))


def test_mosflm_answers_with_another_lattice(installed, tmp_path, still):
    installed("mosflm", answer="P222")
    assert not finder(tmp_path, "mosflm", check_cell=False)(still[1]).crystals
    installed("mosflm", answer="P422")
    assert finder(tmp_path, "mosflm")(still[1]).crystals


def test_xds_needs_twenty_five_peaks_and_felix_a_cell(installed, tmp_path, still):
    installed("xds")
    installed("felix")
    few = still[1].take(np.arange(24))
    assert not finder(tmp_path, "xds")(few).crystals
    assert finder(tmp_path, "xds")(still[1].take(np.arange(25))).crystals
    with pytest.raises(UserError, match="--indexing=felix needs a unit cell"):
        finder(tmp_path, "felix", target_cell=None)


@pytest.mark.parametrize(
    ("lattice_type", "centring", "axis", "symbol", "number"),
    [
        ("triclinic", "P", "*", "P1", 1),
        ("monoclinic", "P", "b", "P121", 3),
        ("monoclinic", "C", "b", "C121", 5),
        ("monoclinic", "P", "a", "P211", 3),
        ("orthorhombic", "I", "*", "I222", 23),
        ("tetragonal", "P", "c", "P4", 75),
        ("tetragonal", "I", "c", "I4", 79),
        ("hexagonal", "P", "c", "P6", 143),
        ("hexagonal", "H", "c", "H3", 146),
        ("rhombohedral", "R", "*", "R3", None),
        ("cubic", "F", "*", "F23", 196),
    ],
)
def test_names_of_lattices(lattice_type, centring, axis, symbol, number):
    cell = UnitCell(
        a=10,
        b=10,
        c=10,
        alpha=90,
        beta=90,
        gamma=90,
        lattice_type=lattice_type,
        centring=centring,
        unique_axis=axis,
    )
    assert symmetry.group_symbol(cell) == symbol
    assert symmetry.lattice_of_symbol(symbol) == (lattice_type, centring)
    assert symmetry.group_number(cell) == number
    for found in ("P 4 2 2", "P4", "P41212"):
        assert symmetry.lattice_of_symbol(found) == ("tetragonal", "P")
    assert symmetry.lattice_of_symbol("") is None and symmetry.lattice_of_symbol("Q4") is None


def test_broken_answers():
    assert xds.read_result("") is None
    assert xds.read_result("COORDINATES OF UNIT CELL A-AXIS 1 2 3\n" * 3) is None
    same = "".join(f"COORDINATES OF UNIT CELL {axis}-AXIS 1 2 3\n" for axis in "ABC")
    assert xds.read_result(same) is None
    assert mosflm.read_matrix("1 2\n") is None
    assert mosflm.read_matrix("   0.00000000" * 3) is None
    assert felix.read_grains("1 " * 20) == [] and felix.read_grains("1 " * 21) == []
    assert dirax.read_cell("a 1 2 3\nb 4 5\nc 7 8 9\n") is None
    assert dirax.read_choices("acl nH\n 1 5 0.1\n 2 9 0.1\n bad 4 4\n 3 7 0.2 1e3\n") == [2, 3, 1]
