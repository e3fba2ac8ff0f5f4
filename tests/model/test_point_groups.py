"""Point groups: the names, operators and asymmetric units of the specification, and gemmi's groups."""

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braggstream.model.errors import UserError
from braggstream.model.index_operators import (
    ambiguity_operators,
    operator_text,
    parse_axes,
    parse_operator,
    parse_operators,
)
from braggstream.model.point_group import GENERATORS, is_absent, point_group

# Name, order, centrosymmetric, gemmi's symmorphic group, representatives of (1 -3 2), (-2 5 -4), (-3 -3 0).
TABLE = """
1|1|no|P 1|1 -3 2|-2 5 -4|-3 -3 0
-1|2|yes|P -1|1 -3 2|2 -5 4|3 3 0
2/m|4|yes|P 1 1 2/m|1 -3 2|2 -5 4|3 3 0
2|2|no|P 1 1 2|1 -3 2|2 -5 -4|3 3 0
m|2|no|P 1 1 m|1 -3 2|-2 5 4|-3 -3 0
mmm|8|yes|P m m m|1 3 2|2 5 4|3 3 0
222|4|no|P 2 2 2|1 3 -2|2 5 4|3 3 0
mm2|4|no|P m m 2|1 3 2|2 5 -4|3 3 0
4/m|8|yes|P 4/m|3 1 2|5 2 4|3 3 0
4|4|no|P 4|3 1 2|5 2 -4|3 3 0
-4|4|no|P -4|3 1 -2|5 2 4|3 3 0
4mm|8|no|P 4 m m|3 1 2|5 2 -4|3 3 0
422|8|no|P 4 2 2|3 1 2|2 5 4|3 3 0
-42m|8|no|P -4 2 m|3 1 -2|5 2 4|3 3 0
-4m2|8|no|P -4 m 2|1 3 2|5 2 4|3 3 0
4/mmm|16|yes|P 4/m m m|3 1 2|5 2 4|3 3 0
3_R|3|no|R 3:R|2 1 -3|5 -4 -2|0 -3 -3
-3_R|6|yes|R -3:R|3 -2 -1|5 -4 -2|3 3 0
32_R|6|no|R 3 2:R|3 -1 -2|5 -4 -2|3 3 0
3m_R|6|no|R 3 m:R|2 1 -3|5 -2 -4|0 -3 -3
-3m_R|12|yes|R -3 m:R|3 -1 -2|5 -2 -4|3 3 0
3_H|3|no|P 3|2 1 2|5 -3 -4|6 -3 0
-3_H|6|yes|P -3|2 1 2|3 2 4|3 3 0
321_H|6|no|P 3 2 1|2 1 2|5 -2 4|6 -3 0
312_H|6|no|P 3 1 2|2 1 2|2 3 4|3 3 0
3m1_H|6|no|P 3 m 1|2 1 2|5 -3 -4|3 3 0
31m_H|6|no|P 3 1 m|2 1 2|5 -2 -4|6 -3 0
-3m1_H|12|yes|P -3 m 1|2 1 2|3 2 4|3 3 0
-31m_H|12|yes|P -3 1 m|2 1 2|3 2 4|3 3 0
6|6|no|P 6|2 1 2|5 -3 -4|3 3 0
-6|6|no|P -6|2 1 2|5 -3 4|6 -3 0
6/m|12|yes|P 6/m|2 1 2|3 2 4|3 3 0
622|12|no|P 6 2 2|2 1 2|2 3 4|3 3 0
6mm|12|no|P 6 m m|2 1 2|5 -2 -4|3 3 0
-6m2|12|no|P -6 m 2|2 1 2|2 3 4|3 3 0
-62m|12|no|P -6 2 m|2 1 2|5 -2 4|6 -3 0
6/mmm|24|yes|P 6/m m m|2 1 2|3 2 4|3 3 0
23|12|no|P 2 3|3 2 -1|5 4 2|3 3 0
m-3|24|yes|P m -3|3 2 1|5 4 2|3 3 0
432|24|no|P 4 3 2|3 1 2|5 4 2|3 3 0
-43m|24|no|P -4 3 m|3 2 -1|5 4 2|3 3 0
m-3m|48|yes|P m -3 m|3 2 1|5 4 2|3 3 0
"""
ROWS = [row.split("|") for row in TABLE.split("\n") if row]
UNIQUE_AXIS = {
    "2_uaa": "P 2 1 1", "2_uab": "P 1 2 1", "2_uac": "P 1 1 2", "m_uaa": "P m 1 1", "m_uab": "P 1 m 1",
    "2/m_uab": "P 1 2/m 1", "mm2_uaa": "P 2 m m", "mm2_uab": "P m 2 m",
}  # fmt: skip
REPRESENTATIVES = {
    "2_uaa": [(1, 3, -2), (-2, 5, -4), (-3, 3, 0)],
    "2_uab": [(1, -3, 2), (2, 5, 4), (3, -3, 0)],
    "2/m_uab": [(1, 3, 2), (2, 5, 4), (3, 3, 0)],
    "4_uab": [(2, -3, -1), (2, 5, 4), (3, -3, 0)],
    "4/mmm_uab": [(2, 3, 1), (4, 5, 2), (3, 3, 0)],
    "6_uaa": [(1, 2, 1), (-2, 5, -4), (-3, 3, 0)],
}
THREE = np.array([(1, -3, 2), (-2, 5, -4), (-3, -3, 0)])
EVERY = [
    *GENERATORS,
    *(f"{name}_ua{axis}" for name in GENERATORS if "_" not in name for axis in "abc"),
]


def operators_of_gemmi(symbol):
    ops = gemmi.SpaceGroup(symbol).operations().sym_ops
    return {tuple(np.array(op.rot, int).ravel() // op.DEN) for op in ops}


def operators_of(group):
    return {tuple(op.ravel().tolist()) for op in group.operators}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_group_is_that_of_the_table_and_of_gemmi(row):
    group = point_group(row[0])
    assert len(group) == int(row[1]) and group.is_centrosymmetric == (row[2] == "yes")
    assert operators_of(group) == operators_of_gemmi(row[3])
    assert group.asymmetric(THREE).tolist() == [list(map(int, text.split())) for text in row[4:]]


def test_there_are_129_groups():
    assert len(ROWS) == len(GENERATORS) == 42 and len(EVERY) == 129


def test_groups_with_another_unique_axis():
    for name, symbol in UNIQUE_AXIS.items():
        assert operators_of(point_group(name)) == operators_of_gemmi(symbol), name
    for name, expected in REPRESENTATIVES.items():
        assert point_group(name).asymmetric(THREE).tolist() == [list(hkl) for hkl in expected], name


@pytest.mark.parametrize("name", EVERY)
def test_every_group_is_closed_and_maps_its_reflections_consistently(name):
    group = point_group(name)
    ops = operators_of(group)
    assert {tuple((a @ b).ravel().tolist()) for a in group.operators for b in group.operators} == ops
    hkl = np.random.default_rng(1).integers(-9, 10, (60, 3))
    asymmetric = group.asymmetric(hkl)
    assert np.array_equal(group.asymmetric(asymmetric), asymmetric)
    images = group.images(hkl)
    for m in range(len(group)):
        assert np.array_equal(group.asymmetric(images[:, m]), asymmetric)
    for n, own in enumerate(images.tolist()):
        whole = [tuple(image) for image in own if min(image) >= 0] or [tuple(image) for image in own]
        assert tuple(asymmetric[n]) == max(whole)
        assert group.multiplicity(hkl)[n] == len({tuple(image) for image in own})
        assert group.is_centric(hkl)[n] == (tuple(-hkl[n]) in {tuple(image) for image in own})


@pytest.mark.parametrize(
    "name", ["3", "32_H", "-3m_H", "3m_H", "2_R", "mmm_uax", "3_H_uab", " 4/mmm", "4/MMM", "", "unknown", "2_"]
)
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match="is no point group"):
        point_group(name)


def test_groups_are_compared_by_their_operators():
    assert point_group("2") == point_group("2_uac") != point_group("2_uab")
    assert point_group("4").is_subgroup_of(point_group("4/mmm"))
    assert not point_group("4_uaa").is_subgroup_of(point_group("4/mmm"))
    assert point_group("m-3m").is_subgroup_of(point_group("m-3m_uab"))


def test_operators_in_words():
    assert parse_operator("h,-2k,l").tolist() == [[1, 0, 0], [0, -2, 0], [0, 0, 1]]
    assert parse_operator(" k , -h - k , l ").T.tolist() == [[0, 1, 0], [-1, -1, 0], [0, 0, 1]]
    assert parse_operator("-(h-k)+2*l,y,(3c+3a)/3").T.tolist() == [[-1, 1, 2], [0, 1, 0], [1, 0, 1]]
    assert [operator_text(op) for op in parse_operators("k,h,-l;-h,h+k,-l")] == ["k,h,-l", "-h,h+k,-l"]
    assert [float(part) for part in parse_axes("a/2+b/2,1/3b,c")[0]] == [0.5, 0.5, 0.0]
    hkl = np.array([1, 2, 3])
    assert (hkl @ parse_operator("k,-h-k,l")).tolist() == [2, -3, 3]


NO_OPERATORS = [
    "", "h,k", "h,k,l,l", "h,k,2", "h,k,q", "h,k,(l", "h,k,l/0", "h,k,l)", "h,k,l/2", "h,,l", "h,k,hl", "h,k,-",
    "h,k," + "(" * 50 + "l" + ")" * 50, "h,k," + "l+" * 500 + "l",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_OPERATORS)
def test_what_is_no_operator_is_told(text):
    with pytest.raises(UserError, match="operator"):
        parse_operator(text)


AMBIGUITIES = {
    "422 4": "-h,k,-l", "4/mmm 4/m": "-h,k,-l", "32_R 3_R": "-k,-h,-l", "-3m_R -3_R": "-k,-h,-l",
    "432 23": "k,h,-l", "m-3m m-3": "k,h,-l", "622 6": "k,h,-l", "622 312_H": "k,h,-l",
    "6/mmm -31m_H": "k,h,-l", "321_H 3_H": "k,h,-l", "-3m1_H -3_H": "k,h,-l", "422 222": "k,h,-l",
    "4/mmm mmm": "k,h,-l", "-4m2 -4": "k,h,-l", "6/mmm 6/m": "-h,h+k,-l", "622 321_H": "-h,h+k,-l",
    "6/mmm -3m1_H": "-h,h+k,-l", "312_H 3_H": "-k,-h,-l", "622 3_H": "k,h,-l;-h,h+k,-l;-h,-k,l",
    "6/mmm -3_H": "k,h,-l;-h,h+k,-l;-h,-k,l", "222 2": "-h,k,-l", "222 2_uab": "-h,-k,l",
    "mmm 2/m_uab": "-h,-k,l", "432 422": "-h,l,k;l,-k,h", "432 222": "k,h,-l;-h,l,k;l,-k,h;k,l,h;l,h,k",
    "m-3m mmm": "k,h,-l;-h,l,k;l,-k,h;k,l,h;l,h,k", "23 222": "k,l,h;l,h,k", "m-3 mmm": "k,l,h;l,h,k",
}  # fmt: skip


@pytest.mark.parametrize("names", AMBIGUITIES)
def test_ambiguity_operators_are_those_of_the_table(names):
    apparent, true = map(point_group, names.split())
    ours, theirs = ambiguity_operators(apparent, true), parse_operators(AMBIGUITIES[names])
    hkl = np.random.default_rng(2).integers(-9, 10, (40, 3))

    def mapped(operators):
        return {true.asymmetric(hkl @ op).tobytes() for op in operators}

    assert len(ours) == len(theirs) and mapped(ours) == mapped(theirs)
    assert all(round(np.linalg.det(op)) == 1 for op in ours)


@pytest.mark.parametrize("names", ["4/mmm 4", "-1 1"])
def test_no_rotation_no_ambiguity_operator(names):
    with pytest.raises(UserError, match="rotation"):
        ambiguity_operators(*map(point_group, names.split()))
    with pytest.raises(UserError, match="no subgroup"):
        ambiguity_operators(point_group("4"), point_group("422"))


@pytest.mark.parametrize("centring", "PABCIFRH")
def test_absences_are_those_of_gemmi(centring):
    symbol = "R 3:H" if centring == "H" else f"{centring} 1" if centring != "R" else "R 3:R"
    group = gemmi.find_spacegroup_by_name(symbol)
    operations = group.operations() if group else gemmi.symops_from_hall(f"{centring} 1")
    hkl = np.random.default_rng(3).integers(-9, 10, (200, 3))
    expected = [operations.is_systematically_absent(list(map(int, each))) for each in hkl]
    assert is_absent(hkl, centring).tolist() == expected


@given(st.tuples(*[st.integers(-(1 << 17), 1 << 17)] * 3))
def test_large_indices_are_mapped_too(hkl):
    group = point_group("6/mmm")
    own = {tuple(image) for image in group.images([hkl])[0].tolist()}
    assert tuple(group.asymmetric([hkl])[0].tolist()) == max(image for image in own if min(image) >= 0)
