"""CrystFEL's reflection lists (`.hkl`), version 2.0; version 1 is read too, and compressed files."""

import re
from collections.abc import Sequence
from lzma import LZMAError
from pathlib import Path

import numpy as np

from braggstream.formats.compressed_file import open_bytes
from braggstream.formats.replaced_file import check_has_content, write_text_result
from braggstream.model.errors import UserError
from braggstream.model.reflection_list import ReflectionList

FIRST_LINE = "CrystFEL reflection list version 2.0"
SYMMETRY = "Symmetry: "
TITLE = "   h    k    l          I    phase   sigma(I)   nmeas"
TITLE_1 = re.compile(r"counts\s+fs/px\s+ss/px\s*$")
OTHERS = {
    "an XDS_ASCII file": re.compile(r"!FORMAT=XDS_ASCII"),
    "a SHELX file (HKLF)": re.compile(r"(\s*-?\d+){3}\s+-?\d*\.\d*\s+-?\d*\.\d*(\s+-?\d+)?\s*$"),
    "a stream file": re.compile(r"CrystFEL stream format"),
    "a structure factor file (CIF)": re.compile(r"data_"),
}
"""Files of reflections that are not lists, by their first lines."""
ROW = "%4i %4i %4i %10.2f %s %10.2f %7i"
END = "End of reflections"
MAX_BYTES = 2 << 30
MAX_INDEX = 1 << 17
N_COLUMNS = 7


def read_hkl(path: str | Path) -> ReflectionList:
    """Read a reflection list; raises `UserError` with the line where it is not one."""
    try:
        with open_bytes(path) as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, ValueError, LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"the reflection list cannot be read: {reason}", path=path) from None
    if len(content) > MAX_BYTES:
        raise UserError(f"the reflection list is larger than {MAX_BYTES} bytes", path=path)
    lines = content.decode("utf-8", "replace").split("\n")
    lines = [line.removesuffix("\r") for line in lines]
    symmetry, n_head = _head(lines, path)
    try:
        end = lines.index(END, n_head)
    except ValueError:
        raise UserError(f"the reflection list is cut off: there is no {END!r}", path=path) from None
    found = _columns(lines[n_head:end], n_head + 1, path)
    notes = "\n".join(lines[end + 1 :])
    hkl, intensity, phase, sigma, n_measured = found
    unsorted = ReflectionList(
        hkl=hkl,
        intensity=intensity,
        sigma=sigma,
        n_measured=n_measured,
        phase=phase,
        symmetry=symmetry,
        notes=notes,
    )
    return unsorted.sorted()


def write_hkl(path: str | Path, reflections: ReflectionList) -> None:
    """Write a reflection list; reflections that were never measured are left out."""
    check_has_content(path, int((reflections.n_measured > 0).sum()), "reflections")
    write_text_result(path, hkl_text(reflections), complaint="cannot write the reflection list")


def hkl_text(reflections: ReflectionList) -> str:
    """Give the text of a reflection list."""
    kept = reflections.take(reflections.n_measured > 0)
    columns = (kept.hkl.T.tolist(), kept.intensity.tolist(), kept.phase.tolist(), kept.sigma.tolist())
    (h, k, l), intensity, phase, sigma = columns  # noqa: E741
    phases = ["       -" if angle != angle else f"{angle:8.2f}" for angle in phase]  # noqa: PLR0124
    rows = zip(h, k, l, intensity, phases, sigma, kept.n_measured.tolist(), strict=True)
    lines = [ROW % row for row in rows]
    head = [FIRST_LINE, SYMMETRY + kept.symmetry, TITLE]
    return "\n".join([*head, *lines, END, kept.notes])


def _head(lines: Sequence[str], path: str | Path) -> tuple[str, int]:
    """Give the symmetry, and the number of lines before the data."""
    if lines[0].rstrip() == FIRST_LINE:
        if len(lines) < 3 or not lines[1].startswith(SYMMETRY):
            raise UserError(f"expected {SYMMETRY!r} and the name of a point group", path=path, line=2)
        return lines[1].removeprefix(SYMMETRY).strip(), 3
    if TITLE_1.search(lines[0]):
        return "1", 1
    others = (name for name, pattern in OTHERS.items() if pattern.match(lines[0]))
    hint = "".join(f", and this looks like {name}" for name in others)
    raise UserError(f"is no reflection list: expected {FIRST_LINE!r}{hint}", path=path, line=1)


def _columns(rows: Sequence[str], first_line: int, path: str | Path) -> tuple[np.ndarray, ...]:
    """Read all rows at once, and look for the one to blame where that fails."""
    try:
        return _parsed(rows)
    except (ValueError, IndexError, OverflowError):
        for number, row in enumerate(rows, start=first_line):
            try:
                _parsed([row])
            except (ValueError, IndexError, OverflowError):
                message = (
                    f"expected h k l I phase sigma(I) nmeas with indices up to {MAX_INDEX}, found {row[:60]!r}"
                )
                raise UserError(message, path=path, line=number) from None
        raise


def _parsed(rows: Sequence[str]) -> tuple[np.ndarray, ...]:
    words = [row.split() for row in rows]
    if any(len(row) < N_COLUMNS for row in words):
        raise ValueError
    hkl = np.array([(int(row[0]), int(row[1]), int(row[2])) for row in words], np.int32).reshape(-1, 3)
    if hkl.size and np.abs(hkl).max() > MAX_INDEX:
        raise ValueError
    intensity = np.array([float(row[3]) for row in words], np.float64)
    phase = np.array([_phase(row[4]) for row in words], np.float64)
    sigma = np.array([float(row[5]) for row in words], np.float64)
    n_measured = np.array([int(row[6]) for row in words], np.int32)
    return hkl, intensity, phase, sigma, n_measured


def _phase(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
