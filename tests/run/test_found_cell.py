"""The unit cell found while a session runs: every hit is in the stream once, with what is known of it at last."""

import json
import re
import signal

import pytest

from braggstream.formats.cell import read_cell
from session_fakes.senders import Pusher
from session_fakes.session_process import SessionProcess, eventually

RULES = [(10, 0.6, 0)]
NEVER = [(10_000, 0.6, 0)]


def frames(n):
    """Hits with a crystal, hits without one, and frames that are none."""
    return [f"{('crystal', 'crystal', 'plain', 'blank')[i % 4]}:{i}" for i in range(n)]


def chunks(session):
    """Lattice type that each frame was indexed with, by name; and the names in the order of writing."""
    found = re.findall(r"^frame (\S+) .*? offset 0(?: cell (\w+))?", session.chunks.read_text(), re.MULTILINE)
    return dict(found), [name for name, _ in found]


def check(session, names, *, known=True):
    by_name, order = chunks(session)
    assert sorted(order) == sorted(names)
    for name, lattice in by_name.items():
        assert lattice == ("tetragonal" if known and not name.startswith("blank") else ""), name


def summary_of(session):
    summary = json.loads(session.summary.read_text())
    assert summary["frames"]["received"] == summary["frames"]["written"] + summary["frames"]["failed"]
    return summary


@pytest.mark.system
@pytest.mark.parametrize("n_workers", [1, 3])
def test_hits_of_files_are_indexed_again(tmp_path, n_workers):
    cell = tmp_path / "found.cell"
    options = {"rules": RULES, "output": {"found_cell_file": str(cell)}, "run": {"n_workers": n_workers}}
    with SessionProcess(tmp_path, names=frames(80), **options) as session:
        assert session.wait() == 0, session.text
        by_name, order = chunks(session)
        assert sorted(order) == sorted(frames(80))
        # Frames that are no hits do not wait, and those before the cell was known had none.
        assert {lattice for name, lattice in by_name.items() if not name.startswith("blank")} == {"tetragonal"}
        assert by_name["blank:3"] == "" and by_name["blank:79"] == "tetragonal"
        assert order.index("blank:3") < order.index("crystal:0")
        assert n_workers > 1 or "14 hits are indexed again" in session.text
        found = summary_of(session)["found_cell"]
    assert found["n_lattices"] >= 10 and found["file"] == str(cell)
    (one,) = found["cells"]
    assert (one["lattice_type"], one["centring"], one["unique_axis"]) == ("tetragonal", "P", "c")
    assert one["lengths_angstrom"] == pytest.approx([50, 50, 80], rel=1e-3)
    assert all(spread < 0.05 for spread in one["spread_of_lengths_angstrom"] + one["spread_of_angles_deg"])
    written = read_cell(cell)
    assert written.parameters == pytest.approx((50, 50, 80, 90, 90, 90), rel=1e-3)
    assert written.lattice_type == "tetragonal"


@pytest.mark.system
@pytest.mark.parametrize("n_workers", [1, 3])
def test_hits_of_a_socket_are_indexed_again(tmp_path, n_workers):
    names = [name for name in frames(80) if not name.startswith("blank")]
    with (
        Pusher(names) as sender,
        SessionProcess(
            tmp_path,
            rules=RULES,
            zmq={"endpoint": sender.endpoint, "pull": True},
            run={"n_workers": n_workers},
        ) as session,
    ):
        eventually(lambda: len(session.names()) == len(names))
        session.send(signal.SIGINT)
        assert session.wait() == 0
        check(session, names)
        summary_of(session)


@pytest.mark.system
def test_a_short_list_is_enough_for_a_cell(tmp_path):
    names = [f"crystal:{i}" for i in range(5)]
    with SessionProcess(tmp_path, names=names, rules=NEVER) as session:
        assert session.wait() == 0
        check(session, names)


@pytest.mark.system
def test_without_a_cell_the_first_results_stand(tmp_path):
    names = [f"plain:{i}" for i in range(12)]
    with SessionProcess(tmp_path, names=names, rules=RULES) as session:
        assert session.wait() == 0
        check(session, names, known=False)
        assert "No unit cell found" in session.text
        assert summary_of(session)["found_cell"]["cells"] == []


@pytest.mark.system
@pytest.mark.parametrize("times", [1, 2])
def test_a_stopped_session_writes_what_it_holds(tmp_path, times):
    # A frame that is no hit is written at once, and tells that those before it have been processed.
    names = [*(f"crystal:{i}" for i in range(9)), "blank:end"]
    with (
        Pusher(names) as sender,
        SessionProcess(tmp_path, rules=NEVER, zmq={"endpoint": sender.endpoint, "pull": True}) as session,
    ):
        assert eventually(session.names) == ["blank:end"]
        if times == 1:
            session.send(signal.SIGINT)
            assert session.wait() == 0
        else:
            session.stop_at_once()
        assert sorted(session.names()) == sorted(names)
        assert summary_of(session)["found_cell"]["cells"][0]["n_crystals"] == 9


@pytest.mark.system
def test_a_frame_that_fails_the_second_time_keeps_its_first_result(tmp_path):
    names = [f"{'fails' if i % 3 == 0 else 'crystal'}:{i}" for i in range(15)]
    with SessionProcess(tmp_path, names=names, rules=NEVER) as session:
        assert session.wait() == 0
        by_name, order = chunks(session)
        assert sorted(order) == sorted(names)
        for name, lattice in by_name.items():
            assert lattice == ("" if name.startswith("fails") else "tetragonal")
        assert summary_of(session)["frames"]["failed"] == 0
