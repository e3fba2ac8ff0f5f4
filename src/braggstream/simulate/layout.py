"""Where a geometry file expects the panels and headers of a frame: the arrays that a sender has to fill."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose, prod

import numpy as np
from numpy.typing import NDArray

from braggstream.model.detector import Detector
from braggstream.model.errors import UserError
from braggstream.model.geometry import AxisRole, Geometry, Panel, Quantity

MAX_ARRAY_PIXELS = 1 << 28
STATED_DIGITS = 1e-4
"""Relative difference up to which a value that is written with few digits is the same."""

Window = tuple[int | slice, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataArray:
    """One array of pixels, which one or more panels share."""

    path: str
    """HDF5 path or MsgPack key, as the geometry file writes it."""
    shape: tuple[int, ...]
    """Shape of one frame, without the frame axis."""
    frame_axis: int | None
    """Where the axis of the frames stands in the file; None where there is none."""
    panels: tuple[tuple[int, Window, bool], ...]
    """Panel number, its place in the array, and whether slow scan comes before fast scan there."""

    def assemble(self, detector: Detector, values: NDArray) -> NDArray:
        """Bring a frame from detector order into the array's shape; places without a panel are zero."""
        array = np.zeros(self.shape, values.dtype)
        for number, window, slow_first in self.panels:
            start, stop = detector.starts[number], detector.starts[number + 1]
            panel = values[start:stop].reshape(detector.height[number], detector.width[number])
            array[window] = panel if slow_first else panel.T
        return array


def data_arrays(geometry: Geometry) -> tuple[DataArray, ...]:
    """Find the arrays that a geometry file describes; raises `UserError` for what cannot be filled."""
    paths = dict.fromkeys(panel.data for panel in geometry.panels)
    return tuple(_data_array(geometry, path) for path in paths)


def header_values(geometry: Geometry, *, energy_ev: float, camera_length: float) -> dict[str, float]:
    """Give the headers that the geometry looks up, in its units: name and number.

    `energy_ev` is the photon energy [eV], `camera_length` in m.
    """
    values: dict[str, float] = {}
    wanted: list[tuple[Quantity | None, float]] = [
        (geometry.beam, energy_ev),
        (geometry.clen, camera_length),
        (geometry.shift_x, 0.0),
        (geometry.shift_y, 0.0),
    ]
    for quantity, number in wanted:
        if quantity is not None and quantity.header is not None:
            values[quantity.header] = number / quantity.factor
    return values


def check_stated(geometry: Geometry, stated: Mapping[str, float], meant: Mapping[str, float], what: str) -> None:
    """Refuse a geometry that takes a value which a format states by itself for another one, in another unit mostly.

    Parameters
    ----------
    geometry
        What looks headers up.
    stated
        The values that the format states, by name [m, eV, Å].
    meant
        Photon energy and camera length of the simulated frames, under `eV` and `m`.
    what
        The frames of that format, for the message.
    """
    wanted = ((geometry.wavelength_kind, geometry.beam, "eV"), ("clen", geometry.clen, "m"))
    for name, quantity, unit in wanted:
        number = stated.get(quantity.header or "")
        if number is None or isclose(number * quantity.factor, meant[unit], rel_tol=STATED_DIGITS):
            continue
        line, read = f"{name} = {quantity.header}", number * quantity.factor
        advice = f"; write  {line} {unit}" * isclose(number, meant[unit], rel_tol=STATED_DIGITS)
        raise UserError(
            f"{line} {quantity.unit}: {what} state {quantity.header} as {number:g}, which would be read as "
            f"{read:g} {unit} and not as the {meant[unit]:g} {unit} that is simulated{advice}",
            path=geometry.path,
        )


def _data_array(geometry: Geometry, path: str) -> DataArray:
    members = [(number, panel) for number, panel in enumerate(geometry.panels) if panel.data == path]
    dims = members[0][1].dims
    kinds = [_kinds(panel.dims) for _, panel in members]
    if any(kind != kinds[0] for kind in kinds):
        raise UserError(f"panels in {path} do not agree about its axes", path=geometry.path)
    if kinds[0].count("%") > 1:
        raise UserError(f"{path} has more than one frame axis: one is supported here", path=geometry.path)
    frame_axis = kinds[0].index("%") if "%" in kinds[0] else None
    shape = tuple(
        max(_extent(panel, axis) for _, panel in members) for axis in range(len(dims)) if axis != frame_axis
    )
    if prod(shape) > MAX_ARRAY_PIXELS:
        raise UserError(f"{path} would have {prod(shape)} pixels, at most {MAX_ARRAY_PIXELS}", path=geometry.path)
    return DataArray(
        path=path,
        shape=shape,
        frame_axis=frame_axis,
        panels=tuple((number, _window(panel), _slow_first(panel)) for number, panel in members),
    )


def _kinds(dims: tuple[AxisRole, ...]) -> list[str]:
    return [role if isinstance(role, str) else "fixed" for role in dims]


def _extent(panel: Panel, axis: int) -> int:
    role = panel.dims[axis]
    if role == "fs":
        return panel.max_fs + 1
    if role == "ss":
        return panel.max_ss + 1
    assert isinstance(role, int)
    return role + 1


def _window(panel: Panel) -> Window:
    places: dict[AxisRole, slice] = {
        "fs": slice(panel.min_fs, panel.max_fs + 1),
        "ss": slice(panel.min_ss, panel.max_ss + 1),
    }
    return tuple(role if isinstance(role, int) else places[role] for role in panel.dims if role != "%")


def _slow_first(panel: Panel) -> bool:
    return panel.dims.index("ss") < panel.dims.index("fs")
