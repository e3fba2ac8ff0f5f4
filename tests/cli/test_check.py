"""`braggstream check` and what a session says of itself, as a user sees both."""

import json
import re
import sys

import pytest
import zmq

from cli.commands import BRAGGSTREAM, PF8, indexamajig, run
from session_fakes.session_process import eventually

pytestmark = pytest.mark.system


def check(*words, **more):
    return run(*BRAGGSTREAM, "check", *words, timeout=400, **more)


def test_a_geometry_alone(still_set):
    done = check("-g", still_set.geometry, "-p", still_set.cell, *PF8)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Frames     1024 x 1024 pixels: 16 panels")
    assert "threshold 10 = 10 photons" in done.stdout and "Target unit cell: tetragonal P" in done.stdout
    assert "Warning" not in done.stdout and max(map(len, lines)) <= 120


def test_a_frame_with_a_picture(still_set, tmp_path):
    png = tmp_path / "frame.png"
    done = check("-g", still_set.geometry, "-p", still_set.cell, "-i", still_set.list, *PF8, "--png", png)
    assert done.returncode == 0, done.stderr
    found = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "a hit" in found["Found"] and "ffbidx: tetragonal P" in found["Lattice"]
    assert 3 <= float(re.search(r"--threshold=(\S+) ", found["Proposed"])[1]) <= 40
    assert re.search(r"\d+ good, 9\d\.\d %|\d+ good, 100\.0 %", found["Pixels"])
    import matplotlib.image

    assert matplotlib.image.imread(png).shape[0] > 500


def test_a_picture_needs_its_library_and_a_frame(still_set, tmp_path):
    words = [sys.executable, "-c", "import sys; sys.modules['matplotlib'] = None; "
             "from braggstream.cli.main import main; sys.exit(main())", "check"]  # fmt: skip
    done = run(
        *words, "-g", still_set.geometry, "-i", still_set.list, *PF8, "--indexing=none", "--png", tmp_path / "x.png"
    )
    assert done.returncode == 2 and "braggstream[plot]" in done.stderr and "Traceback" not in done.stderr
    assert "--png" in check("-g", still_set.geometry, "--png", tmp_path / "x.png").stderr


def test_a_streamed_frame_is_looked_at_and_no_more(still_set):
    import msgpack
    import msgpack_numpy
    import numpy as np

    frame = np.random.default_rng(1).poisson(3.0, (1024, 1024)).astype(np.int32)
    values = {"detector_data": frame, "beam_energy": 12000.0, "detector_distance": 80.0}
    payload = msgpack.packb(values, default=msgpack_numpy.encode)
    with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
        sender.set(zmq.LINGER, 0)
        port = sender.bind_to_random_port("tcp://127.0.0.1")
        import threading

        done = []
        words = ["-g", still_set.streamed_geometry, f"--zmq-input=tcp://127.0.0.1:{port}", "--zmq-pull",
                 "--data-format=msgpack", "--indexing=none", *PF8]  # fmt: skip
        looking = threading.Thread(target=lambda: done.append(check(*words)))
        looking.start()
        sender.send(payload)
        looking.join()
    assert done[0].returncode == 0, done[0].stderr
    assert "0 peaks, no hit" in done[0].stdout and "background 3" in done[0].stdout
    assert "--threshold=" in done[0].stdout and "12000 eV" in done[0].stdout


@pytest.mark.parametrize("wrong", ["clen", "cell", "nothing"])
def test_a_session_says_why(still_set, tmp_path, wrong):
    geometry, cell = tmp_path / "x.geom", tmp_path / "x.cell"
    geometry.write_text(still_set.geometry.read_text())
    cell.write_text(still_set.cell.read_text())
    if wrong == "clen":
        geometry.write_text(re.sub(r"^clen = .*", "clen = 80", geometry.read_text(), flags=re.MULTILINE))
    elif wrong == "cell":
        for axis, length in (("a", 61), ("b", 61), ("c", 49)):
            cell.write_text(re.sub(rf"^{axis} = .*", f"{axis} = {length} A", cell.read_text(), flags=re.MULTILINE))
    summary = tmp_path / "x.json"
    done = indexamajig("-i", still_set.list, "-g", geometry, "-p", cell, "-o", tmp_path / "o.stream", *PF8,
                       f"--json-summary={summary}", timeout=500)  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(summary.read_text())["diagnosis"]
    after = done.stderr[done.stderr.index("Frames: ") :]
    assert all(line in after for line in said)
    if wrong == "nothing":
        assert said == [] and "Warning" not in done.stderr and "Likely" not in done.stderr
    elif wrong == "clen":
        assert "x.geom:" in said[0] and "clen is understood as" in said[0] and "Warning: " in done.stderr
    else:
        assert "the cell of -p" in said[0] and "--find-cell" in said[1]


def test_geometries_that_cannot_be_are_told_by_the_session(still_set, tmp_path):
    text = still_set.geometry.read_text()
    geometry = tmp_path / "x.geom"
    geometry.write_text(text + "bad9/min_x = 9000\nbad9/max_x = 9001\nbad9/min_y = 0\nbad9/max_y = 5\n")
    done = check("-g", geometry, "-i", still_set.list, "--indexing=none", *PF8)
    assert f"Warning: {geometry}:" in done.stdout and "bad region bad9 covers no pixel" in done.stdout
    assert eventually(lambda: done.returncode == 0)
