"""Reflection lists: those of the reference are written as they were read; what is none is refused."""

import gzip
import lzma

import numpy as np
import pytest

from braggstream.formats.hkl import hkl_text, read_hkl, write_hkl
from braggstream.model.errors import UserError
from braggstream.model.reflection_list import ReflectionList

HEAD = (
    "CrystFEL reflection list version 2.0\nSymmetry: 4/mmm\n   h    k    l          I    phase   sigma(I)   nmeas\n"
)
END = "End of reflections\n"


@pytest.mark.golden
def test_lists_of_the_reference_are_written_as_they_were_read(golden):
    paths = sorted((golden / "merging").glob("p*.hkl*.xz"))
    assert len(paths) > 12
    for path in paths:
        assert hkl_text(read_hkl(path)) == lzma.decompress(path.read_bytes()).decode(), path.name


def test_what_a_list_may_hold(tmp_path):
    path = tmp_path / "a.hkl"
    text = (
        HEAD + "   1    0    0       nan    90.00        inf       2\n  -1 0 0 1e3 - -2.5e-1 3 further\n"
        "   1    0    0      -1.00  -179.50       4.09       0\n"
    )
    path.write_text(text + END + "note one\nnote two\n")
    found = read_hkl(path)
    assert found.hkl.tolist() == [[-1, 0, 0], [1, 0, 0], [1, 0, 0]] and found.symmetry == "4/mmm"
    assert found.intensity[0] == 1000.0 and np.isnan(found.intensity[1]) and found.sigma[1] == np.inf
    assert np.isnan(found.phase[0]) and found.phase.tolist()[1:] == [90.0, -179.5]
    assert found.n_measured.tolist() == [3, 2, 0] and found.notes == "note one\nnote two\n"
    write_hkl(path, found)
    assert len(read_hkl(path)) == 2
    path.write_text(text.replace("4/mmm", "unknown").replace("\n", "\r\n") + END)
    assert read_hkl(path).symmetry == "unknown"
    (tmp_path / "b.hkl").write_bytes(gzip.compress(path.read_bytes()))
    assert len(read_hkl(tmp_path / "b.hkl")) == 3


def test_old_lists(tmp_path):
    path = tmp_path / "old.hkl"
    path.write_text(
        "  h   k   l          I    phase   sigma(I)  counts  fs/px  ss/px\n"
        "   1    2    3      10.00        -       1.00       4   100.0  200.0\n" + END
    )
    found = read_hkl(path)
    assert found.hkl.tolist() == [[1, 2, 3]] and found.n_measured.tolist() == [4] and found.symmetry == "1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: is no reflection list"),
        ("Dear reader\n", ":1: is no reflection list"),
        (HEAD + "   1    0    0       1.00        -       1.00       2\n", "cut off"),
        (
            HEAD + "   1    0    0       1.00        -       1.00       2\n   1    0    0       1.00\n" + END,
            ":5: exp",
        ),
        (HEAD + "   1    0    0       1.00        -       1.00       x\n" + END, ":4: expected h k l"),
        (HEAD + "   1    0    999999  1.00        -       1.00       2\n" + END, ":4: expected h k l"),
        (HEAD + "   1    0    99999999999  1.00   -       1.00       2\n" + END, ":4: expected h k l"),
        (HEAD.replace("Symmetry", "Symmetries"), ":2: expected"),
    ],
)
def test_what_is_no_list_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "x.hkl"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_hkl(path)


def test_files_that_are_not_there_or_damaged(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_hkl(tmp_path / "none.hkl")
    (tmp_path / "x.hkl").write_bytes(lzma.compress(b"abc" * 999)[:-20])
    with pytest.raises(UserError, match="cannot be read"):
        read_hkl(tmp_path / "x.hkl")
    with pytest.raises(UserError, match="cannot write"):
        write_hkl(tmp_path / "no" / "x.hkl", ReflectionList.of(np.zeros((1, 3)), np.ones(1), np.ones(1)))


def test_columns_of_different_lengths_are_no_list():
    with pytest.raises(UserError, match="different lengths"):
        ReflectionList.of(np.zeros((2, 3)), np.ones(2), np.ones(1))
