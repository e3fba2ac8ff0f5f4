"""UnitCell: axis lengths, angles and lattice type; conversions to and from axis vectors."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import acos, cos, degrees, radians, sin, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from braggstream.model.shown import Shown

LatticeType = Literal["triclinic", "monoclinic", "orthorhombic", "tetragonal", "rhombohedral", "hexagonal", "cubic"]
Centring = Literal["P", "A", "B", "C", "I", "F", "R", "H"]

LATTICE_TYPES: tuple[LatticeType, ...] = (
    "triclinic",
    "monoclinic",
    "orthorhombic",
    "tetragonal",
    "rhombohedral",
    "hexagonal",
    "cubic",
)
CENTRINGS: tuple[Centring, ...] = ("P", "A", "B", "C", "I", "F", "R", "H")
HAS_UNIQUE_AXIS = frozenset({"monoclinic", "tetragonal", "hexagonal"})


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class UnitCell(Shown):
    """A direct-space unit cell in its conventional (centred) setting."""

    a: float
    """Length of a [Å]."""
    b: float
    """Length of b [Å]."""
    c: float
    """Length of c [Å]."""
    alpha: float
    """Angle between b and c [deg]."""
    beta: float
    """Angle between a and c [deg]."""
    gamma: float
    """Angle between a and b [deg]."""
    lattice_type: LatticeType = "triclinic"
    centring: Centring = "P"
    unique_axis: str = "*"
    """`a`, `b` or `c`; `*` where the lattice has none, `?` where it is not known."""

    @property
    def parameters(self) -> tuple[float, float, float, float, float, float]:
        """Lengths [Å] and angles [deg]."""
        return (self.a, self.b, self.c, self.alpha, self.beta, self.gamma)

    def with_parameters(self, parameters: Iterable[float]) -> "UnitCell":
        """Give the cell with other lengths [Å] and angles [deg], and the same lattice."""
        return UnitCell.from_parameters(
            parameters, lattice_type=self.lattice_type, centring=self.centring, unique_axis=self.unique_axis
        )

    @property
    def text(self) -> str:
        """The six numbers with their units: lengths in Å, angles in degrees."""
        lengths = " ".join(f"{length:.2f}" for length in self.parameters[:3])
        return f"{lengths} Å, {' '.join(f'{angle:.2f}' for angle in self.parameters[3:])}°"

    def _facts(self) -> dict[str, object]:
        facts: dict[str, object] = {"": self.text, "lattice": f"{self.lattice_type} {self.centring}"}
        return facts | ({"unique axis": self.unique_axis} if self.lattice_type in HAS_UNIQUE_AXIS else {})

    @property
    def volume(self) -> float:
        """Volume of the conventional cell [Å³]."""
        return float(abs(np.linalg.det(self.direct_axes())))

    def direct_axes(self) -> NDArray[np.float64]:
        """Axis vectors as rows a, b, c, float64[3, 3] [Å]; a along x, b in the xy plane."""
        alpha, beta, gamma = radians(self.alpha), radians(self.beta), radians(self.gamma)
        cx = cos(beta)
        cy = (cos(alpha) - cos(beta) * cos(gamma)) / sin(gamma)
        cz = sqrt(max(0.0, 1.0 - cx * cx - cy * cy))
        return np.array(
            [
                [self.a, 0.0, 0.0],
                [self.b * cos(gamma), self.b * sin(gamma), 0.0],
                [self.c * cx, self.c * cy, self.c * cz],
            ]
        )

    def reciprocal_axes(self) -> NDArray[np.float64]:
        """Reciprocal axis vectors as rows a*, b*, c*, float64[3, 3], no 2 pi [Å⁻¹]."""
        return np.asarray(np.linalg.inv(self.direct_axes()).T, np.float64)

    @classmethod
    def from_parameters(
        cls,
        parameters: Iterable[float],
        *,
        lattice_type: LatticeType = "triclinic",
        centring: Centring = "P",
        unique_axis: str = "*",
    ) -> "UnitCell":
        """Make a cell of lengths [Å] and angles [deg]."""
        a, b, c, alpha, beta, gamma = (float(each) for each in parameters)
        return cls(
            a=a,
            b=b,
            c=c,
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            lattice_type=lattice_type,
            centring=centring,
            unique_axis=unique_axis,
        )

    @classmethod
    def from_direct_axes(
        cls,
        axes: NDArray[np.float64],
        *,
        lattice_type: LatticeType = "triclinic",
        centring: Centring = "P",
        unique_axis: str = "*",
    ) -> "UnitCell":
        """Measure the cell spanned by the rows of `axes`, float64[3, 3] [Å]."""
        angles = (_angle(axes[1], axes[2]), _angle(axes[0], axes[2]), _angle(axes[0], axes[1]))
        return cls.from_parameters(
            (*np.linalg.norm(axes, axis=1), *angles),
            lattice_type=lattice_type,
            centring=centring,
            unique_axis=unique_axis,
        )


def cell_parameters(axes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Measure many cells.

    Parameters
    ----------
    axes : float64[n, 3, 3]
        Direct axes as rows a, b, c [Å].

    Returns
    -------
    float64[n, 6]
        Lengths [Å] and angles [deg], in the order of `UnitCell.parameters`.
    """
    lengths = np.linalg.norm(axes, axis=2)
    a, b, c = (axes / lengths[:, :, None]).transpose(1, 0, 2)
    cosines = [np.einsum("ij,ij->i", u, v) for u, v in ((b, c), (a, c), (a, b))]
    return np.column_stack([lengths, np.degrees(np.arccos(np.clip(np.column_stack(cosines), -1.0, 1.0)))])


def _angle(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
    cosine = float(u @ v) / sqrt(float(u @ u) * float(v @ v))
    return degrees(acos(min(1.0, max(-1.0, cosine))))
