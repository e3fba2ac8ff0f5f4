"""Unmerged observations as other programs read them."""

import gemmi
import numpy as np
import pandas as pd
import pytest
import reciprocalspaceship as rs

from braggstream.cli.main import main
from braggstream.formats.cell import write_cell
from braggstream.formats.stream_columns import read_observations
from braggstream.model.observations import joined
from merging.ambiguous_crystals import CELL, ambiguous_crystals, stream_text


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A stream of 25 crystals and its observations."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.stream").write_text(stream_text(ambiguous_crystals(25)[0]))
    (tmp_path / "x.cell").write_text(write_cell(CELL))
    return joined(list(read_observations("x.stream")))


def test_unmerged_mtz(made):
    words = ["export", "x.stream", "-o", "x.mtz", "-p", "x.cell", "-y", "4/m", "--space-group=P 43"]
    assert main(words) == 0
    mtz = gemmi.read_mtz_file("x.mtz")
    assert len(mtz.batches) == 25 and mtz.spacegroup.xhm() == "P 43"
    assert [batch.number for batch in mtz.batches] == list(range(1, 26))
    assert mtz.batches[3].title.endswith("made.h5 //3")
    assert mtz.batches[3].wavelength == pytest.approx(1.3, abs=1e-4)
    assert mtz.batches[3].cell.a == pytest.approx(60.0, abs=0.02)
    data = rs.read_mtz("x.mtz")
    assert not data.merged and len(data) == len(made)
    # rs brings indices back to the observed ones by M/ISYM; they are those of the stream.
    observed = data.reset_index()
    key = np.column_stack([observed[["H", "K", "L"]].to_numpy(), observed["BATCH"].to_numpy() - 1]).astype(int)
    own = np.column_stack([made.hkl, made.crystal]).astype(int)
    found = {tuple(row): value for row, value in zip(key.tolist(), observed["I"], strict=True)}
    wanted = {tuple(row): value for row, value in zip(own.tolist(), made.intensity, strict=True)}
    assert found.keys() == wanted.keys()
    assert all(found[row] == pytest.approx(wanted[row], rel=1e-6) for row in wanted)
    assert rs.utils.in_asu(gemmi_indices(mtz), mtz.spacegroup).all()


def gemmi_indices(mtz):
    return np.array(mtz.array)[:, :3].astype(int)


def test_unmerged_parquet(made):
    assert main(["export", "x.stream", "x.stream", "-o", "x.parquet"]) == 0
    frame = pd.read_parquet("x.parquet")
    assert len(frame) == 2 * len(made) and frame["crystal"].nunique() == 50
    first = frame.iloc[: len(made)]
    assert np.array_equal(first[["h", "k", "l"]].to_numpy(), made.hkl)
    assert np.array_equal(first["I"].to_numpy(), made.intensity)
    assert first["event"].unique().tolist() == list(dict.fromkeys(made.crystals.event))
    assert set(frame["panel"]) == {"p0"} and set(frame["filename"]) == {"made.h5"}
    lengths = np.linalg.norm(made.hkl @ CELL.reciprocal_axes(), axis=1)
    assert first["inverse_d"].to_numpy() == pytest.approx(lengths, rel=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.stream"], "expected stream files, and the file to write with -o"),
        (["x.stream", "-o", "x.txt"], "expected a name that ends with .mtz or .parquet"),
        (["x.stream", "-o", "x.mtz"], "an MTZ file needs a unit cell and a point group"),
        (["x.cell", "-o", "x.parquet"], "x.cell: is no stream file"),
        (["x.stream", "-o", "no/x.parquet"], "no/x.parquet: cannot write the table"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(made, capsys, words, message):
    assert main(["export", *words]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last and last.startswith("braggstream export: ")
