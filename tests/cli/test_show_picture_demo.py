"""`braggstream show`, `picture` and `demo`, as a user runs them."""

import json

import numpy as np
import pytest

from cli.commands import BRAGGSTREAM, INDEXAMAJIG, PF8, run
from session_fakes.session_process import is_running

pytestmark = pytest.mark.system


def show(*words):
    return run(*BRAGGSTREAM, "show", *words)


@pytest.mark.golden
def test_summary_of_a_stream_of_the_reference(golden):
    stream = golden / "merging" / "many.stream.xz"
    done = show(stream)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 20 and "█" not in done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert lines["frames"].split()[1] == "300"
    assert lines["hits"].split()[1] == "290"
    assert lines["crystals"].split()[1] == "290,"
    assert "290 tetragonal P" in lines["lattices"]
    rows = [line.split() for line in done.stdout.splitlines() if "Å  (median" in line and line[0] in "abc"]
    cell = {row[0]: float(row[1]) for row in rows}
    assert (cell["a"], cell["c"]) == (pytest.approx(79.2, abs=0.01), pytest.approx(38.0, abs=0.01))
    drawn = show(stream, "--histograms")
    assert drawn.stdout.startswith(done.stdout) and drawn.stdout.count("█") > 100


@pytest.mark.golden
def test_torn_streams_are_shown_and_said_to_be_torn(golden, tmp_path):
    import lzma

    text = lzma.decompress((golden / "streams" / "single-rings.stream.xz").read_bytes())
    (tmp_path / "torn.stream").write_bytes(text[: len(text) - 500])
    done = show(tmp_path / "torn.stream", "--no-histograms")
    assert done.returncode == 0
    assert "not whole" in done.stdout and "█" not in done.stdout


@pytest.mark.parametrize(
    ("content", "what"), [(None, "cannot be opened"), (b"", "is no stream"), (b"\0" * 99, "is no stream")]
)
def test_what_is_no_stream_file_is_told_in_one_line(tmp_path, content, what):
    if content is not None:
        (tmp_path / "x.stream").write_bytes(content)
    done = show(tmp_path / "x.stream")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and what in done.stderr


def test_stream_without_frames(still_set, tmp_path):
    (tmp_path / "none.lst").write_text("nowhere.h5\n")
    run(*INDEXAMAJIG, "-i", tmp_path / "none.lst", "-g", still_set.geometry, "-o", tmp_path / "o.stream", *PF8)
    done = show(tmp_path / "o.stream")
    assert done.returncode == 0, done.stderr
    assert "frames       0" in done.stdout


def test_picture_of_the_first_indexed_frame(still_set, tmp_path):
    png = tmp_path / "frame.png"
    words = ["-i", still_set.list, "-g", still_set.geometry, "-p", still_set.cell, *PF8]
    done = run(*BRAGGSTREAM, "picture", "--png", png, *words)
    assert done.returncode == 0, done.stderr
    assert "1 crystals" in done.stdout
    import matplotlib.image

    pixels = matplotlib.image.imread(png)
    reds = (pixels[..., 0] > 0.7) & (pixels[..., 1] < 0.3)
    assert min(pixels.shape[:2]) > 800 and np.count_nonzero(reds) > 200, "circles of predictions are drawn"
    again = run(*BRAGGSTREAM, "picture", "--png", png, "--event", "//99", *words)
    assert again.returncode == 2 and "no frame could be processed at event //99" in again.stderr


def test_demo_from_beamline_to_picture(tmp_path):
    done = run(*BRAGGSTREAM, "demo", "--keep", tmp_path / "demo", "--frames", "40", "--rate", "80")
    assert done.returncode == 0, done.stderr
    assert "frames       40 of 40 are in the stream file" in done.stdout
    assert " 0 wrong, 0 of " in done.stdout
    summary = json.loads((tmp_path / "demo" / "demo.json").read_text())
    assert summary["frames"]["written"] == 40
    assert done.stdout.count("frames       40 of 40 are in the stream file") == 2  # from ASAP::O, too
    assert (tmp_path / "demo" / "frame.png").stat().st_size > 10000
    assert not [pid for pid in _processes_of(tmp_path) if is_running(pid)]


def _processes_of(folder):
    from pathlib import Path

    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in place.read_bytes():
                yield int(place.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
