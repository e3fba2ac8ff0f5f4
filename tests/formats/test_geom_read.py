"""Reading geometry files: what each statement means, and what is refused."""

from math import inf

import numpy as np
import pytest

from braggstream.formats.geom import parse_geometry, read_geometry
from braggstream.model.errors import HeaderError, UserError
from braggstream.model.geometry import Flag, LabRegion, Mask, PixelRegion, RigidGroup

BEAM = "photon_energy = 9000 eV\nclen = 100 mm\n"
PANEL = """\
p/min_fs = 0
p/max_fs = 99
p/min_ss = 0
p/max_ss = 199
p/corner_x = -40
p/corner_y = 10
p/fs = x
p/ss = y
p/res = 10000
p/adu_per_photon = 1
"""
SECOND = PANEL.replace("p/", "q/").replace("q/min_ss = 0", "q/min_ss = 200").replace("= 199", "= 399")

ARTICLE_EXAMPLE = """\
  photon_energy = beam_energy eV
  adu_per_photon = 1
  clen = detector_distance mm
  res = 5814.0
  peak_list = peak_list

  thepanel/data = detector_data
  thepanel/min_fs = 0
  thepanel/max_fs = 2067
  thepanel/min_ss = 0
  thepanel/max_ss = 2161
  thepanel/corner_x = -1034
  thepanel/corner_y = -1081
  thepanel/fs = x
  thepanel/ss = y
"""


def headers(**values):
    def look_up(name):
        try:
            return values[name]
        except KeyError:
            raise HeaderError(f"no {name}") from None

    return look_up


def panel(extra):
    return parse_geometry(BEAM + PANEL + extra).panels[0]


def message(text):
    with pytest.raises(UserError) as caught:
        parse_geometry(text, "x.geom")
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestArticleExample:
    def test_every_statement(self):
        geometry = parse_geometry(ARTICLE_EXAMPLE)
        (only,) = geometry.panels
        assert (only.name, only.data, only.width, only.height) == ("thepanel", "detector_data", 2068, 2162)
        assert (only.corner_x, only.corner_y, only.res, only.adu_per_photon) == (-1034, -1081, 5814.0, 1)
        assert (only.fs, only.ss, only.dims) == ((1, 0, 0), (0, 1, 0), ("ss", "fs"))
        assert (geometry.peak_list, geometry.peak_list_type) == ("peak_list", "auto")
        assert geometry.notices == ()
        assert geometry.text == ARTICLE_EXAMPLE

    def test_headers_of_a_frame(self):
        geometry = parse_geometry(ARTICLE_EXAMPLE)
        look_up = headers(beam_energy=12000.0, detector_distance=85.0)
        wavelength = geometry.wavelength(look_up)
        assert wavelength == pytest.approx(1.2398412462814844e4 / 12000, rel=1e-12)
        assert geometry.detector(look_up, wavelength).poses[0, 0, 2] == pytest.approx(0.085)


class TestPositions:
    """Numbers that were worked out with the reference for one tilted panel."""

    TEXT = """\
wavelength = 1 A
clen = 100 mm
adu_per_eV = 0.001
p/coffset = 0.002
p/res = 10000
p/corner_x = -40
p/corner_y = 10
p/fs = 0.8x+0.6y
p/ss = -0.6x+0.8y-0.1z
p/min_fs = 0
p/max_fs = 99
p/min_ss = 0
p/max_ss = 199
"""

    @pytest.mark.parametrize(
        ("fs", "ss", "lab", "q"),
        [
            (0, 0, (-0.004, 0.001, 0.102), (-3.918368653e8, 9.795921631e7, -8.159936079e6)),
            (0.5, 0.5, (-0.00399, 0.00107, 0.101995), (-3.908751833e8, 1.048211644e8, -8.191899633e6)),
            (12.5, 100.5, (-0.00903, 0.00979, 0.100995), (-8.864290788e8, 9.610344054e8, -8.583556925e7)),
            (100, 200, (-0.008, 0.023, 0.1), (-7.772853831e8, 2.234695476e9, -2.839327112e8)),
        ],
    )
    def test_lab_and_reciprocal_space(self, fs, ss, lab, q):
        geometry = parse_geometry(self.TEXT)
        detector = geometry.detector(headers(), 1.0)
        where = np.array([0]), np.array([float(fs)]), np.array([float(ss)])
        assert detector.lab_position(*where)[0] == pytest.approx(lab, abs=1e-12)
        assert detector.scattering_vectors(*where, 1.0)[0] * 1e10 == pytest.approx(q, rel=1e-8)
        assert detector.max_inverse_d(1.0) * 1e10 == pytest.approx(2.382993e9, rel=1e-6)


class TestLines:
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_ends(self, end):
        text = (BEAM + PANEL).replace("\n", end)
        assert parse_geometry(text).panels == parse_geometry(BEAM + PANEL).panels
        assert parse_geometry(text.rstrip()).panels[0].name == "p"

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_line_numbers(self, end):
        assert message((BEAM + "; comment\n\nnonsense\n" + PANEL).replace("\n", end)).startswith(
            "x.geom:5: 'nonsense'"
        )

    def test_comments_blanks_and_equals_signs(self):
        text = BEAM + "  \t data=/a=b ; = not this\n \t \n;\n" + PANEL
        assert parse_geometry(text).panels[0].data == "/a=b"

    def test_hash_is_no_comment(self):
        assert "x.geom:1: '# comment' is no statement" in message("# comment\n" + BEAM + PANEL)
        assert panel("p/data = #7\n").data == "#7"

    def test_blanks_around_the_slash_are_part_of_the_name(self):
        assert "panel p  has no min_fs" in message(BEAM + PANEL + "p /max_adu = 5\n")

    def test_several_faults_are_told_together(self):
        told = message(BEAM + PANEL + "p/fs = xx\nnonsense\np/res = ?\n")
        assert told.startswith("x.geom:13: 'xx' is no direction")
        assert told.endswith("(and 2 more: line 14, 15)")


class TestDefaults:
    def test_they_reach_later_panels_only(self):
        text = BEAM + "max_adu = 7\n" + PANEL + "max_adu = 8\n" + SECOND + "p/coffset = 0\n"
        assert [each.max_adu for each in parse_geometry(text).panels] == [7, 8]

    def test_every_field_has_one(self):
        text = BEAM + PANEL.replace("p/", "") + "a/dim0 = ss\nb/corner_x = 5\n"
        first, second = parse_geometry(text).panels
        assert (first.name, first.corner_x, second.corner_x, second.fs) == ("a", -40, 5, (1, 0, 0))

    @pytest.mark.parametrize("late", ["max_adu = 5", "no_such_thing = 5", "badrow_direction = x"])
    @pytest.mark.parametrize("after", ["", "p/coffset = 0\n", "bad_x/min_x = 1\n"])
    def test_one_after_the_last_panel_is_refused(self, late, after):
        assert message(f"{BEAM}{PANEL}{late}\n{after}").startswith("x.geom:13: a default after the last panel")

    def test_a_new_panel_cures_it(self):
        assert len(parse_geometry(BEAM + PANEL + "max_adu = 5\n" + SECOND).panels) == 2

    def test_directives_may_stand_anywhere(self):
        assert parse_geometry(PANEL + BEAM + "bandwidth = 0.01\n").bandwidth == 0.01


class TestBeam:
    @pytest.mark.parametrize(
        ("line", "wavelength"),
        [
            ("wavelength = 1.5 A", 1.5),
            ("wavelength = 1.5e-10 m", 1.5),
            ("photon_energy = 10000", 1.2398412463),
            ("photon_energy = 10000 eV", 1.2398412463),
            ("photon_energy = 9 keV", 1.3776013848),
            ("electron_voltage = 300 kV", 1.9687480451e-2),
            ("electron_voltage = 300000 V", 1.9687480451e-2),
            ("photon_energy = 0x2710", 1.2398412463),
        ],
    )
    def test_literal(self, line, wavelength):
        geometry = parse_geometry(f"{line}\nclen = 0.1\n" + PANEL)
        assert geometry.wavelength(headers()) == pytest.approx(wavelength, rel=1e-9)

    def test_last_one_wins(self):
        geometry = parse_geometry("wavelength = 2 A\nphoton_energy = 9000\nwavelength = 3 A\nclen = 1\n" + PANEL)
        assert geometry.wavelength_kind == "wavelength"
        assert geometry.wavelength(headers()) == 3

    def test_header_of_a_frame(self):
        geometry = parse_geometry("photon_energy = /LCLS/energy keV\nclen = 1\n" + PANEL)
        assert geometry.wavelength(headers(**{"/LCLS/energy": 9.0})) == pytest.approx(1.3776013848)

    @pytest.mark.parametrize(
        "line",
        [
            "wavelength = 1.5",
            "wavelength = 1.5A",
            "wavelength = 1.5  A",
            "wavelength = 1.5\tA",
            "wavelength = 1.5 a",
            "wavelength = 0.15 nm",
            "wavelength = 1.5 A wide",
            "photon_energy = 9000 ev",
            "photon_energy = 9 MeV",
            "photon_energy = ",
            "photon_energy = 0",
            "photon_energy = -5",
            "photon_energy = nan",
            "wavelength = inf m",
            "electron_voltage = 300",
            "electron_voltage = 300 KV",
        ],
    )
    def test_refused(self, line):
        assert message(f"{line}\nclen = 1\n{PANEL}").startswith("x.geom:1: ")

    def test_a_missing_space_is_remarked_on(self):
        geometry = parse_geometry("photon_energy = 9keV\nclen = 1\n" + PANEL)
        assert geometry.beam.header == "9keV"
        assert "'9keV' is taken as the name of a header" in geometry.notices[0]

    def test_none_at_all(self):
        assert message("clen = 1\n" + PANEL).startswith("x.geom:11: no wavelength is given")

    @pytest.mark.parametrize(("text", "value"), [("0.01", 0.01), ("-0.01", 0.01), ("1e-3", 0.001)])
    def test_bandwidth(self, text, value):
        assert parse_geometry(f"{BEAM}bandwidth = {text}\n{PANEL}").bandwidth == value

    @pytest.mark.parametrize("text", ["", "1 %", "wide", "nan", "inf"])
    def test_no_bandwidth(self, text):
        geometry = parse_geometry(f"{BEAM}bandwidth = {text}\n{PANEL}")
        assert geometry.bandwidth == 1e-8
        assert "no bandwidth" in geometry.notices[0]


class TestCameraLengthAndShift:
    @pytest.mark.parametrize(
        ("text", "metres"),
        [("0.1", 0.1), ("0.1 m", 0.1), ("100 mm", 0.1), ("/z", 0.5), ("/z m", 500.0), ("/z mm", 0.5)],
    )
    def test_units(self, text, metres):
        geometry = parse_geometry(f"wavelength = 1 A\nclen = {text}\n{PANEL}")
        assert geometry.clen.resolve(headers(**{"/z": 500.0})) == pytest.approx(metres)

    @pytest.mark.parametrize("text", ["1 cm", "1  m", "", "nan", "inf m"])
    def test_refused(self, text):
        assert message(f"wavelength = 1 A\nclen = {text}\n{PANEL}").startswith("x.geom:2: ")

    def test_missing(self):
        assert "no camera length" in message("wavelength = 1 A\n" + PANEL)

    def test_not_for_one_panel(self):
        assert message(BEAM + PANEL + "p/clen = 0.1\n").startswith(
            "x.geom:13: p/clen: the camera length is for all"
        )

    def test_shift_moves_the_panels(self):
        geometry = parse_geometry(f"{BEAM}detector_shift_x = 1 mm\ndetector_shift_y = /y\n{PANEL}")
        detector = geometry.detector(headers(**{"/y": 0.002}), 1.0)
        assert detector.poses[0, 0] == pytest.approx([-0.003, 0.003, 0.1])

    @pytest.mark.parametrize("axis", "xy")
    def test_one_shift_alone_is_refused(self, axis):
        assert message(f"{BEAM}detector_shift_{axis} = 1 mm\n{PANEL}").startswith("x.geom:3: detector_shift")

    def test_a_shift_that_is_nan_is_none(self):
        geometry = parse_geometry(f"{BEAM}detector_shift_x = nan\ndetector_shift_y = 1 mm\n{PANEL}")
        assert geometry.detector(headers(), 1.0).poses[0, 0] == pytest.approx([-0.004, 0.002, 0.1])

    @pytest.mark.parametrize(
        ("clen", "shift", "what"),
        [
            (0.0, 0.0, "panel p into a plane through the sample"),
            (0.1, inf, "the detector shift is inf"),
            (0.1, -inf, "the detector shift is -inf"),
            (1e157, 0.0, "clen is 1e\\+157 m"),
        ],
    )
    def test_where_no_detector_can_be_the_frame_fails(self, clen, shift, what):
        geometry = parse_geometry(
            f"wavelength = 1 A\nclen = /z m\ndetector_shift_x = /x\ndetector_shift_y = 0\n{PANEL}"
        )
        with pytest.raises(HeaderError, match=what):
            geometry.detector(headers(**{"/z": clen, "/x": shift}), 1.0)


class TestPanelFields:
    def test_integers_are_loose(self):
        assert panel("p/max_fs = 9.9\n").max_fs == 9
        assert panel("p/max_ss = 1029.0\n").max_ss == 1029

    @pytest.mark.parametrize("text", ["", "abc", "nan", "inf", "1e300"])
    @pytest.mark.parametrize("field", ["max_fs", "min_ss"])
    def test_no_index(self, field, text):
        assert message(f"{BEAM}{PANEL}p/{field} = {text}\n").startswith("x.geom:13: ")

    @pytest.mark.parametrize("field", ["corner_x", "corner_y", "coffset", "res", "adu_per_eV", "adu_per_photon"])
    @pytest.mark.parametrize("text", ["", "abc", "nan", "inf"])
    def test_no_number(self, field, text):
        assert message(f"{BEAM}{PANEL}p/{field} = {text}\n").startswith("x.geom:13: ")

    def test_text_after_a_number_is_remarked_on(self):
        geometry = parse_geometry(BEAM + PANEL + "p/coffset = 10 mm\np/res = 9000.0 /m\n", "x.geom")
        assert geometry.panels[0].coffset == 10
        assert geometry.panels[0].res == 9000
        assert geometry.notices == (
            "x.geom:13: 'mm' after the number is ignored: the number is in metres",
            "x.geom:14: '/m' after the number is ignored",
        )

    @pytest.mark.parametrize(
        "field", ["min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "fs", "ss", "res"]
    )
    def test_required(self, field):
        text = BEAM + "".join(line for line in PANEL.splitlines(True) if not line.startswith(f"p/{field} "))
        assert message(text) == f"x.geom:3: panel p has no {field}"

    def test_gain_is_required(self):
        assert "neither adu_per_photon nor adu_per_eV" in message(
            BEAM + PANEL.replace("p/adu_per_photon = 1\n", "")
        )

    def test_last_gain_wins(self):
        assert panel("p/adu_per_eV = 3\n").adu_per_photon is None
        both = panel("p/adu_per_eV = 3\np/adu_per_photon = 4\n")
        assert (both.adu_per_photon, both.adu_per_ev) == (4, None)

    @pytest.mark.parametrize(
        "lines", ["p/min_fs = -1", "p/max_ss = -5", "p/max_fs = 3\np/min_fs = 4", "p/res = 0", "p/res = -1"]
    )
    def test_out_of_range(self, lines):
        assert message(f"{BEAM}{PANEL}{lines}\n").startswith("x.geom:13: panel p has")

    def test_too_many_pixels(self):
        assert "more than" in message(f"{BEAM}{PANEL}p/max_fs = 99999\np/max_ss = 99999\n")

    def test_optional_ones(self):
        found = panel(
            "p/max_adu = 0x10\np/data = /a/%/b\np/mask_edge_pixels = 3\np/saturation_map = /s/%\n"
            "p/saturation_map_file = f.h5\np/no_index = true\np/coffset = -1e-3\n"
        )
        assert (found.max_adu, found.data, found.mask_edge_pixels, found.no_index) == (16, "/a/%/b", 3, True)
        assert (found.saturation_map, found.saturation_map_file, found.coffset) == ("/s/%", "f.h5", -0.001)
        plain = panel("")
        assert (plain.max_adu, plain.data, plain.masks, plain.no_index) == (inf, "/data/data", (), False)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("true", True),
            ("TRUE", True),
            ("False", False),
            ("1", True),
            ("2", True),
            ("-1", True),
            ("0", False),
            ("10", True),
            ("0x1", False),
            ("1yes", True),
        ],
    )
    def test_switch(self, text, value):
        assert panel(f"p/no_index = {text}\n").no_index is value

    def test_a_switch_that_is_not_understood_is_remarked_on(self):
        geometry = parse_geometry(BEAM + PANEL + "p/no_index = yes\n")
        assert not geometry.panels[0].no_index
        assert "counts as false" in geometry.notices[0]

    @pytest.mark.parametrize("text", ["1.0", "x", "0x1", "1 2", "9" * 5000])
    def test_edge_pixels_are_strict(self, text):
        assert message(f"{BEAM}{PANEL}p/mask_edge_pixels = {text}\n").startswith("x.geom:13: ")

    @pytest.mark.parametrize("field", ["no_such_field", "photon_energy", "bandwidth", "rigid_group", "panel"])
    def test_unknown_ones_are_remarked_on(self, field):
        geometry = parse_geometry(f"{BEAM}{PANEL}p/{field} = 1\n")
        assert f"a panel has no '{field}'" in geometry.notices[0]
        assert geometry.panels == parse_geometry(BEAM + PANEL).panels

    @pytest.mark.parametrize("field", ["spectrum", "headers", "group", "groupX", "integr_radius", "minimum_edge"])
    def test_unknown_defaults_are_remarked_on(self, field):
        assert f"'{field}' is not known" in parse_geometry(f"{BEAM}{field} = 1\n{PANEL}").notices[0]

    def test_flat_cones_are_refused(self):
        assert "along the same line" in message(BEAM + PANEL + "p/ss = -2x\n")
        assert "along the same line" in message(BEAM + PANEL + "p/fs = 0x\n")

    def test_no_panels(self):
        assert message(BEAM).startswith("x.geom:2: there are no panels")
        assert message("").startswith("x.geom:1: there are no panels")


class TestDirections:
    @pytest.mark.parametrize(
        ("text", "vector"),
        [
            ("x", (1, 0, 0)),
            ("-y", (0, -1, 0)),
            ("-0.5x+1.0y+0.1z", (-0.5, 1, 0.1)),
            ("- 0.5 x + 1.0 y", (-0.5, 1, 0)),
            ("+0.004806x +0.999989y", (0.004806, 0.999989, 0)),
            ("x+x+y", (2, 1, 0)),
            (".5x-3.y", (0.5, -3, 0)),
        ],
    )
    def test_understood(self, text, vector):
        assert panel(f"p/ss = z\np/fs = {text}\n").fs == vector

    @pytest.mark.parametrize(
        "text",
        [
            "1e-3x",
            "2*x",
            "x,y",
            "X",
            "x\t+y",
            "",
            "-",
            "1.0",
            "--x",
            "x-",
            "-0.5x +1.0y 0.1z",
            "xy",
            "x y",
            "1.0.0x",
            "9" * 400 + "x",
            "(1,0,0)",
        ],
    )
    def test_refused(self, text):
        assert "is no direction" in message(f"{BEAM}{PANEL}p/fs = {text}\n") or "too large" in message(
            f"{BEAM}{PANEL}p/fs = {text}\n"
        )


class TestAxes:
    def test_roles(self):
        assert panel("p/dim0 = %\np/dim1 = 3\np/dim2 = ss\np/dim3 = fs\n").dims == ("%", 3, "ss", "fs")
        assert panel("p/dim2 = 5\n").dims == ("ss", "fs", 5)
        assert panel("p/dim2 = \n").dims == ("ss", "fs", 0)

    @pytest.mark.parametrize("line", ["dim = ss", "dimx = ss", "dim16 = ss", "dim_structure = ss", "dim2 = foo",
                                      "dim2 = 1.5", "dim0 = 0x3"])  # fmt: skip
    def test_remarked_on(self, line):
        geometry = parse_geometry(f"{BEAM}{PANEL}p/{line}\n")
        assert geometry.panels[0].dims == ("ss", "fs")
        assert "ignored" in geometry.notices[0]

    @pytest.mark.parametrize(
        "lines",
        [
            "p/dim3 = %",
            "p/dim2 = fs",
            "p/dim2 = ss",
            "p/dim0 = %",
            "p/dim1 = ss\np/dim0 = fs",
            "p/dim2 = -1",
            "p/dim1 = %",
            "p/dim2 = 99999999999",
        ],
    )
    def test_refused(self, lines):
        assert message(f"{BEAM}{PANEL}{lines}\n").startswith(("x.geom:13: ", "x.geom:14: "))

    def test_panels_with_different_numbers_of_placeholders(self):
        geometry = parse_geometry(BEAM + PANEL + "p/dim2 = %\n" + SECOND)
        assert "they share the values of one event" in geometry.notices[0]


class TestMasks:
    def test_all_eight(self):
        lines = "".join(f"p/mask{n}_data = /m{n}\np/mask{n}_badbits = {n}\n" for n in range(7, -1, -1))
        assert panel(lines).masks == tuple(Mask(data=f"/m{n}", bad_bits=n) for n in range(8))

    def test_fields(self):
        lines = "p/mask3_data = /m/%\np/mask3_file = f.h5\np/mask3_goodbits = 0xff\np/mask3_badbits = 1e3\n"
        lines += "p/data = /%\n"
        assert panel(lines).masks == (Mask(data="/m/%", file="f.h5", good_bits=255, bad_bits=1000),)

    def test_old_names(self):
        lines = "p/mask = /m\np/mask_file = f.h5\np/mask_good = 0x0\np/mask_bad = 0xffffffffffffffff\n"
        assert panel(lines).masks == (Mask(data="/m", file="f.h5", bad_bits=2**64 - 1),)

    def test_they_are_defaults_too(self):
        text = BEAM + "mask0_data = /m\nmask0_badbits = 1\n" + PANEL + "p/mask0_badbits = 2\n" + SECOND
        first, second = parse_geometry(text).panels
        assert (first.masks[0].bad_bits, second.masks[0].bad_bits) == (2, 1)

    def test_binary_notation_is_zero(self):
        geometry = parse_geometry(BEAM + PANEL + "p/mask0_data = /m\np/mask0_badbits = 0b11\n")
        assert geometry.panels[0].masks[0].bad_bits == 0
        assert "'b11' after the number is ignored" in geometry.notices[0]

    @pytest.mark.parametrize(
        "line",
        [
            "mask0_data = m",
            "mask0_file = f.h5",
            "mask0_goodbits = 1",
            "mask_bad = 1",
            "mask10_data = /m",
            "maskx_data = /m",
            "mask_foo = 1",
            "mask0_good = 1",
            "mask0data = /m",
            "maskedge = 1",
            "mask8_data = /m",
            "mask9_badbits = 1",
            "mask0_badbits = all",
            "mask0_badbits = -1",
            "mask0_badbits = 1e20",
            "mask0_badbits = ",
            "mask0_data = /%",
            "saturation_map = /%",
        ],
    )
    def test_refused(self, line):
        assert message(f"{BEAM}{PANEL}p/{line}\n").startswith(("x.geom:13: ", "x.geom:3: "))

    def test_old_name_without_slash_is_remarked_on(self):
        geometry = parse_geometry(BEAM + PANEL + "p/mask = m\n")
        assert geometry.panels[0].masks == ()
        assert "the mask is ignored" in geometry.notices[0]


class TestFlags:
    def test_they_add_up(self):
        text = (
            BEAM
            + "flag_lessthan = -0.5\n"
            + PANEL
            + "p/flag_equal = 4294967295\np/flag_morethan = 65534.7\n"
            + SECOND
        )
        first, second = parse_geometry(text).panels
        common = Flag(kind="lessthan", value=-0.5)
        assert first.flags == (common, Flag(kind="equal", value=4294967295.0), Flag(kind="morethan", value=65534.7))
        assert second.flags == (common,)

    def test_sixteen_are_enough(self):
        assert len(panel("p/flag_equal = 1\n" * 16).flags) == 16
        assert message(BEAM + PANEL + "p/flag_equal = 1\n" * 17).startswith("x.geom:29: more than 16")


class TestBadRegions:
    def test_both_kinds(self):
        text = "bad_a/panel = p\nbad_a/min_fs = 1\nbad_a/max_fs = 2\nbad_a/max_ss = 3\n" + BEAM + PANEL
        text += "badger/min_x = -1.5\nbadger/max_x = 1\nbadger/min_y = -inf\nbadger/max_y = 2\nbadger/panel = p\n"
        assert parse_geometry(text).bad_regions == (
            PixelRegion(name="bad_a", panel="p", min_fs=1, max_fs=2, min_ss=0, max_ss=3),
            LabRegion(name="badger", min_x=-1.5, max_x=1, min_y=-inf, max_y=2),
        )

    def test_a_single_panel_may_be_left_out(self):
        geometry = parse_geometry(BEAM + PANEL + "bad/max_fs = 2\nbad/max_ss = 3\n")
        assert geometry.bad_regions == (PixelRegion(name="bad", panel="p", min_fs=0, max_fs=2, min_ss=0, max_ss=3),)
        assert "p is taken" in geometry.notices[0]

    @pytest.mark.parametrize("field", ["min_x", "max_x", "min_y", "max_y"])
    def test_a_missing_lab_bound_marks_nothing(self, field):
        lines = [f"bad/{name} = 1\n" for name in ("min_x", "max_x", "min_y", "max_y") if name != field]
        geometry = parse_geometry(BEAM + PANEL + "".join(lines))
        assert geometry.bad_regions == ()
        assert f"marks nothing: it has no {field}" in geometry.notices[0]

    @pytest.mark.parametrize(
        ("lines", "told"),
        [
            ("b/min_fs = 1\nb/min_x = 1", "14: bad mixes"),
            ("b/panel = p", "13: bad region bad has no bounds"),
            ("b/what = 1", "13: bad region bad has no bounds"),
            ("b/min_fs = 1\nb/panel = none", "13: bad region bad names the panel 'none'"),
            (
                "b/max_fs = 100\nb/panel = p",
                "13: bad region bad has max_fs = 100 outside panel p, expected 0 to 99",
            ),
            ("b/max_fs = 100", "13: bad region bad has max_fs = 100 outside"),
            ("b/max_ss = -1\nb/panel = p", "13: bad region bad has max_ss = -1 outside"),
        ],
    )
    def test_refused(self, lines, told):
        assert message(BEAM + PANEL + lines.replace("b/", "bad/") + "\n").startswith(f"x.geom:{told}")

    def test_missing_pixel_bounds_are_zero(self):
        lines = "bad/panel = q\nbad/max_fs = 5\nbad/max_ss = 210\n"
        assert "min_ss = 0 outside panel q, expected 200 to 399" in message(BEAM + PANEL + SECOND + lines)

    def test_which_panel(self):
        assert message(BEAM + PANEL + SECOND + "bad/max_fs = 5\n").startswith(
            "x.geom:23: bad region bad has fs and ss"
        )

    def test_an_unknown_field_is_remarked_on(self):
        geometry = parse_geometry(BEAM + PANEL + "bad/max_fs = 2\nbad/panel = p\nbad/colour = red\n")
        assert "a bad region has no 'colour'" in geometry.notices[0]


class TestGroups:
    def test_one_of_all_panels_without_group_lines(self):
        assert parse_geometry(BEAM + PANEL + SECOND).groups == (RigidGroup(name="all", members=("p", "q")),)

    def test_bottom_up(self):
        text = BEAM + "group_a = p,,q\n" + PANEL + SECOND + "group_all = a\n"
        assert parse_geometry(text).groups == (
            RigidGroup(name="a", members=("p", "q")),
            RigidGroup(name="all", members=("a",)),
        )

    def test_all_comes_last(self):
        text = BEAM + PANEL + SECOND + "group_all = p,q\ngroup_b = q\n"
        assert [group.name for group in parse_geometry(text).groups] == ["b", "all"]

    @pytest.mark.parametrize(
        ("lines", "told"),
        [
            ("group_a = p, q", "' q' is no panel or group defined further up: leave out the blanks"),
            ("group_a = r", "'r' is no panel"),
            ("group_a = b\ngroup_b = p", "'b' is no panel"),
            ("group_a = p,p", "names a member twice"),
            ("group_a = ,", "has 0 members"),
            ("group_a = " + ",".join(f"n{n}" for n in range(65)), "has 65 members"),
            ("group_a = p\ngroup_a = q", "already a group or panel called 'a'"),
            ("group_q = p", "already a group or panel called 'q'"),
            ("group_all = p,q\ngroup_top = all", "'all' is the top one"),
        ],
    )
    def test_refused(self, lines, told):
        assert told in message(BEAM + PANEL + SECOND + lines + "\n")

    def test_no_hierarchy(self):
        many = BEAM + "".join(PANEL.replace("p/", f"p{n}/") for n in range(65))
        for text, told in ((many, "more than 64"), (BEAM + PANEL.replace("p/", "all/"), "called 'all'")):
            geometry = parse_geometry(text)
            assert geometry.groups == ()
            assert told in geometry.notices[0]

    def test_more_panels_than_groups(self):
        many = BEAM + "".join(PANEL.replace("p/", f"p{n}/") for n in range(513)) + "group_a = p0\n"
        geometry = parse_geometry(many)
        assert (len(geometry.panels), geometry.groups) == (513, ())
        assert "group 'a' is ignored" in geometry.notices[0]

    def test_old_rigid_groups_are_ignored(self):
        text = BEAM + PANEL + "rigid_group_a = p\nrigid_group_collection_b = a\n"
        assert parse_geometry(text).notices == ()


class TestHugeFiles:
    """Files of the largest size are refused in seconds."""

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("p/fs = " + "x+" * 8_000_000, "longer than 65536 characters"),
            ("p/fs = " + "9" * 60_000, "is no direction"),
            ("p/res = " + "9" * 60_000, "too large"),
            ("".join(f"p{n}/min_fs = 1\n" for n in range(100_000)), "more than 10000 panels"),
            ("".join(f"bad{n}/min_fs = 1\n" for n in range(100_000)), "more than 10000 panels"),
            ("x" * 16_000_000, "longer than 65536 characters"),
        ],
    )
    def test_refused(self, text, told):
        assert told in message(text)
        assert len(message(text)) < 300


class TestPeakList:
    def test_place_and_type(self):
        geometry = parse_geometry(BEAM + "peak_list = /entry/result_1\npeak_list_type = cxi\n" + PANEL)
        assert (geometry.peak_list, geometry.peak_list_type) == ("/entry/result_1", "cxi")

    @pytest.mark.parametrize("line", ["peak_list_type = CXI", "peak_list_type = ", "peak_list = "])
    def test_refused(self, line):
        assert message(f"{BEAM}{line}\n{PANEL}").startswith("x.geom:3: ")


class TestFiles:
    def test_path_and_text_are_kept(self, tmp_path):
        path = tmp_path / "a.geom"
        path.write_bytes("; 75 µm\r\n".encode("latin-1") + (BEAM + PANEL).encode())
        geometry = read_geometry(path)
        assert geometry.path == str(path)
        assert geometry.text.startswith("; 75 µm\r\n")

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"clen = 1\n\x89HDF\0\0", ":2: the geometry file holds binary data"),
            (b"\xef\xbb\xbf" + BEAM.encode(), ":1: the geometry file starts with a byte-order mark"),
            (b";" * ((16 << 20) + 1), ": the geometry file is larger than 16777216 bytes"),
        ],
    )
    def test_refused(self, tmp_path, content, told):
        path = tmp_path / "a.geom"
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_geometry(path)
        assert str(caught.value).startswith(f"{path}{told}")

    def test_unreadable(self, tmp_path):
        for path in (tmp_path / "missing.geom", tmp_path, "a\0b"):
            with pytest.raises(UserError, match="cannot read the geometry file"):
                read_geometry(path)

    def test_a_text_too_large_for_a_stream_is_remarked_on(self):
        geometry = parse_geometry(";" * (1 << 20) + "\n" + BEAM + PANEL)
        assert "CrystFEL will not open a stream file" in geometry.notices[0]


@pytest.mark.real
class TestRealFiles:
    N_PANELS = (
        ("btx/20220207-cxilz0720crystFEL.geom", 64),
        ("extra-geom/agipd_simple_2d.geom", 128),
        ("extra-geom/jungfrau.geom", 64),
        ("peaknet/temp.geom", 1),
        ("psgeom/cspad_coffset05.geom", 64),
        ("psgeom/cspad_coffset10.geom", 64),
        ("psgeom/cspad_refgeom_crystfel.geom", 64),
        ("psgeom/pnccd2.geom", 2),
    )

    @pytest.mark.parametrize(("name", "n_panels"), N_PANELS)
    def test_loading(self, real, name, n_panels):
        geometry = read_geometry(real / "geoms" / name)
        assert len(geometry.panels) == n_panels
        look_up = headers(**{"/LCLS/photon_energy_eV": 9000.0, "/LCLS/detector0-EncoderValue": -400.0,
                             "/LCLS/detector_1/EncoderValue": 100.0})  # fmt: skip
        detector = geometry.detector(look_up, geometry.wavelength(look_up))
        assert np.isfinite(detector.inverses).all()

    def test_refused(self, real):
        folder = real / "geoms" / "psgeom"
        with pytest.raises(UserError, match=r"cspad-2x2-approx1\.geom:55: no wavelength is given"):
            read_geometry(folder / "cspad-2x2-approx1.geom")
        with pytest.raises(
            UserError, match=r"jungfrau-1M-pan\.geom:13: bad region bad_s0 has fs and ss bounds but no"
        ):
            read_geometry(folder / "jungfrau-1M-pan.geom")

    def test_numbers_of_one(self, real):
        geometry = read_geometry(real / "geoms" / "psgeom" / "pnccd2.geom")
        top = geometry.panels[0]
        assert (top.name, top.min_fs, top.max_fs, top.corner_x, top.corner_y) == ("top", 512, 1023, -519, 6)
        assert (top.fs, top.ss, top.res, top.coffset) == ((0, 1, 0), (1, 0, 0), 13333.3, 0.47006)
        place = "/entry_1/instrument_1/detector_1/detector_corrected"
        assert (top.data, top.dims) == (f"{place}/data", ("%", "ss", "fs"))
        assert top.masks == (Mask(data=f"{place}/mask", bad_bits=0xFFFF),)


@pytest.mark.golden
def test_golden_geometry(golden):
    geometry = read_geometry(golden / "multi.zmq.geom")
    assert [each.name for each in geometry.panels] == ["m0", "m1", "m2", "m3"]
    assert geometry.panels[2].fs == (0.999997098, -0.002408957, 0.0)
    assert geometry.panels[3].flags == (Flag(kind="lessthan", value=0.0),)
    assert (geometry.beam.header, geometry.clen.header, geometry.clen.factor) == (
        "beam_energy",
        "detector_distance",
        1e-3,
    )
