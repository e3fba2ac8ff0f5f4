"""Merging from Python: the same as the tool, tables of other libraries, and the tutorial."""

import lzma
import re
from pathlib import Path

import numpy as np
import pytest
import reciprocalspaceship as rs

import braggstream as bs
from braggstream.cli.main import main
from braggstream.formats.columns import write_columns
from braggstream.formats.hkl import read_hkl

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial" / "merging.md"

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def folder(golden, tmp_path_factory):
    """The reference's stream and cell under the names of the tutorial."""
    path = tmp_path_factory.mktemp("tutorial")
    (path / "run.stream").write_bytes(lzma.decompress((golden / "merging" / "many.stream.xz").read_bytes()))
    (path / "x.cell").write_bytes((golden / "merging" / "many.cell").read_bytes())
    return path


def test_merging_is_that_of_the_tool(folder, tmp_path):
    stream = folder / "run.stream"
    words = ["process_hkl", str(stream), "-y", "4/mmm", "-o", str(tmp_path / "a.hkl"), "--scale", "--odd-only"]
    assert main([*words, "--min-snr=1"]) == 0
    theirs = read_hkl(tmp_path / "a.hkl")
    cache = tmp_path / "a.arrows"
    observations = bs.load_observations(stream)
    write_columns(cache, [observations])
    for source in (stream, observations, [str(cache)]):
        ours = bs.merge(source, symmetry="4/mmm", scale=True, parity="odd", min_snr=1.0)
        assert np.array_equal(ours.hkl, theirs.hkl)
        assert np.allclose(ours.intensity, theirs.intensity, rtol=0, atol=0.00501)


def test_tables_of_other_libraries(folder):
    stream = bs.read_stream(folder / "run.stream")
    block = stream.observations()
    frame, arrow, dataset = stream.to_pandas(), stream.to_arrow(), stream.to_reciprocalspaceship("4/mmm")
    assert len(frame) == len(arrow) == len(dataset) == len(block) == 69686
    chunk = next(chunk for chunk in stream if chunk.crystals)
    own = frame[frame["crystal"] == 0]
    assert own["event"].unique().tolist() == [chunk.identity.event]
    reflections = chunk.crystals[0].reflections
    assert own["h"].tolist() == reflections.hkl[:, 0].tolist()
    assert own["I"].to_numpy() == pytest.approx(reflections.intensity, rel=1e-6)
    expected = np.linalg.norm(reflections.hkl @ chunk.crystals[0].reciprocal_axes, axis=1)
    assert own["inverse_d"].to_numpy() == pytest.approx(expected, rel=1e-5)
    assert isinstance(dataset, rs.DataSet) and not dataset.merged
    assert dataset.spacegroup.hm == "P 4 2 2" and dataset.cell.a == pytest.approx(79.2)
    assert dataset["BATCH"].to_numpy().astype(int).max() == 289
    crystals = block.crystals.to_pandas()
    assert crystals["a"].median() == pytest.approx(79.2, abs=0.3) and crystals["lattice_type"][0] == "tetragonal"
    merged = bs.merge(block, symmetry="4/mmm")
    table = merged.to_arrow()
    assert table["nmeas"].to_pylist() == merged.n_measured.tolist()
    assert merged.to_pandas().loc[tuple(merged.hkl[5]), "I"] == merged.intensity[5]
    assert merged.to_reciprocalspaceship(bs.load_cell(folder / "x.cell")).merged


def test_what_cannot_be_merged_is_told(folder, tmp_path):
    with pytest.raises(bs.UserError, match="there is no option min_sn; there are"):
        bs.merge(folder / "run.stream", symmetry="4/mmm", min_sn=2)
    with pytest.raises(bs.UserError, match="is no point group"):
        bs.merge(folder / "run.stream", symmetry="4/mm")
    text = (folder / "run.stream").read_text()
    (tmp_path / "empty.stream").write_text(text[: text.index("----- Begin chunk")])
    with pytest.raises(bs.UserError, match="holds no crystals"):
        bs.load_observations(tmp_path / "empty.stream")


def test_the_tutorial_works_as_it_stands(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    blocks = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(), re.DOTALL)
    assert len(blocks) > 4
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(TUTORIAL), "exec"), names)
    told = capsys.readouterr().out
    assert "290 crystals, 69686 observations" in told and "% complete, CC1/2 0." in told
    for name in ("merged.mtz", "merged.parquet"):
        assert len(bs.load_reflections(name)) == len(names["merged"])
