"""Bad-pixel maps against a pixel-by-pixel twin written from CrystFEL's rules for geometry files."""

from fractions import Fraction
from math import inf, isfinite, isinf, isnan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braggstream.formats.geom import parse_geometry
from braggstream.kernels import flags
from braggstream.kernels._jit import n_compiled
from braggstream.model.errors import HeaderError, MismatchError
from braggstream.model.geometry import PixelRegion
from braggstream.model.mask import MaskArray
from braggstream.steps.bad_pixels import BadPixels

DTYPES = ("uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
TWO_PANELS = """\
wavelength = 1 A
clen = 0.1 m
res = 10000
adu_per_photon = 1
{common}
p/min_fs = 3
p/max_fs = 12
p/min_ss = 0
p/max_ss = 6
p/corner_x = -5
p/corner_y = -3
p/fs = x
p/ss = y
{of_p}
q/min_fs = 0
q/max_fs = 4
q/min_ss = 7
q/max_ss = 14
q/corner_x = 20.5
q/corner_y = 4
q/fs = -0.6x +0.8y
q/ss = -0.8x -0.6y +0.1z
q/coffset = 0.01
{of_q}
"""


def no_header(name):
    raise HeaderError(name)


def two_panels(common="", of_p="", of_q=""):
    return parse_geometry(TWO_PANELS.format(common=common, of_p=of_p, of_q=of_q))


def place(geometry, wavelength=1.0):
    return geometry.detector(no_header, wavelength)


def table_of(geometry, gap=2, first=3):
    """Panels in one array, `gap` unused values after each row and `first` before all."""
    rows, offset, start = [], first, 0
    for panel in geometry.panels:
        stride = panel.width + gap
        rows.append((offset, stride, panel.width, panel.height, start))
        offset += stride * panel.height
        start += panel.width * panel.height
    return np.array(rows, np.int64), offset


# The twin: one pixel at a time, with exact numbers where that matters.


def flagged(value, flag):
    if isnan(value) or isinf(value):
        return True
    if flag.kind == "lessthan":
        return Fraction(value) < Fraction(flag.value)
    if flag.kind == "morethan":
        return Fraction(value) > Fraction(flag.value)
    return round(Fraction(value)) == Fraction(flag.value)


def unusable(value):
    return isinstance(value, float) and not isfinite(value)


def inside_region(region, panel, fs, ss, shift_px=(0.0, 0.0)):
    if isinstance(region, PixelRegion):
        in_fs = region.min_fs <= fs + panel.min_fs <= region.max_fs
        return region.panel == panel.name and in_fs and region.min_ss <= ss + panel.min_ss <= region.max_ss
    x = panel.corner_x + shift_px[0] + fs * panel.fs[0] + ss * panel.ss[0]
    y = panel.corner_y + shift_px[1] + fs * panel.fs[1] + ss * panel.ss[1]
    return region.min_x < x < region.max_x and region.min_y < y < region.max_y


def inverse_d(panel, fs, ss, clen, wavelength):
    x, y, z = (
        start + fs * along_fs + ss * along_ss
        for start, along_fs, along_ss in zip((panel.corner_x, panel.corner_y, 0.0), panel.fs, panel.ss, strict=True)
    )
    z += (clen + panel.coffset) * panel.res
    length = sqrt(x * x + y * y + z * z)
    q = x / length, y / length, z / length - 1.0
    return sqrt(sum(part * part for part in q)) / wavelength


def naive_static(geometry, *, highres=inf, wavelength=1.0, clen=0.1, shift_px=(0.0, 0.0)):
    found = []
    for panel in geometry.panels:
        for ss in range(panel.height):
            for fs in range(panel.width):
                n = panel.mask_edge_pixels
                edge = fs < n or ss < n or fs >= panel.width - n or ss >= panel.height - n
                region = any(inside_region(each, panel, fs, ss, shift_px) for each in geometry.bad_regions)
                far = highres < inf and inverse_d(panel, fs, ss, clen, wavelength) >= highres
                found.append(panel.no_index or edge or region or far)
    return np.array(found, np.uint8)


def naive_values(geometry, pixels, table):
    found = []
    for panel, (offset, stride, width, height, _) in zip(geometry.panels, table.tolist(), strict=True):
        for ss in range(height):
            for fs in range(width):
                value = pixels[offset + ss * stride + fs].item()
                found.append(unusable(value) or any(flagged(value, flag) for flag in panel.flags))
    return np.array(found, np.uint8)


def naive_masks(geometry, masks):
    found = [np.zeros((panel.height, panel.width), np.uint8) for panel in geometry.panels]
    for mask in masks:
        n_bits = 8 * mask.values.dtype.itemsize
        for (ss, fs), value in np.ndenumerate(mask.values):
            bits = int(value) % (1 << n_bits)
            lacks = bits & mask.good_bits != mask.good_bits
            found[mask.panel][ss, fs] |= lacks or bits & mask.bad_bits != 0
    return np.concatenate([each.ravel() for each in found])


class TestStaticMap:
    @pytest.mark.parametrize(
        ("common", "of_p", "of_q"),
        [
            ("", "", ""),
            ("", "", "q/no_index = 1"),
            ("mask_edge_pixels = 1", "", "q/mask_edge_pixels = 2"),
            ("", "p/mask_edge_pixels = 4", "q/mask_edge_pixels = 100"),
            ("", "p/mask_edge_pixels = -3", ""),
            ("", "bad_a/panel = p\nbad_a/min_fs = 4\nbad_a/max_fs = 4\nbad_a/min_ss = 2\nbad_a/max_ss = 5", ""),
            ("", "", "bad_a/panel = q\nbad_a/min_fs = 3\nbad_a/max_fs = 2\nbad_a/min_ss = 7\nbad_a/max_ss = 14"),
            ("bad_x/min_x = -2\nbad_x/max_x = 3\nbad_x/min_y = -1\nbad_x/max_y = 2", "", ""),
            ("bad_x/min_x = -inf\nbad_x/max_x = 16.1\nbad_x/min_y = -100\nbad_x/max_y = inf", "", ""),
            ("bad_x/min_x = 3\nbad_x/max_x = 3.1\nbad_x/min_y = -50\nbad_x/max_y = 50", "", ""),
        ],
    )
    def test_against_the_twin(self, common, of_p, of_q):
        geometry = two_panels(common, of_p, of_q)
        found = BadPixels(geometry).static_map(place(geometry), 1.0)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found != 0, naive_static(geometry) != 0)

    def test_the_bounds_of_a_lab_region_are_good(self):
        geometry = two_panels("bad_x/min_x = -4\nbad_x/max_x = 2\nbad_x/min_y = -2\nbad_x/max_y = 1")
        bad = BadPixels(geometry).static_map(place(geometry), 1.0)[:70].reshape(7, 10)
        # Pixel corners of panel p are at x = -5, -4, ... and y = -3, -2, ...
        assert np.flatnonzero(bad.any(axis=0)).tolist() == [2, 3, 4, 5, 6]
        assert np.flatnonzero(bad.any(axis=1)).tolist() == [2, 3]

    def test_no_index_marks_the_whole_panel(self):
        geometry = two_panels(of_p="p/no_index = true")
        bad = BadPixels(geometry).static_map(place(geometry), 1.0)
        assert bad[:70].all()
        assert not bad[70:].any()

    def test_lab_regions_follow_the_detector_shift(self):
        region = "bad_x/min_x = -2\nbad_x/max_x = 3\nbad_x/min_y = -1\nbad_x/max_y = 2\n"
        geometry = two_panels(region + "detector_shift_x = /x m\ndetector_shift_y = 0.25 mm")
        bad_pixels = BadPixels(geometry)
        for shift in (0.0, 0.00031, -0.00017):
            found = bad_pixels.static_map(geometry.detector(lambda _, shift=shift: shift, 1.0), 1.0)
            expected = naive_static(geometry, shift_px=(shift * 10000, 2.5))
            np.testing.assert_array_equal(found != 0, expected != 0)

    @pytest.mark.parametrize("wavelength", [0.8, 1.0, 3.0])
    @pytest.mark.parametrize("limit", [0.004, 0.0101, 0.02, 0.5, 1.0])
    def test_resolution_cut(self, limit, wavelength):
        geometry = two_panels()
        found = BadPixels(geometry, highres=limit).static_map(place(geometry), wavelength)
        np.testing.assert_array_equal(found, naive_static(geometry, highres=limit, wavelength=wavelength))

    def test_resolution_cut_behind_the_sample(self):
        geometry = parse_geometry(TWO_PANELS.format(common="", of_p="", of_q="").replace("0.1 m", "-0.1 m"))
        for limit in (1.9, 1.9999, 2.0001):
            found = BadPixels(geometry, highres=limit).static_map(place(geometry), 1.0)
            np.testing.assert_array_equal(found, naive_static(geometry, highres=limit, clen=-0.1))

    def test_it_is_made_once_for_a_position(self, monkeypatch):
        geometry = two_panels("bad_x/min_x = -2\nbad_x/max_x = 3\nbad_x/min_y = -1\nbad_x/max_y = 2")
        bad_pixels = BadPixels(geometry, highres=0.0101)
        first = bad_pixels.static_map(place(geometry), 1.0).copy()

        def not_again(*arguments):
            raise AssertionError("made again")

        monkeypatch.setattr("braggstream.steps.bad_pixels.mark_wide_angles", not_again)
        np.testing.assert_array_equal(bad_pixels.static_map(place(geometry), 1.0), first)
        with pytest.raises(AssertionError, match="made again"):
            bad_pixels.static_map(place(geometry), 1.01)


flag_values = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 3.0, 0.5, 2.5, -0.5, 254.0, 255.0, 300.0, 65535.0, 2147483647.0,
                               4294967295.0, 1e20, -1e20])  # fmt: skip


@st.composite
def flag_lines(draw, prefix):
    chosen = draw(st.lists(st.tuples(st.sampled_from(["lessthan", "morethan", "equal"]), flag_values), max_size=3))
    # Only whole numbers can equal a rounded pixel.
    chosen = [(kind, value) for kind, value in chosen if kind != "equal" or value == int(value)]
    return "\n".join(f"{prefix}flag_{kind} = {value!r}" for kind, value in chosen)


def pixels_of(dtype, size, chance):
    """Pixels with the numbers on which flags turn: limits of the dtype, halves, NaN, infinity."""
    if np.dtype(dtype).kind == "f":
        limits = np.finfo(dtype)
        special = [
            -1,
            -0.5,
            0,
            0.49999997,
            0.5,
            1.5,
            2,
            2.5,
            3.5,
            254,
            255,
            65535,
            2**31,
            2**32,
            np.nan,
            np.inf,
            -np.inf,
            limits.max,
            limits.min,
        ]
    else:
        limits = np.iinfo(dtype)
        candidates = [limits.min, limits.max, -1, 0, 1, 2, 3, 254, 255, 256, 300, 65535, 2**31 - 1, 2**32 - 1]
        special = [value for value in candidates if limits.min <= value <= limits.max]
    return chance.choice(np.array(special, dtype), size)


class TestValues:
    @given(st.sampled_from(DTYPES), flag_lines(""), flag_lines("p/"), flag_lines("q/"), st.integers(0, 2**32 - 1))
    @settings(deadline=None, max_examples=200)
    def test_against_the_twin(self, dtype, common, of_p, of_q, seed):
        geometry = two_panels(common, of_p, of_q + "\nq/mask_edge_pixels = 1")
        table, size = table_of(geometry)
        pixels = pixels_of(dtype, size, np.random.default_rng(seed))
        found = BadPixels(geometry).frame_map(place(geometry), 1.0, pixels, table)
        expected = naive_static(geometry) | naive_values(geometry, pixels, table)
        np.testing.assert_array_equal(found != 0, expected != 0)

    def test_flags_are_not_cut_to_32_bits(self):
        geometry = two_panels("flag_equal = 4294967295")
        table, size = table_of(geometry)
        pixels = np.full(size, 2**32 - 1, np.uint32)
        assert BadPixels(geometry).frame_map(place(geometry), 1.0, pixels, table).all()
        assert not BadPixels(geometry).frame_map(place(geometry), 1.0, pixels - 1, table).any()

    @pytest.mark.parametrize("value", [2**64 - 1, 2**64 - 2, 2**53 + 1, 2**63])
    def test_flags_have_all_digits_of_64_bits(self, value):
        geometry = two_panels(f"flag_equal = {value}")
        table, size = table_of(geometry)
        pixels = np.full(size, value, np.uint64)
        assert BadPixels(geometry).frame_map(place(geometry), 1.0, pixels, table).all()
        assert not BadPixels(geometry).frame_map(place(geometry), 1.0, pixels - np.uint64(1), table).any()
        limited = two_panels(f"flag_morethan = {value - 1}")
        assert BadPixels(limited).frame_map(place(limited), 1.0, pixels, table).all()
        assert not BadPixels(limited).frame_map(place(limited), 1.0, pixels - np.uint64(1), table).any()
        assert BadPixels(geometry).frame_map(place(geometry), 1.0, pixels.astype(np.float64), table).all()

    def test_a_fraction_equals_itself_only(self):
        geometry = two_panels("flag_equal = 0.1")
        table, size = table_of(geometry)
        bad_pixels = BadPixels(geometry)
        assert bad_pixels.frame_map(place(geometry), 1.0, np.full(size, 0.1, np.float32), table).all()
        assert not bad_pixels.frame_map(place(geometry), 1.0, np.full(size, 0.11, np.float32), table).any()
        assert not bad_pixels.frame_map(place(geometry), 1.0, np.zeros(size, np.int32), table).any()

    def test_pixels_that_were_not_loaded_are_zeros(self):
        geometry = two_panels(of_p="p/flag_lessthan = 1")
        table, _ = table_of(geometry)
        table[:, :2] = 0
        bad = BadPixels(geometry).frame_map(place(geometry), 1.0, np.zeros(20, np.int32), table)
        assert bad[:70].all()
        assert not bad[70:].any()

    @pytest.mark.parametrize(
        ("dtype", "lines"), [("int32", ""), ("uint16", "flag_lessthan = 0\nflag_morethan = 65535")]
    )
    def test_no_pass_over_the_pixels_where_no_value_can_be_bad(self, dtype, lines):
        geometry = two_panels(lines)
        table, _ = table_of(geometry)
        bad_pixels, detector = BadPixels(geometry), place(geometry)
        static = bad_pixels.static_map(detector, 1.0)
        assert bad_pixels.frame_map(detector, 1.0, np.zeros(0, dtype), table) is static

    def test_the_buffer_is_reused(self):
        geometry = two_panels("flag_lessthan = 0")
        table, size = table_of(geometry)
        bad_pixels, detector = BadPixels(geometry), place(geometry)
        first = bad_pixels.frame_map(detector, 1.0, np.full(size, -1, np.int32), table)
        assert first.all()
        assert bad_pixels.frame_map(detector, 1.0, np.zeros(size, np.int32), table) is first
        assert not first.any()
        assert not bad_pixels.static_map(detector, 1.0).any()


class TestMasks:
    @pytest.mark.parametrize("is_static", [False, True])
    @pytest.mark.parametrize(
        "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">u4", "bool"]
    )
    def test_against_the_twin(self, dtype, is_static):
        chance = np.random.default_rng(5)
        geometry = two_panels("mask_edge_pixels = 1")
        table, size = table_of(geometry)
        bad_pixels, detector = BadPixels(geometry), place(geometry)
        for good_bits, bad_bits in (
            (0, 0),
            (1, 0),
            (0, 1),
            (0x80, 0),
            (0, 0x80),
            (3, 4),
            (0, 1 << 31),
            (1 << 31, 0),
            (0, 2**64 - 1),
        ):
            masks = []
            for number, panel in enumerate(geometry.panels):
                values = chance.integers(0, 256, (panel.height, 2 * panel.width)).astype(dtype)[:, ::2]
                if np.dtype(dtype).itemsize >= 4:
                    values = values | (np.asarray(chance.integers(0, 2, values.shape)).astype(dtype) << 31).astype(
                        dtype
                    )
                masks.append(
                    MaskArray(
                        panel=number, values=values, good_bits=good_bits, bad_bits=bad_bits, is_static=is_static
                    )
                )
            expected = naive_static(geometry) | naive_masks(geometry, masks)
            for _ in range(2):
                found = bad_pixels.frame_map(detector, 1.0, np.zeros(size, np.int32), table, masks)
                np.testing.assert_array_equal(found != 0, expected != 0)
        assert not bad_pixels.static_map(detector, 1.0).reshape(-1)[11]

    def test_float_masks_are_truncated_and_what_is_no_number_is_bad(self):
        geometry = two_panels()
        table, size = table_of(geometry)
        values = np.zeros((7, 10), np.float32)
        values[0, :6] = 0.9, 1.0, 1.7, np.nan, np.inf, -np.inf
        for bits, expected in (({"bad_bits": 1}, [1, 2, 3, 4, 5]), ({"bad_bits": 2}, [3, 4, 5]), ({}, [3, 4, 5])):
            for dtype in (np.float32, np.float64, np.float16):
                masks = [MaskArray(panel=0, values=values.astype(dtype), **bits)]
                found = BadPixels(geometry).frame_map(place(geometry), 1.0, np.zeros(size, np.int32), table, masks)
                assert np.flatnonzero(found).tolist() == expected

    def test_several_masks_and_flags_add_up(self):
        geometry = two_panels("flag_lessthan = 0")
        table, size = table_of(geometry, gap=0, first=0)
        pixels = np.zeros(size, np.int16)
        pixels[5] = -1
        static = np.zeros((7, 10), np.uint8)
        static[1, 0] = 1
        own = np.ones((8, 5), np.int32)
        own[0, 2] = 0
        masks = [
            MaskArray(panel=0, values=static, bad_bits=1, is_static=True),
            MaskArray(panel=1, values=own, good_bits=1),
        ]
        found = BadPixels(geometry).frame_map(place(geometry), 1.0, pixels, table, masks)
        assert np.flatnonzero(found).tolist() == [5, 10, 72]

    def test_static_masks_are_judged_once_until_the_map_below_changes(self, monkeypatch):
        calls = []
        mark_bits = flags.mark_bits
        monkeypatch.setattr(
            "braggstream.steps.bad_pixels.mark_bits", lambda *given: (calls.append(1), mark_bits(*given))[1]
        )
        geometry = two_panels()
        table, size = table_of(geometry)
        bad_pixels, detector = BadPixels(geometry, highres=0.0101), place(geometry)
        masks = [MaskArray(panel=0, values=np.eye(7, 10, dtype=np.uint8), bad_bits=1, is_static=True)]
        for wavelength, n_calls in ((1.0, 1), (1.0, 1), (1.1, 2), (1.1, 2), (1.0, 3)):
            found = bad_pixels.frame_map(detector, wavelength, np.zeros(size, np.int32), table, masks)
            expected = naive_static(geometry, highres=0.0101, wavelength=wavelength) | naive_masks(geometry, masks)
            np.testing.assert_array_equal(found != 0, expected != 0)
            assert len(calls) == n_calls

    def test_a_mask_of_the_wrong_shape(self):
        geometry = two_panels()
        table, size = table_of(geometry)
        masks = [MaskArray(panel=1, values=np.zeros((5, 8), np.uint8), bad_bits=1)]
        with pytest.raises(MismatchError, match=r"panel q has the shape \(5, 8\), expected \(8, 5\)"):
            BadPixels(geometry).frame_map(place(geometry), 1.0, np.zeros(size, np.int32), table, masks)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_warm_up_compiles_what_frames_need(dtype):
    flags.warm_up(np.dtype(dtype))
    before = n_compiled()
    signatures = [len(kernel.signatures) for kernel in _kernels()]
    geometry = two_panels("flag_equal = 3\nbad_x/min_x = -2\nbad_x/max_x = 3\nbad_x/min_y = -1\nbad_x/max_y = 2")
    table, size = table_of(geometry)
    masks = [MaskArray(panel=0, values=np.zeros((7, 10), kind), bad_bits=1) for kind in ("bool", "u2", "i4", "u8")]
    BadPixels(geometry, highres=0.01).frame_map(place(geometry), 1.0, np.zeros(size, dtype), table, masks)
    assert n_compiled() == before
    assert [len(kernel.signatures) for kernel in _kernels()] == signatures


def _kernels():
    return flags.mark_values, flags.mark_bits, flags.mark_lab_regions, flags.mark_wide_angles
