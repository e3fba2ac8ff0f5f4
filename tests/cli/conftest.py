"""Simulated frames for tests of whole commands."""

from types import SimpleNamespace

import pytest

from cli.commands import BRAGGSTREAM, run

N_FRAMES = 12


@pytest.fixture(scope="session")
def still_set(tmp_path_factory):
    """A small set of stills in a file, with its geometry, its cell and its truth."""
    folder = tmp_path_factory.mktemp("stills")
    run(*BRAGGSTREAM, "simulate", "--examples", folder)
    made = SimpleNamespace(
        folder=folder,
        geometry=folder / "megapixel.geom",
        streamed_geometry=folder / "megapixel.stream.geom",
        cell=folder / "tetragonal.cell",
        frames=folder / "stills.h5",
        list=folder / "stills.lst",
        n_frames=N_FRAMES,
    )
    done = run(
        *BRAGGSTREAM,
        "simulate",
        "-o",
        made.frames,
        "-g",
        made.geometry,
        "-p",
        made.cell,
        "-n",
        N_FRAMES,
        "--seed",
        3,
    )
    assert done.returncode == 0, done.stderr
    made.list.write_text(f"{made.frames}\n")
    return made
