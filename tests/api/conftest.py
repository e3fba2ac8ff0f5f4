"""Simulated frames with their geometry and cell, and a stream file of them."""

import subprocess
import sys

import pytest

import braggstream as bs
from braggstream.cli.main import main


@pytest.fixture(scope="package")
def stills(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    assert main(["simulate", "--examples", str(folder)]) == 0
    for new, old in (("x.geom", "megapixel.geom"), ("x.cell", "tetragonal.cell")):
        (folder / old).rename(folder / new)
    words = ["simulate", "-o", "frames.h5", "-g", "x.geom", "-p", "x.cell", "-n", "4", "--hit-fraction", "1"]
    done = subprocess.run([sys.executable, "-m", "braggstream", *words], cwd=folder, check=False)
    assert done.returncode == 0
    (folder / "frames.lst").write_text(f"{folder}/frames.h5\n")
    return folder


@pytest.fixture(scope="package")
def geometry(stills):
    return bs.load_geometry(stills / "x.geom")


@pytest.fixture(scope="package")
def cell(stills):
    return bs.load_cell(stills / "x.cell")


@pytest.fixture(scope="package")
def stream_file(stills, geometry, cell, tmp_path_factory):
    processor = bs.Processor(geometry, cell=cell, threshold=10, min_snr=5, min_peaks=15)
    results = [processor.process(frame) for frame in bs.open_files(stills / "frames.h5", geometry)]
    path = tmp_path_factory.mktemp("streams") / "o.stream"
    bs.write_stream(path, geometry, results, cell=cell)
    return path
