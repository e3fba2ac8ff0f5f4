"""Frames in files and chunks of stream files, by number, slice and event."""

import gzip
import lzma
import re

import numpy as np
import pytest

import braggstream as bs
from braggstream.formats import stream_index


class TestFramesInFiles:
    def test_length_numbers_slices_and_events(self, stills, geometry):
        frames = bs.open_files(stills / "frames.h5", geometry)
        assert isinstance(frames, bs.FrameFiles) and len(frames) == 4
        assert frames.events == ("//0", "//1", "//2", "//3")
        assert frames[-1].identity.event == "//3" and frames[np.int64(1)].identity.serial == 2
        assert frames["//2"].identity.event == "//2" == frames[f"{stills}/frames.h5 //2"].identity.event
        assert [frame.identity.serial for frame in frames[::-2]] == [4, 2]
        part = frames[1:][1:]
        assert len(part) == 2 and part.events == ("//2", "//3") and part[-1].identity.event == "//3"
        assert (
            [frame.identity.event for frame in frames]
            == list(frames.events)
            == [frame.identity.event for frame in reversed(frames)][::-1]
        )
        for wrong in (4, -5):
            with pytest.raises(IndexError, match="there are 4"):
                frames[wrong]
        with pytest.raises(KeyError, match="they go from //0 to //3"):
            frames["//9"]
        with pytest.raises(TypeError):
            frames[1.5]

    def test_again_and_again_and_two_at_once(self, stills, geometry):
        frames = bs.open_files(stills / "frames.h5", geometry)
        first, second = iter(frames), iter(frames)
        assert np.array_equal(next(first).pixels, next(second).pixels)
        assert len(list(first)) == len(list(second)) == 3 and len(list(frames)) == 4

    def test_several_files_and_lists(self, stills, geometry, tmp_path):
        (tmp_path / "l.lst").write_text(f"{stills}/frames.h5 //1\n{tmp_path}/gone.h5 //0\n")
        errors = []
        paths = [stills / "frames.h5", tmp_path / "l.lst"]
        frames = bs.open_files(paths, geometry, on_error=errors.append)
        assert len(frames) == 6 and [slot.serial for slot in frames.slots] == [1, 2, 3, 4, 5, 6]
        assert len(list(frames)) == 5 and "gone.h5" in str(errors[0])
        assert frames[4].identity.event == "//1"
        with pytest.raises(bs.FrameError, match="gone"):
            frames[-1]
        with pytest.raises(KeyError, match="2 files have an event //1"):
            frames["//1"]
        assert set(frames.filenames) == {f"{stills}/frames.h5", f"{tmp_path}/gone.h5"}

    def test_one_image_in_a_file(self, stills, tmp_path):
        text = (stills / "megapixel.stream.geom").read_text()
        literal = text.replace("beam_energy eV", "9500 eV").replace("detector_distance mm", "80 mm")
        (tmp_path / "literal.geom").write_text(literal)
        np.save(tmp_path / "one.npy", np.ones((1024, 1024), np.int32))
        frames = bs.open_files(tmp_path / "one.npy", tmp_path / "literal.geom")
        assert len(frames) == 1 and frames[0].pixels.sum() == 1 << 20

    def test_a_loop_looks_into_a_file_when_its_turn_comes(self, stills, geometry, tmp_path):
        """A list of which a later file is broken serves up to there."""
        (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
        (tmp_path / "l.lst").write_text(f"{stills}/frames.h5\n{tmp_path}/broken.h5\n")
        frames = iter(bs.open_files(tmp_path / "l.lst", geometry))
        assert [next(frames).identity.event for _ in range(4)] == ["//0", "//1", "//2", "//3"]


class TestStreamFiles:
    @pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
    def test_length_numbers_slices_and_events(self, stream_file, suffix, tmp_path):
        path = tmp_path / f"o.stream{suffix}"
        pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix]
        path.write_bytes(pack(stream_file.read_bytes()))
        stream = bs.read_stream(path)
        one_by_one = list(stream)
        assert len(stream) == len(one_by_one) == 4 and stream.events == ("//0", "//1", "//2", "//3")
        for number, chunk in enumerate(one_by_one):
            assert same_chunk(stream[number], chunk) and same_chunk(stream[number - 4], chunk)
        assert [chunk.identity.event for chunk in stream[::-1]] == ["//3", "//2", "//1", "//0"]
        assert stream["//2"].identity.event == "//2" and stream[1:3].events == ("//1", "//2")
        assert len(list(stream)) == 4
        with pytest.raises(IndexError):
            stream[4]
        with pytest.raises(KeyError):
            stream["//7"]

    def test_a_file_that_grows_and_one_that_is_torn(self, stream_file, tmp_path):
        content = stream_file.read_bytes()
        path = tmp_path / "o.stream"
        begins = [found.start() for found in re.finditer(b"^----- Begin chunk", content, re.MULTILINE)]
        path.write_bytes(content[: begins[2] + 500])
        stream = bs.read_stream(path)
        assert len(stream) == len(list(stream)) == 2 and stream.is_torn
        path.write_bytes(content)
        assert len(stream) == len(list(stream)) == 4
        path.write_bytes(content.rstrip(b"\n"))
        assert len(stream) == len(list(stream)) == 4
        path.write_bytes(content[: begins[0]])
        assert len(stream) == 0 and list(stream) == [] and stream.events == ()

    def test_large_files_are_looked_through_in_pieces(self, stream_file, tmp_path, monkeypatch):
        monkeypatch.setattr(stream_index, "PIECE_BYTES", 37)
        places = stream_index.chunk_places(stream_file)
        lines = stream_file.read_bytes().split(b"\n")
        assert [lines[place.line] for place in places] == [b"----- Begin chunk -----"] * 4
        assert [place.event for place in places] == ["//0", "//1", "//2", "//3"]

    def test_an_error_names_the_line_of_the_file(self, stream_file, tmp_path):
        lines = stream_file.read_text().split("\n")
        wrong = max(number for number, line in enumerate(lines) if line.startswith("astar"))
        lines[wrong] = "astar = nonsense"
        (tmp_path / "o.stream").write_text("\n".join(lines))
        stream = bs.read_stream(tmp_path / "o.stream")
        assert stream[0].is_hit
        told = []
        for read in (lambda: stream[-1], lambda: list(stream)):
            with pytest.raises(bs.UserError, match=r"o\.stream:\d+: astar") as caught:
                read()
            told.append(str(caught.value))
        assert told[0] == told[1]


def same_chunk(one, other):
    return (
        one.identity == other.identity
        and np.array_equal(one.peaks.fs, other.peaks.fs)
        and np.array_equal(one.crystals[0].reflections.intensity, other.crystals[0].reflections.intensity)
    )
