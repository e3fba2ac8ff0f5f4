"""Crystals with known intensities, scales and labels, and the chunks of a stream file that tell of them."""

from dataclasses import dataclass

import numpy as np

from braggstream.model.cell import UnitCell
from braggstream.model.point_group import point_group
from braggstream.steps.merging.live_crystals import LiveCrystal

TETRAGONAL = UnitCell(
    a=60.0, b=60.0, c=40.0, alpha=90.0, beta=90.0, gamma=90.0, lattice_type="tetragonal", unique_axis="c"
)
HEXAGONAL = UnitCell(
    a=60.0, b=60.0, c=40.0, alpha=90.0, beta=90.0, gamma=120.0, lattice_type="hexagonal", unique_axis="c"
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How crystals are made."""

    symmetry: str = "4/mmm"
    cell: UnitCell = TETRAGONAL
    d_min: float = 2.5
    n_observations: int = 200
    noise: float = 0.25
    """Standard deviation of the background's noise, in units of the median intensity."""
    gamma_spread: float = 0.6
    b_spread: float = 5.0
    partiality_spread: float = 0.0
    operators: tuple = ()
    seed: int = 1


class MadeCrystals:
    """Draws crystals; knows the truth."""

    def __init__(self, recipe=None, **more):
        self.recipe = recipe = Recipe(**more) if recipe is None else recipe
        self.random = np.random.default_rng(recipe.seed)
        self.group = point_group(recipe.symmetry)
        axes = recipe.cell.reciprocal_axes()
        most = [int(np.ceil(length / recipe.d_min)) for length in recipe.cell.parameters[:3]]
        grids = np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij")
        hkl = np.stack([grid.ravel() for grid in grids], axis=1)
        inverse_d = np.linalg.norm(hkl @ axes, axis=1)
        self.hkl = hkl[(inverse_d < 1.0 / recipe.d_min) & (inverse_d > 0.0)]
        unique, row = np.unique(self.group.asymmetric(self.hkl), axis=0, return_inverse=True)
        self.unique, self.row = unique, row.ravel()
        self.s2 = 0.25 * np.linalg.norm(unique @ axes, axis=1) ** 2
        self.intensity = 1000.0 * self.random.exponential(1.0, len(unique)) * np.exp(-30.0 * self.s2)
        self.labels = []
        self.gammas = []
        self.bs = []

    def truth_of(self, hkl):
        """True intensities of reflections in any setting of the point group."""
        known = {tuple(each): value for each, value in zip(self.unique.tolist(), self.intensity, strict=True)}
        return np.array([known.get(tuple(each), np.nan) for each in self.group.asymmetric(hkl).tolist()])

    def one(self, *, half=None, group="", intensity=None):
        """Draw a crystal."""
        recipe, random = self.recipe, self.random
        true = self.intensity if intensity is None else intensity
        chosen = np.sort(random.choice(len(self.hkl), recipe.n_observations, replace=False))
        rows, hkl = self.row[chosen], self.hkl[chosen]
        gamma, b = random.normal(0.0, recipe.gamma_spread), random.normal(0.0, recipe.b_spread)
        expected = true[rows] * np.exp(gamma - b * self.s2[rows])
        if recipe.partiality_spread:
            expected *= np.clip(random.normal(1.0, recipe.partiality_spread, len(rows)), 0.05, None)
        sigma = np.sqrt((recipe.noise * np.median(self.intensity)) ** 2 + 2.0 * np.abs(expected))
        values = expected + sigma * random.normal(0.0, 1.0, len(rows))
        label = int(random.integers(0, len(recipe.operators) + 1))
        if label:
            inverse = np.linalg.inv(recipe.operators[label - 1].astype(float)).round().astype(int)
            hkl = hkl @ inverse
        self.labels.append(label)
        self.gammas.append(gamma)
        self.bs.append(b)
        half = int(random.integers(0, 2)) if half is None else half
        return LiveCrystal(hkl=hkl.astype(np.int32), observed=np.array([values, sigma]), half=half, group=group)

    def many(self, n, **more):
        """Draw crystals."""
        return [self.one(**more) for _ in range(n)]


HEADER = """CrystFEL stream format 2.3
----- Begin geometry file -----
photon_energy = 9000 eV
clen = 0.1 m
res = 10000
adu_per_photon = 1
data = /data
dim0 = %
dim1 = ss
dim2 = fs
p/fs = x
p/ss = y
p/min_fs = 0
p/max_fs = 9
p/min_ss = 0
p/max_ss = 9
p/corner_x = 0
p/corner_y = 0
----- End geometry file -----
"""


def chunk_text(crystals, number, *, headers="", axes=None):
    """Write a chunk as `indexamajig` does."""
    axes = TETRAGONAL.reciprocal_axes() if axes is None else axes
    lines = [
        "----- Begin chunk -----",
        "Image filename: made.h5",
        f"Event: //{number}",
        f"Image serial number: {number + 1}",
        "hit = 1",
        f"indexed_by = {'ffbidx' if crystals else 'none'}",
        "photon_energy_eV = 9000.000000",
        "beam_divergence = 0.00e+00 rad",
        "beam_bandwidth = 1.00e-08 (fraction)",
    ]
    lines += [headers] if headers else []
    lines += ["average_camera_length = 0.100000 m", "num_peaks = 0"]
    for crystal in crystals:
        lines += ["--- Begin crystal", "Cell parameters 6.00000 6.00000 4.00000 nm, 90.00000 90.00000 90.00000 deg"]
        for name, axis in zip(("astar", "bstar", "cstar"), (10.0 * axes).tolist(), strict=True):
            lines.append(f"{name} = {axis[0]:+9.7f} {axis[1]:+9.7f} {axis[2]:+9.7f} nm^-1")
        lines += ["lattice_type = tetragonal", "centering = P", "unique_axis = c"]
        lines += ["profile_radius = 0.02000 nm^-1", "predict_refine/det_shift x = 0.000 y = 0.000 mm"]
        lines += ["diffraction_resolution_limit = 4.00 nm^-1 or 2.50 A", f"num_reflections = {len(crystal.hkl)}"]
        lines += ["num_saturated_reflections = 0", "num_implausible_reflections = 0"]
        lines += ["Reflections measured after indexing"]
        lines += ["   h    k    l          I   sigma(I)       peak background  fs/px  ss/px panel"]
        for (h, k, l), value, sigma in zip(crystal.hkl.tolist(), *crystal.observed.tolist(), strict=True):  # noqa: E741
            lines.append(
                f"{h:4d} {k:4d} {l:4d} {value:10.2f} {sigma:10.2f} {9.0:10.2f} {1.0:10.2f} {1.0:6.1f} {1.0:6.1f} p"
            )
        lines += ["End of reflections", "--- End crystal"]
    return "\n".join([*lines, "----- End chunk -----", ""])
