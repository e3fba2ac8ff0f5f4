"""Arrays, files and truth: what is written is what the geometry file describes."""

import json

import h5py
import numpy as np
import pytest

from braggstream.model.errors import UserError
from braggstream.simulate.file_store import write_frames
from braggstream.simulate.frames import Simulator
from braggstream.simulate.layout import data_arrays, header_values
from braggstream.simulate.settings import BeamSettings, CrystalSettings, SampleSettings, SimulationSettings
from braggstream.simulate.truth import FrameTruth, Truth, read_truth, write_truth
from simulate.simulated_detectors import BEAM, FILE_AXES, SQUARE, TWO_TILTED, cell, geometry

STACKED = (
    "dim0 = 2\ndim1 = %\ndim2 = fs\ndim3 = ss\ndata = /stack\n"
    "a/min_fs = 0\na/max_fs = 19\na/min_ss = 0\na/max_ss = 29\na/corner_x = -10\na/corner_y = 5\n"
    "b/min_fs = 0\nb/max_fs = 19\nb/min_ss = 0\nb/max_ss = 29\nb/corner_x = -10\nb/corner_y = -40\n"
    "a/fs = x\na/ss = y\nb/fs = x\nb/ss = y\n"
    "b/dim0 = 0\n"
)


def simulator(text=BEAM + FILE_AXES + SQUARE, **more):
    settings = SimulationSettings(crystal=CrystalSettings(d_min=5.0), **more)
    return Simulator(geometry(text), cell(), settings)


def test_panels_go_to_their_places_in_a_shared_array():
    made = simulator(BEAM + FILE_AXES + TWO_TILTED)
    (array,) = data_arrays(made.geometry)
    assert (array.shape, array.frame_axis) == ((300, 200), 0)
    values = np.arange(made.detector.n_pixels)
    assembled = array.assemble(made.detector, values)
    assert np.array_equal(assembled[:150], values[:30000].reshape(150, 200))
    assert np.array_equal(assembled[150:], values[30000:].reshape(150, 200))


def test_panels_of_their_own_get_arrays_of_their_own():
    text = BEAM + FILE_AXES + TWO_TILTED + "a/data = /left\nb/data = /right\n"
    paths = {array.path: array.shape for array in data_arrays(geometry(text))}
    assert paths == {"/left": (150, 200), "/right": (300, 200)}


def test_headers_are_written_in_the_units_of_the_geometry():
    text = BEAM.replace("12000 eV", "/e keV").replace("0.080 m", "/z") + FILE_AXES + SQUARE
    values = header_values(geometry(text), energy_ev=9000.0, camera_length=0.25)
    assert values == pytest.approx({"/e": 9.0, "/z": 250.0}), "a length without a unit is in mm"


@pytest.mark.parametrize(
    ("text", "n_frames", "what"),
    [
        (
            BEAM + FILE_AXES.replace("dim1 = ss", "dim1 = %").replace("dim2 = fs", "dim2 = ss\ndim3 = fs") + SQUARE,
            2,
            "more than one",
        ),
        (BEAM + "data = /image\n" + SQUARE, 2, "room for one frame"),
        (BEAM + "data = /%/%/image\n" + SQUARE, 1, "several placeholders"),
        (BEAM + FILE_AXES + TWO_TILTED + "b/dim0 = ss\nb/dim1 = fs\nb/dim2 = 0\n", 1, "do not agree"),
        (BEAM + FILE_AXES + SQUARE + "p/max_fs = 29999\np/max_ss = 29999\n", 1, "at most"),
    ],
)
def test_what_cannot_be_filled_is_refused(tmp_path, text, n_frames, what):
    parsed = geometry(text)
    small = simulator()
    small.geometry = parsed
    with pytest.raises(UserError, match=what):
        write_frames(tmp_path / "x.h5", small, n_frames)


def test_a_file_holds_the_frames_and_the_truth(tmp_path):
    path = tmp_path / "frames.h5"
    text = BEAM.replace("12000 eV", "/entry/energy eV") + FILE_AXES + SQUARE
    beam, sample = BeamSettings(photon_energy=12000.0, energy_jitter=2e-3), SampleSettings(lattices=(1, 2))
    made = simulator(text, beam=beam, sample=sample, seed=8)
    progress = []
    truth = write_frames(path, made, 9, progress=progress.append)
    assert progress == list(range(1, 10))
    with h5py.File(path) as file:
        assert file["/entry/data"].shape == (9, 280, 300) and file["/entry/data"].dtype == np.int32
        for number in range(9):
            again = made.frame(number)
            assert np.array_equal(file["/entry/data"][number].ravel(), again.values)
            assert file["/entry/energy"][number] == again.headers["/entry/energy"]
            assert np.allclose(again.truth.lattices, truth.frames[number].lattices)
        energies = file["/entry/energy"][()]
        assert energies.std() > 5 and abs(energies.mean() - 12000) < 60
        hits, axes = file["/truth/hit"][()], file["/truth/reciprocal"][()]
        assert axes.shape == (9, 2, 3, 3) and hits.any() and not hits.all()
        assert np.isfinite(axes).all(axis=(2, 3)).sum(axis=1).tolist() == [len(f.lattices) for f in truth.frames]
        lengths = np.linalg.norm(axes[hits, 0], axis=2)
        assert np.allclose(lengths, [10 / 79.1, 10 / 79.1, 10 / 37.9]), "nm⁻¹"
        assert file["/truth/hkl"].shape[0] == file["/truth/intensity"].shape[0] > 100
    same(read_truth(path), truth)


def test_one_group_a_frame(tmp_path):
    truth = write_frames(tmp_path / "g.h5", simulator(BEAM + "data = /entry_%/image\n" + SQUARE), 3)
    assert truth.event == "frame{n}//"
    with h5py.File(tmp_path / "g.h5") as file:
        assert file["/entry_frame2/image"].shape == (280, 300)
    assert truth.number("frame2//") == 2


def same(first, second):
    assert (first.event, first.n_frames, first.space_group) == (second.event, second.n_frames, second.space_group)
    assert first.cell == second.cell and first.owns(second.filename)
    for one, other in zip(first.frames, second.frames, strict=True):
        assert one.lattices.shape == other.lattices.shape
        assert np.allclose(one.lattices, other.lattices, rtol=1e-12)


def some_truth(n_frames=7):
    frames = (
        FrameTruth(lattices=np.zeros((0, 3, 3))),
        FrameTruth(lattices=np.arange(18.0).reshape(2, 3, 3) / 7, n_strong=31),
    )
    return Truth(
        filename="simulated", event="//{n}", n_frames=n_frames, frames=frames, cell=cell(), space_group="P 4"
    )


def test_truth_survives_being_written(tmp_path):
    write_truth(tmp_path / "truth.json", some_truth())
    again = read_truth(tmp_path / "truth.json")
    same(again, some_truth())
    assert again.frames[1].n_strong == 31
    assert again.frame(5).is_hit and not again.frame(6).is_hit, "frames come round again"


def test_events_name_frames():
    truth = some_truth()
    assert [truth.number(event) for event in ("//0", "//6", "//7", "//x", "//-1", "//٣", "6", "//" + "1" * 99)] == [
        0,
        6,
        *[None] * 6,
    ]


def test_the_truth_of_golden_frames_is_understood(golden):
    truth = read_truth(golden / "single.h5")
    assert (truth.n_frames, sum(frame.is_hit for frame in truth.frames)) == (12, 8)
    assert np.allclose(np.linalg.norm(truth.frames[0].lattices[0], axis=1), [1 / 79.2, 1 / 79.2, 1 / 38.0])


test_the_truth_of_golden_frames_is_understood = pytest.mark.golden(test_the_truth_of_golden_frames_is_understood)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1, 2",
        b"[" * 100_000,
        b'{"filename": 1}',
        json.dumps({"filename": "a", "event": "//{n}", "n_frames": 5, "frames": []}).encode(),
        json.dumps({"filename": "a", "event": "//{n}", "n_frames": 10**12, "frames": [{"lattices": []}]}).encode(),
        json.dumps({"filename": "a", "event": "", "n_frames": 1, "frames": [{"lattices": [[[1, 2]]]}]}).encode(),
        b"\x89HDF\r\n\x1a\n" + bytes(40),
    ],
)
def test_a_file_that_is_no_truth_is_refused(tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(UserError, match=str(tmp_path / "t")):
        read_truth(tmp_path / "t")


def test_an_hdf5_file_without_truth_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(UserError, match="no /truth/hit"):
        read_truth(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["truth/hit"] = np.ones(3, bool)
        file["truth/reciprocal"] = np.ones((2, 1, 3, 3))
    with pytest.raises(UserError, match=r"not \[frame"):
        read_truth(tmp_path / "a.h5")


def test_a_missing_file_and_an_impossible_folder_are_told(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_truth(tmp_path / "absent")
    with pytest.raises(UserError, match="cannot be written"):
        write_truth(tmp_path / "absent" / "t.json", some_truth())
    with pytest.raises(UserError, match="cannot be written"):
        write_frames(tmp_path / "absent" / "f.h5", simulator(), 1)
