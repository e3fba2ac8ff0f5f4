"""Sessions that run other programs: told where they are missing, and nothing of them is left."""

import os

import pytest

from cli.commands import PF8, counts, indexamajig
from session_fakes.session_process import eventually
from steps import stand_in_programs as stand_in


def words(still_set, tmp_path, method):
    (tmp_path / "two.lst").write_text(f"{still_set.frames} //0\n{still_set.frames} //1\n")
    files = [
        "-i",
        tmp_path / "two.lst",
        "-g",
        still_set.geometry,
        "-p",
        still_set.cell,
        "-o",
        tmp_path / "o.stream",
    ]
    (tmp_path / "temp").mkdir()
    return [*files, *PF8, "--min-peaks=1", f"--indexing={method}", f"--temp-dir={tmp_path / 'temp'}", "--no-retry"]


def test_a_missing_program_is_told_before_anything_starts(still_set, tmp_path):
    done = indexamajig(*words(still_set, tmp_path, "mosflm"), env={**os.environ, "PATH": "/nowhere"})
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "--indexing=mosflm: there is no program 'mosflm'" in last and "PATH=/nowhere" in last
    assert not (tmp_path / "o.stream").exists() and not list((tmp_path / "temp").iterdir())


@pytest.mark.timeout(240)
def test_a_worker_killed_over_a_hanging_program_leaves_nothing(still_set, tmp_path):
    stand_in.install(tmp_path / "bin", "xds", stand_in.HANGS, {"direct": []})
    command = words(still_set, tmp_path, "xds")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = indexamajig(*command, "--frame-timeout=3", env={**os.environ, "PATH": path}, timeout=200)
    assert done.returncode in (0, 5), done.stderr
    n_received, n_written, _, n_failed = counts(done.stderr)
    # A frame without enough peaks never gets to the program.
    assert n_received == 2 and n_failed >= 1 and n_written + n_failed == 2
    pids = (tmp_path / "bin" / "pids").read_text().split()
    eventually(lambda: not any(is_running(pid) for pid in pids))
    assert not list((tmp_path / "temp").iterdir())


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_estimates_that_the_geometry_makes_needless(still_set, tmp_path):
    stated = tmp_path / "stated.geom"
    text = still_set.geometry.read_text()
    stated.write_text(text.replace("/entry/photon_energy eV", "9500 eV"))
    for geometry in (still_set.geometry, stated):
        command = ["-i", "nowhere.lst", "-g", geometry, "-o", tmp_path / "o.stream", "--indexing=none"]
        done = indexamajig(*command, "--wavelength-estimate=9e-10", "--camera-length-estimate=7")
        what = f"--wavelength-estimate is not needed: {geometry} states the value for all frames"
        assert (what in done.stderr) == (geometry == stated)
        # Its panels stand at several distances, so their average is compared.
        assert "--camera-length-estimate" not in done.stderr
