"""Numbers and texts of a series' messages by their names, understood when they are asked for.

A message may hold anything beside what is wanted: what is broken, too large or too deep costs the headers in it and
nothing else.
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from braggstream.formats.cbor import untagged
from braggstream.formats.raw import MAX_TEXT_HEADER
from braggstream.model.constants import HC_EV_ANGSTROM
from braggstream.model.errors import DecodeError
from braggstream.model.frame import HeaderValue

ALIASES = (
    ("incident_wavelength", "wavelength"),
    ("incident_energy", "photon_energy"),
    ("pixel_size_x", "x_pixel_size"),
    ("pixel_size_y", "y_pixel_size"),
    ("image_size_x", "x_pixels_in_detector"),
    ("image_size_y", "y_pixels_in_detector"),
    ("number_of_images", "nimages"),
    ("saturation_value", "countrate_correction_count_cutoff"),
)
"""Names of one value in versions 2 and 1: both serve as headers, whichever was sent."""
OTHER_NAMES = {**dict(ALIASES), **{other: name for name, other in ALIASES}}
USER_DATA = "user_data"
MAX_LISTED = 8
"""The elements of longer lists are no headers."""
MAX_DEPTH = 8

Values = Mapping[str, HeaderValue]


class SeriesValues:
    """The values of one message."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        """Take the members of a message; getting one may raise `DecodeError`."""
        self._members = members
        self._flat: dict[str, Values] = {}
        self.faults: dict[str, str] = {}
        """Why members that were looked at could not be understood."""

    def get(self, name: str, default: HeaderValue | None = None) -> HeaderValue | None:
        """Give a value; the default where there is none, or none that can be understood (see `faults`)."""
        zero = default
        for candidate in (name, OTHER_NAMES.get(name, name), f"{USER_DATA}/{name}"):
            found = self._stated(candidate)
            if found is not None and (found or candidate not in _RECKONED):
                return found
            zero = zero if found is None else found
        return self._reckoned(name, zero)

    def __getitem__(self, name: str) -> HeaderValue:
        """Give a value; raises `KeyError`."""
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def names(self) -> Iterator[str]:
        """Give the names of all values that can be understood, in the order of the message."""
        for key in self._members:
            yield from self._values_of(key)

    def _stated(self, name: str) -> HeaderValue | None:
        """A value under its own name; the parts before a slash may name a member that holds it."""
        for key in accumulate(name.split("/"), "{}/{}".format):
            if key in self._members:
                found = self._values_of(key).get(name)
                if found is not None:
                    return found
        return None

    def _values_of(self, key: str) -> Values:
        if key not in self._flat:
            try:
                self._flat[key] = flat_values({key: self._members[key]})
            except DecodeError as error:
                self._flat[key] = {}
                self.faults[key] = str(error)
        return self._flat[key]

    def _reckoned(self, name: str, found: HeaderValue | None) -> HeaderValue | None:
        """What follows from other values, where it is not stated."""
        if name in _RECKONED:
            other = self._number(*_RECKONED[name])
            return HC_EV_ANGSTROM / other if other else found
        if name == "detector_distance":
            along_beam = self._number("detector_translation/2")
            return abs(along_beam) if along_beam else found
        if name in ("beam_offset_x", "beam_offset_y"):
            centre = self._number(f"beam_center_{name[-1]}")
            size = self._number(f"pixel_size_{name[-1]}", f"{name[-1]}_pixel_size")
            if centre is not None and size is not None:
                return centre * size  # From the corner to the beam [m].
        return found

    def _number(self, *names: str) -> float | None:
        """Give the first of these that is stated as a number."""
        for name in names:
            found = self._stated(name)
            if isinstance(found, int | float):
                return found
        return None


_ENERGY, _WAVELENGTH = ("incident_energy", "photon_energy"), ("incident_wavelength", "wavelength")
_RECKONED = {**dict.fromkeys(_ENERGY, _WAVELENGTH), **dict.fromkeys(_WAVELENGTH, _ENERGY)}
"""Energy and wavelength, of which either gives the other; zero says that a detector does not know it."""


def flat_values(found: Mapping[str, Any], prefix: str = "", depth: int = 0) -> dict[str, HeaderValue]:
    """All numbers and texts, those of maps and lists under names with slashes, ratios as their quotient."""
    values: dict[str, HeaderValue] = {}
    for name, item in found.items():
        key, value = f"{prefix}{name}", untagged(item)
        if isinstance(value, bool):
            values[key] = int(value)
        elif isinstance(value, int | float):
            values[key] = value
        elif isinstance(value, str):
            values[key] = value[:MAX_TEXT_HEADER]
        elif isinstance(value, dict) and depth < MAX_DEPTH:
            values |= flat_values(value, f"{key}/", depth + 1)
        elif isinstance(value, list) and len(value) <= MAX_LISTED and depth < MAX_DEPTH:
            if key.endswith("_time") and len(value) == 2 and all(type(part) is int for part in value) and value[1]:
                values[key] = value[0] / value[1]
            values |= flat_values(dict(zip(map(str, range(len(value))), value, strict=True)), f"{key}/", depth + 1)
    return values
