"""The warm-up: what the settings use and nothing else, once, and once a pixel type where pixels are touched."""

import ast
import json
import sys
from pathlib import Path
from subprocess import run
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

import braggstream
from braggstream.cli.main import main
from braggstream.kernels import warm

DATA = Path(braggstream.__file__).parent / "simulate" / "data"
ENGINES = {"ffbidx_cells", "ffbidx_vectors"}
NO_KERNELS = {f"braggstream.kernels.{name}" for name in ("warm", "_jit", "cuda.device")}
PEAK_SEARCHES = {"zaef", "peakfinder8", "radial", "three_rings"}


def test_pixel_kernels_are_called_for_each_type(monkeypatch):
    calls = []

    def plain():
        calls.append("plain")

    def with_pixels(dtype):
        calls.append(dtype)

    modules = [SimpleNamespace(warm_up=plain), SimpleNamespace(warm_up=with_pixels)]
    monkeypatch.setattr(warm, "kernels_in_use", lambda _device: modules)
    warm.warm_up(["int32", "uint16"], after_each=lambda *done: calls.append(done))
    assert calls == ["plain", (1, 2), np.dtype("int32"), np.dtype("uint16"), (2, 2)]


# One process a setting: what has been imported by other tests would count as in use.
PROGRAM = """
import json, sys
from braggstream.formats.cell import read_cell
from braggstream.formats.geom import read_geometry
from braggstream.formats.wire import Setup
from braggstream.model.frame import FileSlot
from braggstream.model.settings import IndexingSettings, OutputSettings, PeakSettings, Settings
from braggstream.run.processor import FrameProcessor

folder, chosen = sys.argv[1], json.loads(sys.argv[2])
settings = Settings(
    peaks=PeakSettings(threshold=10.0, min_snr=5.0, min_peaks=15, **chosen["peaks"]),
    indexing=IndexingSettings(target_cell=read_cell(f"{folder}/tetragonal.cell"), **chosen["indexing"]),
)
geometry = read_geometry(f"{folder}/megapixel.geom")
output = OutputSettings(stream_file="")
processor = FrameProcessor(Setup(processor="", geometry=geometry, settings=settings, output=output))
processor.warm_up([chosen["pixels"]], lambda *_: None)

from braggstream.kernels import _jit
from braggstream.kernels.warm import kernels_in_use

def compiled():
    return {f"{kernel.__module__}.{kernel.__name__}": len(kernel.signatures) for kernel in _jit.KERNELS}

before = compiled()
outcome = processor.process(FileSlot(filename=chosen["file"], event="//0", serial=1))
found = {"before": before, "after": compiled(), "n_crystals": outcome.n_crystals}
found["kernels"] = [module.__name__.rpartition(".")[2] for module in kernels_in_use()]
print(json.dumps(found))
"""

PF8 = {"method": "peakfinder8"}
SETTINGS = {
    "zaef": ({"method": "zaef", "min_squared_gradient": 100.0}, {}, ENGINES | {"zaef", "three_rings"}),
    "peakfinder8": (PF8, {}, ENGINES | {"peakfinder8", "radial"}),
    "no indexing": (PF8, {"methods": ("none",)}, {"peakfinder8", "radial"}),
}


@pytest.fixture(scope="module")
def hit(tmp_path_factory):
    """A file with one frame, and the type of its pixels."""
    path = tmp_path_factory.mktemp("hit") / "hit.h5"
    given = ["-g", str(DATA / "megapixel.geom"), "-p", str(DATA / "tetragonal.cell")]
    assert main(["simulate", "-o", str(path), *given, "-n", "1", "--hit-fraction", "1", "--seed", "5"]) == 0
    with h5py.File(path) as file:
        return str(path), file["entry/data/data"].dtype.name


@pytest.mark.parametrize("name", SETTINGS)
def test_no_kernel_waits_for_the_first_frame_and_none_is_compiled_in_vain(name, hit):
    peaks, indexing, expected = SETTINGS[name]
    chosen = {"peaks": peaks, "indexing": indexing, "file": hit[0], "pixels": hit[1]}
    words = [sys.executable, "-c", PROGRAM, str(DATA), json.dumps(chosen)]
    found = json.loads(run(words, check=True, capture_output=True).stdout)
    assert found["after"] == found["before"]
    assert (ENGINES | PEAK_SEARCHES) & set(found["kernels"]) == expected
    assert found["n_crystals"] == ("methods" not in indexing)


def test_kernels_are_imported_at_the_top_of_modules():
    """An import inside a function would hide a kernel from the warm-up."""
    for path in Path(braggstream.__file__).parent.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                names = [node.module or "" for node in ast.walk(function) if isinstance(node, ast.ImportFrom)]
                hidden = {name for name in names if name.startswith("braggstream.kernels.")}
                assert not hidden - NO_KERNELS, path
