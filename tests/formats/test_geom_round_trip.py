"""Writing geometry files: what is written reads back the same, and nothing but `UserError` comes of bad ones."""

import random
from dataclasses import fields
from math import inf

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from braggstream.formats.geom import parse_geometry, read_geometry, write_geometry
from braggstream.model.errors import UserError
from braggstream.model.geometry import (
    ENERGY_UNITS,
    LENGTH_UNITS,
    VOLTAGE_UNITS,
    WAVELENGTH_UNITS,
    Flag,
    Geometry,
    LabRegion,
    Mask,
    Panel,
    PixelRegion,
    Quantity,
    RigidGroup,
)

finite = st.floats(-1e6, 1e6, allow_subnormal=False)
positive = st.floats(1e-3, 1e6)
header_names = st.text("abc/_%0", min_size=1, max_size=8).map(lambda name: "/h" + name)


def same(first: Geometry, second: Geometry) -> bool:
    compared = [each.name for each in fields(Geometry) if each.name not in ("text", "path", "notices", "_cache")]
    return all(getattr(first, name) == getattr(second, name) for name in compared)


def quantities(units, numbers, bare_literal, bare_header):
    """Quantities as reading makes them: with a unit, and without one where that is allowed."""

    def build(header, number, unit):
        bare = bare_literal if header is None else bare_header
        if not unit and bare is None:
            unit = next(iter(units))
        factor = units[unit] if unit else units[bare]
        return Quantity(value=number if header is None else None, header=header, unit=unit, factor=factor)

    return st.builds(build, st.none() | header_names, numbers, st.sampled_from(["", *units]))


beams = st.one_of(
    st.tuples(st.just("wavelength"), quantities(WAVELENGTH_UNITS, positive, None, None)),
    st.tuples(st.just("photon_energy"), quantities(ENERGY_UNITS, positive, "eV", "eV")),
    st.tuples(st.just("electron_voltage"), quantities(VOLTAGE_UNITS, positive, None, None)),
)
bit_sets = st.integers(0, 2**64 - 1)
masks = st.builds(Mask, data=st.just("/m"), file=st.none() | st.just("f.h5"), good_bits=bit_sets, bad_bits=bit_sets)
flags = st.builds(Flag, kind=st.sampled_from(["lessthan", "morethan", "equal"]), value=finite)
roles = st.lists(st.just("%") | st.integers(0, 9), max_size=3)


@st.composite
def panels(draw, name):
    min_fs, min_ss = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    angle_part = draw(st.floats(-0.5, 0.5))
    dims = ["ss", "fs"]
    for role in draw(roles):
        dims.insert(draw(st.integers(0, len(dims))), role)
    per_photon = draw(st.booleans())
    gain = draw(positive)
    return Panel(
        name=name,
        min_fs=min_fs,
        max_fs=min_fs + draw(st.integers(0, 9)),
        min_ss=min_ss,
        max_ss=min_ss + draw(st.integers(0, 9)),
        corner_x=draw(finite),
        corner_y=draw(finite),
        fs=(1.0, angle_part, draw(finite)),
        ss=(-angle_part, 1.0, draw(st.sampled_from([0.0, 1e-9, 3e-20]))),
        res=draw(positive),
        coffset=draw(finite),
        adu_per_photon=gain if per_photon else None,
        adu_per_ev=None if per_photon else gain,
        max_adu=draw(st.just(inf) | finite),
        data=draw(st.just("/data/data") | header_names),
        dims=tuple(dims),
        masks=tuple(draw(st.lists(masks, max_size=2))),
        mask_edge_pixels=draw(st.integers(0, 3)),
        flags=tuple(draw(st.lists(flags, max_size=2))),
        saturation_map=draw(st.none() | st.just("/s")),
        saturation_map_file=draw(st.none() | st.just("s.h5")),
        no_index=draw(st.booleans()),
    )


@st.composite
def geometries(draw):
    names = draw(st.lists(st.sampled_from(["p0", "p1", "m", "q0a1", "x y"]), min_size=1, max_size=3, unique=True))
    common = draw(panels("common"))
    made = []
    for name in names:
        own = draw(panels(name))
        shared = ("masks", "flags", "dims", "data", "res") if draw(st.booleans()) else ()
        made.append(
            Panel(
                **{each.name: getattr(common if each.name in shared else own, each.name) for each in fields(Panel)}
            )
        )
    kind, beam = draw(beams)
    shift = draw(st.none() | st.tuples(*[quantities(LENGTH_UNITS, finite, "m", "m")] * 2))
    regions = []
    for number in range(draw(st.integers(0, 2))):
        target = draw(st.sampled_from(made))
        inside = {
            f"{end}_{axis}": getattr(target, f"{end}_{axis}") for end in ("min", "max") for axis in ("fs", "ss")
        }
        bounds = {f"{end}_{axis}": draw(finite) for end in ("min", "max") for axis in "xy"}
        name = f"bad{number}"
        regions.append(
            PixelRegion(name=name, panel=target.name, **inside)
            if draw(st.booleans())
            else LabRegion(name=name, **bounds)
        )
    groups = [RigidGroup(name="all", members=tuple(names))]
    if draw(st.booleans()):
        groups = [RigidGroup(name="g", members=(names[0],)), RigidGroup(name="all", members=("g", *names[1:]))]
    return Geometry(
        panels=tuple(made),
        wavelength_kind=kind,
        beam=beam,
        clen=draw(quantities(LENGTH_UNITS, finite, "m", "mm")),
        shift_x=shift and shift[0],
        shift_y=shift and shift[1],
        bandwidth=draw(st.floats(0, 1)),
        peak_list=draw(st.none() | st.just("/peaks")),
        peak_list_type=draw(st.sampled_from(["auto", "cxi", "list3"])),
        bad_regions=tuple(regions),
        groups=tuple(groups),
    )


@given(geometries())
@settings(deadline=None, max_examples=60)
def test_generated_geometries_read_back_the_same(geometry):
    text = write_geometry(geometry)
    read = parse_geometry(text)
    assert same(read, geometry)
    assert write_geometry(read) == text


@pytest.mark.real
@pytest.mark.golden
def test_real_and_golden_files_read_back_the_same(real, golden):
    paths = [*golden.glob("*.geom"), *(real / "geoms").rglob("*.geom")]
    refused = {"cspad-2x2-approx1.geom", "jungfrau-1M-pan.geom"}
    assert len(paths) == 14
    for path in paths:
        if path.name not in refused:
            geometry = read_geometry(path)
            assert same(parse_geometry(write_geometry(geometry)), geometry), path


def test_what_panels_share_is_written_once_and_leading_comments_stay():
    text = """\
; A detector

; of two panels
photon_energy = 9000.0 eV
clen = 0.1 m
bandwidth = 1e-08
mask0_data = /mask
mask0_goodbits = 0x0
mask0_badbits = 0xff
res = 10000.0
data = /data
flag_lessthan = -1.5
adu_per_photon = 1.0
dim0 = %
dim1 = ss
dim2 = fs

bad_a/panel = q
bad_a/min_fs = 0
bad_a/max_fs = 1
bad_a/min_ss = 0
bad_a/max_ss = 2

p/min_fs = 0
p/max_fs = 9
p/min_ss = 0
p/max_ss = 9
p/corner_x = -5.0
p/corner_y = 1.25
p/fs = +1x +0y +0z
p/ss = +0x +1y -0.00001z
p/max_adu = 100.0

q/min_fs = 0
q/max_fs = 9
q/min_ss = 0
q/max_ss = 9
q/corner_x = 5.0
q/corner_y = 1.25
q/fs = +1x +0y +0z
q/ss = +0x +1y +0z
q/coffset = 0.001
q/no_index = 1
"""
    assert write_geometry(parse_geometry(text)) == text


@pytest.mark.parametrize("data", ["/a;b", "/a\nb", " /a", "/a\r"])
def test_what_the_format_cannot_hold_is_refused(data):
    geometry = parse_geometry(VALID)
    panel = Panel(**{each.name: getattr(geometry.panels[0], each.name) for each in fields(Panel)} | {"data": data})
    bad = Geometry(panels=(panel,), wavelength_kind="wavelength", beam=geometry.beam, clen=geometry.clen)
    with pytest.raises(ValueError, match="cannot hold"):
        write_geometry(bad)


VALID = """\
wavelength = 1 A
clen = 0.1 m
detector_shift_x = 1 mm
detector_shift_y = /shift mm
mask0_data = /mask/%
mask0_badbits = 0xff
flag_morethan = 65534
data = /data/%
dim0 = %
dim1 = ss
dim2 = fs
res = 13333.3
adu_per_eV = 0.001
bad_a/panel = p
bad_a/max_fs = 3
bad_b/min_x = -4
bad_b/max_x = 4
bad_b/min_y = -4
bad_b/max_y = 4
group_g = p
group_all = g,q
p/min_fs = 0
p/max_fs = 9
p/min_ss = 0
p/max_ss = 9
p/corner_x = -5
p/corner_y = 3
p/fs = +1.0x -0.01y
p/ss = +0.01x +1.0y
q/min_fs = 0
q/max_fs = 9
q/min_ss = 10
q/max_ss = 19
q/corner_x = 5
q/corner_y = 3
q/fs = x
q/ss = y
peak_list = /peaks
peak_list_type = cxi
"""


def accept_or_refuse(text):
    """Read hostile text: all that may come of it is a writable geometry, or a `UserError` of one line."""
    try:
        geometry = parse_geometry(text, "x.geom")
    except UserError as error:
        assert str(error).startswith("x.geom:")
        assert "\n" not in str(error)
        return None
    assert same(parse_geometry(write_geometry(geometry)), geometry)
    return geometry


@given(st.text(max_size=200))
@example("=")
@example("/=")
@example("p/min_fs = 1e400\n")
@example("\0")
def test_any_text(text):
    accept_or_refuse(text)


fragments = st.sampled_from(
    [
        "p/",
        "q/",
        "bad_a/",
        "bad/",
        "/",
        "=",
        " = ",
        ";",
        "\n",
        "\r",
        "\t",
        " ",
        "mask",
        "mask9_data",
        "mask0_file",
        "dim",
        "dim3",
        "dim99999999999",
        "fs",
        "ss",
        "%",
        "-1",
        "0",
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "0x",
        "0xffffffffffffffff",
        "9" * 5000,
        "0" * 5000,
        "clen",
        "group_all",
        "group_",
        "all",
        "rigid_group",
        "no_index",
        "é",
        "\x00",
        "\ud800",
        "flag_equal",
        "x",
        "+",
        "min_fs",
        "max_ss",
        "min_x",
        "adu_per_photon",
        "saturation_map",
        "wavelength",
        "keV",
    ]
)


@given(st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 12), fragments), min_size=1, max_size=4))
@settings(deadline=None, max_examples=400)
def test_damaged_valid_text(damages):
    text = VALID
    for place, removed, inserted in damages:
        text = text[:place] + inserted + text[place + removed :]
    accept_or_refuse(text)


@given(st.randoms(use_true_random=False), st.integers(1, 6))
@settings(deadline=None, max_examples=200)
def test_lines_lost_doubled_and_shuffled(chance: random.Random, n_changes: int):
    lines = VALID.splitlines()
    for _ in range(n_changes):
        here = chance.randrange(len(lines))
        line = lines.pop(here)
        if chance.random() < 0.6:
            lines.insert(chance.randrange(len(lines) + 1), line)
        if chance.random() < 0.3:
            lines.insert(chance.randrange(len(lines) + 1), line)
    assume(lines)
    accept_or_refuse("\n".join(lines))


@given(st.binary(max_size=300))
def test_any_file(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "hostile.geom"
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_geometry(path)
