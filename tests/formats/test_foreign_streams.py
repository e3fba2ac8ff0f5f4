"""Stream files of other programs and times: cells in their headers that are not ours, and formats that are none."""

import lzma

import pytest

from braggstream.cli.main import main
from braggstream.formats.hkl import read_hkl
from braggstream.formats.stream_columns import read_observations
from braggstream.formats.stream_read import read_stream
from braggstream.model.errors import UserError

BEGIN, END = "----- Begin unit cell -----\n", "----- End unit cell -----\n"
PARAMETERS = "a = 112.00 A\nb = 112.00 A\nc = 38.00 A\nal = 90.00 deg\nbe = 90.00 deg\nga = 90.00 deg\n"


def with_cell(golden, tmp_path, statements):
    """Put another cell into the header of a stream file of the reference."""
    text = lzma.decompress((golden / "streams" / "single-xgandalf.stream.xz").read_bytes()).decode()
    head, _, rest = text.partition(BEGIN)
    path = tmp_path / "foreign.stream"
    cell = f"CrystFEL unit cell file version 1.0\n\n{statements}; a comment\n"
    path.write_text(head + BEGIN + cell + END + rest.partition(END)[2])
    return path


@pytest.mark.golden
@pytest.mark.parametrize(
    ("statements", "expected", "remark"),
    [
        ("lattice_type = tetragonal\nunique_axis = c\ncentering = P\n", None, "without parameters"),
        (f"lattice_type = triclinic\ncentering = C\n{PARAMETERS}", ("triclinic", "C"), "without a restraint"),
        (f"lattice_type = cubic\ncentering = P\n{PARAMETERS}", None, "cubic cells have a = c"),
        (f"lattice_type = strange\ncentering = P\n{PARAMETERS}", None, "lattice_type = 'strange'"),
    ],
)  # fmt: skip
def test_the_target_cell_never_keeps_crystals_from_being_read(
    golden, tmp_path, capsys, statements, expected, remark
):
    path = with_cell(golden, tmp_path, statements)
    stream = read_stream(path)
    cell = stream.target_cell
    assert (None if cell is None else (cell.lattice_type, cell.centring)) == expected
    (notice,) = stream.notices
    assert notice.startswith(str(path)) and remark in notice
    assert sum(len(frame.crystals) for frame in stream) == 8
    assert main(["show", str(path)]) == 0
    shown = capsys.readouterr()
    assert "crystals     8" in shown.out and remark in shown.err
    assert main(["solutions", str(path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8


@pytest.mark.parametrize(
    ("first_line", "told"),
    [
        ("CrystFEL stream format 2.0", "is a stream file of format 2.0, an old one"),
        ("CrystFEL stream format 2.1", "is a stream file of format 2.1, an old one"),
        ("CrystFEL stream format 2.2", "is a stream file of format 2.2, an old one"),
        ("CrystFEL stream format 2.4", "is a stream file of format 2.4, a later one"),
        ("\ufeffCrystFEL stream format 2.3", "no byte-order mark"),
        ("CrystFEL reflection list version 2.0", "is no stream file: expected 'CrystFEL stream format 2.3'"),
        ("", "is no stream file"),
    ],
)
def test_other_formats_are_called_what_they_are(tmp_path, first_line, told):
    path = tmp_path / "x.stream"
    path.write_bytes(f"{first_line}\nCommand line: indexamajig\n".encode())
    for read in (read_stream, read_observations):
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value).startswith(str(path)) and told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("!FORMAT=XDS_ASCII    MERGE=TRUE    FRIEDEL'S_LAW=TRUE\n", "an XDS_ASCII file"),
        ("   1   0   0  123.40    5.60   1\n", "a SHELX file"),
        ("  -1   0  12  123.40    5.60\n", "a SHELX file"),
        ("CrystFEL stream format 2.3\n", "a stream file"),
    ],
)
def test_lists_of_other_programs_are_called_what_they_are(tmp_path, text, name):
    (tmp_path / "x.hkl").write_text(text)
    with pytest.raises(UserError, match=f"is no reflection list: .*, and this looks like {name}"):
        read_hkl(tmp_path / "x.hkl")
