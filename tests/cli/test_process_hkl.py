"""`process_hkl`: the lists of the reference, a merge written from the specification, and what users do wrong."""

import io
import lzma
import os
import subprocess
import threading

import numpy as np
import pytest

from braggstream.cli.main import main
from braggstream.cli.process_hkl import run
from braggstream.formats.hkl import read_hkl
from braggstream.model.errors import UserError
from braggstream.model.point_group import point_group
from cli.commands import BRAGGSTREAM
from steps.naive_merge import crystals_of, means_of, naive_merge

BEGIN = "----- Begin chunk -----\n"
GOLDEN_OPTIONS = {
    "process_hkl": [],
    "process_hkl-even-only": ["--even-only"],
    "process_hkl-odd-only": ["--odd-only"],
    "process_hkl-min-snr2": ["--min-snr=2"],
    "process_hkl-max-adu500": ["--max-adu=500"],
    "process_hkl-push-res05": ["--push-res=0.5"],
    "process_hkl-min-measurements5": ["--min-measurements=5"],
    "process_hkl-scale": ["--scale"],
}


@pytest.fixture(scope="module")
def many(golden, tmp_path_factory):
    """The stream of the reference, not compressed."""
    path = tmp_path_factory.mktemp("many") / "many.stream"
    path.write_bytes(lzma.decompress((golden / "merging" / "many.stream.xz").read_bytes()))
    return path


@pytest.fixture(scope="module")
def few(many, tmp_path_factory):
    """Its first forty chunks."""
    path = tmp_path_factory.mktemp("few") / "few.stream"
    path.write_text(BEGIN.join(many.read_text().split(BEGIN)[:41]))
    return path


def merge(tmp_path, *words, symmetry="4/mmm"):
    output = tmp_path / "out.hkl"
    status = main(["process_hkl", "-o", str(output), "-y", symmetry, *map(str, words)])
    assert status == 0
    return read_hkl(output)


def as_table(reflections):
    columns = (reflections.intensity, reflections.sigma, reflections.n_measured)
    return dict(
        zip(
            map(tuple, reflections.hkl.tolist()),
            zip(*(each.tolist() for each in columns), strict=True),
            strict=True,
        )
    )


def check(reflections, expected, tolerance=0.00501):
    found = as_table(reflections)
    assert found.keys() == expected.keys() and found
    for hkl, (intensity, sigma, n) in found.items():
        assert (intensity, sigma, n) == pytest.approx(expected[hkl], abs=tolerance, rel=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("name", GOLDEN_OPTIONS)
def test_lists_of_the_reference(golden, many, tmp_path, name):
    theirs = read_hkl(golden / "merging" / f"{name}.hkl.xz")
    ours = merge(tmp_path, "-i", many, *GOLDEN_OPTIONS[name])
    assert np.array_equal(ours.hkl, theirs.hkl) and np.array_equal(ours.n_measured, theirs.n_measured)
    assert ours.symmetry == theirs.symmetry
    if name == "process_hkl-scale":
        assert np.corrcoef(ours.intensity, theirs.intensity)[0, 1] >= 0.9999999
        return
    assert np.array_equal(ours.intensity, theirs.intensity) and np.array_equal(ours.sigma, theirs.sigma)


@pytest.mark.golden
def test_scaled_intensities_are_on_the_scale_of_the_data(many, tmp_path):
    plain, scaled = merge(tmp_path, many), merge(tmp_path, many, "--scale")
    assert 0.9 < scaled.intensity.sum() / plain.intensity.sum() < 1.2


@pytest.mark.golden
@pytest.mark.parametrize(
    ("words", "how"),
    [
        (["--polarisation=none"], {"corrects": False}),
        (["--no-polarization"], {"corrects": False}),
        (["--polarization=horiz98"], {"fraction": 0.98}),
        (["--polarisation=vert"], {"angle": 90.0}),
        (["--polarisation=30deg80"], {"angle": 30.0, "fraction": 0.8}),
        (["--res-push=-0.4", "--max-adu=900"], {"push_res": -0.04, "max_adu": 900}),
        (["--min-snr=1.5", "--polarisation=vertical50"], {"min_snr": 1.5, "fraction": 0.5}),
    ],
)
def test_the_specification_gives_the_same(few, tmp_path, words, how):
    values, _ = naive_merge(crystals_of(few), point_group("mmm"), **how)
    check(merge(tmp_path, few, *words, symmetry="mmm"), means_of(values))


@pytest.mark.golden
def test_the_second_pass_is_that_of_the_specification(few, tmp_path):
    group, crystals = point_group("4/mmm"), crystals_of(few)
    first, _ = naive_merge(crystals, group)
    reference = {hkl: mean for hkl, (mean, _, _) in means_of(first, 1).items()}
    values, rows = naive_merge(crystals, group, reference=reference, scales=True, min_cc=0.75)
    statistics = tmp_path / "stat"
    ours = merge(tmp_path, few, "--scale", "--min-cc=0.75", f"--stat={statistics}", "--min-measurements=1")
    common = np.exp(-np.mean(np.log([scale for scale, _ in rows])))
    expected = {hkl: (common * i, common * s, n) for hkl, (i, s, n) in means_of(values, 1).items()}
    check(ours, expected)
    lines = [line.split() for line in statistics.read_text().splitlines()]
    assert 5 < len(lines) == len(rows) < len(crystals)
    for line, (scale, cc) in zip(lines, rows, strict=True):
        assert line[0] == "many.h5" and line[1].startswith("//")
        assert [float(line[2]), float(line[3])] == pytest.approx([common * scale, cc], abs=2e-6)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--start-after=7", "--even-only"], lambda n: n > 7 and n % 2 == 0),
        (["--stop-after=50"], lambda n: n <= 50),
        (["-s", "30", "-f", "12", "--odd-only"], lambda n: 30 < n <= 54 and n % 2 == 1),
    ],
)
def test_crystals_are_counted_over_all_files(few, tmp_path, words, wanted):
    crystals = crystals_of(few)
    chosen = [each for n, each in enumerate(crystals + crystals, start=1) if wanted(n)]
    values, _ = naive_merge(chosen, point_group("4/mmm"))
    check(merge(tmp_path, "-i", few, *words, "--input", few), means_of(values))


@pytest.mark.golden
def test_crystals_that_diffract_too_little_are_left_out(few, tmp_path):
    crystals = crystals_of(few)
    limit = sorted(crystal.resolution_limit for _, crystal in crystals)[len(crystals) // 2]
    chosen = [each for each in crystals if each[1].resolution_limit >= limit]
    values, _ = naive_merge(chosen, point_group("4/mmm"))
    check(merge(tmp_path, few, f"--min-res={1.000001 / limit}"), means_of(values))


GEOMETRY = (
    "photon_energy = 9000; clen = 0.1; data = /d; adu_per_photon = 1; res = 10000; p/min_fs = 0; p/max_fs = 9;"
    " p/min_ss = 0; p/max_ss = 9; p/corner_x = 0; p/corner_y = 0; p/fs = x; p/ss = y; p/dim0 = ss; p/dim1 = fs"
)


def stream_of(*frames):
    """Write a stream whose crystals have the given observations: h, k, l, I, and sigma if it matters."""
    lines = ["CrystFEL stream format 2.3", "Generated by hand", "----- Begin geometry file -----"]
    lines += [*GEOMETRY.split("; "), "----- End geometry file -----"]
    for number, rows in enumerate(frames, start=1):
        lines += [BEGIN.strip(), "Image filename: a.h5", f"Event: //{number}", "photon_energy_eV = 9000.0"]
        lines += ["--- Begin crystal", "astar = 0.1 0 0", "bstar = 0 0.1 0", "cstar = 0 0 0.1"]
        lines += ["Reflections measured after indexing", "  h"]
        lines += [f"{h} {k} {l} {i} {(*more, 1.0)[0]} 0 0 1 1 p" for h, k, l, i, *more in rows]  # noqa: E741
        lines += ["End of reflections", "--- End crystal", "----- End chunk -----"]
    return "\n".join(lines) + "\n"


def test_means_and_their_errors(tmp_path):
    path = tmp_path / "a.stream"
    path.write_text(stream_of([(1, 0, 0, 100), (2, 0, 0, 100), (3, 0, 0, 100)], [(-1, 0, 0, 200), (0, 2, 0, 200)],
                              [(0, 0, 2, 100), (2, 0, 0, "nan")]))  # fmt: skip
    words = (path, "--polarisation=none")
    found = as_table(merge(tmp_path, *words, symmetry="m-3m"))
    assert found == {(1, 0, 0): (150.0, 35.36, 2), (2, 0, 0): (133.33, 27.22, 3)}
    found = as_table(merge(tmp_path, *words, "--unbiased-sigma", symmetry="m-3m"))
    assert found == {(1, 0, 0): (150.0, 50.0, 2), (2, 0, 0): (133.33, 33.33, 3)}
    found = as_table(merge(tmp_path, *words, "--unbiased-sigma", "--compat-sigma", "--min-measurements=1",
                           symmetry="m-3m"))  # fmt: skip
    assert found[3, 0, 0] == (100.0, 0.0, 1) and found[1, 0, 0][1] == 35.36


def test_all_values_of_a_reflection(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.stream"
    path.write_text(stream_of(*([(1, 0, 0, value)] for value in (0, 1, 2, 10)), [(0, 0, 1, 5)]))
    merge(tmp_path, path, "--polarisation=none", "-g", "-1,0,0", symmetry="mmm")
    lines = [line.split() for line in (tmp_path / "histogram.dat").read_text().splitlines()]
    assert len(lines) == 50 and float(lines[0][0]) == -1.0 and sum(int(count) for _, count in lines) == 4
    merge(tmp_path, path, "--polarisation=none", "-g", "-1,0,0", "-z", "1,3,2", symmetry="mmm")
    lines = (tmp_path / "histogram.dat").read_text()
    assert lines == "0.000000 1\n2.000000 1\n"


@pytest.mark.golden
def test_standard_input_is_read_once(few, tmp_path):
    words = [*BRAGGSTREAM, "process_hkl", "-", "-y", "4/mmm", "-o", str(tmp_path / "piped.hkl")]
    done = subprocess.run(words, input=few.read_bytes(), capture_output=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    merge(tmp_path, few)
    ours = (tmp_path / "piped.hkl").read_text(), (tmp_path / "out.hkl").read_text()
    assert ours[0].split("End of")[0] == ours[1].split("End of")[0]
    assert "Audit information from stream:\nGenerated by CrystFEL 0.12.0\nindexamajig -i many.lst" in ours[1]


@pytest.mark.golden
def test_a_pipe_is_read_once(few, tmp_path):
    """As with `process_hkl <(xzcat a.stream.xz)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(few.read_bytes()))
    writer.start()
    ours = merge(tmp_path, pipe)
    writer.join()
    assert np.array_equal(ours.intensity, merge(tmp_path, few).intensity)
    with pytest.raises(UserError, match="pipes cannot be"):
        run(["--stat=s", str(pipe)])


@pytest.mark.golden
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "an input is needed"),
        (["-", "--scale"], "twice"),
        (["-", "-"], "once"),
        (["a.stream", "-y", "2_uad"], "is no point group"),
        (["none.stream"], "none.stream: cannot be opened: No such file"),
        (["a.stream", "--even-only", "--odd-only"], "choose one"),
        (["a.stream", "--polarisation=horiz101"], "--polarisation=horiz101: expected"),
        (["a.stream", "--polarisation=sideways"], "--polarisation=sideways: expected"),
        (["a.stream", "-g", "1,2"], "--histogram=1,2: expected"),
        (["a.stream", "-z", "1,2"], "--hist-parameters=1,2: expected"),
        (["a.stream", "-o", "a.stream"], "would overwrite"),
        (["a.stream", "-o", "no/a.hkl"], "there is no folder no"),
        (["a.stream", "--min-measurements=0"], "at least 1"),
        (["a.stream", "--min-res=0"], "above zero"),
        (["--unknown"], "unrecognized"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(few, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    os.link(few, "a.stream")
    try:
        status = main(["process_hkl", *words])
    except SystemExit as left:
        status = left.code
    told = capsys.readouterr().err.splitlines()
    assert status == 1 and len(told) == 1 and told[0].startswith("process_hkl: ") and message in told[0]


@pytest.mark.golden
def test_what_is_left_out_is_told(few, tmp_path, capsys):
    text = few.read_text()
    torn = tmp_path / "torn.stream"
    torn.write_text(text[: len(text) - 3000].replace("End of reflections", "1 2 3\nEnd of reflections", 1))
    merge(tmp_path, torn, "--min-snr=1", symmetry="2/m")
    told = capsys.readouterr().err
    assert "torn.stream: 1 chunks are left out: they are not whole" in told
    assert "a crystal is left out: expected a reflection" in told
    assert "unique axis of 2/m is taken to be c" in told and "--min-snr" in told


MADE = """CrystFEL stream format 2.3
Generated by hand
----- Begin geometry file -----
photon_energy = 9500.123456
clen = 0.1
adu_per_photon = 1
res = 10000
p/min_fs = 0
p/max_fs = 999
p/min_ss = 0
p/max_ss = 999
p/corner_x = -500
p/corner_y = -500
p/fs = x
p/ss = y
----- End geometry file -----
----- Begin chunk -----
Image filename: made-up.h5
photon_energy_eV = 9500.123456
--- Begin crystal
astar = +0.1234567 -0.0311111 +0.0045678 nm^-1
bstar = +0.0298765 +0.1201234 -0.0187654 nm^-1
cstar = -0.0123457 +0.0543219 +0.2345671 nm^-1
profile_radius = 0.00500 nm^-1
diffraction_resolution_limit = 9.00 nm^-1 or 1.11 A
Reflections measured after indexing
   h    k    l          I   sigma(I)       peak background  fs/px  ss/px panel
 -22  -21  -10  829363.29       1.00      10.00       1.00  100.0  100.0 p
 -21   11  -15  772919.10       1.00      10.00       1.00  100.0  100.0 p
  22   11  -24  490939.43       1.00      10.00       1.00  100.0  100.0 p
End of reflections
--- End crystal
----- End chunk -----
"""


def test_axes_are_read_in_single_precision_and_the_photon_energy_is_not(tmp_path):
    (tmp_path / "made.stream").write_text(MADE)
    found = as_table(merge(tmp_path, tmp_path / "made.stream", "--min-measurements=1", symmetry="1"))
    # What the reference gives; in double precision they would be 1060858.38, 980338.46 and 1809085.06.
    assert {hkl: intensity for hkl, (intensity, _, _) in found.items()} == {
        (-22, -21, -10): 1060858.39, (-21, 11, -15): 980338.48, (22, 11, -24): 1809085.24}  # fmt: skip


def test_observations_with_a_negative_sigma_are_left_out(tmp_path, capsys):
    (tmp_path / "made.stream").write_text(MADE.replace("772919.10       1.00", "772919.10      -1.00"))
    found = merge(tmp_path, tmp_path / "made.stream", "--min-measurements=1", symmetry="1")
    assert found.hkl.tolist() == [[-22, -21, -10], [22, 11, -24]]
    assert "2 observations, 1 left out" in capsys.readouterr().err
