"""Crystals of stream files as columns: the same as chunk by chunk, also from torn and damaged files."""

import gzip
import lzma
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braggstream.formats.stream_columns import read_observations
from braggstream.formats.stream_read import read_stream
from braggstream.model.errors import UserError
from braggstream.model.observations import joined

BEGIN = "----- Begin chunk -----\n"
LINE = "   4    1    6    2147.94      55.21     318.85       9.65  245.0  477.8 "


def single(value, factor):
    """Round a value to the single precision in which the reference reads it, in the unit of the file."""
    return np.float64(np.float32(np.round(np.asarray(value) * factor, 9))) / factor


def same_crystals(stream, blocks):
    """Compare with what the reader of chunks found, which keeps all digits; gives the number of crystals."""
    found = joined(list(blocks))
    corners = np.array([(panel.min_fs, panel.min_ss) for panel in stream.geometry.panels])
    crystals = [(chunk, crystal) for chunk in stream for crystal in chunk.crystals]
    assert found.n_crystals == len(crystals)
    for n, (chunk, crystal) in enumerate(crystals):
        table, rows = found.crystals, slice(found.start[n], found.start[n + 1])
        assert (table.filename[n], table.event[n]) == (chunk.identity.filename, chunk.identity.event)
        assert (table.serial[n], table.indexed_by[n]) == (chunk.identity.serial, chunk.indexed_by)
        assert (table.wavelength[n], table.bandwidth[n]) == (chunk.wavelength, chunk.bandwidth)
        assert np.array_equal(table.reciprocal_axes[n], single(crystal.reciprocal_axes, 10.0))
        assert table.lattice_of(n) == (crystal.lattice_type, crystal.centring, crystal.unique_axis)
        assert table.profile_radius[n] == single(crystal.profile_radius, 10.0)
        assert np.array_equal(table.det_shift[n], single(crystal.det_shift, 1000.0))
        assert table.n_saturated[n] == crystal.n_saturated
        reflections = crystal.reflections
        if reflections is None:
            assert rows.start == rows.stop and table.resolution_limit[n] == np.inf
            continue
        assert table.resolution_limit[n] == single(crystal.resolution_limit, 10.0)
        assert np.array_equal(found.hkl[rows], reflections.hkl)
        assert np.array_equal(found.panel[rows], reflections.panel)
        for name in ("intensity", "sigma", "peak_value", "background"):
            assert np.array_equal(getattr(found, name)[rows], getattr(reflections, name).astype(np.float32)), name
        for axis, name in enumerate(("fs", "ss")):
            expected = getattr(reflections, name) + corners[reflections.panel, axis]
            assert np.allclose(getattr(found, name)[rows], expected, rtol=0, atol=1e-4)
    return found.n_crystals


@pytest.mark.golden
def test_streams_of_the_reference_hold_the_same_crystals(golden):
    n_streams = 0
    for path in sorted((golden / "streams").glob("*.stream.xz")):
        blocks = list(read_observations(path))
        if blocks:
            n_streams += same_crystals(read_stream(path), blocks) > 0
    assert n_streams > 9


@pytest.fixture(scope="module")
def text(golden):
    return lzma.decompress((golden / "merging" / "many.stream.xz").read_bytes()).decode()


@pytest.fixture(scope="module")
def small(text):
    """A stream of three chunks, the last of two crystals, as bytes; and where each part ends."""
    head, *chunks = text.split(BEGIN)
    chunks = [chunk for chunk in chunks if "--- Begin crystal" in chunk][:4]
    crystal = chunks[3][chunks[3].index("--- Begin crystal") : chunks[3].index("----- End chunk")]
    chunks[2] = chunks[2].replace("----- End chunk", crystal + "----- End chunk")
    parts = [head, *(BEGIN + chunk for chunk in chunks[:3])]
    ends = [len("".join(parts[: n + 1]).encode()) for n in range(4)]
    return "".join(parts).encode(), ends


def written(folder, content, name="s.stream"):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.golden
def test_blocks_and_threads_change_nothing(golden, monkeypatch):
    path = golden / "merging" / "many.stream.xz"
    (whole,) = read_observations(path)
    monkeypatch.setattr("braggstream.formats.stream_columns.PIECE_BYTES", 300_000)
    blocks = list(read_observations(path, n_crystals=100, n_threads=2))
    assert [block.n_crystals for block in blocks] == [100, 100, 90]
    again = joined(blocks)
    assert np.array_equal(again.start, whole.start) and again.crystals.event == whole.crystals.event
    assert again.intensity.tobytes() == whole.intensity.tobytes() and np.array_equal(again.hkl, whole.hkl)
    mask = np.arange(290) % 7 == 3
    part = whole.take(mask)
    assert np.array_equal(part.intensity, whole.intensity[mask[whole.crystal]])


@pytest.mark.golden
def test_all_that_a_file_may_be(small, tmp_path, monkeypatch):
    content, _ = small
    plain = written(tmp_path, content)
    stream = read_stream(plain)
    assert same_crystals(stream, read_observations(plain)) == 4
    for name, changed in {
        "s.xz": lzma.compress(content),
        "s.gz": gzip.compress(content),
        "crlf": content.replace(b"\n", b"\r\n"),
        "twice": content + content.partition(b"- End geometry")[2],
    }.items():
        found = joined(list(read_observations(written(tmp_path, changed, name))))
        assert found.n_crystals == (8 if name == "twice" else 4)
    script = "from braggstream.formats.stream_columns import read_observations as read;"
    script += "print([block.n_crystals for block in read('-')])"
    piped = subprocess.run([sys.executable, "-c", script], input=content, capture_output=True, check=True)
    assert piped.stdout == b"[4]\n"
    monkeypatch.setattr("braggstream.formats.stream_columns.PIECE_BYTES", 1000)
    assert same_crystals(stream, read_observations(plain, n_crystals=1)) == 4


@pytest.mark.golden
@given(data=st.data())
def test_torn_streams_give_the_whole_chunks(small, tmp_path_factory, data):
    content, ends = small
    cut = data.draw(st.integers(ends[0], len(content)))
    path = written(tmp_path_factory.mktemp("torn"), content[:cut])
    reader = read_observations(path)
    # A chunk whose last line lacks only its line end is whole.
    n_whole = sum(end - 1 <= cut for end in ends[1:])
    assert sum(block.n_crystals for block in reader) == (0, 1, 2, 4)[n_whole]
    assert reader.n_chunks == n_whole
    # What comes behind a torn chunk, by a writer that went on, is read.
    path.write_bytes(content[:cut] + b"\n" + content[ends[0] :])
    assert sum(block.n_crystals for block in reader) == (0, 1, 2, 4)[n_whole] + 4
    assert not reader.notices


@pytest.mark.golden
@given(data=st.data())
def test_damaged_streams_are_read_or_refused(small, tmp_path_factory, data):
    content, ends = small
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(ends[0], len(content) - 1))] = data.draw(st.integers(0, 255))
    path = written(tmp_path_factory.mktemp("damaged"), bytes(damaged))
    assert sum(block.n_crystals for block in read_observations(path)) <= 4


@pytest.mark.golden
def test_what_is_left_out_is_told_with_its_line(small, tmp_path):
    content, ends = small
    line = content[ends[1] :].index(b"End of reflections") + ends[1]
    number = content[:line].count(b"\n") + 1
    for bad in (
        b"  1 2 x 1 1 1 1 1 1 p0",
        b"1 2 3 1 1 1 1 1 1",
        b"1 2 3 1 1 1 1 1 1 p0 p0",
        b"99999 1 1 1 1 1 1 1 1 p",
    ):
        reader = read_observations(written(tmp_path, content[:line] + bad + b"\n" + content[line:]))
        assert sum(block.n_crystals for block in reader) == 3
        assert len(reader.notices) == reader.n_left_out == 1
        assert f"s.stream:{number}: a crystal is left out: expected a reflection" in reader.notices[0]
    for cut, wanted in ((b"bstar = ", "no astar"), (b"profile_radius = ", "expected a number")):
        changed = content.replace(cut, b"x" if b"b" in cut[:1] else cut + b"x", 1)
        reader = read_observations(written(tmp_path, changed))
        assert sum(block.n_crystals for block in reader) == 3 and wanted in reader.notices[0]
    reader = read_observations(written(tmp_path, content.replace(b"photon_energy_eV", b"photon_energy", 1)))
    assert sum(block.n_crystals for block in reader) == 3 and reader.n_incomplete == 1


@pytest.mark.golden
def test_numbers_as_they_are_written(small, tmp_path):
    content, _ = small
    line = content.index(b"End of reflections")
    rows = [
        "1 2 3 nan inf -inf 1e3 1.5E-2 -0.25 p9",
        "  -3\t-2    -1   123456789012345678901.25  .5  5.  +7 00012.500 1.0e400 p9",
        "1 2 3 33554433.00 0.1 1677721.75 -nan 3.4e38 1e-50 p9",
    ]
    changed = content[:line] + "\n".join(rows).encode() + b"\n" + content[line:]
    found = joined(list(read_observations(written(tmp_path, changed))))
    end = found.start[1]
    columns = ("intensity", "sigma", "peak_value", "background", "fs", "ss")
    with np.errstate(over="ignore"):
        expected = np.array([[float(word) for word in row.split()[3:9]] for row in rows], np.float64).astype("f4")
    ours = np.array([getattr(found, name)[end - 3 : end] for name in columns]).T
    assert np.array_equal(ours, expected, equal_nan=True)
    assert found.hkl[end - 2].tolist() == [-3, -2, -1] and found.panel[end - 3 : end].tolist() == [-1] * 3


@given(st.binary(max_size=300))
def test_garbage_is_no_stream(tmp_path_factory, garbage):
    path = written(tmp_path_factory.mktemp("garbage"), garbage)
    with pytest.raises(UserError):
        list(read_observations(path))


def test_what_is_not_there_or_cut_off(tmp_path):
    with pytest.raises(UserError, match="cannot be opened: No such file"):
        read_observations(tmp_path / "none")
    head = b"CrystFEL stream format 2.3\nGenerated\n----- Begin geometry file -----\n"
    with pytest.raises(UserError, match="has no geometry"):
        read_observations(written(tmp_path, head))
    content = lzma.compress(head * 1000)
    with pytest.raises(UserError, match="cannot be read"):
        read_observations(written(tmp_path, content[:-30]))
