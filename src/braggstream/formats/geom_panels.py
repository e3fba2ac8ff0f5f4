"""Panels of a geometry file while it is read: fields, defaults, and the checks on a finished panel."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from braggstream.formats.geom_lines import Complain, Statement, StatementError, shown
from braggstream.formats.geom_values import (
    axis_role,
    bits,
    direction,
    finite_number,
    index,
    metres,
    number,
    pixel_count,
    pixel_value,
    switch,
    text_value,
)
from braggstream.model.geometry import AxisRole, Flag, Mask, Panel

MAX_FLAGS = 16
MAX_AXES = 16

_PLAIN_FIELDS: Mapping[str, Callable[[str, Complain], Any]] = {
    "min_fs": index,
    "max_fs": index,
    "min_ss": index,
    "max_ss": index,
    "corner_x": finite_number,
    "corner_y": finite_number,
    "coffset": metres,
    "fs": direction,
    "ss": direction,
    "res": finite_number,
    "max_adu": number,
    "data": text_value,
    "mask_edge_pixels": pixel_count,
    "saturation_map": text_value,
    "saturation_map_file": text_value,
    "no_index": switch,
}
_REQUIRED = ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "fs", "ss", "res")
_FLAGS: Mapping[str, Literal["lessthan", "morethan", "equal"]] = {
    "flag_lessthan": "lessthan",
    "flag_morethan": "morethan",
    "flag_equal": "equal",
}
_OLD_MASK_FIELDS = {"mask": "data", "mask_file": "file", "mask_good": "goodbits", "mask_bad": "badbits"}
_MASK_FIELD = re.compile(r"mask([0-7])_(data|file|goodbits|badbits)")
_AXIS_FIELD = re.compile(r"dim0*([0-9]{1,2})")


class PanelError(StatementError):
    """A panel is wrong as a whole; `line` is the one to look at."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class PanelDraft:
    """A panel, or the defaults for panels to come, as far as the file has been read."""

    name: str = ""
    line: int = 0
    """Where the panel is first mentioned."""
    fields: dict[str, Any] = field(default_factory=dict)
    axes: dict[int, AxisRole] = field(default_factory=lambda: {0: "ss", 1: "fs"})
    masks: dict[int, Mask] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    lines: dict[str, int] = field(default_factory=dict)
    """Where each field was last set."""

    def named(self, name: str, line: int) -> "PanelDraft":
        """Start a panel from these defaults."""
        return PanelDraft(
            name=name,
            line=line,
            fields=dict(self.fields),
            axes=dict(self.axes),
            masks=dict(self.masks),
            flags=self.flags,
        )

    def set(self, statement: Statement, complain: Complain) -> bool:
        """Take a statement in; False where a panel has no such field.  Raises `StatementError`."""
        name, value = statement.field, statement.value
        self.lines[name] = statement.line
        if name in _PLAIN_FIELDS:
            self.fields[name] = _PLAIN_FIELDS[name](value, complain)
        elif name in ("adu_per_photon", "adu_per_eV"):
            self._set_gain(name, finite_number(value, complain))
        elif name in _FLAGS:
            self._add_flag(Flag(kind=_FLAGS[name], value=pixel_value(value, complain)))
        elif name.startswith("mask"):
            self._set_mask(name, value, complain)
        elif name.startswith("dim"):
            self._set_axis(name, value, complain)
        elif name == "badrow_direction":
            complain("badrow_direction is obsolete and ignored")
        else:
            return False
        return True

    def _set_gain(self, name: str, gain: float) -> None:
        per_photon = name == "adu_per_photon"
        self.fields["adu_per_photon"] = gain if per_photon else None
        self.fields["adu_per_ev"] = None if per_photon else gain

    def _add_flag(self, flag: Flag) -> None:
        if len(self.flags) == MAX_FLAGS:
            raise StatementError(f"more than {MAX_FLAGS} flag statements for one panel")
        self.flags = (*self.flags, flag)

    def _set_axis(self, name: str, value: str, complain: Complain) -> None:
        match = _AXIS_FIELD.fullmatch(name)
        if match is None or int(match[1]) >= MAX_AXES:
            complain(f"{shown(name)} is ignored: the axes are called dim0 to dim{MAX_AXES - 1}")
            return
        role = axis_role(value, complain)
        if role is not None:
            self.axes[int(match[1])] = role

    def _set_mask(self, name: str, value: str, complain: Complain) -> None:
        old = _OLD_MASK_FIELDS.get(name)
        match = _MASK_FIELD.fullmatch(name)
        if old is None and match is None:
            raise StatementError(
                f"'{shown(name)}' is no mask statement: expected mask0_data, _file, _goodbits, _badbits, to mask7"
            )
        slot, part = (0, old) if match is None else (int(match[1]), match[2])
        mask = self.masks.get(slot, Mask(data=""))
        if part == "data" and not value.startswith("/"):
            if old is None:
                raise StatementError(
                    f"'{shown(value)}' is no place of a mask: expected a path that begins with '/'"
                )
            complain(f"'{shown(value)}' does not begin with '/', the mask is ignored")
            return
        if part == "data":
            mask = replace(mask, data=value)
        elif part == "file":
            mask = replace(mask, file=text_value(value, complain))
        elif part == "goodbits":
            mask = replace(mask, good_bits=bits(value, complain))
        else:
            mask = replace(mask, bad_bits=bits(value, complain))
        self.masks[slot] = mask

    def finish(self) -> Panel:
        """Check the panel and give it; raises `PanelError`."""
        missing = [name for name in _REQUIRED if name not in self.fields]
        if missing:
            raise self._error(f"has no {', '.join(missing)}")
        if "adu_per_photon" not in self.fields:
            raise self._error("has neither adu_per_photon nor adu_per_eV")
        self._check_range("fs")
        self._check_range("ss")
        if self.fields["res"] <= 0:
            raise self._error(f"has res = {self.fields['res']:g}, expected pixels per metre above 0", "res")
        if _parallel(self.fields["fs"], self.fields["ss"]):
            raise self._error("has fs and ss along the same line, expected two directions", "ss")
        self._check_masks()
        panel = Panel(
            name=self.name,
            dims=self._checked_axes(),
            masks=tuple(mask for _, mask in sorted(self.masks.items()) if mask.data),
            flags=self.flags,
            **self.fields,
        )
        self._check_placeholders(panel)
        return panel

    def _check_range(self, axis: str) -> None:
        first, last = self.fields[f"min_{axis}"], self.fields[f"max_{axis}"]
        if first < 0:
            raise self._error(f"has min_{axis} = {first}, expected an index from 0", f"min_{axis}")
        if last < first:
            raise self._error(f"has max_{axis} = {last} below min_{axis} = {first}", f"max_{axis}")

    def _check_masks(self) -> None:
        for slot, mask in sorted(self.masks.items()):
            if not mask.data and mask != Mask(data=""):
                raise self._error(f"has mask{slot} bits or a file, but no mask{slot}_data", *_mask_fields(slot))

    def _checked_axes(self) -> tuple[AxisRole, ...]:
        numbers = sorted(self.axes)
        for axis, given in enumerate(numbers):
            if axis != given:
                raise self._error(f"has dim{given} but no dim{axis}", f"dim{given}")
        roles = tuple(self.axes[axis] for axis in numbers)
        if roles.count("ss") != 1 or roles.count("fs") != 1 or roles.index("ss") > roles.index("fs"):
            raise self._error(
                f"has the axes {' '.join(str(role) for role in roles)}, expected ss once and after it fs once",
                *(f"dim{axis}" for axis in numbers),
            )
        return roles

    def _check_placeholders(self, panel: Panel) -> None:
        allowed = panel.data.count("%")
        places = [("mask", mask.data) for mask in panel.masks]
        if panel.saturation_map is not None:
            places.append(("saturation_map", panel.saturation_map))
        for what, place in places:
            if place.count("%") > allowed:
                raise self._error(
                    f"has more placeholders in {what} '{shown(place)}' than in data '{shown(panel.data)}'"
                )

    def _error(self, message: str, *blamed: str) -> PanelError:
        """Blame the last line that set one of the fields, or the panel's first line."""
        lines = [self.lines[name] for name in blamed if name in self.lines]
        return PanelError(f"panel {shown(self.name)} {message}", max(lines, default=self.line))


def _mask_fields(slot: int) -> list[str]:
    names = [f"mask{slot}_{part}" for part in ("file", "goodbits", "badbits")]
    return names if slot else [*names, *_OLD_MASK_FIELDS]


def _parallel(u: tuple[float, float, float], v: tuple[float, float, float]) -> bool:
    normal = (u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0])
    lengths = sum(part * part for part in u) * sum(part * part for part in v)
    return not sum(part * part for part in normal) > 1e-12 * lengths
