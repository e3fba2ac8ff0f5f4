"""Unit cell files: CrystFEL's format and CRYST1, round trips, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from braggstream.formats.cell import parse_cell, parse_target_cell, read_cell, write_cell
from braggstream.model.cell import CENTRINGS, HAS_UNIQUE_AXIS, LATTICE_TYPES, UnitCell
from braggstream.model.errors import UserError

TITLE = "CrystFEL unit cell file version 1.0\n"
LYSOZYME = f"""{TITLE}
lattice_type = tetragonal
centering = P
unique_axis = c

a = 79.2 A
b = 79.2 A
c = 38.0 A
al = 90 deg
be = 90 deg
ga = 90 deg
"""


def message(text):
    with pytest.raises(UserError) as caught:
        parse_cell(text, "x.cell")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cell_text(lattice, centring, parameters, axis=None):
    a, b, c, al, be, ga = parameters
    unique = "" if axis is None else f"unique_axis = {axis}\n"
    return (
        f"{TITLE}lattice_type = {lattice}\ncentering = {centring}\n{unique}"
        f"a = {a} A\nb = {b} A\nc = {c} A\nal = {al} deg\nbe = {be} deg\nga = {ga} deg\n"
    )


def cryst1(symbol, parameters):
    a, b, c, al, be, ga = parameters
    return f"HEADER\nCRYST1{a:9.3f}{b:9.3f}{c:9.3f}{al:7.2f}{be:7.2f}{ga:7.2f} {symbol:<11s}{8:4d}\nATOM\n"


class TestCellFile:
    def test_every_statement(self):
        assert parse_cell(LYSOZYME) == UnitCell(
            a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal", unique_axis="c"
        )

    def test_units_blanks_and_comments(self):
        text = LYSOZYME.replace("a = 79.2 A", "  a=7.92   nm ; about 79").replace(
            "ga = 90 deg", "ga\t=\t1.5707963267948966 rad"
        )
        cell = parse_cell(text.replace("\n", "\r\n"))
        assert cell.parameters == pytest.approx((79.2, 79.2, 38.0, 90, 90, 90), abs=1e-12)

    def test_block_of_a_stream_file(self):
        text = LYSOZYME + "; Please note: this is the target\n; individual crystals differ\n"
        assert parse_cell(text) == parse_cell(LYSOZYME)

    @pytest.mark.parametrize(
        ("old", "new", "line"),
        [
            ("tetragonal", "tetragnal", 3),
            ("= P", "= Q", 4),
            ("axis = c", "axis = d", 5),
            ("a = 79.2 A", "a = 79.2", 7),
            ("a = 79.2 A", "a = 79.2A", 7),
            ("a = 79.2 A", "a = big A", 7),
            ("a = 79.2 A", "a = 79.2 A A", 7),
            ("a = 79.2 A", "a = 79.2 deg", 7),
            ("a = 79.2 A", "a = ", 7),
            ("c = 38.0 A", "c = 0 A", 9),
            ("c = 38.0 A", "c = -38 A", 9),
            ("c = 38.0 A", "c = inf A", 9),
            ("c = 38.0 A", "c = nan A", 9),
            ("al = 90", "al = 180", 10),
            ("al = 90", "al = nan", 10),
            ("al = 90", "alpha = 90", 10),
            ("al = 90", "al = 90 deg\nal = 90", 11),
            ("al = 90 deg", "nonsense", 10),
            ("be = 90", "be = 100", 11),
            ("b = 79.2", "b = 85", 8),
            ("axis = c", "axis = a", 9),
            ("= P", "= R", 4),
        ],
    )
    def test_the_line_at_fault(self, old, new, line):
        assert message(LYSOZYME.replace(old, new, 1)).startswith(f"x.cell:{line}: ")

    def test_what_is_missing_is_named(self):
        lines = [line for line in LYSOZYME.splitlines() if not line.startswith(("be", "lattice"))]
        assert message("\n".join(lines)).endswith("the cell has no lattice_type, be")

    def test_flat_cells_are_refused(self):
        assert "flat" in message(cell_text("triclinic", "P", (50, 50, 50, 120, 120, 120)))
        assert "flat" in message(cell_text("triclinic", "P", (50, 50, 50, 20, 90, 150)))

    @pytest.mark.parametrize(
        ("lattice", "parameters", "axis"),
        [
            ("monoclinic", (50, 60, 70, 90, 103, 90), "b"),
            ("monoclinic", (50, 60, 70, 90, 90, 91.5), "c"),
            ("monoclinic", (50, 60, 70, 100, 90.1, 90), "a"),
            ("tetragonal", (79.2, 79.2, 79.9, 90, 90, 90), "c"),
            ("tetragonal", (38, 79.2, 79.3, 90, 90, 90), "a"),
            ("hexagonal", (60, 60, 90, 90, 90, 120), "c"),
            ("hexagonal", (60, 90, 60, 90, 120, 90), "b"),
            ("orthorhombic", (50, 60, 70, 90, 90, 90), "*"),
        ],
    )
    def test_unique_axis_from_the_parameters(self, lattice, parameters, axis):
        assert parse_cell(cell_text(lattice, "P", parameters)).unique_axis == axis
        assert parse_cell(cell_text(lattice, "P", parameters, "?")).unique_axis == axis

    @pytest.mark.parametrize(
        ("lattice", "parameters", "told"),
        [
            (
                "monoclinic",
                (50, 60, 70, 90, 90, 90),
                "axes a and b and c of this monoclinic cell could be the unique",
            ),
            ("tetragonal", (50, 60, 70, 90, 90, 90), "whichever its unique axis"),
        ],
    )
    def test_unique_axis_that_must_be_told(self, lattice, parameters, told):
        assert told in message(cell_text(lattice, "P", parameters))

    @pytest.mark.parametrize(
        ("lattice", "centring", "good", "bad"),
        [
            ("cubic", "F", (78, 78, 78, 90, 90, 90), (78, 78, 82, 90, 90, 90)),
            ("rhombohedral", "R", (78, 78, 78, 85, 85, 85), (78, 78, 78, 85, 85, 90)),
            ("hexagonal", "H", (78, 78, 180, 90, 90, 120), (78, 78, 180, 90, 90, 60)),
            ("orthorhombic", "C", (50, 60, 70, 90, 90, 90), (50, 60, 70, 90, 95, 90)),
            ("monoclinic", "C", (50, 60, 70, 90, 110, 90), (50, 60, 70, 95, 110, 90)),
            ("tetragonal", "I", (50, 50, 70, 90, 90, 90), (50, 52, 70, 90, 90, 90)),
            ("triclinic", "P", (50, 60, 70, 80, 95, 100), (50, 60, 70, 80, 95, 0)),
        ],
    )
    def test_parameters_fit_the_lattice_type(self, lattice, centring, good, bad):
        axis = {"monoclinic": "b", "tetragonal": "c", "hexagonal": "c"}.get(lattice)
        assert parse_cell(cell_text(lattice, centring, good, axis)).parameters == good
        assert message(cell_text(lattice, centring, bad, axis)).startswith("x.cell:")

    @pytest.mark.parametrize("centring", CENTRINGS[1:])
    def test_a_centred_triclinic_lattice_has_no_restraint(self, centring):
        remarks = []
        cell = parse_cell(cell_text("triclinic", centring, (50, 60, 70, 80, 95, 100)), "x.cell", remarks.append)
        assert (cell.lattice_type, cell.centring, cell.unique_axis) == ("triclinic", centring, "*")
        (remark,) = remarks
        assert (
            remark.startswith(f"x.cell: a triclinic lattice with centering {centring}:") and "restraint" in remark
        )

    def test_a_lattice_type_alone(self):
        text = f"{TITLE}\nlattice_type = tetragonal\nunique_axis = c\ncentering = P\n"
        remarks = []
        assert parse_target_cell(text, "x.cell", remarks.append) is None
        assert remarks == [
            "x.cell: a tetragonal lattice without parameters: there is no cell to look for or compare with"
        ]
        assert message(text) == "x.cell: gives a lattice type only, and a, b, c, al, be, ga are needed here"

    @pytest.mark.parametrize(
        ("value", "hint"),
        [
            ("79,2 A", "with a decimal point and no comma"),
            ("7.92D+1 A", "write powers of ten with an e"),
            ("79.2 A # from the literature", "';' begins a comment"),
            ("79.2 A (published)", "';' begins a comment"),
        ],
    )
    def test_what_is_often_meant(self, value, hint):
        assert message(LYSOZYME.replace("a = 79.2 A", f"a = {value}", 1)).endswith(hint)

    @pytest.mark.golden
    def test_golden_files(self, golden):
        single, multi = read_cell(golden / "single.cell"), read_cell(golden / "multi.cell")
        assert (single.lattice_type, single.unique_axis, single.parameters[:3]) == (
            "tetragonal",
            "c",
            (79.2, 79.2, 38.0),
        )
        assert (multi.lattice_type, multi.unique_axis, multi.beta) == ("monoclinic", "b", 103.7)
        for cell in (single, multi):
            assert parse_cell(write_cell(cell)) == cell


class TestCryst1:
    BOX = (50.0, 60.0, 70.0, 90.0, 90.0, 90.0)
    SQUARE = (79.2, 79.2, 38.0, 90.0, 90.0, 90.0)
    HEXAGON = (60.0, 60.0, 90.0, 90.0, 90.0, 120.0)
    CUBE = (78.0, 78.0, 78.0, 90.0, 90.0, 90.0)
    TILTED = (50.0, 60.0, 70.0, 90.0, 103.7, 90.0)

    @pytest.mark.parametrize(
        ("symbol", "parameters", "lattice", "centring", "axis"),
        [
            ("P 1", (50, 60, 70, 80, 95, 100), "triclinic", "P", "*"),
            ("P -1", BOX, "triclinic", "P", "*"),
            ("P 1 21 1", TILTED, "monoclinic", "P", "b"),
            ("P 1 21/c 1", TILTED, "monoclinic", "P", "b"),
            ("C 1 2 1", TILTED, "monoclinic", "C", "b"),
            ("P 21", TILTED, "monoclinic", "P", "b"),
            ("P 21", BOX, "monoclinic", "P", "b"),
            ("P 1 1 21", (50, 60, 70, 90, 90, 110), "monoclinic", "P", "c"),
            ("P 21", (50, 60, 70, 90, 90, 110), "monoclinic", "P", "c"),
            ("P 21 21 21", BOX, "orthorhombic", "P", "*"),
            ("P212121", BOX, "orthorhombic", "P", "*"),
            ("I 2 2 2", BOX, "orthorhombic", "I", "*"),
            ("C 2 2 21", BOX, "orthorhombic", "C", "*"),
            ("P n m a", BOX, "orthorhombic", "P", "*"),
            ("P 43 21 2", SQUARE, "tetragonal", "P", "c"),
            ("P43212", SQUARE, "tetragonal", "P", "c"),
            ("I 41", SQUARE, "tetragonal", "I", "c"),
            ("P -4 2 m", SQUARE, "tetragonal", "P", "c"),
            ("P 31 2 1", HEXAGON, "hexagonal", "P", "c"),
            ("P 61 2 2", HEXAGON, "hexagonal", "P", "c"),
            ("P 63/m", HEXAGON, "hexagonal", "P", "c"),
            ("H 3 2", HEXAGON, "hexagonal", "H", "c"),
            ("R 3 2", HEXAGON, "hexagonal", "H", "c"),
            ("R 3 2 :H", HEXAGON, "hexagonal", "H", "c"),
            ("R 3", (78, 78, 78, 85, 85, 85), "rhombohedral", "R", "*"),
            ("P 21 3", CUBE, "cubic", "P", "*"),
            ("I 21 3", CUBE, "cubic", "I", "*"),
            ("F 4 3 2", CUBE, "cubic", "F", "*"),
            ("P 43 3 2", CUBE, "cubic", "P", "*"),
            ("F m -3 m", CUBE, "cubic", "F", "*"),
            ("P213", CUBE, "cubic", "P", "*"),
        ],
    )
    def test_space_groups(self, symbol, parameters, lattice, centring, axis):
        cell = parse_cell(cryst1(symbol, parameters))
        assert cell.parameters == pytest.approx(parameters)
        assert (cell.lattice_type, cell.centring, cell.unique_axis) == (lattice, centring, axis)

    def test_every_space_group_of_macromolecules(self):
        """Lattice type and centring agree with gemmi's tables for the 65 groups without mirrors."""
        gemmi = pytest.importorskip("gemmi")
        examples = {
            "triclinic": (50, 60, 70, 80, 95, 100),
            "monoclinic": self.TILTED,
            "orthorhombic": self.BOX,
            "tetragonal": self.SQUARE,
            "trigonal": self.HEXAGON,
            "hexagonal": self.HEXAGON,
            "cubic": self.CUBE,
        }
        n_checked = 0
        for number in range(1, 231):
            group = gemmi.find_spacegroup_by_number(number)
            if not group.is_sohncke():
                continue
            system = group.crystal_system_str()
            symbol = group.hm if group.centring_type() != "R" else group.hm.replace("R", "H")
            cell = parse_cell(cryst1(symbol, examples[system]))
            assert cell.lattice_type == {"trigonal": "hexagonal"}.get(system, system), symbol
            assert cell.centring == symbol[0]
            assert cell == parse_cell(cryst1(symbol.replace(" ", ""), examples[system]))
            n_checked += 1
        assert n_checked == 65

    def test_every_setting_of_every_space_group(self):
        """The same with and without blanks, in capitals too, for all that gemmi's table knows."""
        gemmi = pytest.importorskip("gemmi")
        tilted = {"a": (50, 60, 70, 103, 90, 90), "b": self.TILTED, "c": (50, 60, 70, 90, 90, 103)}
        square = {
            "tetragonal": self.SQUARE,
            "trigonal": self.HEXAGON,
            "hexagonal": self.HEXAGON,
            "cubic": self.CUBE,
        }
        n_checked = 0
        for group in gemmi.spacegroup_table():
            system, axis = group.crystal_system_str(), "*"
            if system == "monoclinic":
                axis = group.monoclinic_unique_axis()
                parameters = tilted[axis]
            elif group.ext == "R":
                system, parameters = "rhombohedral", (78, 78, 78, 85, 85, 85)
            else:
                parameters = square.get(system, self.BOX)
                axis = "c" if system in ("tetragonal", "trigonal", "hexagonal") else "*"
            expected = (
                {"trigonal": "hexagonal"}.get(system, system),
                "H" if group.ext == "H" else group.hm[0],
                axis,
            )
            for symbol in {group.hm, group.hm.replace(" ", ""), group.hm.upper(), group.hm.partition("(")[0]}:
                if not group.hm.lower().endswith(("a)", "(a)", "2a", "3a")):  # Settings of CCP4's own.
                    cell = parse_cell(cryst1(symbol, parameters))
                    assert (cell.lattice_type, cell.centring, cell.unique_axis) == expected, symbol
                    n_checked += 1
        assert n_checked > 1500

    @pytest.mark.parametrize(
        "text", [cryst1("", TILTED), "CRYST1 50 60 70 90 103.7 90\n", "CRYST1 50 60 70 90 103.7 90 4"]
    )
    def test_no_space_group(self, text):
        remarks = []
        cell = parse_cell(text, "x.pdb", remarks.append)
        assert (cell.lattice_type, cell.centring, cell.unique_axis) == ("triclinic", "P", "*")
        assert cell.parameters == self.TILTED
        (remark,) = remarks
        assert remark.startswith("x.pdb: CRYST1 names no space group: the cell is taken as triclinic P")

    def test_columns_may_be_shifted(self):
        assert parse_cell("CRYST1 79.2 79.2 38.0 90 90 90 P 43 21 2 8").lattice_type == "tetragonal"

    def test_columns_may_touch(self):
        cell = parse_cell("CRYST1 1079.200 1079.200 1038.000  90.00  90.00  90.00 P 43 21 2    8")
        assert cell.parameters[:3] == (1079.2, 1079.2, 1038.0)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "x.cell:1: this is no unit cell file"),
            ("ATOM\nATOM\n", "x.cell:1: this is no unit cell file"),
            ("CRYST1", "x.cell:1: CRYST1 is not understood"),
            ("\nCRYST1 1 2 3 4 5", "x.cell:2: CRYST1 is not understood"),
            (cryst1("P 1", (1, 1, 1, 90, 90, 90)), "x.cell:2: CRYST1 holds the placeholder"),
            (cryst1("X 2 2 2", BOX), "x.cell:2: 'X 2 2 2' is no space group"),
            (cryst1("P q", BOX), "x.cell:2: 'P q' is no space group"),
            (cryst1("P 43 21 2", BOX), "x.cell:2: tetragonal cells (unique axis c) have a = b"),
            (cryst1("P 21 21 21", TILTED), "x.cell:2: orthorhombic cells have be = 90"),
        ],
    )
    def test_refused(self, text, told):
        assert message(text).startswith(told)


class TestFiles:
    @pytest.mark.parametrize(
        "content", [b"\x89HDF\r\n\x1a\n\0\0", b"\xef\xbb\xbf" + LYSOZYME.encode(), b"\xff\xfe"]
    )
    def test_refused(self, tmp_path, content):
        path = tmp_path / "a.cell"
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.cell"):
            read_cell(path)

    def test_unreadable(self, tmp_path):
        for path in (tmp_path / "missing.cell", tmp_path):
            with pytest.raises(UserError, match="cannot read the unit cell file"):
                read_cell(path)


def test_written_form():
    """The form in which cells stand in stream files: two decimals, a unique axis only where there is one."""
    cell = replace(parse_cell(LYSOZYME), a=79.204, b=79.204)
    assert write_cell(cell) == (
        f"{TITLE}\nlattice_type = tetragonal\nunique_axis = c\ncentering = P\n"
        "a = 79.20 A\nb = 79.20 A\nc = 38.00 A\nal = 90.00 deg\nbe = 90.00 deg\nga = 90.00 deg\n"
    )
    assert "unique_axis" not in write_cell(replace(cell, lattice_type="orthorhombic"))


@st.composite
def cells(draw):
    lattice = draw(st.sampled_from(LATTICE_TYPES))
    lengths = [round(draw(st.floats(10, 500)), 4) for _ in range(3)]
    angles = [round(draw(st.floats(65, 115)), 4) for _ in range(3)]
    axis = draw(st.sampled_from("abc")) if lattice in HAS_UNIQUE_AXIS else "*"
    own = "abc".find(axis)
    if lattice in ("orthorhombic", "tetragonal", "cubic"):
        angles = [90.0] * 3
    if lattice in ("cubic", "rhombohedral"):
        lengths = lengths[:1] * 3
    if lattice == "rhombohedral":
        angles = angles[:1] * 3
    if lattice in ("monoclinic", "hexagonal"):
        angles = [angle if i == own and lattice == "monoclinic" else 90.0 for i, angle in enumerate(angles)]
    if lattice == "hexagonal":
        angles[own] = 120.0
    if lattice in ("tetragonal", "hexagonal"):
        lengths = [lengths[0] if i != own else length for i, length in enumerate(lengths)]
        lengths[(own + 1) % 3] = lengths[(own + 2) % 3]
    centring = {"rhombohedral": "R", "hexagonal": draw(st.sampled_from("PH"))}.get(lattice, "P")
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    return UnitCell(
        **dict(zip(names, lengths + angles, strict=True)), lattice_type=lattice, centring=centring, unique_axis=axis
    )


@given(cells())
@settings(deadline=None)
def test_generated_cells_read_back_the_same(cell):
    assert parse_cell(write_cell(cell, decimals=4)) == cell


def accept_or_refuse(text):
    try:
        cell = parse_cell(text, "x.cell")
    except UserError as error:
        assert str(error).startswith("x.cell:")
        assert "\n" not in str(error)
        return
    assert np.isfinite(cell.reciprocal_axes()).all()
    assert cell.centring in CENTRINGS


@given(st.text(max_size=200), st.sampled_from(["", TITLE, "CRYST1"]))
@example("", "CRYST1")
def test_any_text(text, start):
    accept_or_refuse(start + text)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.integers(0, 10),
            st.sampled_from(
                ["=", "\n", "\r", ";", "nan", "1e400", "-", "0x", "9" * 5000, "A", "deg", "a", "\0", "é", " "]
            ),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([LYSOZYME, cryst1("P 43 21 2", TestCryst1.SQUARE)]),
)
@settings(deadline=None, max_examples=300)
def test_damaged_valid_text(damages, text):
    for place, removed, inserted in damages:
        text = text[:place] + inserted + text[place + removed :]
    accept_or_refuse(text)
