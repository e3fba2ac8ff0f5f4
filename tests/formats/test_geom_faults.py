"""What is said of geometry files that are wrong: all of it in one run, with the remark that explains it."""

import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.model.errors import UserError

BEAM = "photon_energy = 9000 eV\nclen = 0.1 m\n"
PANEL = """p/min_fs = 0
p/max_fs = 9
p/min_ss = 0
p/max_ss = 9
p/corner_x = 0
p/corner_y = 0
p/fs = x
p/ss = y
p/res = 1e4
p/adu_per_photon = 1
"""


def message(text):
    with pytest.raises(UserError) as caught:
        parse_geometry(text, "x.geom")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "fault", "remark"),
    [
        (f"{BEAM}mask = entry/mask\nmask_good = 0x1\n{PANEL}", "has mask0 bits or a file, but no mask0_data",
         "remark on line 3: 'entry/mask' does not begin with '/', the mask is ignored"),
        (f"{BEAM}dim0 = %\ndim1 = SS\ndim2 = fs\n{PANEL}", "panel p has the axes % fs fs",
         "remark on line 4: 'SS' is no role of an axis"),
        (BEAM + PANEL.replace("p/res =", "p/res\u00a0="), "x.geom:3: panel p has no res;",
         "remark on line 11: a panel has no 'res<no-break space>'"),
        (BEAM + PANEL.replace("p/res", "p/Res"), "x.geom:3: panel p has no res;", "line 11: a panel has no 'Res'"),
        (BEAM + PANEL.replace("p/", "badpanel0/"), "there are no panels",
         "'badpanel0' is one, as it begins with 'bad': the statement is ignored"),
        (BEAM + PANEL + PANEL.replace("p/", "q/") + PANEL.replace("p/", "bad1/"), "bad region bad1 has fs and ss",
         "'bad1' is one, as it begins with 'bad'"),
    ],
)  # fmt: skip
def test_the_remark_that_explains_a_fault_is_told_with_it(text, fault, remark):
    told = message(text)
    assert fault in told and remark in told


def test_all_that_is_missing_is_told_in_one_run():
    panels = "".join(PANEL.replace("p/", f"p{n}/").replace(f"p{n}/res = 1e4\n", "") for n in range(40))
    without_corner = PANEL.replace("p/corner_x = 0\n", "").replace("p/", "q/")
    told = message(panels + without_corner)
    for part in (
        "x.geom:1: panel p0 and 39 more have no res;",
        "line 361: panel q has no corner_x;",
        "line 369: no wavelength is given",
        "line 369: no camera length is given",
    ):
        assert part in told


def test_what_a_refused_statement_should_have_set_is_not_missing():
    told = message(BEAM.replace("9000 eV", "9000 ev") + PANEL.replace("1e4", "none"))
    assert told.startswith("x.geom:1: 'ev' is no unit here") and told.endswith("; line 11: 'none' is no number")


@pytest.mark.parametrize("name", ["rail_direction", "integr_radius"])
def test_an_unknown_statement_after_the_last_panel_is_named(name):
    told = message(f"{BEAM}{PANEL}{name} = 3\n")
    assert told.startswith(f"x.geom:13: a default after the last panel has no effect, and '{name}' is not known")


def test_a_default_after_the_last_panel_is_named():
    assert "no effect: move 'max_adu' up, or name the panel" in message(f"{BEAM}{PANEL}max_adu = 3\n")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("mask_bad = 0x1", "(or mask, its old name) = /PATH, in the file of the frames or in mask0_file = FILE"),
        ("mask_file = x.h5", "expected mask0_data (or mask, its old name) = /PATH"),
        ("mask3_badbits = 0x1", "expected mask3_data = /PATH, in the file of the frames or in mask3_file = FILE"),
    ],
)  # fmt: skip
def test_bits_of_no_mask_say_what_to_write(statement, expected):
    assert expected in message(f"{BEAM}{statement}\n{PANEL}")


@pytest.mark.parametrize("comment", ["# nine", "! nine", "(nine)", "// nine", "or so"])
@pytest.mark.parametrize("line", ["photon_energy = 9000 eV", "clen = 0.1 m"])
def test_a_comment_behind_a_unit(line, comment):
    assert "; ';' begins a comment" in message(BEAM.replace(line, f"{line} {comment}") + PANEL)
    parse_geometry(BEAM.replace(line, f"{line} ; {comment}") + PANEL)


@pytest.mark.parametrize("value", ["1,5", "-1,5", "1.5D+3", "1d3"])
def test_numbers_of_other_languages_are_refused(value):
    assert f"x.geom:13: '{value}' is no number: expected a decimal point, and e before" in message(
        f"{BEAM}{PANEL}p/corner_x = {value}\n"
    )
