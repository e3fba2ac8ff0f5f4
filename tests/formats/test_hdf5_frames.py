"""Frames in HDF5 files: events, placeholders, layouts, headers, peak lists; lists of files."""

import threading
import time

import h5py
import hdf5plugin
import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.formats.hdf5_places import expand_file
from braggstream.model.errors import FileError, FrameError, HeaderError, MismatchError, UserError
from braggstream.model.frame import FileSlot
from braggstream.model.settings import FileSourceSettings, FrameSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.sources.files import FileSource

COMMON = "clen = 0.1 m\nres = 10000\nadu_per_photon = 1\n"
RNG = np.random.default_rng(1)
FRAMES = RNG.integers(0, 1000, (4, 6, 8)).astype(np.uint16)


def panel(name="p", rows=(0, 5), columns=(0, 7), x=-4):
    return (
        f"{name}/min_fs = {columns[0]}\n{name}/max_fs = {columns[1]}\n{name}/min_ss = {rows[0]}\n"
        f"{name}/max_ss = {rows[1]}\n{name}/corner_x = {x}\n{name}/corner_y = -3\n{name}/fs = x\n{name}/ss = y\n"
    )


def stack_geometry(energy="9000 eV", more=""):
    return parse_geometry(
        f"photon_energy = {energy}\n{COMMON}data = /data\ndim0 = %\ndim1 = ss\ndim2 = fs\n{more}{panel()}"
    )


def load(geometry, path, event="//", **settings):
    loader = FrameLoader(geometry, FrameSettings(**settings))
    try:
        return loader.from_file(FileSlot(filename=str(path), event=event, serial=1))
    finally:
        loader.close()


@pytest.fixture
def write(tmp_path):
    """Write a file from paths and values."""

    def write_file(name="f.h5", **datasets):
        with h5py.File(tmp_path / name, "w") as opened:
            for path, value in datasets.items():
                opened[path.replace("__", "/")] = value
        return tmp_path / name

    return write_file


def test_events_choose_frames_and_placeholders_paths(write):
    path = write(run__10__data=FRAMES + 10, run__2__data=FRAMES + 2)
    geometry = parse_geometry(
        f"photon_energy = 9000 eV\n{COMMON}data = /run/%/data\ndim0 = %\ndim1 = ss\ndim2 = fs\n{panel()}"
    )
    events = list(expand_file(str(path), geometry))
    assert events == [f"{n}//{k}" for n in ("10", "2") for k in range(4)], "in the order of bytes"
    for event in events:
        run, number = event.split("//")
        assert np.array_equal(load(geometry, path, event).panel_pixels(0), FRAMES[int(number)] + int(run))
    for event in ("//1", "2//", "2//4", "2//x", "2/3//1", "5//1", "1"):
        with pytest.raises(FrameError):
            load(geometry, path, event)


def test_panels_in_one_dataset_in_several_and_at_fixed_indices(write):
    modules = RNG.integers(0, 1000, (4, 3, 6, 8)).astype(np.int32)
    path = write(data=modules, left=FRAMES[0].astype(np.float32), right=FRAMES[1].astype(np.float32))
    one = "".join(
        panel(f"p{n}", x=10 * n) + f"p{n}/dim0 = %\np{n}/dim1 = {n}\np{n}/dim2 = ss\np{n}/dim3 = fs\n"
        for n in (2, 0)
    )
    frame = load(parse_geometry(f"photon_energy = 9000 eV\n{COMMON}data = /data\n{one}"), path, "//1")
    assert frame.pixels.dtype == np.int32
    assert np.array_equal(frame.panel_pixels(0), modules[1, 2])
    assert np.array_equal(frame.panel_pixels(1), modules[1, 0])
    several = "".join(panel(name, x=x) + f"{name}/data = /{name}\n" for name, x in (("left", -9), ("right", 1)))
    frame = load(parse_geometry(f"photon_energy = 9000 eV\n{COMMON}{several}"), path)
    assert np.array_equal(frame.panel_pixels(0), FRAMES[0])
    assert np.array_equal(frame.panel_pixels(1), FRAMES[1])
    far = panel("a", rows=(0, 1), columns=(0, 1)) + panel("b", rows=(4, 5), columns=(6, 7), x=9)
    frame = load(parse_geometry(f"photon_energy = 9000 eV\n{COMMON}data = /left\n{far}"), path)
    assert np.array_equal(frame.panel_pixels(0), FRAMES[0, :2, :2])
    assert np.array_equal(frame.panel_pixels(1), FRAMES[0, 4:, 6:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, bool, ">i2", np.uint8])
def test_pixel_types(write, dtype):
    values = (FRAMES % 2).astype(dtype)
    path = write(data=values)
    frame = load(stack_geometry(), path, "//2")
    assert frame.pixels.dtype.isnative and frame.pixels.flags.writeable
    assert np.array_equal(frame.panel_pixels(0), values[2])
    if np.dtype(dtype).kind == "f":
        values[2, 1, 1], values[2, 2, 2] = np.nan, np.inf
        frame = load(stack_geometry(), write(data=values), "//2")
        assert np.argwhere(frame.panel_bad(0)).tolist() == [[1, 1], [2, 2]]


def test_compressed_pixels(tmp_path):
    with h5py.File(tmp_path / "c.h5", "w") as opened:
        opened.create_dataset("data", data=FRAMES, chunks=(1, 6, 8), **hdf5plugin.Bitshuffle(cname="lz4"))
    assert np.array_equal(load(stack_geometry(), tmp_path / "c.h5", "//3").panel_pixels(0), FRAMES[3])


def test_headers_of_every_form(write):
    path = write(
        data=FRAMES,
        each=np.array([9000.0, 9100.0, 9200.0, 9300.0]),
        one=np.array([[8000]], np.uint16),
        row=np.arange(4.0)[None] + 7000,
        text="8500",
        fixed=np.bytes_(b"8600"),
        words="9 keV",
        flag=True,
        none=np.zeros(0),
    )
    for name, event, expected in (
        ("/each", "//2", 9200.0),
        ("/one", "//2", 8000.0),
        ("/row", "//3", 7003.0),
        ("/text", "//0", 8500.0),
        ("/fixed", "//0", 8600.0),
    ):
        frame = load(stack_geometry(f"{name} eV"), path, event)
        assert frame.wavelength == pytest.approx(12398.41 / expected, rel=1e-6)
        assert frame.headers[0][0] == name and float(frame.headers[0][1]) == expected
    for name in ("/words", "/flag", "/none", "/absent", "/data"):
        with pytest.raises(HeaderError):
            load(stack_geometry(f"{name} eV"), path, "//0")
    copied = load(stack_geometry(), path, "//1", copy_headers=("/each", "/absent", "/words", "/one"))
    assert copied.headers == (("/each", 9100.0), ("/words", "9 keV"), ("/one", 8000))


def test_all_headers_of_a_file(write):
    """Numbers and texts of fixed length, each at its frame; links and texts of any length are asked for by name."""
    path = write(
        data=FRAMES,
        each=np.array([9000.0, 9100.0, 9200.0, 9300.0]),
        deep__inside__one=np.uint16(7),
        fixed=np.bytes_(b"8600"),
        flag=True,
        text="of any length",
        wide=np.zeros((4, 3, 2)),
    )
    with h5py.File(path, "a") as file:
        file["around"] = h5py.SoftLink("/deep")
        file["away"] = h5py.ExternalLink("nowhere.h5", "/x")
        file["deep/up"] = file["deep"]
    headers = dict(load(stack_geometry(), path, "//2", copy_headers=("all",)).headers)
    assert headers["/each"] == 9200.0 and headers["/flag"] == 1 and headers["/fixed"] == "8600"
    assert headers["/deep/inside/one"] == 7
    assert not {"/text", "/wide", "/data"} & headers.keys()
    assert not any(name.startswith(("/around", "/away")) for name in headers)


def test_peak_lists(write):
    peaks = np.array([[1, 2, 100, 0], [3.5, 4, 50, 0]])
    path = write(
        data=FRAMES,
        list=peaks,
        cxi__nPeaks=np.array([0, 2, 1, 9]),
        negative__nPeaks=np.array([-1] * 4),
        negative__peakXPosRaw=np.ones((4, 3)),
        negative__peakYPosRaw=np.ones((4, 3)),
        negative__peakTotalIntensity=np.ones((4, 3)),
        cxi__peakXPosRaw=np.tile([1.0, 3.5, 0.0], (4, 1)),
        cxi__peakYPosRaw=np.tile([2.0, 4.0, 0.0], (4, 1)),
        cxi__peakTotalIntensity=np.tile([100.0, 50.0, 0.0], (4, 1)),
    )
    for text in ("peak_list = /cxi\npeak_list_type = cxi\n", "peak_list = /cxi\n"):
        geometry = stack_geometry(more=text)
        assert len(load(geometry, path, "//0", load_peaks=True).supplied_peaks) == 0
        found = load(geometry, path, "//1", load_peaks=True).supplied_peaks
        assert (found.fs.tolist(), found.ss.tolist(), found.intensity.tolist()) == ([1, 3.5], [2, 4], [100, 50])
        assert len(load(geometry, path, "//2", load_peaks=True).supplied_peaks) == 1
        # More peaks than there are columns: finders count on where their table is full.
        assert load(geometry, path, "//3", load_peaks=True).supplied_peaks.fs.tolist() == [1, 3.5, 0]
    with pytest.raises(MismatchError, match="-1 peaks"):
        load(stack_geometry(more="peak_list = /negative\n"), path, "//3", load_peaks=True)
    found = load(stack_geometry(more="peak_list = /list\n"), path, "//1", load_peaks=True).supplied_peaks
    assert (found.fs.tolist(), found.intensity.tolist()) == ([1, 3.5], [100, 50])
    for wrong in ("/data", "/absent"):
        with pytest.raises(MismatchError):
            load(stack_geometry(more=f"peak_list = {wrong}\n"), path, "//1", load_peaks=True)


def test_what_does_not_fit(write, tmp_path):
    path = write(data=FRAMES, complex=FRAMES.astype(complex), flat=FRAMES[0], group__inside=1)
    for change in ("/complex", "/flat", "/group", "/absent"):
        geometry = parse_geometry(stack_geometry().text.replace("/data", change))
        with pytest.raises(MismatchError):
            load(geometry, path, "//0")
    wide = parse_geometry(stack_geometry().text.replace("max_fs = 7", "max_fs = 8"))
    with pytest.raises(MismatchError, match="panel p reaches from 0 to 8"):
        load(wide, path, "//0")
    for content in (b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(5000), path.read_bytes()[:900]):
        (tmp_path / "broken.h5").write_bytes(content)
        with pytest.raises(FileError):
            load(stack_geometry(), tmp_path / "broken.h5", "//0")


def test_frames_without_pixels(write):
    path = write(data=FRAMES)
    frame = load(stack_geometry(more="flag_equal = 0\n"), path, "//1", load_image=False)
    assert not frame.has_image and not frame.panel_pixels(0).any() and not frame.bad.any()
    assert frame.panel_pixels(0).shape == (6, 8)


def slots(settings, geometry, **more):
    return [(slot.filename, slot.event, slot.serial) for slot in FileSource(settings, geometry, **more)]


def test_lists_of_files(write, tmp_path):
    path = write(data=FRAMES)
    listed = tmp_path / "l.lst"
    listed.write_text("f.h5\n\nf.h5 //2\r\nsub/f.h5   //1\nnowhere.h5\n")
    settings = FileSourceSettings(list_file=str(listed), prefix=f"{tmp_path}/", basename=True)
    expected = [(str(path), f"//{n}") for n in (0, 1, 2, 3, 2, 1)] + [(f"{tmp_path}/nowhere.h5", "//")]
    found = slots(settings, stack_geometry(), serial_start=5)
    assert found == [(*entry, serial) for serial, entry in enumerate(expected, start=5)]


def test_a_file_without_frames_is_a_failed_frame_and_the_next_line_taken(write, tmp_path):
    path, empty = write(data=FRAMES), write("empty.h5", other=np.zeros((2, 3), np.int16))
    listed = tmp_path / "l.lst"
    listed.write_text(f"{empty}\n{path}\n")
    found = list(FileSource(FileSourceSettings(list_file=str(listed)), stack_geometry()))
    assert [(slot.event, slot.serial) for slot in found] == [("//", 1), *((f"//{n}", n + 2) for n in range(4))]
    assert "no frames at /data (axes % ss fs); it holds /other (2, 3) int16" in found[0].fault
    loader = FrameLoader(stack_geometry(), FrameSettings())
    with pytest.raises(FileError, match=r"empty\.h5: no frames"):
        loader.from_file(found[0])
    assert np.array_equal(loader.from_file(found[1]).panel_pixels(0), FRAMES[0])
    loader.close()


def test_lists_that_cannot_be_used(write, tmp_path):
    path = write(data=FRAMES)
    for name, what in ((path, "is an HDF5 file"), (tmp_path / "nowhere.lst", "No such file")):
        with pytest.raises(UserError, match=what):
            FileSource(FileSourceSettings(list_file=str(name)), stack_geometry())
    (tmp_path / "long.lst").write_text("x" * 100000)
    with pytest.raises(UserError, match="no file name"):
        slots(FileSourceSettings(list_file=str(tmp_path / "long.lst")), stack_geometry())


def test_waiting_for_a_file(write, tmp_path):
    listed = tmp_path / "l.lst"
    listed.write_text(f"{tmp_path}/late.h5\n")
    with pytest.raises(UserError, match="did not appear within 1 s"):
        slots(FileSourceSettings(list_file=str(listed), wait_for_file=1), stack_geometry(), say=print)
    path = write(data=FRAMES)
    appear = threading.Thread(target=lambda: (time.sleep(0.7), path.rename(tmp_path / "late.h5")))
    appear.start()
    found = slots(FileSourceSettings(list_file=str(listed), wait_for_file=-1), stack_geometry(), say=print)
    appear.join()
    assert len(found) == 4
