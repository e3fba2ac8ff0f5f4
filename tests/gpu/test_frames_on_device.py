"""Whole frames with their kernels on a CUDA device: the same peaks, lattices and reflections."""

from dataclasses import replace

import h5py
import numpy as np
import pytest

from braggstream.formats.geom import read_geometry
from braggstream.formats.stream_read import read_stream
from braggstream.formats.wire import Setup
from braggstream.kernels.warm import kernels_in_use
from braggstream.model.cell import UnitCell
from braggstream.model.frame import FileSlot
from braggstream.model.settings import FfbidxSettings, IndexingSettings, OutputSettings, PeakSettings, Settings
from braggstream.run.inline import process_frames
from braggstream.run.processor import FrameProcessor
from cli.commands import PF8, indexamajig
from steps.still_frames import ORIGIN, WAVELENGTH, lattice_spots, random_rotation

WIDTH, PIXEL_M, DISTANCE_M = 130, 6e-4, 0.06
GEOMETRY = f"""photon_energy = {12398.419843320026 / WAVELENGTH} eV
clen = {DISTANCE_M}
adu_per_photon = 1
res = {1 / PIXEL_M}
data = /data
dim0 = %
dim1 = ss
dim2 = fs
flag_morethan = 1500
p/min_fs = 0
p/max_fs = {WIDTH - 1}
p/min_ss = 0
p/max_ss = {WIDTH - 1}
p/corner_x = {-WIDTH / 2}
p/corner_y = {-WIDTH / 2}
p/fs = x
p/ss = y
"""
CELL = UnitCell(
    a=34.0, b=38.0, c=42.0, alpha=90.0, beta=95.0, gamma=90.0, lattice_type="monoclinic", unique_axis="b"
)
SEARCH = FfbidxSettings(num_halfsphere_points=1000, num_candidate_vectors=4, output_cells=4, max_spots=30)
SETTINGS = Settings(
    peaks=PeakSettings(method="peakfinder8", threshold=10, min_snr=5, min_peaks=10),
    indexing=IndexingSettings(target_cell=CELL, ffbidx=SEARCH),
)
ON_DEVICE = replace(
    SETTINGS,
    peaks=replace(SETTINGS.peaks, device="cuda"),
    indexing=replace(SETTINGS.indexing, device="cuda"),
)


def made_image(rng):
    """The spots of a crystal, and some pixels that the geometry calls bad."""
    y, x = np.mgrid[:WIDTH, :WIDTH]
    axes = CELL.reciprocal_axes() @ random_rotation(rng).T
    ray = lattice_spots(axes, "P", rng, n=60) + ORIGIN
    image = rng.poisson(4, (WIDTH, WIDTH)).astype(float)
    for fs, ss in ray[:, :2] / ray[:, 2:] * DISTANCE_M / PIXEL_M + WIDTH / 2 - 0.5:
        image += rng.uniform(100, 900) * np.exp(-((x - fs) ** 2 + (y - ss) ** 2) / 2 / 0.8**2)
    image[rng.random(image.shape) < 0.002] = 5000
    return np.rint(image).astype(np.uint16)


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    (folder / "f.geom").write_text(GEOMETRY)
    with h5py.File(folder / "f.h5", "w") as file:
        file["data"] = made_image(np.random.default_rng(3))[None]
    return read_geometry(folder / "f.geom"), FileSlot(filename=str(folder / "f.h5"), event="//0", serial=1)


def test_a_frame_comes_out_the_same(frame):
    geometry, slot = frame
    (expected,), (found,) = (process_frames(geometry, settings, [slot]) for settings in (SETTINGS, ON_DEVICE))
    assert len(expected.peaks) > 20
    assert found.peaks.fs == pytest.approx(expected.peaks.fs, rel=1e-12)
    assert found.peaks.intensity == pytest.approx(expected.peaks.intensity, rel=1e-12)
    (one,), (other,) = found.crystals, expected.crystals
    assert one.indexed_by == "ffbidx"
    assert one.reciprocal_axes == pytest.approx(
        other.reciprocal_axes, abs=1e-6 * np.abs(other.reciprocal_axes).max()
    )
    assert len(one.reflections) == len(other.reflections) > 0


def test_a_worker_warms_up_for_its_device_after_the_fork(frame):
    processor = FrameProcessor(
        Setup(processor="", geometry=frame[0], settings=ON_DEVICE, output=OutputSettings(stream_file=""))
    )
    names = {module.__name__.rpartition(".")[2] for module in kernels_in_use("cuda")}
    assert names == {"ffbidx_cells", "ffbidx_turn", "ffbidx_vectors", "peakfinder8", "radial_bins", "radial_sums"}
    assert not [module for module in kernels_in_use() if ".cuda." in module.__name__]
    processor.usual_pixel_types = ("uint16",)
    processor.begin_work(3)


@pytest.mark.system
@pytest.mark.timeout(320)
def test_forked_workers_use_the_device(frame, tmp_path):
    slot = frame[1]
    (tmp_path / "f.lst").write_text(f"{slot.filename}\n")
    stream = tmp_path / "o.stream"
    words = ("-i", tmp_path / "f.lst", "-g", frame[0].path, "-o", stream, "--indexing=none", "-j", 2)
    done = indexamajig(*words, *PF8, "--device=cuda", timeout=300)
    assert done.returncode == 0, done.stderr
    (chunk,) = read_stream(stream)
    (expected,) = process_frames(frame[0], SETTINGS, [slot])
    assert len(chunk.peaks) == len(expected.peaks) > 20
    assert chunk.peaks.fs == pytest.approx(expected.peaks.fs, abs=0.006)
    assert chunk.peaks.intensity == pytest.approx(expected.peaks.intensity, abs=0.006)
