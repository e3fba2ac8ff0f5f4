"""Frames processed with what a session has learned: the detector moved, and the chunks that tell so."""

import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry, read_geometry, write_geometry
from braggstream.formats.stream_read import read_stream
from braggstream.formats.wire import Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.frame import FileSlot
from braggstream.model.geometry import DetectorOffset
from braggstream.model.moved_geometry import moved_geometry
from braggstream.model.settings import IndexingSettings, OutputSettings, PeakSettings, Settings
from braggstream.run.inline import process_frames
from braggstream.run.processor import FrameProcessor
from braggstream.steps.bad_pixels import BadPixels

OFFSET = DetectorOffset(x=2.5e-4, y=-1e-4, z=8e-4)
SETTINGS = Settings(
    peaks=PeakSettings(method="peakfinder8", threshold=10.0, min_peaks=15),
    indexing=IndexingSettings(methods=("none",)),
)


def test_a_moved_detector_stands_where_the_corrected_file_puts_it(still_set):
    for path in (still_set.geometry, still_set.streamed_geometry):
        geometry = read_geometry(path)
        moved = moved_geometry(geometry, OFFSET)
        again = parse_geometry(write_geometry(moved), path="again.geom")
        before, after, read = (
            each.detector({"detector_distance": 80.0}.__getitem__, 1.3) for each in (geometry, moved, again)
        )
        shift = [OFFSET.x, OFFSET.y, OFFSET.z]
        assert after.poses[:, 0] - before.poses[:, 0] == pytest.approx(np.tile(shift, (16, 1)), abs=1e-15)
        assert np.array_equal(after.poses[:, 1:], before.poses[:, 1:])
        assert np.array_equal(read.poses, after.poses)
        assert geometry.offset == DetectorOffset() and moved.offset == OFFSET


def test_bad_regions_stay_on_their_pixels(still_set):
    text = (
        still_set.geometry.read_text() + "badx/min_x = -50\nbadx/max_x = 20\nbadx/min_y = -30.5\nbadx/max_y = 40\n"
    )
    geometry = parse_geometry(text, path="bad.geom")
    maps = [
        BadPixels(each).static_map(each.detector({}.__getitem__, 1.3), 1.3)
        for each in (geometry, moved_geometry(geometry, OFFSET))
    ]
    assert maps[0].sum() > 1000
    assert np.array_equal(*maps)


def test_an_adjusted_processor_is_one_that_began_so(still_set):
    geometry = read_geometry(still_set.geometry)
    slot = FileSlot(filename=str(still_set.frames), event="//0", serial=1)
    adjustments = Adjustments(number=1, offset=OFFSET)
    (adjusted,) = process_frames(geometry, SETTINGS, [slot], adjustments)
    (expected,) = process_frames(moved_geometry(geometry, OFFSET), SETTINGS, [slot])
    (unmoved,) = process_frames(geometry, SETTINGS, [slot])
    assert np.array_equal(adjusted.peak_inverse_d, expected.peak_inverse_d)
    assert not np.array_equal(adjusted.peak_inverse_d, unmoved.peak_inverse_d)
    assert adjusted.average_camera_length == pytest.approx(unmoved.average_camera_length + OFFSET.z)


def test_adjustments_replace_one_another_and_mark_their_chunks(still_set, tmp_path):
    geometry = read_geometry(still_set.geometry)
    output = OutputSettings(stream_file=str(tmp_path / "o.stream"))
    processor = FrameProcessor(Setup(processor="", geometry=geometry, settings=SETTINGS, output=output))
    processor._warmed.add("int32")  # What this frame needs is compiled when it is needed.
    slot = FileSlot(filename=str(still_set.frames), event="//0", serial=1)
    chunks = []
    for number, offset in enumerate((DetectorOffset(), OFFSET, DetectorOffset(x=1e-3), DetectorOffset())):
        processor.adjust(Adjustments(number=number, offset=offset))
        outcome = processor.process(slot)
        assert outcome.adjustment == number
        chunks.append(outcome.chunk)
    assert chunks[0] == chunks[3] and b"detector_offset" not in chunks[0]
    assert len(set(chunks)) == 3
    header = b"CrystFEL stream format 2.3\n----- Begin geometry file -----\n" + geometry.text.encode()
    (tmp_path / "o.stream").write_bytes(header + b"----- End geometry file -----\n" + chunks[1])
    (chunk,) = read_stream(tmp_path / "o.stream")
    found = dict(chunk.headers)
    assert [found[f"braggstream/detector_offset_{axis}_mm"] for axis in "xyz"] == [0.25, -0.1, 0.8]
