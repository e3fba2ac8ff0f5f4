"""Statements of a geometry file about the whole detector and the beam."""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any

from braggstream.formats.c_numbers import whole_number
from braggstream.formats.geom_lines import Complain, Statement, StatementError, shown
from braggstream.formats.geom_values import finite_quantity, positive_quantity, quantity, text_value
from braggstream.model.geometry import ENERGY_UNITS, LENGTH_UNITS, VOLTAGE_UNITS, WAVELENGTH_UNITS, Quantity

_BEAM = {
    "wavelength": (WAVELENGTH_UNITS, None),
    "photon_energy": (ENERGY_UNITS, "eV"),
    "electron_voltage": (VOLTAGE_UNITS, None),
}
PEAK_LIST_TYPES = ("auto", "cxi", "list3")


def _camera_length(value: str, complain: Complain) -> Quantity:
    return finite_quantity(
        quantity(value, complain, units=LENGTH_UNITS, bare_unit="m", bare_header_unit="mm"),
    )


def _shift(value: str, complain: Complain) -> Quantity:
    found = quantity(value, complain, units=LENGTH_UNITS, bare_unit="m")
    if found.value is not None and found.value != found.value:
        complain("the shift is no number and is ignored")
        return Quantity(value=0.0, unit=found.unit, factor=found.factor)
    return finite_quantity(found)


def _peak_list_type(value: str, complain: Complain) -> str:
    if value not in PEAK_LIST_TYPES:
        raise StatementError(f"'{shown(value)}' is no type of peak list: expected {', '.join(PEAK_LIST_TYPES)}")
    return value


_FIELDS: Mapping[str, Callable[[str, Complain], Any]] = {
    "clen": _camera_length,
    "detector_shift_x": _shift,
    "detector_shift_y": _shift,
    "peak_list": text_value,
    "peak_list_type": _peak_list_type,
}
DIRECTIVES = frozenset({*_BEAM, *_FIELDS, "bandwidth"})
_RENAMED = {"detector_shift_x": "shift_x", "detector_shift_y": "shift_y"}


@dataclass(slots=True)
class BeamlineDraft:
    """What has been said about the beam and the whole detector, as keyword arguments of `Geometry`."""

    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def set(self, statement: Statement, complain: Complain) -> None:
        """Take a statement in whose field is one of `DIRECTIVES`; raises `StatementError`."""
        name, value = statement.field, statement.value
        self.lines[name] = statement.line
        if name in _BEAM:
            units, bare_unit = _BEAM[name]
            beam = quantity(value, complain, units=units, bare_unit=bare_unit)
            self.fields.update(wavelength_kind=name, beam=positive_quantity(beam))
        elif name == "bandwidth":
            self._set_bandwidth(value, complain)
        else:
            self.fields[_RENAMED.get(name, name)] = _FIELDS[name](value, complain)

    def _set_bandwidth(self, value: str, complain: Complain) -> None:
        found = whole_number(value)
        if not isfinite(nan if found is None else found):
            complain(f"'{shown(value)}' is no bandwidth and is ignored")
        elif found is not None:
            self.fields["bandwidth"] = abs(found)

    def missing(self, refused: Container[str]) -> Iterator[tuple[str, int | None]]:
        """Say what the file lacks and the lines to look at, but for directives that were refused."""
        if "beam" not in self.fields and not any(name in refused for name in _BEAM):
            yield f"no wavelength is given: expected one of {', '.join(_BEAM)}", None
        if "clen" not in self.fields and "clen" not in refused:
            yield "no camera length is given: expected clen", None
        for given, other in (("shift_x", "shift_y"), ("shift_y", "shift_x")):
            if given in self.fields and other not in self.fields and f"detector_{other}" not in refused:
                yield f"detector_{given} needs detector_{other} as well", self.lines[f"detector_{given}"]
