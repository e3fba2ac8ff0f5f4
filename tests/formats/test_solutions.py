"""Lists of solutions: what is read, what is refused, and that writing and reading fit."""

import numpy as np
import pytest

from braggstream.formats import solutions
from braggstream.formats.solutions import read_solutions, solution_lines
from braggstream.model.crystal import Crystal
from braggstream.model.errors import UserError
from braggstream.model.frame import FrameIdentity
from braggstream.model.peaks import PeakTable
from braggstream.model.result import FrameResult

AXES = "0.1 0 0 0 0.2 0 0 0 0.3"


def named(filename, event):
    return FrameIdentity(filename=filename, event=event, serial=1)


def written(tmp_path, text, mode="w"):
    path = tmp_path / "list.sol"
    path.write_text(text) if mode == "w" else path.write_bytes(text)
    return path


def result(filename, crystals):
    return FrameResult(
        identity=named(filename, "//7"),
        wavelength=1.0,
        bandwidth=0.0,
        divergence=0.0,
        average_camera_length=0.1,
        headers=(),
        peaks=PeakTable.empty(),
        peak_inverse_d=np.zeros(0),
        peak_resolution=0.0,
        is_hit=True,
        indexed_by="ffbidx",
        n_tries=1,
        crystals=tuple(crystals),
    )


def test_units_and_lattice_of_a_line(tmp_path):
    path = written(tmp_path, f"/data/a.h5 //3 {AXES} 0.5 -0.25 tIc\n")
    (crystal,) = read_solutions(path).of(named("/data/a.h5", "//3"))
    assert np.array_equal(crystal.reciprocal_axes, np.diag([0.01, 0.02, 0.03]))
    assert crystal.det_shift == (0.0005, -0.00025)
    assert (crystal.lattice_type, crystal.centring, crystal.unique_axis) == ("tetragonal", "I", "c")


def test_frames_are_told_by_both_names_and_names_may_hold_blanks(tmp_path):
    path = written(
        tmp_path,
        f"my run/a b.h5 //3 {AXES} 0 0 aP\r\n\n  \n"
        f"my run/a b.h5 //4\t{AXES} 0 0 oF\n"
        f"my run/a b.h5 //3   {AXES} 0 0 mCb",
    )
    found = read_solutions(path)
    assert len(found) == 3
    assert [c.lattice_type for c in found.of(named("my run/a b.h5", "//3"))] == ["triclinic", "monoclinic"]
    assert [c.centring for c in found.of(named("my run/a b.h5", "//4"))] == ["F"]
    for other in (("b.h5", "//3"), ("my run/a b.h5", "//"), ("my run/a", "b.h5 //3"), ("my", "//3")):
        assert found.of(named(*other)) == []


@pytest.mark.parametrize(
    "code", ["aP", "mPb", "mCa", "m?", "oI", "oA", "tPc", "tI?", "cF", "rR", "rR*", "hPc", "hHc"]
)
def test_lattice_codes(tmp_path, code):
    path = written(tmp_path, f"a.h5 // {AXES} 0 0 {code}\n")
    if code == "m?":
        with pytest.raises(UserError, match="lattice 'm\\?'"):
            read_solutions(path)
    else:
        (crystal,) = read_solutions(path).of(named("a.h5", "//"))
        assert crystal.lattice_type[0] == {"a": "t", "r": "r"}.get(code[0], crystal.lattice_type[0])
        assert crystal.centring == code[1]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("a.h5 //0", "has 2 fields"),
        (f"//0 {AXES} 0 0 aP", "has 13 fields"),
        (f"a.h5 //0 {AXES} 0 x aP", "expected eleven numbers"),
        (f"a.h5 //0 {AXES} 0 nan aP", "expected eleven numbers"),
        (f"a.h5 //0 {AXES} 0 inf aP", "expected eleven numbers"),
        ("a.h5 //0 1 0 0 0 1 0 1 1 0 0 0 aP", "span no volume"),
        ("a.h5 //0 0 0 0 0 0 0 0 0 0 0 0 aP", "span no volume"),
        (f"a.h5 //0 {AXES} 0 0 xP", "lattice 'xP'"),
        (f"a.h5 //0 {AXES} 0 0 aQ", "lattice 'aQ'"),
        (f"a.h5 //0 {AXES} 0 0 tP", "lattice 'tP'"),
        (f"a.h5 //0 {AXES} 0 0 tPd", "lattice 'tPd'"),
        (f"a.h5 //0 {AXES} 0 0 oPc", "lattice 'oPc'"),
        ("x" * 9000, "is longer than"),
    ],
)
def test_faults_name_the_line(tmp_path, line, what):
    path = written(tmp_path, f"a.h5 //0 {AXES} 0 0 aP\n{line}\n")
    with pytest.raises(UserError, match=what) as fault:
        read_solutions(path)
    assert str(fault.value).startswith(f"{path}:2: ")


def test_sizes_are_bounded(tmp_path, monkeypatch):
    line = f"a.h5 //0 {AXES} 0 0 aP\n"
    with pytest.raises(UserError, match=r":17: is the 17th crystal of a\.h5 //0"):
        read_solutions(written(tmp_path, line * 17))
    assert len(read_solutions(written(tmp_path, line * 16))) == 16
    monkeypatch.setattr(solutions, "MAX_SOLUTIONS", 3)
    with pytest.raises(UserError, match=":4: holds more than 3"):
        read_solutions(written(tmp_path, line * 4))
    with pytest.raises(UserError, match="cannot read the list of solutions: No such file"):
        read_solutions(tmp_path / "nowhere")


def test_binary_rubbish_is_a_fault_of_a_line(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()
    with pytest.raises(UserError, match=r"list\.sol:"):
        read_solutions(written(tmp_path, noise, "b"))


def test_what_is_written_is_read_again(tmp_path):
    rng = np.random.default_rng(4)
    lattices = [
        ("triclinic", "P", "*"),
        ("monoclinic", "C", "b"),
        ("rhombohedral", "R", "?"),
        ("hexagonal", "H", "c"),
    ]
    crystals = [
        Crystal(
            reciprocal_axes=rng.normal(size=(3, 3)) / 50,
            lattice_type=lattice_type,
            centring=centring,
            unique_axis=axis,
            det_shift=(1.25e-4, -3e-5),
        )
        for lattice_type, centring, axis in lattices
    ]
    path = written(tmp_path, solution_lines(result("with blank.h5", crystals)))
    found = read_solutions(path).of(named("with blank.h5", "//7"))
    for crystal, again in zip(crystals, found, strict=True):
        assert np.allclose(again.reciprocal_axes, crystal.reciprocal_axes, atol=1e-10, rtol=0)
        assert np.allclose(again.det_shift, crystal.det_shift, atol=1e-9, rtol=0)
        assert (again.lattice_type, again.centring) == (crystal.lattice_type, crystal.centring)
    assert found[3].unique_axis == "c" and found[1].unique_axis == "b"
    # A frame with more crystals than a list can hold stays readable.
    assert len(read_solutions(written(tmp_path, solution_lines(result("a", crystals * 5))))) == 16
