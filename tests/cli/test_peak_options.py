"""Options of the peak search, from the command line to the stream file."""

import io
from math import inf

import h5py
import numpy as np
import pytest

from braggstream.cli.indexamajig import understand
from braggstream.formats.geom import read_geometry
from braggstream.formats.stream_read import read_stream
from braggstream.model.errors import UserError
from braggstream.model.frame import FileSlot
from braggstream.model.settings import FrameSettings, PeakSettings
from braggstream.pipeline.loading import FrameLoader
from braggstream.steps.peaks import make_peak_finder
from cli.commands import Running, counts, indexamajig
from cli.test_indexamajig_streams import MessageReplier

EVENTS = (0, 3)


@pytest.fixture
def words(golden, tmp_path):
    return ["-i", "x.lst", "-g", str(golden / "single.geom"), "-o", str(tmp_path / "o.stream")]


@pytest.mark.golden
def test_options_become_settings(words):
    default = understand(words).settings.peaks
    assert default == PeakSettings()
    assert default.min_peak_over_neighbour == -inf
    chosen = understand(
        [
            *words, "--peaks=peakfinder9", "-t", "11", "--min-gradient=12", "--min-snr=2.5", "--min-pix-count=3",
            "--max-pix-count=44", "--local-bg-radius=5", "--min-res=10", "--max-res=500", "--peak-radius=1.5,2,3",
            "--min-peaks=7", "--no-use-saturated", "--no-revalidate", "--check-hdf5-snr", "--no-half-pixel-shift",
            "--peakfinder8-fast", "--min-snr-biggest-pix=8", "--min-snr-peak-pix=4", "--min-sig=2",
            "--min-peak-over-neighbour=30", "--median-filter=2", "--filter-noise",
        ]
    ).settings.peaks  # fmt: skip
    assert chosen == PeakSettings(
        method="peakfinder9", threshold=11, min_squared_gradient=12, min_snr=2.5, min_pix_count=3, max_pix_count=44,
        local_bg_radius=5, min_res=10, max_res=500, radii=(1.5, 2, 3), min_peaks=7, use_saturated=False,
        revalidate=False, check_snr=True, half_pixel_shift=False, fast=True, min_snr_biggest_pix=8,
        min_snr_peak_pix=4, min_sig=2, min_peak_over_neighbour=30, median_filter=2, filter_noise=True,
    )  # fmt: skip


@pytest.mark.golden
def test_a_peak_list_may_be_named_on_the_command_line(words):
    with pytest.raises(UserError, match="needs  peak_list"):
        understand([*words, "--peaks=hdf5"])
    session = understand([*words, "--peaks=hdf5", "--hdf5-peaks=/entry/peaks"])
    assert session.geometry.peak_list == "/entry/peaks"
    assert session.settings.frame.load_peaks


@pytest.fixture
def lists(golden):
    """The reference's peaks of some frames, as rows of fs and ss in the data, counted from 0, and intensity."""
    found = {}
    for chunk in read_stream(golden / "streams" / "multi-pf8.stream.xz"):
        event = int(chunk.identity.event[2:])
        if event in EVENTS:
            peaks = chunk.peaks
            min_ss = np.array([0, 252, 504, 756])[peaks.panel]
            found[event] = np.stack([peaks.fs - 0.5, peaks.ss + min_ss - 0.5, peaks.intensity], axis=1)
    assert all(len(rows) > 10 for rows in found.values())
    return found


def write_frames(golden, target, lists, *, streamed=False):
    """Frames of the golden file with their peaks in both layouts; a message has one frame and no frame axis."""
    events = list(lists)
    with h5py.File(golden / "multi.h5", locking=False) as source, h5py.File(target, "w") as file:
        pixels, energy = source["entry/data/data"][events], source["entry/photon_energy"][events]
        file["entry/data/data"] = pixels[0] if streamed else pixels
        file["entry/photon_energy"] = energy[0] if streamed else energy
        table = np.zeros((3, len(events), 2048))
        for row, event in enumerate(events):
            table[:, row, : len(lists[event])] = lists[event].T
        file["entry/result/nPeaks"] = [len(lists[event]) for event in events]
        for name, columns in zip(("peakXPosRaw", "peakYPosRaw", "peakTotalIntensity"), table, strict=True):
            file[f"entry/result/{name}"] = columns
        file["entry/list"] = lists[events[0]]


@pytest.mark.golden
@pytest.mark.system
def test_peak_lists_of_files(golden, tmp_path, lists):
    geometry, stream = tmp_path / "p.geom", tmp_path / "o.stream"
    geometry.write_text((golden / "multi.geom").read_text() + "peak_list = /entry/result\npeak_list_type = cxi\n")
    write_frames(golden, tmp_path / "p.cxi", lists)
    (tmp_path / "p.lst").write_text(f"{tmp_path}/p.cxi\n")
    words = ["-i", tmp_path / "p.lst", "-o", stream, "--indexing=none"]
    done = indexamajig(*words, "-g", geometry, "--peaks=cxi", "--no-revalidate", "--no-half-pixel-shift")
    assert done.returncode == 0, done.stderr
    assert counts(done.stderr) == (2, 2, 0, 0)
    for chunk, rows in zip(read_stream(stream), lists.values(), strict=True):
        assert chunk.peaks.fs == pytest.approx(rows[:, 0], abs=0.01)
        assert chunk.peaks.intensity == pytest.approx(rows[:, 2], abs=0.01)

    write_frames(golden, tmp_path / "p.h5", {0: lists[0]})
    (tmp_path / "p.lst").write_text(f"{tmp_path}/p.h5 //0\n")
    list3 = ["-g", golden / "multi.geom", "--peaks=hdf5", "--hdf5-peaks=/entry/list"]
    done = indexamajig(*words, *list3, "--check-hdf5-snr", "--min-snr=8")
    assert done.returncode == 0, done.stderr
    (chunk,) = read_stream(stream)
    places = {(round(fs + 0.5, 1), round(ss % 252 + 0.5, 1)) for fs, ss, _ in lists[0]}
    assert 5 < len(chunk.peaks) < len(lists[0])
    assert all(
        (round(fs, 1), round(ss % 252, 1)) in places for fs, ss in zip(chunk.peaks.fs, chunk.peaks.ss, strict=True)
    )


@pytest.mark.golden
@pytest.mark.system
@pytest.mark.parametrize("layout", ["/entry/result", "/entry/list"])
def test_peak_lists_of_streamed_files(golden, tmp_path, lists, layout):
    geometry, messages = tmp_path / "p.geom", []
    text = (golden / "multi.geom").read_text().replace("dim0 = %\ndim1 = ss\ndim2 = fs", "dim0 = ss\ndim1 = fs")
    geometry.write_text(f"{text}\npeak_list = {layout}\n")
    for event, rows in lists.items():
        memory = io.BytesIO()
        write_frames(golden, memory, {event: rows}, streamed=True)
        messages.append(memory.getvalue())
    with (
        MessageReplier(messages) as sender,
        Running(
            tmp_path, f"--zmq-input={sender.endpoint}", "--zmq-request=next", "--data-format=hdf5", "-g", geometry,
            "--peaks=hdf5", "--no-revalidate", "--indexing=none",
        ) as session,
    ):  # fmt: skip
        session.wait_for_chunks(len(messages), timeout_s=150)
        status, _ = session.stop()
    assert status == 0, session.text
    for chunk, rows in zip(read_stream(session.stream), lists.values(), strict=True):
        assert chunk.peaks.fs == pytest.approx(rows[:, 0] + 0.5, abs=0.01)


@pytest.mark.golden
@pytest.mark.system
def test_a_filtered_search_and_unfiltered_integration(golden, tmp_path):
    stream = tmp_path / "o.stream"
    (tmp_path / "s.lst").write_text(f"{golden}/single.h5 //0\n")
    words = ["-i", tmp_path / "s.lst", "-g", golden / "single.geom", "-p", golden / "single.cell", "-o", stream]
    search = ["--peaks=peakfinder9", "--min-sig=1.5", "--median-filter=3"]
    done = indexamajig(*words, *search)
    assert done.returncode == 0, done.stderr
    (chunk,) = read_stream(stream)
    frame = FrameLoader(read_geometry(golden / "single.geom"), FrameSettings()).from_file(
        FileSlot(filename=str(golden / "single.h5"), event="//0", serial=1)
    )
    expected = make_peak_finder(PeakSettings(method="peakfinder9", min_sig=1.5, median_filter=3))(frame)
    assert len(expected) > 20
    assert chunk.peaks.fs == pytest.approx(expected.fs, abs=0.01)
    # Of filtered pixels the background would be about zero.
    background = chunk.crystals[0].reflections.background
    assert np.median(background) > 0.5
    again = indexamajig(*words, *search, "--filter-noise")
    assert again.returncode == 0 and "--filter-noise: pixels beside a negative one become zero" in again.stderr
