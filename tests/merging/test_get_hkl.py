"""`get_hkl`: each step against its definition, and its files as other programs read them."""

import gemmi
import numpy as np
import pytest
import reciprocalspaceship as rs

from braggstream.cli.main import main
from braggstream.formats.cell import write_cell
from braggstream.formats.hkl import read_hkl, write_hkl
from braggstream.formats.reflection_file import read_reflections
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.point_group import GENERATORS, point_group
from braggstream.model.reflection_list import ReflectionList
from braggstream.model.space_group import named_space_group, point_group_of, symmorphic_space_group
from braggstream.steps.merging import list_changes
from braggstream.steps.merging.shells import inverse_d_of
from merging.test_figures_of_merit import TETRAGONAL, made_list


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A list in symmetry 4 and the cell, in the folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    write_hkl("in.hkl", made_list("4", d_min=4.0)[0])
    (tmp_path / "x.cell").write_text(write_cell(TETRAGONAL))
    return tmp_path


def by_index(reflections):
    values = zip(reflections.intensity, reflections.sigma, reflections.n_measured, strict=True)
    return dict(zip(map(tuple, reflections.hkl.tolist()), values, strict=True))


def test_twinning_averages_what_falls_together():
    rows = {
        (1, 2, 3): (100.0, 3.0, 4),
        (2, 1, 3): (40.0, 5.0, 1),
        (1, 3, 2): (7.0, 1.0, 2),
        (2, 2, 1): (9.0, 1.0, 3),
    }
    values = np.array(list(rows.values()))
    given = ReflectionList.of(
        np.array(list(rows)), values[:, 0], values[:, 1], n_measured=values[:, 2], symmetry="4/m"
    )
    found = by_index(list_changes.twinned(given, point_group("4/m"), point_group("4/mmm")))
    # 1 3 2 has no partner 3 1 2; 2 2 1 is its own.
    assert set(found) == {(2, 1, 3), (2, 2, 1)}
    assert found[2, 1, 3] == (pytest.approx((4 * 100 + 40) / 5), pytest.approx(np.hypot(12, 5) / 5), 5)
    assert found[2, 2, 1] == (9.0, 1.0, 3)
    kept = by_index(list_changes.twinned(given, point_group("4/m"), point_group("4/mmm"), needs_all_parts=False))
    assert set(kept) == {(2, 1, 3), (2, 2, 1), (3, 1, 2)} and kept[3, 1, 2] == (7.0, 1.0, 2)


def test_expansion_writes_each_image_once_and_merging_takes_it_back():
    merged, _ = made_list("4/mmm", d_min=5.0)
    high, low = point_group("4/mmm"), point_group("222")
    found = list_changes.expanded(merged, high, low)
    wanted = {}
    for (hkl, values), images in zip(by_index(merged).items(), high.images(merged.hkl), strict=True):
        assert hkl in map(tuple, images.tolist())
        wanted |= {tuple(image): values for image in low.asymmetric(images).tolist()}
    assert by_index(found) == wanted and found.symmetry == "222"
    assert by_index(list_changes.twinned(found, low, high)).keys() == by_index(merged).keys()
    with pytest.raises(UserError, match="cannot expand from 4/mmm to 3_H"):
        list_changes.expanded(merged, high, point_group("3_H"))


def test_noise_is_not_biased():
    rng = np.random.default_rng(3)
    flat = ReflectionList.of(np.arange(30000).reshape(-1, 3), np.full(10000, 50.0), np.ones(10000))
    noisy = list_changes.with_noise(flat, rng).intensity
    assert noisy.mean() == pytest.approx(50.0, abs=0.15) and np.abs(noisy - 50.0).max() < 5.0
    counted = list_changes.with_counting_noise(flat, 2.0, rng).intensity
    assert counted.mean() == pytest.approx(50.0, abs=0.4) and counted.var() == pytest.approx(100.0, rel=0.06)
    assert np.all(counted % 2.0 == 0.0)


def test_steps_from_the_command_line(made):
    given = read_hkl("in.hkl")
    inverse_d = inverse_d_of(given.hkl, TETRAGONAL)

    def result(*words):
        assert main(["get_hkl", "-i", "in.hkl", "-p", "x.cell", "-o", "out.hkl", *words]) == 0
        return read_hkl("out.hkl")

    assert by_index(result()) == by_index(given)
    assert result("--reindex=k,h,-l").hkl.tolist() == sorted((given.hkl[:, [1, 0, 2]] * [1, 1, -1]).tolist())
    some = result("--lowres=20", "--highres=5")
    assert len(some) == ((inverse_d > 0.05) & (inverse_d < 0.2)).sum() > 100
    write_hkl("some.hkl", some)
    assert np.array_equal(result("-t", "some.hkl").hkl, some.hkl)
    limits = np.array([8.0, 8.0, 5.0])
    parts = given.hkl * np.linalg.norm(TETRAGONAL.reciprocal_axes(), axis=1) * limits
    assert len(result("--cutoff-angstroms=8,8,5")) == ((parts**2).sum(axis=1) < 1.0).sum()
    times = result("--multiplicity")
    number = point_group("4").multiplicity(given.hkl)
    assert times.intensity == pytest.approx(given.intensity * number, abs=0.05)
    centric = result("-y", "4/mmm", "--trim-centrics")
    assert len(centric) == len(np.unique(point_group("4/mmm").asymmetric(given.hkl), axis=0))
    assert result("--poisson", "--adu-per-photon=3").intensity == pytest.approx(
        np.rint(result("--poisson", "--adu-per-photon=3").intensity / 3) * 3
    )
    assert "get_hkl -i in.hkl -p x.cell -o out.hkl --poisson --adu-per-photon=3" in read_hkl("out.hkl").notes


def test_a_list_goes_to_standard_output(made, capsys):
    assert main(["get_hkl", "-i", "in.hkl"]) == 0
    (made / "back.hkl").write_text(capsys.readouterr().out)
    assert by_index(read_hkl("back.hkl")) == by_index(read_hkl("in.hkl"))


def test_bijvoet_pairs_as_other_programs_read_them(made):
    given = read_hkl("in.hkl")
    words = ["get_hkl", "-i", "in.hkl", "-p", "x.cell", "--output-format=MTZ-bij", "-o", "out.mtz"]
    assert main([*words, "--space-group=P 41"]) == 0
    data = rs.read_mtz("out.mtz")
    assert data.spacegroup.xhm() == "P 41" and data.merged
    assert tuple(data.cell.parameters) == pytest.approx(TETRAGONAL.parameters)
    assert data.columns.tolist() == ["I(+)", "SIGI(+)", "I(-)", "SIGI(-)"]
    assert data.dtypes.astype(str).tolist() == ["FriedelIntensity", "StddevFriedelI"] * 2
    assert rs.utils.in_asu(data.get_hkls(), data.spacegroup).all()
    stacked = data.stack_anomalous().dropna()
    asu = point_group("4").asymmetric(stacked.get_hkls())
    found = {tuple(hkl): value for hkl, value in zip(asu.tolist(), stacked["I"], strict=True)}
    wanted = by_index(given)
    assert found.keys() == wanted.keys()
    assert all(found[hkl] == pytest.approx(wanted[hkl][0], rel=1e-6, abs=1e-3) for hkl in wanted)
    centric = point_group("4").is_centric(data.get_hkls())
    sides = data[centric].dropna()
    assert len(sides) > 50 and np.array_equal(sides["I(+)"], sides["I(-)"])


def test_an_mtz_file_and_back(made, capsys):
    merged = made_list("4/mmm", d_min=4.0)[0]
    write_hkl("in.hkl", merged)
    words = ["get_hkl", "-i", "in.hkl", "-p", "x.cell", "--output-format=mtz", "-o", "out.mtz"]
    assert main(words) == 0
    mtz = gemmi.read_mtz_file("out.mtz")
    assert mtz.spacegroup.xhm() == "P 4 2 2"
    assert [(column.label, column.type) for column in mtz.columns[3:]] == [("I", "J"), ("SIGI", "Q")]
    dataset = mtz.datasets[0]
    assert (dataset.project_name, dataset.crystal_name, dataset.dataset_name) == ("project", "crystal", "dataset")
    back = read_reflections("out.mtz")
    assert back.symmetry == "4/mmm" and np.array_equal(back.hkl, merged.hkl)
    assert back.intensity == pytest.approx(merged.intensity, rel=1e-6, abs=6e-3)
    assert main(["check_hkl", "out.mtz", "-p", "x.cell"]) == 0
    assert main([*words, "--space-group=P 43 21 2"]) == 0
    assert gemmi.read_mtz_file("out.mtz").spacegroup.xhm() == "P 43 21 2"
    capsys.readouterr()
    assert main([*words, "--space-group=P 2 3"]) == 1
    assert "does not fit data that were merged in point group 4/mmm" in capsys.readouterr().err


def test_mates_that_would_become_one_are_refused(made, capsys):
    words = ["get_hkl", "-i", "in.hkl", "-p", "x.cell", "--output-format=mtz", "-o", "out.mtz"]
    assert main(words) == 1
    assert "write them with --output-format=mtz-bij" in capsys.readouterr().err
    assert not (made / "out.mtz").exists()


def test_xds_ascii(made, capsys):
    words = ["get_hkl", "-i", "in.hkl", "-p", "x.cell", "--output-format=xds", "-o", "out.hkl"]
    assert main(words) == 0
    lines = (made / "out.hkl").read_text().splitlines()
    assert lines[:3] == [
        "!FORMAT=XDS_ASCII MERGE=TRUE FRIEDEL'S_LAW=FALSE",
        "!SPACE_GROUP_NUMBER=75",
        "!UNIT_CELL_CONSTANTS= 60.00 60.00 35.00 90.00 90.00 90.00",
    ]
    assert lines[9] == "!END_OF_HEADER" and lines[-1] == "!END_OF_DATA"
    given = read_hkl("in.hkl")
    table = np.loadtxt(lines[10:-1])
    assert np.array_equal(table[:, :3], given.hkl) and table[:, 3] == pytest.approx(given.intensity)
    turned = made_list("2_uac", d_min=6.0)[0]
    write_hkl("in.hkl", turned)
    assert main(words) == 1
    assert "P 1 1 2 is not the standard setting" in capsys.readouterr().err


def test_parquet_and_back(made):
    assert main(["get_hkl", "-i", "in.hkl", "-p", "x.cell", "-o", "out.parquet"]) == 0
    back = read_reflections("out.parquet")
    assert by_index(back) == by_index(read_hkl("in.hkl")) and back.symmetry == "4"
    assert np.isnan(back.phase).all()
    (made / "bad.parquet").write_bytes(b"PAR1 and so on")
    with pytest.raises(UserError, match=r"bad.parquet: cannot be read as Parquet"):
        read_reflections("bad.parquet")
    (made / "bad.mtz").write_bytes(b"MTZ and so on")
    with pytest.raises(UserError, match=r"bad.mtz: the MTZ file cannot be read"):
        read_reflections("bad.mtz")


SPACE_GROUPS = {
    ("2_uab", "P"): ("P 1 2 1", 3),
    ("2/m_uab", "C"): ("C 1 2 1", 5),
    ("2", "A"): ("A 1 1 2", None),
    ("mmm", "I"): ("I 2 2 2", 23),
    ("mm2", "I"): ("I m m 2", 44),
    ("6mm", "P"): ("P 6 m m", 183),
    ("4/mmm", "P"): ("P 4 2 2", 89),
    ("321_H", "H"): ("R 3 2:H", 155),
    ("-3m1_H", "H"): ("R 3 2:H", 155),
    ("32_R", "R"): ("R 3 2:R", None),
    ("312_H", "P"): ("P 3 1 2", 149),
    ("m-3", "F"): ("F 2 3", 196),
    ("-43m", "I"): ("I -4 3 m", 217),
}


@pytest.mark.parametrize(("name", "centring"), SPACE_GROUPS)
def test_space_groups_are_those_of_the_table(name, centring):
    symbol, number = SPACE_GROUPS[name, centring]
    found = symmorphic_space_group(point_group(name), centring)
    assert (found.xhm(), found.number if found.is_reference_setting() else None) == (symbol, number)


def test_every_point_group_has_a_space_group_and_comes_back():
    for name in GENERATORS:
        group = point_group(name)
        found = symmorphic_space_group(group, "R" if name.endswith("_R") else "P")
        laue = point_group_of(found, friedel=True)
        assert group.is_subgroup_of(laue) and laue.is_centrosymmetric
    with pytest.raises(UserError, match="no space group with point group 622 and centring I"):
        symmorphic_space_group(point_group("622"), "I")
    assert point_group_of(named_space_group("P 43 21 2"), friedel=True).name == "4/mmm"
    assert point_group_of(named_space_group("P 1 21 1"), friedel=False).name == "2_uab"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "expected a list of reflections: give it with -i"),
        (["-i", "in.hkl", "-w", "422", "-e", "2"], "give either -w (--twin) or -e (--expand)"),
        (["-i", "in.hkl", "--poisson"], "--poisson needs --adu-per-photon"),
        (["-i", "in.hkl", "--output-format=mtz"], "needs a file to write: give it with -o"),
        (["-i", "in.hkl", "--output-format=mtz", "-o", "x"], "--output-format needs a unit cell: give it with -p"),
        (["-i", "in.hkl", "--output-format=pdb", "-o", "x"], "--output-format=pdb: expected one of mtz"),
        (["-i", "in.hkl", "-o", "x.mtz"], "-o x.mtz: an MTZ file needs --output-format=mtz or mtz-bij"),
        (["-i", "in.hkl", "--lowres=3"], "--lowres needs a unit cell"),
        (["-i", "in.hkl", "-p", "x.cell", "--cutoff-angstroms=3,2"], "expected one or three resolutions"),
        (["-i", "in.hkl", "--reindex=h,k"], "expected three expressions"),
        (["-i", "in.hkl", "-y", "422"], "in.hkl: does not have symmetry 422"),
        (["-i", "in.hkl", "-e", "3_H"], "cannot expand from 4 to 3_H"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(made, capsys, words, message):
    assert main(["get_hkl", *words]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1] and lines[-1].startswith("get_hkl: ")


def test_a_cell_with_another_centring_has_its_own_space_group(made):
    centred = UnitCell(
        a=60.0, b=60.0, c=35.0, alpha=90.0, beta=90.0, gamma=90.0,
        lattice_type="tetragonal", centring="I", unique_axis="c",
    )  # fmt: skip
    (made / "i.cell").write_text(write_cell(centred))
    assert main(["get_hkl", "-i", "in.hkl", "-p", "i.cell", "--output-format=mtz-bij", "-o", "out.mtz"]) == 0
    assert gemmi.read_mtz_file("out.mtz").spacegroup.xhm() == "I 4"
