"""Merged lists judged from Python, and their tables in other libraries."""

import numpy as np
import pytest
import reciprocalspaceship as rs

import braggstream as bs
from braggstream.formats.cell import write_cell
from braggstream.formats.hkl import write_hkl
from braggstream.model.point_group import point_group
from braggstream.model.tables import arrow_table, pandas_frame, rs_dataset
from merging.test_figures_of_merit import TETRAGONAL, made_list


def test_lists_are_compared_as_the_tool_does(tmp_path, capsys):
    from braggstream.cli.main import main

    one, other = made_list("4", noise=0.5)
    for name, each in (("1.hkl", one), ("2.hkl", other)):
        write_hkl(tmp_path / name, each)
    (tmp_path / "x.cell").write_text(write_cell(TETRAGONAL))
    files = [str(tmp_path / name) for name in ("1.hkl", "2.hkl", "x.cell")]
    found = bs.compare(*files, figures=("CC1/2", "Rsplit", "CCano"), n_shells=5)
    for fom, column in (("CC", "CC"), ("Rsplit", "Rsplit"), ("CCano", "CCano")):
        table = tmp_path / "shells.dat"
        words = ["compare_hkl", *files[:2], "-p", files[2], f"--fom={fom}", "--nshells=5", f"--shell-file={table}"]
        assert main(words) == 0
        numbers = np.loadtxt(table, skiprows=1)
        factor = 100.0 if fom == "Rsplit" else 1.0
        assert factor * found[column] == pytest.approx(numbers[:, 1], abs=6e-3 if fom == "Rsplit" else 1e-6)
        if fom != "CCano":
            assert np.array_equal(found["n_pairs"], numbers[:, 2])
            assert found["d"] == pytest.approx(numbers[:, 3], abs=5e-3)
    assert f"Overall CC = {found.overall['CC']:.6f}" in capsys.readouterr().err
    frame = found.to_pandas()
    assert frame.columns.tolist() == ["d_max", "d_min", "d", "CC", "Rsplit", "CCano", "n_pairs"] and len(frame) == 5
    assert found.to_arrow()["CC"].to_pylist() == found["CC"].tolist()
    assert len(str(found).splitlines()) == 7


def test_a_list_is_checked():
    merged = made_list("4/mmm")[0]
    found = bs.check(merged, TETRAGONAL, n_shells=4, resolution=(20.0, 4.0))
    assert found["completeness"].tolist() == [1.0] * 4 and found.overall["completeness"] == 1.0
    assert found["d_max"][0] == pytest.approx(20.0) and found["d_min"][-1] == pytest.approx(4.0)
    assert found.overall["n_reflections"] == found["n_reflections"].sum()


def test_what_cannot_be_compared_is_told():
    one = made_list("4/mmm")[0]
    with pytest.raises(bs.UserError, match="CCano needs a symmetry that keeps Bijvoet mates apart, not 4/mmm"):
        bs.compare(one, one, TETRAGONAL, figures=["CCano"])
    with pytest.raises(bs.UserError, match="different symmetries, 4/mmm and 422"):
        bs.compare(one, made_list("422")[0], TETRAGONAL)
    with pytest.raises(bs.UserError, match="expected the lowest and the highest in Å"):
        bs.check(one, TETRAGONAL, resolution=(None, -1))


def test_a_list_in_other_libraries():
    merged = made_list("4", d_min=5.0)[0]
    frame = pandas_frame(merged)
    assert frame.index.names == ["h", "k", "l"] and frame["I"].to_numpy() == pytest.approx(merged.intensity)
    assert arrow_table(merged)["nmeas"].to_pylist() == merged.n_measured.tolist()
    data = rs_dataset(merged, TETRAGONAL)
    assert data.spacegroup.xhm() == "P 4" and data.merged
    # Both of a Bijvoet pair have an index of their own: what rs calls unmerging by symmetry finds no repeats.
    assert not data.index.duplicated().any()
    data = data.hkl_to_asu()
    assert isinstance(data, rs.DataSet) and rs.utils.in_asu(data.get_hkls(), data.spacegroup).all()
    back = point_group("4/m").asymmetric(data.get_hkls())
    assert np.array_equal(np.unique(back, axis=0), np.unique(point_group("4/m").asymmetric(merged.hkl), axis=0))
