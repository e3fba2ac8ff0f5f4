"""`braggstream report`: the page, Table 1, and the counts behind them."""

from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from braggstream.cli.main import main
from braggstream.formats import stream_counts
from braggstream.formats.cell import write_cell
from braggstream.formats.hkl import read_hkl, write_hkl
from braggstream.formats.stream_counts import count_frames
from braggstream.model.errors import UserError
from braggstream.model.point_group import point_group
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.shells import inverse_d_of, possible_reflections
from merging.ambiguous_crystals import ambiguous_crystals, stream_text
from merging.test_figures_of_merit import TETRAGONAL, made_list

VOID = {"meta"}


class Page(HTMLParser):
    """Checks that elements nest, and collects text and addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.links, self.n_pictures = [], [], [], 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.n_pictures += tag == "svg"
        for name, value in attrs:
            if name in ("href", "xlink:href", "src"):
                self.links.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "xlink:href", "src"):
                self.links.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A stream of 20 crystals, a merged list, its half sets and the cell."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.stream").write_text(stream_text(ambiguous_crystals(20)[0]))
    one, other = made_list("4/mmm", d_min=2.5, noise=0.8)
    for name, each in (("x.hkl", one), ("x.hkl1", one), ("x.hkl2", other)):
        write_hkl(name, each)
    (tmp_path / "x.cell").write_text(write_cell(TETRAGONAL))
    return tmp_path


def test_a_page_with_everything(made, capsys):
    words = ["--stream", "x.stream", "--hkl", "x.hkl", "-p", "x.cell", "--title", "Lysozyme <1>", "-o", "r.html"]
    assert main(["report", *words, "--text=t.txt", "--latex=t.tex", "--nshells=6"]) == 0
    page = Page((made / "r.html").read_text())
    text = " ".join(page.words)
    assert "Lysozyme <1>" in text and "CC1/2" in text and "x.stream, x.hkl, x.cell" in text
    # Merged data in two rows of figures, the Wilson plot, and the cells; nothing has to be fetched.
    assert page.n_pictures == 4
    assert all(link.startswith("#") for link in page.links)
    table = dict(line.split("  ", 1) for line in (made / "t.txt").read_text().splitlines())
    table = {label.strip(): value.strip() for label, value in table.items()}
    assert table["Crystals"] == "20" and table["Frames"] == "15" and table["Point group"] == "4/mmm"
    assert table["Completeness (%)"].startswith("100.0 (100.0)")
    assert table["Resolution (Å)"].startswith("60.00 - 2.50 (")
    capsys.readouterr()
    assert main(["compare_hkl", "x.hkl1", "x.hkl2", "-p", "x.cell", "--fom=CC", "--nshells=6"]) == 0
    overall = float(capsys.readouterr().err.rsplit("Overall CC = ")[1])
    outer = np.loadtxt("shells.dat", skiprows=1)[-1, 1]
    assert table["CC1/2"] == f"{overall:.4f} ({outer:.4f})"
    latex = (made / "t.tex").read_text()
    assert latex.startswith("\\begin{tabular}{ll}") and latex.count(" & ") == len(table)
    assert "Completeness (\\%) & 100.0 (100.0) \\\\" in latex and latex.isascii()


def test_a_page_from_a_stream_alone_and_from_a_list_alone(made, capsys):
    assert main(["report", "--stream", "x.stream"]) == 0
    told = capsys.readouterr().out
    assert "Crystals" in told and "tetragonal P" in told and "CC1/2" not in told
    assert Page((made / "report.html").read_text()).n_pictures == 1
    for half in ("x.hkl1", "x.hkl2"):
        (made / half).unlink()
    assert main(["report", "--hkl", "x.hkl", "-p", "x.cell"]) == 0
    told = capsys.readouterr().out
    assert "Multiplicity" in told and "CC1/2" not in told and "Crystals" not in told


def made_halves(made, *, d_min=1.6, sigma=60.0, mean=0.0):
    """Write a list and half sets whose intensities fall off with resolution under even noise."""
    hkl = possible_reflections(TETRAGONAL, point_group("4/mmm"), 1e-6, 1.0 / d_min)
    rng = np.random.default_rng(3)
    inverse_d = inverse_d_of(hkl, TETRAGONAL)
    true = rng.exponential(1000.0, len(hkl)) * np.exp(-2.0 * 40.0 * (0.5 * inverse_d) ** 2)
    for name in ("x.hkl", "x.hkl1", "x.hkl2"):
        noisy = true + rng.normal(mean, sigma, len(hkl))
        write_hkl(made / name, ReflectionList.of(hkl, noisy, np.full(len(hkl), sigma), symmetry="4/mmm"))
    return true, inverse_d


def test_a_resolution_is_suggested_where_half_sets_end_to_agree(made, capsys):
    true, inverse_d = made_halves(made)
    assert main(["report", "--hkl", "x.hkl", "-p", "x.cell", "--nshells=20"]) == 0
    shown = capsys.readouterr()
    table = dict(line.split("  ", 1) for line in shown.out.splitlines())
    suggested = float(table["Suggested end (Å)"])
    # CC1/2 of a shell is what intensities vary, as a part of what is measured.
    edges = np.sort(inverse_d)[:: len(inverse_d) // 20]
    shells = [true[(inverse_d >= inner) & (inverse_d < outer)] for inner, outer in pairwise(edges)]
    below = [outer for shell, outer in zip(shells, edges[1:], strict=True) if shell.var() < 0.3 / 0.7 * 60.0**2]
    assert suggested == pytest.approx(1.0 / below[0], abs=0.12)
    assert f"Beyond {suggested:.2f} Å the half sets hardly agree" in shown.err
    assert f"--highres={suggested:.2f} leaves that out" in (made / "report.html").read_text()
    assert main(["report", "--hkl", "x.hkl", "-p", "x.cell", f"--highres={suggested}"]) == 0
    again = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert float(again.get("Suggested end (Å)", suggested)) < 1.05 * suggested
    assert "-" not in again["Rsplit (%)"] and float(again["CC1/2"].split("(")[1].rstrip(")")) > 0.2


def test_a_rsplit_of_negative_intensities_is_not_told(made, capsys):
    made_halves(made, mean=-30.0)
    assert main(["report", "--hkl", "x.hkl", "-p", "x.cell", "--nshells=20"]) == 0
    shown = capsys.readouterr()
    table = dict(line.split("  ", 1) for line in shown.out.splitlines())
    assert table["Rsplit (%)"].endswith("(-)")
    assert "Rsplit says nothing of shells whose mean intensity is below zero" in shown.err


def test_a_page_where_half_sets_have_nothing_in_common(made, capsys):
    one = read_hkl("x.hkl1")
    write_hkl("x.hkl1", one.take(np.arange(len(one)) % 2 == 0))
    write_hkl("x.hkl2", one.take(np.arange(len(one)) % 2 == 1))
    assert main(["report", "--hkl", "x.hkl", "-p", "x.cell"]) == 0
    shown = capsys.readouterr()
    assert "Multiplicity" in shown.out and "CC1/2" not in shown.out
    assert "The half sets cannot be compared: nothing to compare: 0 reflections are in both lists" in shown.err
    assert "The half sets cannot be compared" in " ".join(Page((made / "report.html").read_text()).words)


def test_frames_are_counted_wherever_pieces_are_cut(made, monkeypatch):
    whole = count_frames("x.stream")
    assert whole.n_frames == 15 and whole.n_indexed == 15
    text = (made / "x.stream").read_text()
    chunk = "----- Begin chunk -----\nhit = {}\nindexed_by = {}\n----- End chunk -----\n"
    text += chunk.format(1, "none") + chunk.format(0, "none") + chunk.format(1, "asdf")
    (made / "y.stream").write_text(text)
    for n_bytes in (7, 24, 25, 1000, 1 << 20):
        monkeypatch.setattr(stream_counts, "PIECE_BYTES", n_bytes)
        found = count_frames("y.stream")
        assert (found.n_frames, found.n_hits, found.n_indexed) == (18, 2, 16), n_bytes
    with pytest.raises(UserError, match="nowhere: cannot be read"):
        count_frames("nowhere")


@pytest.mark.golden
def test_the_reference_s_data(golden, tmp_path, capsys):
    folder = golden / "merging"
    halves = [f"--half{n}={folder / f'partialator-unity.hkl{n}.xz'}" for n in (1, 2)]
    words = ["--stream", folder / "many.stream.xz", "--hkl", folder / "partialator-unity.hkl.xz", *halves]
    assert main(["report", *map(str, words), "-p", str(folder / "many.cell"), "-o", str(tmp_path / "r.html")]) == 0
    told = capsys.readouterr().out
    for line in ("Frames              300", "Crystals            290", "Observations        69686"):
        assert line in told
    assert "Rsplit (%)          32.37 (" in told and "CC1/2               0.8210 (" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to report on"),
        (["--hkl", "x.hkl"], "--hkl needs a unit cell"),
        (["--hkl", "x.hkl", "-p", "x.cell", "--half1=x.hkl1"], "give both --half1 and --half2"),
        (["--stream", "x.hkl"], "x.hkl: is no stream file"),
        (["--stream", "x.stream", "-o", "no/r.html"], "no/r.html: cannot be written"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(made, capsys, words, message):
    assert main(["report", *words]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert message in last and last.startswith("braggstream report: ")
