"""Warnings of point groups that cells cannot have, and of cells of something else."""

from dataclasses import replace

import numpy as np
import pytest

from braggstream.cli.main import main
from braggstream.formats.cell import write_cell
from braggstream.formats.hkl import write_hkl
from braggstream.model.cell import UnitCell
from braggstream.model.point_group import point_group
from braggstream.steps.merging.fitting_lattice import CellSurvey, can_have
from merging.ambiguous_crystals import ambiguous_crystals, stream_text
from merging.test_figures_of_merit import TETRAGONAL, made_list
from steps.crystal_columns import observations_of


def cell(*parameters):
    return UnitCell.from_parameters(parameters)


@pytest.mark.parametrize(
    ("parameters", "possible", "impossible"),
    [
        ((50, 60, 70, 80, 95, 100), ["1", "-1"], ["2/m_uab", "mmm", "4/m"]),
        ((50, 60, 70, 90, 103, 90), ["2/m_uab", "m_uab"], ["2/m", "2/m_uaa", "mmm"]),
        ((50, 60, 70, 90, 90, 90), ["mmm", "2/m", "222"], ["4/m", "4/mmm", "m-3"]),
        ((79.2, 79.4, 38, 90, 90.2, 90), ["4/mmm", "mmm", "2/m_uab"], ["m-3", "6/m", "4/mmm_uaa"]),
        ((78, 78, 78, 85, 85, 85), ["-3m_R", "3_R"], ["-3_H", "m-3", "4/m"]),
        ((60, 60, 90, 90, 90, 120), ["6/mmm", "321_H", "-31m_H", "2/m"], ["4/m", "mmm", "3_R"]),
        ((78, 78, 78, 90, 90, 90), ["m-3m", "432", "4/mmm_uab", "3_R"], ["6/m", "3_H"]),
    ],
)
def test_point_groups_of_cells(parameters, possible, impossible):
    assert [name for name in possible if not can_have(cell(*parameters), point_group(name))] == []
    assert [name for name in impossible if can_have(cell(*parameters), point_group(name))] == []


def survey_of(axes):
    table = observations_of([[(1, 0, 0, 1.0, 1.0)]] * len(axes)).crystals
    survey = CellSurvey()
    survey.add(replace(table, reciprocal_axes=axes))
    return survey


def test_crystals_of_something_else_are_counted():
    mine, other = cell(79, 79, 38, 90, 90, 90), cell(57.8, 57.8, 150.0, 90, 90, 90)
    rng = np.random.default_rng(0)
    axes = np.array(
        [(mine if n % 10 else other).reciprocal_axes() * rng.normal(1, 0.002, (3, 1)) for n in range(200)]
    )
    (warning,) = survey_of(axes).warnings(point_group("4/mmm"))
    assert warning.startswith("20 of 200 crystals have other cells than most, 7") and "another protein" in warning
    assert list(survey_of(axes[np.arange(200) % 10 > 0]).warnings(point_group("4/mmm"))) == []
    assert list(survey_of(axes[:0]).warnings(point_group("4/mmm"))) == []
    survey_of(np.zeros((1, 3, 3))).warnings(point_group("1"))


@pytest.mark.parametrize("program", ["process_hkl", "partialator"])
def test_merging_warns(tmp_path, monkeypatch, capsys, program):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.stream").write_text(stream_text(ambiguous_crystals(20)[0]))
    words = ["-i", "x.stream", "-o", "x.hkl"] + (["--model=unity", "-n", "0"] if program == "partialator" else [])
    assert main([program, *words, "-y", "4/m"]) == 0
    assert "Warning: point group" not in capsys.readouterr().err
    assert main([program, *words, "-y", "m-3"]) == 0
    told = capsys.readouterr().err
    assert "Warning: point group m-3 is not possible with the cells of the crystals, 60." in told


def test_judging_a_list_warns_of_a_cell_of_another_protein(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, each in zip(("a.hkl", "b.hkl"), made_list("4/mmm"), strict=True):
        write_hkl(name, each)
    cells = {"own": TETRAGONAL, "box": cell(50, 60, 70, 90, 90, 90), "inner": replace(TETRAGONAL, centring="I")}
    for name, each in cells.items():
        (tmp_path / f"{name}.cell").write_text(write_cell(replace(each, lattice_type="triclinic", unique_axis="*")))
    told = {}
    for name in cells:
        for words in (["check_hkl", "a.hkl"], ["compare_hkl", "a.hkl", "b.hkl"], ["report", "--hkl", "a.hkl"]):
            assert main([*words, "-p", f"{name}.cell"]) == 0
            told[name, words[0]] = [line for line in capsys.readouterr().err.splitlines() if "Warning" in line]
    for program in ("check_hkl", "compare_hkl", "report"):
        assert told["own", program] == []
        assert told["box", program] == [
            "Warning: point group 4/mmm is not possible with the cell given with -p, 50.00 60.00 70.00 A, "
            "90.00 90.00 90.00 deg"
        ]
        (warning,) = told["inner", program]
        assert "reflections are absent from a lattice with centring I: is the cell given with -p" in warning
