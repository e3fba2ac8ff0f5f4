"""What a run tells of itself: its record beside the stream file, its parameters, where its time went."""

import hashlib
import json
import re

import pytest

import braggstream
from cli.commands import BRAGGSTREAM, PF8, indexamajig, run


@pytest.fixture(scope="module")
def told(still_set, tmp_path_factory):
    """A run with everything that tells something."""
    folder = tmp_path_factory.mktemp("told")
    config = folder / "run.toml"
    config.write_text(f'geometry = "{still_set.geometry}"\npdb = "{still_set.cell}"\nmin-peaks = 15\nj = 1\n')
    words = [
        f"--config={config}", *PF8, "-i", still_set.list, "-o", folder / "out.stream", "-j2", "--profile",
        f"--harvest-file={folder / 'harvest.json'}", f"--write-config={folder / 'used.toml'}",
        f"--json-summary={folder / 'out.json'}", "--push-res=1.5", "--fix-divergence=0.001",
    ]  # fmt: skip
    done = indexamajig(*words)
    assert done.returncode == 0, done.stderr
    return folder, done


def runs_of(folder):
    return json.loads((folder / "out.stream.provenance.json").read_text())["runs"]


def test_the_record_tells_how_the_stream_file_came_about(told, still_set):
    folder, _ = told
    (record,) = runs_of(folder)
    assert record["exit_status"] == 0 and record["started"] < record["ended"]
    assert record["versions"]["braggstream"] == braggstream.__version__ and "numpy" in record["versions"]
    assert record["host"]["processor"] and record["host"]["n_processors"] > 0
    assert record["options"]["min_peaks"] == 15 and record["options"]["j"] == 2
    assert record["command_line"][0] == "indexamajig" and "--min-peaks=15" in record["command_line"]
    for name, path in (("geometry", still_set.geometry), ("cell", still_set.cell)):
        assert record[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    frames = record["summary"]["frames"]
    assert frames["received"] == frames["written"] == still_set.n_frames
    assert record["summary"] == json.loads((folder / "out.json").read_text())


def test_appending_adds_a_record_and_a_failure_is_one(told, still_set):
    folder, _ = told
    common = ["-g", still_set.geometry, "--indexing=none", "-o", folder / "out.stream", "--append"]
    assert indexamajig(*common, "-i", "-", input=f"{folder}/none.h5\n", stdin=None).returncode == 5
    first, second = runs_of(folder)
    assert (first["exit_status"], second["exit_status"]) == (0, 5)
    assert second["summary"]["failed_by_reason"] == {"file": 1}


def test_no_record_beside_a_device(still_set, tmp_path):
    words = ["-g", still_set.geometry, "--indexing=none", "-o", "/dev/null", "-i", "-"]
    assert indexamajig(*words, input="none.h5\n", stdin=None, cwd=tmp_path).returncode == 5


def test_options_in_force_make_the_same_run(told, still_set, tmp_path):
    folder, _ = told
    used = folder / "used.toml"
    text = used.read_text()
    assert "min-peaks = 15" in text and "j = 2" in text and "profile = true" in text
    other = tmp_path / "other.toml"
    done = run(*BRAGGSTREAM, "indexamajig", f"--config={used}", "--input=", f"--write-config={other}")
    assert done.returncode == 1 and other.read_text() == text.replace(f'input = "{still_set.list}"', 'input = ""')
    alone = run(*BRAGGSTREAM, "indexamajig", "-j3", f"--write-config={other}")
    assert alone.returncode == 0 and "j = 3" in other.read_text()


def test_harvest_has_the_parameters_by_the_names_of_the_reference(told):
    folder, _ = told
    found = json.loads((folder / "harvest.json").read_text())
    assert list(found) == ["input", "peaksearch", "hitfinding", "indexing", "integration"]
    assert found["input"] == {"highres": None}
    assert found["hitfinding"] == {"min_num_peaks": 15}
    search = found["peaksearch"]
    assert search["method"] == "peakfinder8" and search["threshold_adu"] == 10 and search["min_snr"] == 5
    assert search["radii"] == {"inner_px": 4, "middle_px": 5, "outer_px": 7}
    assert search["min_peak_over_neighbour_adu"] is None and len(search) == 21
    indexing = found["indexing"]
    assert indexing["target_cell"]["lattice_type"] == "tetragonal" and indexing["target_cell"]["a_Angstrom"] > 10
    assert indexing["tolerances"]["gamma_deg"] == 1.5 and indexing["wavelength_estimate_m"] is None
    integration = found["integration"]
    assert integration["method"] == "rings" and integration["fix_divergence_rad"] == 0.001
    assert integration["push_res_invm"] == pytest.approx(1.5e9)


def test_harvest_of_a_run_without_lattices_and_of_one_that_goes_on(still_set, tmp_path):
    path = tmp_path / "harvest.json"
    words = ["-g", still_set.geometry, "--indexing=none", "-o", "/dev/null", "-i", "-", f"--harvest-file={path}"]
    goes_on = indexamajig(*words, "--serial-start=2", input="none.h5\n", stdin=None)
    assert "--harvest-file: not written" in goes_on.stderr and not path.exists()
    indexamajig(*words, "--highres=2.5", input="none.h5\n", stdin=None)
    found = json.loads(path.read_text())
    assert found["indexing"] is found["integration"] is None
    assert found["input"]["highres"] == pytest.approx(4e9)


def test_profile_tells_each_frame_and_the_sum(told, still_set):
    folder, done = told
    lines = done.stdout.splitlines()
    assert len(lines) == still_set.n_frames
    for line in lines:
        assert re.fullmatch(r"[01] \(frame \d+\.\d{3}( \([a-z]+ \d+\.\d{3}\))+\)", line), line
    assert "Where the time went in " in done.stderr
    profile = json.loads((folder / "out.json").read_text())["profile"]
    assert sum(worker["frames"] for worker in profile["workers"]) == still_set.n_frames
    for worker in profile["workers"]:
        assert {"load", "peaks", "indexing", "integration", "hand-over", "idle"} <= set(worker["seconds"])
        assert sum(worker["seconds"].values()) == pytest.approx(profile["span_s"], rel=1e-3)
    assert {"waiting", "receiving", "writing"} == set(profile["parent_seconds"])


def test_folder_for_temporary_files_has_to_be_one(still_set, tmp_path):
    words = ["-g", still_set.geometry, "-i", still_set.list, "-o", tmp_path / "o.stream", "--indexing=none"]
    done = indexamajig(*words, f"--temp-dir={tmp_path / 'none'}")
    assert done.returncode == 1 and "--temp-dir" in done.stderr.splitlines()[-1]
