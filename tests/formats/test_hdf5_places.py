"""Master files with dangling links and odd objects: what gives no frames is named, all else is taken."""

import h5py
import numpy as np
import pytest

from braggstream.cli.main import main
from braggstream.formats.geom import parse_geometry
from braggstream.formats.hdf5_places import FramelessPlace, expand_file
from braggstream.model.settings import FileSourceSettings
from braggstream.sources.files import FileSource

PANEL = (
    "p/min_fs = 0\np/max_fs = 7\np/min_ss = 0\np/max_ss = 5\np/corner_x = -4\np/corner_y = -3\np/fs = x\np/ss = y\n"
)
TEXT = (
    "photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\n"
    f"data = /entry/data/%\ndim0 = %\ndim1 = ss\ndim2 = fs\n{PANEL}"
)
GEOMETRY = parse_geometry(TEXT)
FRAMES = np.arange(96, dtype=np.uint16).reshape(2, 6, 8)


@pytest.fixture
def master(tmp_path):
    """A master as EIGER writes it, of which some data files are missing, truncated or of another kind."""
    for number in (1, 3, 6):
        with h5py.File(tmp_path / f"run_data_{number:06d}.h5", "w") as file:
            file["entry/data/data"] = FRAMES
    cut = tmp_path / "run_data_000003.h5"
    cut.write_bytes(cut.read_bytes()[:500])
    with h5py.File(tmp_path / "run_data_000004.h5", "w") as file:
        file["entry/instrument"] = 1
    path = tmp_path / "run_master.h5"
    with h5py.File(path, "w") as file:
        data = file.create_group("entry/data")
        for number in (1, 2, 3, 4, 6):
            data[f"data_{number:06d}"] = h5py.ExternalLink(f"run_data_{number:06d}.h5", "/entry/data/data")
        data["data_000005"] = h5py.SoftLink("/entry/nowhere")
        data["data_000007"] = h5py.SoftLink("/entry/data/data_000007")
        data["number"] = np.arange(3)
        data["some"] = np.zeros((6, 8))
        data["timing"] = h5py.Empty("f4")
        data.create_group("notes")
    return path


FRAMES_OF = {"data_000001": 2, "data_000006": 2}
WITHOUT = {
    "data_000002": "run_data_000002.h5",
    "data_000003": "run_data_000003.h5",
    "data_000004": "run_data_000004.h5",
    "data_000005": "/entry/nowhere",
    "data_000007": "data_000007",
    "notes": "is a group",
    "number": "(3,)",
    "some": "(6, 8)",
    "timing": "None",
}


def test_each_place_is_frames_or_named(master):
    found = list(expand_file(str(master), GEOMETRY))
    events = [event for event in found if isinstance(event, str)]
    assert events == [f"{name}//{number}" for name, n in FRAMES_OF.items() for number in range(n)]
    faults = {place.event: place.complaint for place in found if isinstance(place, FramelessPlace)}
    assert list(faults) == [f"{name}//" for name in WITHOUT]
    for name, what in WITHOUT.items():
        complaint = faults[f"{name}//"]
        assert str(master) in complaint and name in complaint and what in complaint and "\n" not in complaint


def test_paths_with_groups_between(tmp_path):
    """What only lacks the dataset is passed over in silence: it is another thing; what leads nowhere is not."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["a/data"] = FRAMES
        file["b/other"] = 1
        file["c"] = 1
        file["d/data"] = h5py.SoftLink("/gone")
        file["e"] = h5py.ExternalLink("gone.h5", "/")
        file["f/data/deeper"] = FRAMES
        file["g/data"] = FRAMES[:0]
        file["z/data"] = FRAMES[:1]
    geometry = parse_geometry(TEXT.replace("/entry/data/%", "/%/data"))
    found = list(expand_file(str(tmp_path / "f.h5"), geometry))
    assert [place if isinstance(place, str) else place.event for place in found] == [
        "a//0", "a//1", "c//", "d//", "e//", "f//", "z//0",
    ]  # fmt: skip
    complaints = [place.complaint for place in found if isinstance(place, FramelessPlace)]
    for complaint, what in zip(
        complaints, ("/c is a dataset", "to /gone)", "of gone.h5)", "is a group"), strict=True
    ):
        assert what in complaint


def test_a_file_of_another_dialect_says_what_it_holds(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["instrument/pixels"] = FRAMES
        file["instrument/energy"] = 9000.0
        file["linked"] = h5py.ExternalLink("elsewhere.h5", "/x")
        file["same"] = h5py.SoftLink("/instrument")
    (place,) = expand_file(str(tmp_path / "f.h5"), GEOMETRY)
    assert place.event == "//"
    for what in (
        "no frames at /entry/data/%",
        "/instrument/pixels (2, 6, 8) uint16",
        "/linked (a link to elsewhere",
    ):
        assert what in place.complaint
    (tmp_path / "cut.h5").write_bytes((tmp_path / "f.h5").read_bytes()[:900])
    (place,) = expand_file(str(tmp_path / "cut.h5"), GEOMETRY)
    assert "cut.h5" in place.complaint and "truncated" in place.complaint


def test_the_list_of_frames_has_them_as_faults(master, tmp_path):
    listed = tmp_path / "l.lst"
    listed.write_text(f"{master}\n{tmp_path}/none.h5\n{master} data_000006//1\n")
    slots = list(FileSource(FileSourceSettings(list_file=str(listed)), GEOMETRY))
    assert [slot.serial for slot in slots] == list(range(1, len(slots) + 1))
    assert sum(not slot.fault for slot in slots) == 4 + 1 + 1
    assert {slot.event for slot in slots if slot.fault} == {f"{name}//" for name in WITHOUT}
    assert slots[-1].event == "data_000006//1"


def test_list_events_goes_on_and_says_so(master, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.geom").write_text(TEXT)
    (tmp_path / "l.lst").write_text("run_master.h5\nrun_data_000003.h5\nrun_master.h5\n")
    assert main(["list_events", "-i", "l.lst", "-g", "x.geom", "-o", "out.lst"]) == 1
    lines = (tmp_path / "out.lst").read_text().splitlines()
    assert lines == [f"run_master.h5 {name}//{number}" for name in FRAMES_OF for number in range(2)] * 2
    told = capsys.readouterr().err
    assert told.count("4 events found in run_master.h5, 9 places gave none") == 2
    assert "0 events found in run_data_000003.h5, 1 places gave none" in told
    assert all(told.count(f"list_events: run_master.h5: /entry/data/{name}") == 2 for name in WITHOUT)
