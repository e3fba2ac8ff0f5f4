"""`--refine-geometry`: a run whose geometry file is a little wrong, as a user runs it."""

import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest

from braggstream.cli.indexamajig import understand
from braggstream.formats.geom import read_geometry, write_geometry
from braggstream.formats.stream_read import read_stream
from braggstream.model.errors import UserError
from braggstream.model.geometry import DetectorOffset
from braggstream.model.moved_geometry import moved_geometry
from braggstream.simulate.judge import FoundFrame, Tolerance, judge_frames
from braggstream.simulate.truth import read_truth
from cli.commands import BRAGGSTREAM, PF8, indexamajig, run

N_FRAMES = 40
WRONG = DetectorOffset(x=3.6 * 75e-6, y=0.0, z=0.01 * 0.08)


@pytest.fixture(scope="module")
def hits(tmp_path_factory, still_set):
    """Frames that all hold a crystal, and a geometry file that is off by 3.6 pixels and one percent."""
    folder = tmp_path_factory.mktemp("hits")
    frames = folder / "hits.h5"
    done = run(
        *BRAGGSTREAM, "simulate", "-o", frames, "-g", still_set.geometry, "-p", still_set.cell,
        "-n", N_FRAMES, "--seed", 4, "--hit-fraction", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wrong = folder / "wrong.geom"
    wrong.write_text(write_geometry(moved_geometry(read_geometry(still_set.geometry), WRONG)))
    (folder / "hits.lst").write_text(f"{frames}\n")
    return SimpleNamespace(
        frames=frames, list=folder / "hits.lst", wrong=wrong, geometry=still_set.geometry, cell=still_set.cell
    )


def words(hits, stream, mode):
    return [
        "-i", hits.list, "-g", hits.wrong, "-p", hits.cell, "-o", stream, *PF8, "-j", 2,
        f"--refine-geometry={mode}", f"--json-summary={stream.with_suffix('.json')}",
    ]  # fmt: skip


def offset_of(chunk):
    headers = dict(chunk.headers)
    return headers.get("braggstream/detector_offset_x_mm")


def judged(chunks, hits):
    found = [
        FoundFrame(
            filename=chunk.identity.filename,
            event=chunk.identity.event,
            serial=chunk.identity.serial,
            is_hit=chunk.is_hit,
            crystals=tuple((crystal.reciprocal_axes, crystal.centring) for crystal in chunk.crystals),
        )
        for chunk in chunks
    ]
    return judge_frames(found, read_truth(hits.frames), Tolerance())


def check_file(path, hits):
    """The refined file puts the detector where the frames were simulated."""
    found, true = (read_geometry(name).detector({}.__getitem__, 1.3).poses for name in (path, hits.geometry))
    error = (found[:, 0] - true[:, 0]) / (75e-6, 75e-6, 0.08)
    assert np.abs(error[:, :2]).max() < 0.05
    assert np.abs(error[:, 2]).max() < 5e-4
    assert "crystals have the detector shifted by" in path.read_text()


@pytest.mark.system
def test_live(hits, tmp_path):
    stream = tmp_path / "live.stream"
    before = hits.wrong.read_bytes()
    done = indexamajig(*words(hits, stream, "live"))
    assert done.returncode == 0, done.stderr
    assert hits.wrong.read_bytes() == before
    assert "frames are processed so from now on" in done.stderr
    chunks = sorted(read_stream(stream), key=lambda chunk: chunk.identity.serial)
    assert len(chunks) == N_FRAMES
    late = [chunk for chunk in chunks if offset_of(chunk) is not None]
    early = [chunk for chunk in chunks if offset_of(chunk) is None]
    assert len(late) >= 10
    after = judged(late, hits)
    assert after.n_right >= 0.95 * len(late) and after.n_wrong == 0
    assert early
    assert np.median(after.misorientations) < 0.02
    assert [offset_of(chunk) for chunk in late] == pytest.approx([-0.27] * len(late), abs=0.01)
    assert late[-1].average_camera_length - early[0].average_camera_length == pytest.approx(-8e-4, abs=4e-5)
    # Seen from the header's geometry, the offset is part of each crystal's shift.
    crystals = [crystal for chunk in late for crystal in chunk.crystals]
    assert np.median([crystal.det_shift[0] for crystal in crystals]) == pytest.approx(-2.7e-4, abs=1e-5)
    text = stream.read_text()
    assert "Geometry refinement: live" in text[: text.index("----- Begin geometry file")]
    learned = json.loads(stream.with_suffix(".json").read_text())["geometry_refinement"]
    assert learned["mode"] == "live" and learned["moves"] >= 1
    assert learned["offset_px"] == pytest.approx([-3.6, 0.0], abs=0.05)
    assert learned["geometry_file"] == str(tmp_path / "live.refined.geom")
    check_file(tmp_path / "live.refined.geom", hits)


@pytest.mark.system
def test_report(hits, tmp_path):
    stream = tmp_path / "report.stream"
    done = indexamajig(*words(hits, stream, "report"))
    assert done.returncode == 0, done.stderr
    assert "this is not applied" in done.stderr
    chunks = list(read_stream(stream))
    assert len(chunks) == N_FRAMES and all(offset_of(chunk) is None for chunk in chunks)
    assert len({chunk.average_camera_length for chunk in chunks}) == 1
    learned = json.loads(stream.with_suffix(".json").read_text())["geometry_refinement"]
    assert learned["mode"] == "report" and learned["moves"] == 0
    check_file(tmp_path / "report.refined.geom", hits)


@pytest.mark.system
def test_too_few_crystals_change_nothing(still_set, tmp_path):
    done = indexamajig(
        "-i", "-", "-g", still_set.geometry, "-p", still_set.cell, "-o", tmp_path / "o.stream", *PF8,
        "--refine-geometry=live", stdin=None, input=f"{still_set.frames} //0\n{still_set.frames} //1\n",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "which are too few: no geometry file is written" in done.stderr
    assert not (tmp_path / "o.refined.geom").exists()


def understood(still_set, folder, *more, stream="o.stream"):
    common = ["-i", still_set.list, "-g", still_set.geometry, "-p", still_set.cell, "-o", folder / stream]
    return understand([str(word) for word in (*common, *PF8, *more)])


def test_off_is_the_default(still_set, tmp_path):
    plain, off = understood(still_set, tmp_path), understood(still_set, tmp_path, "--refine-geometry=off")
    assert plain.settings == off.settings
    assert plain.settings.geometry.refine == "off" and plain.output.audit_lines == ()
    chosen = understood(still_set, tmp_path, "--refine-geometry=live").settings.geometry
    assert asdict(chosen) == {"refine": "live", "ask_every": 1, "refined_file": str(tmp_path / "o.refined.geom")}


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--refine-geometry=yes"], "expected off, report or live"),
        (["--refined-geometry=x.geom"], "is written by --refine-geometry"),
        (["--refine-geometry=live", "--refined-geometry={geometry}"], "would overwrite"),
        (["--refine-geometry=live", "--refined-geometry={cell}"], "would overwrite"),
        (["--refine-geometry=live", "--refined-geometry={folder}/o.stream"], "would overwrite"),
        (["--refine-geometry=live", "--refined-geometry=/nowhere/x.geom"], "there is no folder /nowhere"),
    ],
)
def test_what_cannot_be_meant_is_refused(still_set, tmp_path, more, what):
    known = {"geometry": still_set.geometry, "cell": still_set.cell, "folder": tmp_path}
    with pytest.raises(UserError, match=what):
        understood(still_set, tmp_path, *(word.format(**known) for word in more))


def test_the_default_name_never_hits_the_input(still_set, tmp_path):
    given = tmp_path / "o.refined.geom"
    given.write_text(still_set.geometry.read_text())
    with pytest.raises(UserError, match="would overwrite"):
        understand(
            [
                "-i",
                str(still_set.list),
                "-g",
                str(given),
                "-o",
                str(tmp_path / "o.stream"),
                "--refine-geometry=live",
            ]
        )
