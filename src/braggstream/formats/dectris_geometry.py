"""A geometry made from the start message of a series: one flat detector, seen as NeXus describes it.

The lab frame is CrystFEL's: z along the beam, y up, x to the left seen along the beam.  The first pixel lies at the
upper right of somebody who looks from the detector at the sample: fast scan goes towards -x, slow scan down.
"""

from dataclasses import replace
from math import isfinite

import numpy as np

from braggstream.formats.dectris_1 import ONLY_CHANNEL
from braggstream.formats.geom import parse_geometry
from braggstream.formats.series_message import SeriesMessage
from braggstream.model.errors import UserError
from braggstream.model.geometry import Flag, Geometry

NEEDED = {
    "incident_energy": "photon energy",
    "detector_distance": "detector distance",
    "pixel_size_x": "pixel size",
    "pixel_size_y": "pixel size",
    "image_size_x": "width",
    "image_size_y": "height",
}
"""Values without which there is no geometry."""
PANEL = "detector"
ORIGIN = "the start message"
"""Stands for the name of a file in geometries that were made of a start message."""
BIT_DEPTHS = (8, 16, 32, 64)


def start_geometry(start: SeriesMessage, *, follows: bool = True) -> Geometry:
    """Make a geometry from a start message.

    Parameters
    ----------
    start
        The message.
    follows
        Photon energy, distance and beam centre are looked up in each series' start message; else they are written
        down as numbers, so that the geometry serves elsewhere.

    Raises
    ------
    UserError
        The message does not state what a geometry needs.
    """
    made = parse_geometry(geometry_text(start, follows=follows), path=ORIGIN)
    largest = Flag(kind="largest", value=0)
    panels = tuple(replace(panel, flags=(*panel.flags, largest)) for panel in made.panels)
    return replace(made, panels=panels, _cache={})


def is_made_of_start(geometry: Geometry) -> bool:
    """Whether a geometry was made of a start message, so that nobody has looked at it."""
    return geometry.path == ORIGIN


def geometry_text(start: SeriesMessage, *, follows: bool = False) -> str:
    """Write the geometry file; see `start_geometry`."""
    value = _checked(start)
    size = value["pixel_size_x"]
    beam_x, beam_y = value["beam_center_x"], value["beam_center_y"]
    lines = [f"; Made from the start message of series {start.series}.", ""]
    if follows:
        lines += ["photon_energy = incident_energy eV", "clen = detector_distance m"]
        lines += ["peak_list = spots"]
        lines += ["detector_shift_x = beam_offset_x m", "detector_shift_y = beam_offset_y m"]
        beam_x = beam_y = 0.0
    else:
        lines += [
            f"photon_energy = {value['incident_energy']:.9g} eV",
            f"clen = {value['detector_distance']:.9g} m",
        ]
    lines += [f"res = {1.0 / size:.9g}", "adu_per_photon = 1"]
    channel = start.channels[0] if len(start.channels) > 1 else None
    if channel is not None and channel != ONLY_CHANNEL:
        lines += [f"; Channels: {', '.join(_plain(name) for name in start.channels)}", f"data = {_plain(channel)}"]
    lines += _limits(start)
    lines += [
        "",
        f"{PANEL}/min_fs = 0",
        f"{PANEL}/max_fs = {value['image_size_x'] - 1:.0f}",
        f"{PANEL}/min_ss = 0",
        f"{PANEL}/max_ss = {value['image_size_y'] - 1:.0f}",
        f"{PANEL}/fs = -x",
        f"{PANEL}/ss = -y",
        f"{PANEL}/corner_x = {beam_x:.9g}",
        f"{PANEL}/corner_y = {beam_y:.9g}",
    ]
    return "\n".join(lines) + "\n"


def _limits(start: SeriesMessage) -> list[str]:
    """Values above the largest valid one mean that there is none; the largest one itself is saturated.

    The largest value of the pixels' type is no count in any case: detectors fill gaps and dead pixels with it.
    """
    lines = []
    no_count = _largest_of_type(start)
    if no_count is not None:
        lines.append(f"flag_equal = {no_count}")
    largest = start.values.get("saturation_value")
    if isinstance(largest, int) and largest > 1:
        lines += [f"max_adu = {largest - 1}", f"flag_morethan = {largest}"]
    for name in ("error_value", "underload_value"):
        value = start.values.get(name)
        if isinstance(value, int) and value != no_count:
            lines.append(f"flag_equal = {value}" if name == "error_value" else f"flag_lessthan = {value + 1}")
    return list(dict.fromkeys(lines))


def _largest_of_type(start: SeriesMessage) -> int | None:
    """The largest value of the type that images will have; None where the start message does not say it."""
    stated, bits = start.values.get("image_dtype"), start.values.get("bit_depth_image")
    if isinstance(stated, str) and stated in {f"{sign}int{depth}" for sign in ("u", "") for depth in BIT_DEPTHS}:
        return int(np.iinfo(stated).max)
    if bits in BIT_DEPTHS and not start.values.get("pixel_signed"):
        return (1 << int(bits)) - 1
    return None


def _checked(start: SeriesMessage) -> dict[str, float]:
    found: dict[str, float] = {}
    missing = []
    for name, meaning in NEEDED.items():
        number = start.values.get(name)
        if not isinstance(number, int | float) or not isfinite(number) or not number > 0:
            missing.append(meaning)
        else:
            found[name] = float(number)
    if missing:
        raise UserError(
            f"the start message of series {start.series} states no {' and no '.join(dict.fromkeys(missing))}: "
            "set it at the detector, or give a geometry with -g FILE"
        )
    if abs(found["pixel_size_x"] / found["pixel_size_y"] - 1.0) > 1e-6:
        raise UserError("the start message states pixels that are not square: give a geometry with -g FILE")
    for name in ("beam_center_x", "beam_center_y"):
        number = start.values.get(name)
        found[name] = float(number) if isinstance(number, int | float) and isfinite(number) else 0.0
    return found


def _plain(text: str) -> str:
    """A text that cannot be taken for more than a name."""
    return "".join(character for character in text[:60] if character.isalnum() or character in "_-.")
