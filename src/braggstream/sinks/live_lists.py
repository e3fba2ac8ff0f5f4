"""Merged lists as files while the session runs: each appears whole, replacing the one before."""

import re
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

from braggstream.formats.hkl import hkl_text
from braggstream.formats.replaced_file import Say, replace_file, replacing, say_on_stderr
from braggstream.model.reflection_list import ReflectionList

MAX_NAME = 40


def group_files(prefix: str, groups: Sequence[str]) -> dict[str, str]:
    """Give the beginning of the names of each group's files; no two groups have the same one."""
    names: dict[str, str] = {}
    for group in groups:
        plain = f"{prefix}-{re.sub(r'[^A-Za-z0-9._+-]', '_', group)[:MAX_NAME]}" if group else prefix
        name, number = plain, 1
        while name in names.values():
            number += 1
            name = f"{plain}-{number}"
        names[group] = name
    return names


def write_lists(
    prefix: str,
    lists: Mapping[str, ReflectionList],
    *,
    notes: str,
    write_mtz: Callable[[str, ReflectionList], None] | None,
    own: Container[str] = (),
    say: Say = say_on_stderr,
) -> list[str]:
    """Write lists by their suffix (`hkl`, `hkl1`, `hkl2`), and the first one as MTZ, too; gives the files' names.

    Files of earlier runs are kept, and `say` is told; those that are `own` were written by this one.

    Raises
    ------
    OSError
        A file cannot be written.
    UserError
        MTZ cannot hold the list, or its library is missing; the other files are written by then.
    """
    names = []
    for suffix, reflections in lists.items():
        noted = replace(reflections, notes=notes) if suffix == "hkl" else reflections
        names.append(f"{prefix}.{suffix}")
        replace_file(names[-1], hkl_text(noted), keeps=names[-1] not in own, say=say)
    if write_mtz is not None and len(lists["hkl"]):
        name = f"{prefix}.mtz"
        with replacing(name, keeps=name not in own, say=say) as part:
            write_mtz(str(part), lists["hkl"])
        names.append(name)
    return names
