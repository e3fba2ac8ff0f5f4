"""Files of other programs and times: streams with cells that are not ours, formats that are none, MTZ columns."""

import lzma

import numpy as np
import pytest

from braggstream.cli.main import main
from braggstream.formats.hkl import read_hkl
from braggstream.formats.reflection_file import read_reflections
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


def made_mtz(path, columns, space_group="P 4 3 2"):
    """Write an MTZ file with three reflections; gives it."""
    gemmi = pytest.importorskip("gemmi")
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.SpaceGroup(space_group)
    mtz.add_dataset("made")
    for label, kind in columns:
        mtz.add_column(label, kind)
    numbers = np.arange(1, 1 + 3 * len(columns), dtype=np.float32).reshape(3, -1)
    mtz.set_data(np.column_stack([np.array([[1, 0, 0], [1, 1, 0], [3, 2, 1]], np.float32), numbers]))
    mtz.write_to_file(str(path))
    return path


@pytest.mark.parametrize(
    "names",
    [
        ("I", "SIGI"), ("IMEAN", "SIGIMEAN"), ("Imean", "SIGImean"), ("IOBS", "SIGIOBS"), ("Iobs", "SIGIobs"),
        ("I-obs", "SIGI-obs"), ("I_obs", "SIGI_obs"), ("i", "sigi"), ("Isomehow", "sdIsomehow"),
    ],
)  # fmt: skip
def test_intensities_of_mtz_files_under_any_name(tmp_path, names):
    columns = [("FreeR_flag", "I"), (names[0], "J"), (names[1], "Q"), ("F", "F"), ("SIGF", "Q")]
    found = read_reflections(made_mtz(tmp_path / "x.mtz", columns))
    assert (
        found.symmetry == "m-3m" and found.intensity.tolist() == [2, 7, 12] and found.sigma.tolist() == [3, 8, 13]
    )


@pytest.mark.parametrize("name", ["I", "Iobs", "I-obs", "DANO_I"])
def test_bijvoet_mates_of_mtz_files_under_any_name(tmp_path, name):
    columns = [(f"{name}(+)", "K"), (f"SIG{name}(+)", "M"), (f"{name}(-)", "K"), (f"SIG{name}(-)", "M")]
    found = read_reflections(made_mtz(tmp_path / "x.mtz", columns))
    assert found.symmetry == "432" and sorted(found.intensity.tolist()) == [1, 5, 9, 11]
    assert dict(zip(found.intensity.tolist(), found.sigma.tolist(), strict=True))[11] == 12


@pytest.mark.parametrize(
    "columns",
    [[("F", "F"), ("SIGF", "Q")], [("Ione", "J"), ("SIGIone", "Q"), ("Itwo", "J"), ("SIGItwo", "Q")]],
)
def test_mtz_files_whose_intensities_are_not_clear_are_refused(tmp_path, columns):
    with pytest.raises(UserError, match=rf"has no columns I and SIGI, but H, K, L, {columns[0][0]}"):
        read_reflections(made_mtz(tmp_path / "x.mtz", columns))
