"""Point groups by CrystFEL's names, as operators on Miller indices, with its choice of the asymmetric unit."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.equivalents import asymmetric_indices, count_equivalents
from braggstream.model.cell import Centring
from braggstream.model.errors import UserError
from braggstream.model.near_names import did_you_mean

GENERATORS: dict[str, tuple[str, ...]] = {
    "1": (),
    "-1": ("-h,-k,-l",),
    "2/m": ("-h,-k,l", "h,k,-l"),
    "2": ("-h,-k,l",),
    "m": ("h,k,-l",),
    "mmm": ("-h,-k,l", "-h,k,-l", "h,-k,l"),
    "222": ("-h,-k,l", "-h,k,-l"),
    "mm2": ("-h,-k,l", "h,-k,l"),
    "4/m": ("-k,h,l", "h,k,-l"),
    "4": ("-k,h,l",),
    "-4": ("k,-h,-l",),
    "4mm": ("-k,h,l", "-h,k,l"),
    "422": ("-k,h,l", "-h,k,-l"),
    "-42m": ("k,-h,-l", "-h,k,-l"),
    "-4m2": ("k,-h,-l", "k,h,-l"),
    "4/mmm": ("-k,h,l", "-h,k,l", "h,k,-l"),
    "3_R": ("k,l,h",),
    "-3_R": ("k,l,h", "-h,-k,-l"),
    "32_R": ("k,l,h", "-k,-h,-l"),
    "3m_R": ("k,l,h", "k,h,l"),
    "-3m_R": ("k,l,h", "-h,-k,-l", "k,h,l"),
    "3_H": ("k,-h-k,l",),
    "-3_H": ("k,-h-k,l", "-h,-k,-l"),
    "321_H": ("k,-h-k,l", "k,h,-l"),
    "312_H": ("k,-h-k,l", "-k,-h,-l"),
    "3m1_H": ("k,-h-k,l", "-k,-h,l"),
    "31m_H": ("k,-h-k,l", "k,h,l"),
    "-3m1_H": ("k,-h-k,l", "-h,-k,-l", "k,h,-l"),
    "-31m_H": ("k,-h-k,l", "-h,-k,-l", "-k,-h,-l"),
    "6": ("-k,h+k,l",),
    "-6": ("k,-h-k,-l",),
    "6/m": ("-k,h+k,l", "h,k,-l"),
    "622": ("-k,h+k,l", "k,h,-l"),
    "6mm": ("-k,h+k,l", "-k,-h,l"),
    "-6m2": ("k,-h-k,-l", "-k,-h,l"),
    "-62m": ("k,-h-k,-l", "k,h,l"),
    "6/mmm": ("k,-h-k,-l", "-k,-h,l", "-h,-k,-l"),
    "23": ("-h,-k,l", "-h,k,-l", "k,l,h"),
    "m-3": ("-h,-k,l", "-h,k,-l", "k,l,h", "-h,-k,-l"),
    "432": ("-k,h,l", "-h,k,-l", "k,l,h"),
    "-43m": ("k,-h,-l", "-h,k,-l", "k,l,h"),
    "m-3m": ("-k,h,l", "-h,k,-l", "k,l,h", "-h,-k,-l"),
}
"""Generators of each group, unique axis c, as text of `index_operators`."""

UNIQUE_AXES = ("a", "b", "c")
LACKS_AXIS = frozenset({"2", "m", "2/m"})
"""Names that are taken for unique axis c, which a user may not mean."""

MAX_NAME = 20
MAX_INDEX = 1 << 17
"""Largest index of a reflection that is mapped."""


@dataclass(frozen=True, eq=False, slots=True)
class PointGroup:
    """A point group; two are equal where their operators are, whatever they are called."""

    name: str
    """The name, as it stands in a reflection list."""
    operators: NDArray[np.int8]
    """All operators, the identity first, int8[n, 3, 3]: hkl' = hkl · operator."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PointGroup) and self._set == other._set

    def __hash__(self) -> int:
        return hash(self._set)

    def __len__(self) -> int:
        return len(self.operators)

    @property
    def _set(self) -> frozenset[bytes]:
        return frozenset(op.tobytes() for op in self.operators)

    @property
    def is_centrosymmetric(self) -> bool:
        """Whether hkl and -h-k-l are equivalent for every reflection."""
        return (-np.eye(3, dtype=np.int8)).tobytes() in self._set

    def asymmetric(self, hkl: NDArray) -> NDArray[np.int32]:
        """Map reflections to their representatives, int32[n, 3].

        That is the one with the largest h, then k, then l among the images without a negative index, and among all
        where each image has one.  It is CrystFEL's choice, and not the asymmetric unit of CCP4 or gemmi.
        """
        indices = _indices(hkl)
        out = np.empty_like(indices)
        asymmetric_indices(indices, self.operators, out)
        return out

    def images(self, hkl: NDArray) -> NDArray[np.int32]:
        """Give the images under each operator, int32[n, n_operators, 3]; those on symmetry elements repeat."""
        return np.einsum("ni,mij->nmj", _indices(hkl), self.operators.astype(np.int32))

    def multiplicity(self, hkl: NDArray) -> NDArray[np.int32]:
        """Count the distinct images of reflections, int32[n]."""
        indices = _indices(hkl)
        out = np.empty(len(indices), np.int32)
        count_equivalents(indices, self.operators, out)
        return out

    def is_centric(self, hkl: NDArray) -> NDArray[np.bool_]:
        """Tell which reflections are equivalent to their Friedel mates, bool[n]."""
        return np.all(self.asymmetric(hkl) == self.asymmetric(-_indices(hkl)), axis=1)

    def is_subgroup_of(self, other: "PointGroup") -> bool:
        """Tell whether every operator is one of the other's too."""
        return self._set <= other._set


def _indices(hkl: NDArray) -> NDArray[np.int32]:
    indices = np.ascontiguousarray(np.asarray(hkl).reshape(-1, 3), np.int32)
    if indices.size and max(-int(indices.min()), int(indices.max())) > MAX_INDEX:
        raise UserError(f"a reflection has an index beyond {MAX_INDEX}")
    return indices


@lru_cache(maxsize=64)
def point_group(name: str) -> PointGroup:
    """Find a point group by its name, such as `4/mmm`, `2_uab` or `321_H`.

    Raises
    ------
    UserError
        For a name that is none.
    """
    base, underscore, suffix = name.partition("_")
    axis = suffix[2:] if suffix.startswith("ua") else ""
    if underscore and axis in UNIQUE_AXES and base in GENERATORS:
        operators = _renamed(_closure(GENERATORS[base]), UNIQUE_AXES.index(axis))
    elif name in GENERATORS:
        operators = _closure(GENERATORS[name])
    else:
        near = did_you_mean(name[:MAX_NAME], GENERATORS)
        raise UserError(
            f"symmetry {name[:MAX_NAME]!r} is no point group: expected one of {' '.join(GENERATORS)},"
            f" or one without _H or _R with _uaa, _uab or _uac for its unique axis{near}"
        )
    operators.flags.writeable = False
    return PointGroup(name, operators)


def _closure(generators: tuple[str, ...]) -> NDArray[np.int8]:
    """All products of the generators, the identity first."""
    found = {np.eye(3, dtype=np.int8).tobytes(): np.eye(3, dtype=np.int8)}
    wanted = [_operator(text) for text in generators]
    fresh = list(found.values())
    while fresh:
        products = [np.asarray(one @ other, np.int8) for one in fresh for other in wanted]
        fresh = []
        for product in products:
            if product.tobytes() not in found:
                found[product.tobytes()] = product
                fresh.append(product)
    return np.ascontiguousarray(list(found.values()), np.int8)


def _operator(text: str) -> NDArray[np.int8]:
    """Understand the simple texts of the table above."""
    columns = [
        [part.count(letter) * (-1 if f"-{letter}" in part else 1) for letter in "hkl"] for part in text.split(",")
    ]
    return np.array(columns, np.int8).T


def _renamed(operators: NDArray[np.int8], axis: int) -> NDArray[np.int8]:
    """Conjugate with the cyclic renaming that brings axis `axis` (0, 1, 2) to the place of the third."""
    renaming = np.roll(np.eye(3, dtype=np.int8), 2 - axis, axis=1)
    return np.ascontiguousarray(renaming @ operators @ renaming.T, np.int8)


def is_absent(hkl: NDArray, centring: Centring) -> NDArray[np.bool_]:
    """Tell which reflections a centring makes absent, bool[n]; screw axes and glides are not considered."""
    h, k, l = np.asarray(hkl).reshape(-1, 3).astype(np.int64).T  # noqa: E741
    match centring:
        case "A":
            odd = k + l
        case "B":
            odd = h + l
        case "C":
            odd = h + k
        case "I":
            odd = h + k + l
        case "F":
            return ((h + k) % 2 != 0) | ((k + l) % 2 != 0)
        case "H":
            return (-h + k + l) % 3 != 0
        case _:
            return np.zeros(len(h), np.bool_)
    return odd % 2 != 0
