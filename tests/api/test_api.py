"""The notebook door: what `import braggstream as bs` gives, on simulated frames."""

import re
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest

import braggstream as bs
from braggstream.model.constants import photon_energy_of
from session_fakes.senders import Pusher

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "python.md"


def test_frames_to_crystals_to_a_stream_file_and_back(stills, geometry, cell, tmp_path):
    processor = bs.Processor(geometry, cell=cell, threshold=10, min_snr=5, min_peaks=15)
    frames = list(bs.open_files(stills / "frames.h5", geometry))
    assert [frame.identity.event for frame in frames] == ["//0", "//1", "//2", "//3"]
    assert not np.shares_memory(frames[0].bad, frames[1].bad)
    results = [processor.process(frame) for frame in frames]
    assert all(len(result.crystals) == 1 for result in results)
    for result in results:
        assert np.allclose(result.crystals[0].cell.parameters, cell.parameters, rtol=0.005)
    assert bs.write_stream(tmp_path / "o.stream", geometry, results, cell=cell) == 4
    stream = bs.read_stream(tmp_path / "o.stream")
    assert np.allclose(stream.target_cell.parameters, cell.parameters, atol=0.01)
    for read, result in zip(stream, results, strict=True):
        assert np.array_equal(read.crystals[0].reflections.hkl, result.crystals[0].reflections.hkl)
        assert np.allclose(
            read.crystals[0].reflections.intensity, result.crystals[0].reflections.intensity, atol=0.006
        )
        assert np.allclose(read.peaks.fs, result.peaks.fs, atol=0.006)


def test_a_list_of_files_and_frames_that_cannot_be_loaded(stills, geometry, tmp_path):
    (tmp_path / "l.lst").write_text(f"nowhere.h5 //0\n{stills}/frames.h5 //2\n")
    errors = []
    (frame,) = bs.open_files(tmp_path / "l.lst", geometry, on_error=errors.append)
    assert frame.identity.event == "//2"
    assert "nowhere.h5" in str(errors[0])
    with pytest.raises(bs.FrameError, match="nowhere"):
        list(bs.open_files(tmp_path / "l.lst", geometry))
    with pytest.raises(bs.UserError, match="absent"):
        list(bs.open_files(tmp_path / "absent.lst", geometry))


def test_frames_from_a_socket(stills, geometry):
    frames = list(bs.open_files(stills / "frames.h5", geometry))
    streamed = bs.load_geometry(stills / "megapixel.stream.geom")
    names = {panel.data for panel in streamed.panels}

    def message(number):
        pixels = frames[number].pixels
        image = {"type": pixels.dtype.str, "shape": [1024, 1024], "data": pixels.tobytes()}
        energy = photon_energy_of(frames[number].wavelength)
        distance = 1000.0 * frames[number].detector.average_camera_length
        headers = {"serial": number, "beam_energy": energy, "detector_distance": distance}
        return msgpack.packb(dict.fromkeys(names, image) | headers)

    with Pusher(range(4)) as sender:
        sender.payload = message
        found = list(bs.open_zmq(sender.endpoint, streamed, pull=True, patience=2.0))
    assert [frame.identity.serial for frame in found] == [0, 1, 2, 3]
    for ours, theirs in zip(found, frames, strict=True):
        assert np.array_equal(ours.pixels, theirs.pixels)
        assert ours.wavelength == pytest.approx(theirs.wavelength)
    with pytest.raises(bs.UserError, match="exactly one"):
        next(bs.open_zmq("tcp://127.0.0.1:1", streamed))


def test_lattices_in_scattering_vectors(cell):
    hkl = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    q = (hkl[np.any(hkl != 0, axis=1)] @ cell.reciprocal_axes())[::7]
    axes = bs.index_q(q, cell)[0]
    fractional = q @ np.linalg.inv(axes)
    assert np.abs(fractional - np.rint(fractional)).max() < 0.05


def test_options_are_those_of_the_settings(geometry, cell):
    processor = bs.Processor(
        geometry, cell=cell, peaks="zaef", int_radius=(3, 4, 6), multi=True, overpredict=True, min_snr=4
    )
    assert processor.settings.peaks.radii == processor.settings.integration.radii == (3, 4, 6)
    assert processor.settings.indexing.multi and processor.settings.integration.overpredict
    with pytest.raises(bs.UserError, match="there is no option min_snow"):
        bs.Processor(geometry, min_snow=4)
    with pytest.raises(bs.UserError, match="expected one of"):
        bs.Processor(geometry, peaks="peakfinder77")


def test_every_public_name_is_there():
    for name in bs.api.__all__ if hasattr(bs, "api") else ():
        assert getattr(bs, name) is not None
    assert {"load_geometry", "read_stream", "Processor"} <= set(dir(bs))
    with pytest.raises(AttributeError):
        _ = bs.no_such_thing


def test_importing_the_package_is_cheap():
    code = "import sys, braggstream; print('numba' in sys.modules, 'h5py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.skipif(not TUTORIAL.exists(), reason="the tutorial is not written yet")
def test_the_tutorial_works_as_it_stands(stills, monkeypatch, geometry, cell):
    monkeypatch.chdir(stills)
    processor = bs.Processor(geometry, cell=cell)
    results = [processor.process(frame) for frame in bs.open_files("frames.h5", geometry)]
    bs.write_stream("out.stream", geometry, results, cell=cell)
    blocks = re.findall(r"```(?:\{code-block\} )?python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(TUTORIAL), "exec"), names)
