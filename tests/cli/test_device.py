"""`--device`: what it chooses, what it says, and how it fails."""

import pytest

from braggstream.cli.device_choice import settings_on_device
from braggstream.kernels.cuda import device as on_cuda
from braggstream.model.errors import UserError
from braggstream.model.settings import IndexingSettings, PeakSettings, Settings
from braggstream.steps.device import choose_device
from cli.commands import indexamajig

GEOMETRY = """photon_energy = 9000 eV
clen = 0.1
res = 10000
adu_per_photon = 1
data = /data
dim0 = %
dim1 = ss
dim2 = fs
p/min_fs = 0
p/max_fs = 9
p/min_ss = 0
p/max_ss = 9
p/corner_x = -5
p/corner_y = -5
p/fs = x
p/ss = y
"""
SETTINGS = Settings(peaks=PeakSettings(method="zaef"), indexing=IndexingSettings(methods=("ffbidx", "taketwo")))


def test_the_processor_is_the_default_and_asks_nothing(monkeypatch):
    monkeypatch.setattr(on_cuda, "why_unavailable", lambda: pytest.fail("the device was touched"))
    assert settings_on_device(SETTINGS, "cpu") == (SETTINGS, [])


def test_an_unknown_device_is_refused():
    with pytest.raises(UserError, match=r"^--device=gpu: expected one of cpu, cuda, auto$"):
        choose_device("gpu")


def test_without_a_device_cuda_is_an_error_and_auto_is_not(monkeypatch):
    monkeypatch.setattr(on_cuda, "why_unavailable", lambda: "no CUDA device is found")
    with pytest.raises(UserError, match=r"^--device=cuda: no CUDA device is found$"):
        choose_device("cuda")
    assert choose_device("auto") == ("cpu", "--device=auto: cpu is used, no CUDA device is found")


def test_what_has_no_kernels_there_says_so(monkeypatch):
    monkeypatch.setattr(on_cuda, "why_unavailable", lambda: None)
    settings, notices = settings_on_device(SETTINGS, "auto")
    assert settings.peaks.device == settings.indexing.device == "cuda"
    assert notices == [
        "--device=auto: cuda is used",
        "--device=auto: --peaks=zaef has no CUDA kernels and runs on the CPU",
        "--device=auto: --indexing=taketwo has no CUDA kernels and runs on the CPU",
    ]


@pytest.mark.skipif(on_cuda.IS_SIMULATED, reason="the simulator is a device")
def test_without_the_extra_its_name_is_told(monkeypatch):
    monkeypatch.setattr(on_cuda, "_PACKAGE", "no_such_package")
    assert on_cuda.why_unavailable() == "the extra is not installed: pip install 'braggstream[cuda]'"


def test_the_command_says_it_in_one_line(tmp_path):
    if on_cuda.why_unavailable() is None:
        pytest.skip("there is a device")
    geometry, frames = tmp_path / "g.geom", tmp_path / "f.lst"
    geometry.write_text(GEOMETRY)
    frames.write_text("")
    done = indexamajig("-i", frames, "-g", geometry, "-o", tmp_path / "o.stream", "--device=cuda")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("indexamajig: --device=cuda: ")
    assert "Traceback" not in done.stderr
