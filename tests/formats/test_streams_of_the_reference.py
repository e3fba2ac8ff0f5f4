"""Stream files: those of the reference read and written again, torn ones, and the file on disk."""

import gzip
import lzma
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braggstream.formats.stream_header import stream_header
from braggstream.formats.stream_read import read_stream
from braggstream.formats.stream_write import format_chunk
from braggstream.model.errors import UserError
from braggstream.model.settings import OutputSettings
from braggstream.sinks.stream_file import StreamFileSink, repair_tail

BEGIN = "----- Begin chunk -----\n"
OUTPUT = OutputSettings(stream_file="")

# Derived from numbers that were rounded before they were written.
DERIVED = re.compile(r"^(Cell parameters|peak_resolution|predict_refine/\w*residual|diffraction_resolution_limit)")


def text_of(path):
    content = path.read_bytes()
    return (lzma.decompress(content) if path.suffix == ".xz" else content).decode()


def check_round_trip(path):
    """Reading and writing gives the same lines, but for the last digit of derived numbers."""
    stream = read_stream(path)
    theirs = text_of(path).split(BEGIN)[1:]
    n_chunks = 0
    for chunk, reference in zip(stream, theirs, strict=True):
        n_chunks += 1
        ours = format_chunk(chunk, stream.geometry, OUTPUT).decode().removeprefix(BEGIN).splitlines()
        for our_line, their_line in zip(ours, reference.splitlines(), strict=True):
            if our_line != their_line:
                assert DERIVED.match(their_line)
                assert numbers(our_line) == pytest.approx(numbers(their_line), abs=4e-5, rel=6e-3)
    assert not stream.is_torn
    return n_chunks


def numbers(line):
    return [float(word) for word in re.findall(r"[-+0-9.]*[0-9][-+0-9.e]*", line)]


@pytest.mark.golden
def test_streams_of_the_reference_are_written_as_they_were_read(golden):
    paths = sorted((golden / "streams").glob("*.stream.xz"))
    assert len(paths) > 15
    for path in paths:
        assert check_round_trip(path) == 12, path.name
    assert check_round_trip(golden / "merging" / "many.stream.xz") == 300


@pytest.mark.real
def test_streams_of_real_experiments(real):
    stream = read_stream(real / "abismal" / "crystfel.stream")
    assert [len(chunk.crystals) for chunk in stream] == [1, 1, 1]
    assert sum(len(chunk.crystals[0].reflections) for chunk in stream) == 618
    assert check_round_trip(real / "thaumatin_stills" / "reference_0.12.0.stream") == 4


@pytest.fixture(scope="module")
def small(golden_text):
    """A stream of three chunks as bytes, and where each part of it ends."""
    head, *chunks = golden_text.split(BEGIN)
    parts = [head, *(BEGIN + chunk for chunk in chunks[:3])]
    content = "".join(parts).encode()
    ends = [len("".join(parts[: n + 1]).encode()) for n in range(4)]
    return content, ends


@pytest.fixture(scope="module")
def golden_text(golden):
    return text_of(golden / "streams" / "single-rings.stream.xz")


@pytest.mark.golden
@given(data=st.data())
def test_torn_streams_give_the_whole_chunks(small, tmp_path_factory, data):
    content, ends = small
    cut = data.draw(st.integers(ends[0], len(content)))
    path = tmp_path_factory.mktemp("torn") / "t.stream"
    path.write_bytes(content[:cut])
    stream = read_stream(path)
    # A chunk whose last line lacks only its line end is whole.
    n_whole = sum(end - 1 <= cut for end in ends[1:])
    assert len(list(stream)) == n_whole
    n_cut = repair_tail(str(path))
    kept = max(end for end in ends if end <= cut)
    assert path.read_bytes() == content[:kept] or n_cut == 0
    if cut not in ends and cut > kept + len(BEGIN):
        assert n_cut == cut - kept


@pytest.mark.golden
def test_a_stream_is_continued_after_a_tear(small, tmp_path):
    content, ends = small
    path = tmp_path / "t.stream"
    path.write_bytes(content[: ends[2] + 100])
    sink = StreamFileSink(OutputSettings(stream_file=str(path), append=True), b"not written")
    sink.write(content[ends[2] :])
    sink.close()
    assert path.read_bytes() == content
    fresh = StreamFileSink(OutputSettings(stream_file=str(path)), b"header\n")
    assert path.read_bytes() == content
    fresh.write(b"chunk\n")
    fresh.close()
    assert path.read_bytes() == b"header\nchunk\n"
    assert path.with_name("t.stream.previous").read_bytes() == content


@pytest.mark.golden
def test_compressed_streams(small, tmp_path):
    content, _ = small
    for name, compress in (("t.stream.gz", gzip.compress), ("t.stream.xz", lzma.compress)):
        (tmp_path / name).write_bytes(compress(content))
        assert len(list(read_stream(tmp_path / name))) == 3
        (tmp_path / name).write_bytes(compress(content)[:-2000])
        with pytest.raises(UserError, match="cannot be read"):
            list(read_stream(tmp_path / name))


@pytest.mark.golden
def test_switches_leave_lines_out(golden_text, tmp_path):
    path = tmp_path / "t.stream"
    path.write_text(golden_text)
    stream = read_stream(path)
    chunk = next(chunk for chunk in stream if chunk.crystals)

    def lines(**change):
        return format_chunk(chunk, stream.geometry, OutputSettings(stream_file="", **change)).decode().splitlines()

    whole = lines()
    assert "Peaks from peak search" in whole and "Reflections measured after indexing" in whole
    bare = lines(write_peaks=False, write_reflections=False)
    assert "Peaks from peak search" not in bare and f"num_peaks = {len(chunk.peaks)}" in bare
    assert "No integrated reflections." in bare
    assert not any(line.startswith(("num_reflections", "diffraction_resolution", "num_sat")) for line in bare)


def test_header_fits_what_readers_take():
    words = ("indexamajig", *("--copy-header=/entry/some/long/path" for _ in range(400)), "two\nlines")
    header = stream_header("clen = 1", OutputSettings(stream_file="", command_line=words), None).decode()
    audit = header.split("----- Begin geometry file -----")[0].split("\n", 1)[1]
    assert len(audit.encode()) <= 4090
    lines = header.splitlines()
    assert lines[0] == "CrystFEL stream format 2.3"
    assert lines[1].startswith("Generated by CrystFEL ")
    assert lines[2].startswith("indexamajig ")
    assert lines[3:6] == ["----- Begin geometry file -----", "clen = 1", "----- End geometry file -----"]


@given(st.binary(max_size=300))
def test_garbage_is_no_stream(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("garbage") / "g.stream"
    path.write_bytes(garbage)
    with pytest.raises(UserError):
        list(read_stream(path))


@pytest.mark.golden
@given(data=st.data())
def test_damaged_streams_are_read_or_refused(small, tmp_path_factory, data):
    content, ends = small
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(ends[0], len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "d.stream"
    path.write_bytes(bytes(damaged))
    try:
        assert len(list(read_stream(path))) <= 4
    except UserError as error:
        assert str(error).startswith(f"{path}:") and "\n" not in str(error)


FILL_UP = """
import resource, signal, sys
from braggstream.model.settings import OutputSettings
from braggstream.sinks.stream_file import StreamFileSink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sink = StreamFileSink(OutputSettings(stream_file=sys.argv[1]), b"h" * 99 + b"\\n")
chunk = b"----- Begin chunk -----\\n" + b"x" * 300 + b"\\n----- End chunk -----\\n"
try:
    for _ in range(9):
        sink.write(chunk)
except OSError as error:
    print(error.errno, error.filename)
"""


def test_no_half_chunk_stays_where_the_file_cannot_grow(tmp_path):
    path = tmp_path / "o.stream"
    done = subprocess.run([sys.executable, "-c", FILL_UP, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["27", str(path)]
    content = path.read_bytes()
    assert content.count(b"Begin chunk") == content.count(b"End chunk") == 2
    assert content.endswith(b"----- End chunk -----\n")


def test_what_cannot_be_written_or_continued_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot write the stream file"):
        StreamFileSink(OutputSettings(stream_file=str(tmp_path / "no" / "o.stream")), b"")
    with pytest.raises(UserError, match="No space left"):
        StreamFileSink(OutputSettings(stream_file="/dev/full"), b"header")
    other = tmp_path / "letter.txt"
    other.write_text("Dear reader")
    with pytest.raises(UserError, match="is no stream file"):
        StreamFileSink(OutputSettings(stream_file=str(other), append=True), b"")
    assert other.read_text() == "Dear reader"
    if os.geteuid():
        other.chmod(0o400)
        with pytest.raises(UserError, match="Permission"):
            StreamFileSink(OutputSettings(stream_file=str(other)), b"")
