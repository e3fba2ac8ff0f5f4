"""`indexamajig` on files, as a user runs it."""

import json
import os
import subprocess
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from braggstream.formats.cell import read_cell
from braggstream.formats.stream_read import read_stream
from braggstream.simulate.judge import judge
from braggstream.simulate.truth import read_truth
from cli.commands import INDEXAMAJIG, PF8, counts, indexamajig

pytestmark = pytest.mark.system


def test_all_lattices_of_a_simulated_file(still_set, tmp_path):
    stream, summary = tmp_path / "o.stream", tmp_path / "o.json"
    done = indexamajig(
        "-i", still_set.list, "-g", still_set.geometry, "-p", still_set.cell, "-o", stream, *PF8, "-j", 2,
        f"--json-summary={summary}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert counts(done.stderr) == (12, 12, 0, 0)
    judgement = judge(stream, read_truth(still_set.frames))
    assert judgement.n_true_hits > 3
    assert (judgement.n_right, judgement.n_wrong, judgement.n_missed) == (judgement.n_lattices, 0, 0)
    assert judgement.n_false_hits == 0
    assert np.median(judgement.misorientations) < 0.02
    ledger = json.loads(summary.read_text())
    assert ledger["frames"]["received"] == ledger["frames"]["written"] == 12
    assert ledger["crystals"] == judgement.n_right


def test_lattices_without_a_cell(still_set, tmp_path):
    stream = tmp_path / "o.stream"
    done = indexamajig("-i", still_set.list, "-g", still_set.geometry, "-o", stream, *PF8, "-j", 2)
    assert done.returncode == 0, done.stderr
    assert "No target unit cell." in done.stderr and "Indexing methods: asdf" in done.stderr
    judgement = judge(stream, read_truth(still_set.frames))
    assert judgement.n_true_hits > 3
    assert (judgement.n_right, judgement.n_wrong, judgement.n_missed) == (judgement.n_lattices, 0, 0)
    assert np.median(judgement.misorientations) < 0.02
    found = [crystal for chunk in read_stream(stream) for crystal in chunk.crystals]
    assert {(crystal.lattice_type, crystal.centring) for crystal in found} == {("triclinic", "P")}


def test_the_cell_is_found_and_used(still_set, tmp_path):
    stream, summary = tmp_path / "o.stream", tmp_path / "o.json"
    done = indexamajig(
        "-i", still_set.list, "-g", still_set.geometry, "-o", stream, *PF8, "-j", 2, "--find-cell",
        f"--json-summary={summary}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert counts(done.stderr) == (12, 12, 0, 0)
    judgement = judge(stream, read_truth(still_set.frames))
    assert (judgement.n_right, judgement.n_wrong, judgement.n_missed) == (judgement.n_lattices, 0, 0)
    chunks = list(read_stream(stream))
    found = [crystal for chunk in chunks for crystal in chunk.crystals]
    assert len(found) == judgement.n_right
    assert {(crystal.lattice_type, crystal.centring, crystal.unique_axis) for crystal in found} == {
        ("tetragonal", "P", "c")
    }
    assert {chunk.indexed_by for chunk in chunks if chunk.crystals} == {"ffbidx"}
    assert all(len(crystal.reflections) > 20 for crystal in found)
    cell, true = read_cell(tmp_path / "o.cell"), read_cell(still_set.cell)
    assert (cell.lattice_type, cell.centring, cell.unique_axis) == ("tetragonal", "P", "c")
    assert cell.parameters == pytest.approx(true.parameters, rel=2e-3)
    assert json.loads(summary.read_text())["found_cell"]["file"] == str(tmp_path / "o.cell")
    assert "Unit cell: found from the first hits" in stream.read_text().partition("Begin chunk")[0]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--find-cell", "-p", "CELL"], "--find-cell: the unit cell is given already"),
        (["--find-cell", "--indexing=none"], "--find-cell needs lattices"),
        (["--find-cell", "--indexing=ffbidx"], "--indexing=ffbidx needs a unit cell"),
        (["--find-cell=GEOMETRY"], "would overwrite"),
        (["--find-cell=/nowhere/x.cell"], "there is no folder /nowhere"),
    ],
)
def test_wrong_use_of_find_cell(still_set, tmp_path, words, what):
    words = [word.replace("CELL", str(still_set.cell)) for word in words]
    words = [word.replace("GEOMETRY", str(still_set.geometry)) for word in words]
    done = indexamajig("-i", still_set.list, "-g", still_set.geometry, "-o", tmp_path / "o.stream", *words)
    assert done.returncode == 1
    assert what in done.stderr and "Traceback" not in done.stderr


def test_switches_of_the_output(still_set, tmp_path):
    words = ["-i", still_set.list, "-g", still_set.geometry, "-p", still_set.cell, *PF8]
    stream = tmp_path / "o.stream"
    done = indexamajig(
        *words, "-o", stream, "--no-non-hits-in-stream", "--no-peaks-in-stream", "--no-refls-in-stream"
    )
    chunks = list(read_stream(stream))
    assert len(chunks) < 12 and all(chunk.is_hit for chunk in chunks)
    assert counts(done.stderr) == (12, len(chunks), 12 - len(chunks), 0)
    assert all(len(chunk.peaks) == 0 and chunk.crystals[0].reflections is None for chunk in chunks)
    again = indexamajig(*words, "-o", stream, "--append", "--cell-parameters-only", "--indexing=none")
    assert again.returncode == 0, again.stderr
    # The hits are in the file already: only the others are done.
    assert counts(again.stderr) == (12 - len(chunks), 12 - len(chunks), 0, 0)
    names = [(chunk.identity.filename, chunk.identity.event) for chunk in read_stream(stream)]
    assert len(names) == len(set(names)) == 12
    assert stream.read_text().count("CrystFEL stream format 2.3") == 1


def test_frames_from_standard_input(still_set, tmp_path):
    done = indexamajig(
        "-i", "-", "-g", still_set.geometry, "-o", tmp_path / "o.stream", *PF8,
        "--prefix", f"{still_set.folder}/", "--basename",
        stdin=None, input="/elsewhere/stills.h5 //2\n\nother/stills.h5   //4\r\n",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = sorted(chunk.identity.event for chunk in read_stream(tmp_path / "o.stream"))
    assert events == ["//2", "//4"]


def test_full_disk_ends_the_run_with_one_line(still_set):
    done = indexamajig("-i", still_set.list, "-g", still_set.geometry, "-o", "/dev/full", *PF8)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("change", "status", "what"),
    [
        ({"-g": "nowhere.geom"}, 1, "nowhere.geom: cannot read the geometry file"),
        ({"-g": None}, 1, "a geometry file is needed"),
        ({"-i": "nowhere.lst"}, 1, "nowhere.lst: cannot open the list of files"),
        ({"-i": None}, 1, "an input is needed"),
        ({"-o": None}, 1, "an output file is needed"),
        ({"-o": "/nowhere/o.stream"}, 1, "/nowhere/o.stream: cannot write"),
        ({"-p": "nowhere.cell"}, 1, "nowhere.cell: cannot read the unit cell file"),
        ({"-j": "0"}, 1, "-j 0"),
        ({"-j": "many"}, 1, "-j=many: expected a whole number"),
        ({"--peaks": "peakfinder77"}, 1, "--peaks=peakfinder77: expected one of"),
        ({"--peaks": "msgpack"}, 1, "needs  peak_list"),
        ({"--indexing": "guesswork"}, 1, "unknown method 'guesswork'"),
        ({"--indexing": "dirax"}, 1, "there is no program 'dirax' on the search path"),
        ({"--integration": "rings-foo"}, 1, "'foo' is not one of"),
        ({"--zmq-input": "tcp://127.0.0.1:1"}, 1, "--input and --zmq-input cannot be used together"),
        ({"-i": None, "--zmq-input": "tcp://127.0.0.1:1"}, 1, "--zmq-input needs"),
        (
            {"-i": None, "--zmq-input": "tcp://127.0.0.1:1", "--zmq-request": "next", "--zmq-subscribe": "x"},
            1,
            "--zmq-request and --zmq-subscribe cannot be used together",
        ),
        ({"--data-format": "carrier-pigeon"}, 1, "--data-format=carrier-pigeon"),
        ({"--unheard-of": "1"}, 64, "--unheard-of"),
    ],
)
def test_wrong_options_are_told_in_one_line(still_set, tmp_path, change, status, what):
    options = {"-i": still_set.list, "-g": still_set.geometry, "-p": still_set.cell, "-o": tmp_path / "o.stream"}
    words = []
    for name, value in (options | change).items():
        if value is not None:
            words += [f"{name}={value}"] if name.startswith("--") else [name, value]
    done = indexamajig(*words)
    assert done.returncode == status, done.stderr
    assert what in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_faults_of_geometry_and_cell_name_the_line(still_set, tmp_path):
    broken = tmp_path / "broken.geom"
    broken.write_text(still_set.geometry.read_text() + "p/min_fs = banana\n")
    done = indexamajig("-i", still_set.list, "-g", broken, "-o", tmp_path / "o.stream")
    n_lines = len(broken.read_text().splitlines())
    assert done.returncode == 1 and f"broken.geom:{n_lines}: " in done.stderr
    cell = tmp_path / "broken.cell"
    cell.write_text(still_set.cell.read_text().replace("tetragonal", "tetragonnal"))
    done = indexamajig("-i", still_set.list, "-g", still_set.geometry, "-p", cell, "-o", tmp_path / "o.stream")
    assert done.returncode == 1 and "broken.cell:" in done.stderr and "tetragonnal" in done.stderr


def test_bad_frames_are_rows_and_the_run_goes_on(still_set, tmp_path):
    torn = tmp_path / "torn.h5"
    torn.write_bytes(still_set.frames.read_bytes()[:100000])
    (tmp_path / "noise.h5").write_bytes(bytes(range(256)) * 10)
    with h5py.File(tmp_path / "small.h5", "w") as file:
        file["entry/data/data"] = np.zeros((2, 10, 10), np.int32)
    names = ["nowhere.h5", "torn.h5 //1", "noise.h5", "small.h5 //0", "small.h5 //abc"]
    entries = [str(tmp_path / name) for name in names]
    listed = tmp_path / "mixed.lst"
    listed.write_text(
        "\n".join([*entries, f"{still_set.frames} //0", f"{still_set.frames} //999", f"{still_set.frames} //1"])
    )
    done = indexamajig("-i", listed, "-g", still_set.geometry, "-o", tmp_path / "o.stream", *PF8, "-j", 2)
    assert done.returncode == 6, done.stderr  # Some of the files cannot be read at all.
    assert counts(done.stderr) == (8, 2, 0, 6)
    assert "Traceback" not in done.stderr
    for name in ("nowhere.h5", "torn.h5", "noise.h5", "small.h5"):
        assert f"/{name}" in done.stderr


def test_names_that_are_no_text(still_set, tmp_path):
    """Latin-1 in the names of a frame file, of the geometry and of the stream file."""
    names = [os.fsencode(tmp_path) + b"/" + name for name in (b"sch\xf6n.h5", b"sch\xf6n.geom", b"sch\xf6n.stream")]
    os.link(still_set.frames, names[0])
    os.link(still_set.geometry, names[1])
    for words in ([b"-i", os.fsencode(tmp_path / "l.lst")], [b"-i", b"-"]):
        lines = names[0] + b" //0\n" + names[0] + b" //999\n"
        (tmp_path / "l.lst").write_bytes(lines)
        done = subprocess.run(
            [*INDEXAMAJIG, *words, "-g", names[1], "-o", names[2], *PF8],
            input=lines, capture_output=True, timeout=200, check=False,
        )  # fmt: skip
        log = done.stderr.decode()
        assert done.returncode == 0 and "Traceback" not in log, log
        assert counts(log) == (2, 1, 0, 1)
        assert "sch\\udcf6n.h5 //999 (serial 2): failed (geometry)" in log
        (chunk,) = read_stream(Path(os.fsdecode(names[2])))
        assert os.fsencode(chunk.identity.filename) == names[0]


def test_binary_list_is_told_in_one_line(still_set, tmp_path):
    (tmp_path / "l.lst").write_bytes(b"\xe6\x1b[2J\x80 //\nb\0c\n" + bytes(range(256)) * 9)
    done = indexamajig("-i", tmp_path / "l.lst", "-g", still_set.geometry, "-o", tmp_path / "o.stream", *PF8)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("l.lst:2: the list of files holds binary data, expected text")
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr


def test_run_goes_on_where_nobody_reads_its_log(still_set, tmp_path):
    """As with `indexamajig ... 2>&1 | head -1`, and with a log on a full disk."""
    stream = tmp_path / "o.stream"
    words = [*INDEXAMAJIG, "-i", still_set.list, "-g", still_set.geometry, "-o", stream, *PF8, "-j", 2]
    read_end, write_end = os.pipe()
    os.close(read_end)
    with open(write_end, "wb") as nobody, open("/dev/full", "wb") as full:
        for log in (nobody, full):
            done = subprocess.run(
                [*map(str, words)], stdin=subprocess.DEVNULL, stderr=log, timeout=200, check=False
            )
            assert done.returncode == 0
            assert len(list(read_stream(stream))) == 12


def test_nothing_usable_gives_status_5(still_set, tmp_path):
    listed = tmp_path / "l.lst"
    listed.write_text("nowhere.h5\n")
    done = indexamajig("-i", listed, "-g", still_set.geometry, "-o", tmp_path / "o.stream", *PF8)
    assert done.returncode == 5
    assert counts(done.stderr) == (1, 0, 0, 1)


THAUMATIN = [
    "--peaks=peakfinder8", "--threshold=10", "--min-snr=6", "--min-pix-count=2", "--max-pix-count=60",
    "--min-peaks=10", "--int-radius=3,4,6",
]  # fmt: skip


@pytest.mark.real
def test_thaumatin_stills(real, tmp_path):
    folder = real / "thaumatin_stills"
    (tmp_path / "l.lst").write_text(f"{folder / 'thaumatin.h5'}\n")
    stream = tmp_path / "o.stream"
    done = indexamajig(
        "-i", tmp_path / "l.lst", "-g", folder / "thaumatin_h5.geom", "-p", folder / "thaumatin.cell",
        "-o", stream, *THAUMATIN, "-j", 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    check_thaumatin(stream)


def check_thaumatin(stream):
    """Three hits of one orientation, and a blank frame; as many peaks as the reference finds."""
    chunks = sorted(read_stream(stream), key=lambda chunk: chunk.identity.serial)
    assert [len(chunk.peaks) for chunk in chunks] == [302, 1043, 43, 0]
    assert [len(chunk.crystals) for chunk in chunks] == [1, 1, 1, 0]
    axes = [chunk.crystals[0].direct_axes for chunk in chunks[:3]]
    for other in axes[1:]:
        assert smallest_turn(axes[0], other) < 1.0


def smallest_turn(a, b):
    """Smallest angle between two lattices of the Laue group 4/mmm [deg]."""
    turn = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], float)
    flip = np.diag([1.0, -1.0, -1.0])
    settings = [np.linalg.matrix_power(turn, n) @ f for n in range(4) for f in (np.eye(3), flip)]
    angles = []
    for setting in settings:
        u, _, v = np.linalg.svd((setting @ b).T @ a)
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        angles.append(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
    return min(angles)


@pytest.mark.real
def test_dark_frame_gives_no_peaks(real, tmp_path):
    content = (real / "eiger16m_dark" / "frame_sample").read_bytes()
    with h5py.File(tmp_path / "dark.h5", "w") as file:
        data = file.create_dataset(
            "data", (1, 4362, 4148), np.uint16, chunks=(1, 4362, 4148), **hdf5plugin.Bitshuffle(cname="lz4")
        )
        data.id.write_direct_chunk((0, 0, 0), content)
    (tmp_path / "dark.geom").write_text(
        "photon_energy = 12000 eV\nclen = 0.2 m\nres = 13333.3\nadu_per_photon = 1\ndata = /data\n"
        "dim0 = %\ndim1 = ss\ndim2 = fs\nflag_morethan = 65534\np/min_fs = 0\np/max_fs = 4147\np/min_ss = 0\n"
        "p/max_ss = 4361\np/corner_x = -2074\np/corner_y = -2181\np/fs = x\np/ss = y\n"
    )
    (tmp_path / "l.lst").write_text(f"{tmp_path}/dark.h5\n")
    stream = tmp_path / "o.stream"
    done = indexamajig("-i", tmp_path / "l.lst", "-g", tmp_path / "dark.geom", "-o", stream, *PF8)
    assert done.returncode == 0, done.stderr
    (chunk,) = read_stream(stream)
    assert len(chunk.peaks) == 0 and not chunk.is_hit
