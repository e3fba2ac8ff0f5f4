"""Writing a `Geometry` as a CrystFEL geometry file; every number is written so that it reads back the same."""

from collections.abc import Iterator
from math import inf

import numpy as np

from braggstream.formats.geom_lines import leading_comments
from braggstream.model.geometry import Geometry, LabRegion, Panel, PixelRegion, Quantity, RigidGroup

Line = tuple[str, str]
"""Field and value of a statement."""


def write_geometry(geometry: Geometry) -> str:
    """Write a geometry as the text of a geometry file.

    What all panels share comes first, as defaults; comments are kept where they came before the first statement.
    Raises `ValueError` for a text that the format cannot hold.
    """
    shared, own = _split_shared(geometry.panels)
    lines = [line.rstrip() for line in leading_comments(geometry.text)] if geometry.text else []
    lines.extend(_statement(line) for line in _beamline(geometry))
    lines.extend(_statement(line) for line in shared)
    for region in geometry.bad_regions:
        lines.append("")
        lines.extend(_statement((f"{region.name}/{key}", value)) for key, value in _region(region))
    for panel, fields in zip(geometry.panels, own, strict=True):
        lines.append("")
        lines.extend(_statement((f"{panel.name}/{key}", value)) for key, value in (*_placement(panel), *fields))
    groups = _groups(geometry)
    if groups:
        lines.append("")
        lines.extend(_statement(line) for line in groups)
    return "\n".join(lines) + "\n"


def _statement(line: Line) -> str:
    key, value = line
    if key.strip() != key or value.strip() != value or set(key + value) & set(";\r\n") or "=" in key:
        raise ValueError(f"a geometry file cannot hold {key!r} = {value!r}")
    return f"{key} = {value}"


def _beamline(geometry: Geometry) -> Iterator[Line]:
    yield geometry.wavelength_kind, _quantity(geometry.beam)
    yield "clen", _quantity(geometry.clen)
    if geometry.peak_list is not None:
        yield "peak_list", geometry.peak_list
    if geometry.peak_list_type != "auto":
        yield "peak_list_type", geometry.peak_list_type
    yield "bandwidth", repr(geometry.bandwidth)
    if geometry.shift_x is not None and geometry.shift_y is not None:
        yield "detector_shift_x", _quantity(geometry.shift_x)
        yield "detector_shift_y", _quantity(geometry.shift_y)


def _quantity(quantity: Quantity) -> str:
    number = repr(quantity.value) if quantity.header is None else quantity.header
    return f"{number} {quantity.unit}".rstrip()


def _region(region: PixelRegion | LabRegion) -> Iterator[Line]:
    if isinstance(region, LabRegion):
        bounds = ("min_x", "max_x", "min_y", "max_y")
    else:
        yield "panel", region.panel
        bounds = ("min_fs", "max_fs", "min_ss", "max_ss")
    for name in bounds:
        yield name, repr(getattr(region, name))


def _placement(panel: Panel) -> Iterator[Line]:
    for name in ("min_fs", "max_fs", "min_ss", "max_ss"):
        yield name, str(getattr(panel, name))
    yield "corner_x", repr(panel.corner_x)
    yield "corner_y", repr(panel.corner_y)
    yield "fs", _direction(panel.fs)
    yield "ss", _direction(panel.ss)
    if panel.coffset:
        yield "coffset", repr(panel.coffset)
    if panel.no_index:
        yield "no_index", "1"


def _direction(vector: tuple[float, float, float]) -> str:
    """Write a direction without exponents, which the format has not, and without a negative zero."""
    return " ".join(
        np.format_float_positional(part + 0.0, unique=True, trim="-", sign=True) + axis
        for part, axis in zip(vector, "xyz", strict=True)
    )


def _groups(geometry: Geometry) -> list[Line]:
    names = tuple(panel.name for panel in geometry.panels)
    if geometry.groups == (RigidGroup(name="all", members=names),):
        return []
    return [(f"group_{group.name}", ",".join(group.members)) for group in geometry.groups]


def _split_shared(panels: tuple[Panel, ...]) -> tuple[list[Line], list[list[Line]]]:
    """Separate the fields that all panels share from those of each panel, kind by kind."""
    shared: list[Line] = []
    own: list[list[Line]] = [[] for _ in panels]
    kinds = (_mask_lines, _saturation_lines, _edge_lines, _res_lines, _max_adu_lines, _data_lines, _flag_lines)
    for kind in (*kinds, _gain_lines, _axis_lines):
        written = [list(kind(panel)) for panel in panels]
        if all(lines == written[0] for lines in written):
            shared.extend(written[0])
        else:
            for lines, more in zip(own, written, strict=True):
                lines.extend(more)
    return shared, own


def _mask_lines(panel: Panel) -> Iterator[Line]:
    for slot, mask in enumerate(panel.masks):
        yield f"mask{slot}_data", mask.data
        if mask.file is not None:
            yield f"mask{slot}_file", mask.file
        yield f"mask{slot}_goodbits", hex(mask.good_bits)
        yield f"mask{slot}_badbits", hex(mask.bad_bits)


def _saturation_lines(panel: Panel) -> Iterator[Line]:
    if panel.saturation_map is not None:
        yield "saturation_map", panel.saturation_map
    if panel.saturation_map_file is not None:
        yield "saturation_map_file", panel.saturation_map_file


def _edge_lines(panel: Panel) -> Iterator[Line]:
    if panel.mask_edge_pixels:
        yield "mask_edge_pixels", str(panel.mask_edge_pixels)


def _res_lines(panel: Panel) -> Iterator[Line]:
    yield "res", repr(panel.res)


def _max_adu_lines(panel: Panel) -> Iterator[Line]:
    if panel.max_adu != inf:
        yield "max_adu", repr(panel.max_adu)


def _data_lines(panel: Panel) -> Iterator[Line]:
    yield "data", panel.data


def _flag_lines(panel: Panel) -> Iterator[Line]:
    for flag in panel.flags:
        if flag.kind != "largest":
            yield f"flag_{flag.kind}", repr(flag.value)


def _gain_lines(panel: Panel) -> Iterator[Line]:
    if panel.adu_per_photon is not None:
        yield "adu_per_photon", repr(panel.adu_per_photon)
    else:
        yield "adu_per_eV", repr(panel.adu_per_ev)


def _axis_lines(panel: Panel) -> Iterator[Line]:
    for axis, role in enumerate(panel.dims):
        yield f"dim{axis}", str(role)
