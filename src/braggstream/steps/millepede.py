"""Records for Millepede: how far each peak is from its prediction, and what would move the prediction.

Millepede then solves for the positions of panels and groups of panels that suit all crystals best.  Labels, errors
and units are CrystFEL's, so its `align_detector` reads them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.millepede import pack_record
from braggstream.kernels.scatter import EXCITATION, FS, SS
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.model.detector import Detector
from braggstream.model.errors import UserError
from braggstream.model.geometry import Geometry, RigidGroup
from braggstream.model.settings import Settings
from braggstream.steps.lattice_parameters import RestrainedLattice
from braggstream.steps.refinement import NOTE_EXCITATION, PeakFit
from braggstream.steps.view import PeakView

FloatArray = NDArray[np.float64]

TOP = "all"
MOST_LEVELS = 8
CHILDREN = 100
"""A group's serial number leaves two decimal digits to each level below it."""
MAX_LABEL = 2**31 - 8
MIN_PAIRS = 5
POSITION_ERROR = 0.3
"""[px]"""
EXCITATION_ERROR = 0.2
"""In CrystFEL's unit, 1e-7 m × excitation error."""
MOST_OFF = 10.0
"""A peak further from its prediction belongs to something else [px]."""
DETERMINED = 1e-6
"""Smallest eigenvalue of the scaled normal equations, relative to the largest, of a crystal that is determined."""


@dataclass(frozen=True, eq=False, slots=True)
class Hierarchy:
    """Groups of panels that move together, from the whole detector down to single panels."""

    chains: dict[str, tuple[tuple[int, str], ...]]
    """For each panel the serial numbers and names of the groups that it belongs to, the whole detector first."""
    members: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, groups: tuple[RigidGroup, ...], max_level: int) -> "Hierarchy | None":
        """Number the groups of a geometry, those at most `max_level` below `all`; None where there is no `all`."""
        members = {group.name: group.members for group in groups}
        if TOP not in members:
            return None
        chains: dict[str, tuple[tuple[int, str], ...]] = {}

        def descend(name: str, serial: int, above: tuple[tuple[int, str], ...]) -> None:
            chain = (*above, (serial, name))
            if name not in members:
                usable = chain[: min(max_level + 1, MOST_LEVELS)]
                chains.setdefault(name, tuple(step for step in usable if step[0] < MAX_LABEL))
                return
            for number, member in enumerate(members[name], start=1):
                descend(member, serial + number * CHILDREN ** len(chain), chain)

        descend(TOP, 0, ())
        return cls(chains, members)

    def centres(self, detector: Detector) -> dict[str, FloatArray]:
        """Centre of each panel and group: the mean of the corners, or of the members' centres [m]."""
        corner, fs, ss = detector.poses.transpose(1, 0, 2)
        middle = corner + fs * detector.width[:, None] / 2.0 + ss * detector.height[:, None] / 2.0
        found: dict[str, FloatArray] = dict(zip(detector.names, middle, strict=True))
        for name, members in self.members.items():
            found[name] = np.mean([found[member] for member in members], axis=0)
        return found


class Recorder:
    """Makes the records of a frame's crystals; raises `UserError` for a geometry without a group of all panels."""

    def __init__(self, geometry: Geometry, settings: Settings) -> None:
        hierarchy = Hierarchy.of(geometry.groups, settings.calibration.max_level)
        if hierarchy is None:
            raise UserError(f"--mille needs a group of all panels, called '{TOP}'", path=geometry.path)
        self._hierarchy = hierarchy
        self._target = settings.indexing.target_cell if settings.indexing.check_cell else None

    def __call__(self, crystals: tuple[Crystal, ...], view: PeakView) -> bytes:
        """Make the records of the crystals, one after the other."""
        return b"".join(millepede_record(crystal, view, self._target, self._hierarchy) for crystal in crystals)


def millepede_record(crystal: Crystal, view: PeakView, target: UnitCell | None, hierarchy: Hierarchy) -> bytes:
    """Pack the record of a crystal; empty where its peaks do not determine it.

    Parameters
    ----------
    crystal
        The refined crystal.
    view
        All peaks of its frame.
    target
        The cell whose lattice type was imposed, if any.
    hierarchy
        What may move.
    """
    fit = PeakFit.of(crystal, view)
    if fit is None:
        return b""
    lattice = RestrainedLattice.nearest(crystal.reciprocal_axes, target)
    residuals, local = fit.compare(lattice.axes, lattice.derivatives())
    near = np.hypot(residuals[:, FS], residuals[:, SS]) < MOST_OFF
    residuals, local = residuals[near].copy(), local[near].copy()
    if len(residuals) < MIN_PAIRS or not _is_determined(local):
        return b""
    residuals[:, EXCITATION] *= NOTE_EXCITATION
    local[:, EXCITATION] *= NOTE_EXCITATION
    places = fit.peaks[near, :2] + residuals[:, FS:]
    labels, shared = _motions(view.detector, hierarchy, fit.panels[near], places)
    n = len(residuals)
    nothing = np.zeros((n, 1, shared.shape[2]))
    order = [FS, SS, EXCITATION]
    errors = np.tile([POSITION_ERROR, POSITION_ERROR, EXCITATION_ERROR], n)
    return pack_record(
        residuals[:, order].ravel(),
        errors,
        local[:, order].reshape(3 * n, -1),
        np.repeat(labels, 3, axis=0),
        np.concatenate([shared, nothing], axis=1).reshape(3 * n, -1),
    )


def _is_determined(local: FloatArray) -> bool:
    rows = local * np.array([NOTE_EXCITATION, 1.0, 1.0])[:, None]
    rows = rows.reshape(-1, rows.shape[2])
    size = np.sqrt((rows**2).sum(axis=0))
    if not (size > 0).all():
        return False
    values = np.linalg.eigvalsh((rows / size).T @ (rows / size))
    return bool(values[0] > DETERMINED * values[-1])


def _motions(
    detector: Detector, hierarchy: Hierarchy, panels: NDArray[np.int32], places: FloatArray
) -> tuple[NDArray[np.int64], FloatArray]:
    """Change of predicted positions with motions of the groups: labels, int64[n, m], and float64[n, 2, m].

    A ray that meets a panel at x stays where it is while the panel moves by w there: in the panel's own
    coordinates the meeting point moves by the fs and ss components of -w, projected along the ray.
    """
    chains = [hierarchy.chains.get(name, ()) for name in detector.names]
    centres = hierarchy.centres(detector)
    n, depth = len(panels), max((len(chain) for chain in chains), default=0)
    labels, shared = np.zeros((n, 6 * depth), np.int64), np.zeros((n, 2, 6 * depth))
    lab = detector.lab_position(panels, places[:, 0], places[:, 1])
    inverses = detector.inverses[panels]
    for panel in np.unique(panels):
        here = panels == panel
        for level, (serial, name) in enumerate(chains[panel]):
            arm = lab[here] - centres[name]
            for number in range(6):
                axis = np.eye(3)[number % 3]
                moved = np.tile(axis, (len(arm), 1)) if number < 3 else np.cross(axis, arm)
                g = -np.einsum("nij,nj->ni", inverses[here], moved)
                column = 6 * level + number
                labels[here, column] = serial + 1 + number
                shared[here, :, column] = g[:, 1:] - places[here] * g[:, :1]
    return labels, shared
