"""Looking reflections up in lists by their indices."""

import numpy as np
from numpy.typing import NDArray

from braggstream.model.errors import UserError
from braggstream.model.point_group import PointGroup, point_group
from braggstream.model.reflection_list import ReflectionList

_BITS = 21
_OFFSET = 1 << (_BITS - 1)


def index_keys(hkl: NDArray[np.integer]) -> NDArray[np.int64]:
    """One number for each reflection, int64[n], that sorts as h, then k, then l; indices are below 2²⁰."""
    h, k, ell = hkl.astype(np.int64).T + _OFFSET
    return np.asarray((h << 2 * _BITS) | (k << _BITS) | ell, np.int64)


def indices_of(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    """Give the reflections of keys, int32[n, 3]."""
    mask = (1 << _BITS) - 1
    columns = (keys >> 2 * _BITS, (keys >> _BITS) & mask, keys & mask)
    return np.column_stack([column - _OFFSET for column in columns]).astype(np.int32)


def positions(wanted: NDArray[np.integer], among: NDArray[np.integer]) -> NDArray[np.intp]:
    """Tell where reflections, int[n, 3], stand in a list, int[m, 3]; -1 where they do not, intp[n]."""
    if not len(among):
        return np.full(len(wanted), -1, np.intp)
    keys = index_keys(among)
    order = np.argsort(keys, kind="stable")
    looked_for = index_keys(wanted)
    place = np.minimum(np.searchsorted(keys, looked_for, sorter=order), len(keys) - 1)
    found = order[place]
    return np.where(keys[found] == looked_for, found, -1)


def symmetry_of(reflections: ReflectionList, given: str | None, default: str = "1") -> PointGroup:
    """Give the symmetry that the user names, else the list's own one."""
    own = reflections.symmetry
    return point_group(given or (default if own in ("", "unknown") else own))


def check_symmetry(reflections: ReflectionList, group: PointGroup, path: str) -> None:
    """Check that no two entries are equivalent; raises `UserError` with the first two that are."""
    keys = index_keys(group.asymmetric(reflections.hkl))
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(np.diff(keys[order]) == 0)
    if not len(twice):
        return
    first, second = (" ".join(map(str, reflections.hkl[order[twice[0] + one]])) for one in (0, 1))
    what = f"{first} is in the list twice" if first == second else f"{first} and {second} are equivalent"
    raise UserError(f"does not have symmetry {group.name}: {what}; give its own symmetry with -y", path=path)
