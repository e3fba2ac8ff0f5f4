"""The options that `check_hkl` and `compare_hkl` share, and what they make of them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from braggstream.cli.option import Option, option
from braggstream.formats.reflection_file import read_reflections
from braggstream.formats.replaced_file import write_text_result
from braggstream.model.errors import UserError
from braggstream.model.reflection_list import ReflectionList
from braggstream.steps.merging.selection import Selection

PER_ANGSTROM = 1e10
"""1 Å⁻¹ in m⁻¹."""

LIST_OPTIONS: tuple[Option, ...] = (
    option("-y --symmetry", "text", "point group; that of the list where it is not given", argument="GROUP"),
    option("-p --pdb", "text", "unit cell file, or PDB file", argument="FILE"),
)
SHELL_OPTIONS: tuple[Option, ...] = (
    option("--nshells", "integer", "number of resolution shells", argument="N", least=1, most=10000),
    option("--shell-file", "text", "file for the table", default="shells.dat", argument="FILE"),
    option("--rmin", "number", "smallest 1/d in m^-1", argument="X", least=0.0),
    option("--rmax", "number", "largest 1/d in m^-1", argument="X", least=0.0),
    option("--lowres", "number", "lowest resolution in Angstroms", argument="D", least=1e-6),
    option("--highres", "number", "highest resolution in Angstroms", argument="D", least=1e-6),
)
SELECTION_OPTIONS: tuple[Option, ...] = (
    option("--sigma-cutoff", "number", "leave out reflections with I/sigma(I) below X", argument="X"),
    option("--ignore-negs", "flag", "leave out reflections with negative intensities"),
    option("--zero-negs", "flag", "set negative intensities to zero"),
)


def selection_of(chosen: Mapping[str, Any]) -> tuple[Selection, list[str]]:
    """Understand which reflections count; also gives what the user should be warned of."""
    for one, other in (("rmin", "lowres"), ("rmax", "highres")):
        if chosen[one] is not None and chosen[other] is not None:
            raise UserError(f"give either --{one} or --{other}, not both")
    if chosen["ignore_negs"] and chosen["zero_negs"]:
        raise UserError("give either --ignore-negs or --zero-negs, not both")
    low = _inverse_d(chosen["rmin"], chosen["lowres"])
    high = _inverse_d(chosen["rmax"], chosen["highres"])
    if low is not None and high is not None and not low < high:
        raise UserError("the lowest resolution (--rmin, --lowres) is not below the highest (--rmax, --highres)")
    warnings = []
    selection = Selection(low=low, high=high, min_measurements=chosen.get("min_measurements", 0))
    if chosen["sigma_cutoff"] is not None:
        selection = replace(selection, sigma_cutoff=chosen["sigma_cutoff"])
        warnings.append("--sigma-cutoff: leaving weak reflections out biases figures of merit")
    if chosen["ignore_negs"] or chosen["zero_negs"]:
        selection = replace(selection, negatives="ignore" if chosen["ignore_negs"] else "zero")
    return selection, warnings


def read_list(path: str) -> ReflectionList:
    """Read a list, with intensities in single precision: with them CrystFEL's figures agree to the last digit."""
    found = read_reflections(path)
    intensity, sigma = (column.astype(np.float32).astype(np.float64) for column in (found.intensity, found.sigma))
    return replace(found, intensity=intensity, sigma=sigma)


def write_table(path: str, lines: Iterable[str]) -> None:
    """Write the table of shells."""
    write_text_result(path, "\n".join(lines) + "\n", complaint="cannot write the table")


def _inverse_d(inverse_m: float | None, angstrom: float | None) -> float | None:
    if inverse_m is not None:
        return inverse_m / PER_ANGSTROM
    return None if angstrom is None else 1.0 / angstrom
