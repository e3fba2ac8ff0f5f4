"""Simulated frames in one HDF5 file, as the geometry expects them, with the truth beside them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from braggstream.formats.replaced_file import replacing
from braggstream.model.errors import UserError
from braggstream.simulate.frames import SimulatedFrame, Simulator
from braggstream.simulate.layout import DataArray, data_arrays
from braggstream.simulate.truth import NM_PER_ANGSTROM, FrameTruth, Truth, cell_json

FRAME_GROUP = "frame{n}"
"""What replaces the placeholder of a data path."""


def write_frames(
    path: str | Path, simulator: Simulator, n_frames: int, *, progress: Callable[[int], None] = lambda _: None
) -> Truth:
    """Make frames and write them to a new HDF5 file; gives the truth, which is in the file too.

    `/truth` holds `hit` [n], `reciprocal` [n, lattice, 3, 3] (rows a*, b*, c* in nm⁻¹, NaN where there is no
    lattice), `strong_spots` [n], and `hkl` [m, 3] with `intensity` [m]: the true full intensities of the unique
    reflections.  `progress` is called with the number of frames done.
    """
    arrays = data_arrays(simulator.geometry)
    event = event_pattern(arrays, n_frames, simulator.geometry.path)
    truths: list[FrameTruth] = []
    try:
        with replacing(path) as part, h5py.File(part, "w") as file:
            datasets = {array.path: _create(file, array, n_frames) for array in arrays if "%" not in array.path}
            headers: dict[str, list[float]] = {}
            for number in range(n_frames):
                frame = simulator.frame(number)
                for array in arrays:
                    _store(file, datasets, array, number, frame, simulator)
                for name, value in frame.headers.items():
                    headers.setdefault(name, []).append(value)
                truths.append(frame.truth)
                progress(number + 1)
            _store_headers(file, headers)
            truth = Truth(
                filename=str(path),
                event=event,
                n_frames=n_frames,
                frames=tuple(truths),
                cell=simulator.cell,
                space_group=simulator.space_group.xhm(),
            )
            _store_truth(file, truth, simulator)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be written: {error}", path=path) from None
    return truth


def event_pattern(arrays: tuple[DataArray, ...], n_frames: int, geometry_path: str) -> str:
    """CrystFEL's event id of frame `{n}` in a file of `n_frames`; raises `UserError` where they do not fit."""
    placeholders = {array.path.count("%") for array in arrays}
    axes = {array.frame_axis is not None for array in arrays}
    if len(placeholders) > 1 or len(axes) > 1 or max(placeholders) > 1:
        raise UserError(
            "frames with several placeholders, or panels that differ in them, cannot be written", path=geometry_path
        )
    if placeholders == {1}:
        return f"{FRAME_GROUP}//0" if axes == {True} else f"{FRAME_GROUP}//"
    if axes == {True}:
        return "//{n}"
    if n_frames > 1:
        raise UserError(
            f"has room for one frame a file, not for {n_frames}: a 'dim0 = %' is needed", path=geometry_path
        )
    return "//"


def _create(file: h5py.File, array: DataArray, n_frames: int) -> Any:
    shape, chunk = list(array.shape), list(array.shape)
    if array.frame_axis is not None:
        shape.insert(array.frame_axis, n_frames)
        chunk.insert(array.frame_axis, 1)
    return file.create_dataset(array.path, shape, np.int32, chunks=tuple(chunk))


def _store(
    file: h5py.File,
    datasets: dict[str, Any],
    array: DataArray,
    number: int,
    frame: SimulatedFrame,
    made_by: Simulator,
) -> None:
    values = array.assemble(made_by.detector, frame.values)
    if "%" in array.path:
        if array.frame_axis is not None:
            values = np.expand_dims(values, array.frame_axis)
        file.create_dataset(array.path.replace("%", FRAME_GROUP.replace("{n}", str(number))), data=values)
        return
    before = 0 if array.frame_axis is None else array.frame_axis
    place = (slice(None),) * before + ((number,) if array.frame_axis is not None else ())
    datasets[array.path][place] = values


def _store_headers(file: h5py.File, headers: dict[str, list[float]]) -> None:
    for name, values in headers.items():
        if "%" not in name:
            file[name] = np.array(values)
            continue
        for number, value in enumerate(values):
            file[name.replace("%", FRAME_GROUP.replace("{n}", str(number)))] = value


def _store_truth(file: h5py.File, truth: Truth, simulator: Simulator) -> None:
    most = max((len(frame.lattices) for frame in truth.frames), default=0)
    reciprocal = np.full((truth.n_frames, max(1, most), 3, 3), np.nan)
    for number, frame in enumerate(truth.frames):
        reciprocal[number, : len(frame.lattices)] = frame.lattices / NM_PER_ANGSTROM
    group = file.create_group("truth")
    group["hit"] = np.array([frame.is_hit for frame in truth.frames], bool)
    group["reciprocal"] = reciprocal
    group["strong_spots"] = np.array([frame.n_strong for frame in truth.frames], np.int64)
    group["hkl"] = simulator.reflections.unique_hkl
    group["intensity"] = simulator.reflections.unique_intensity
    assert truth.cell is not None
    group.attrs["cell"] = cell_json(truth.cell)
    group.attrs["space_group"] = truth.space_group
    group.attrs["event"] = truth.event
