"""Normal equations of the prediction refinement, all pairs in one pass."""

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels._jit import jit
from braggstream.kernels.ewald import N_BEAM, place_lattice_point

EXCITATION, FS, SS = range(3)
"""Columns of the residuals: excitation error [Å⁻¹], predicted minus found position [px]."""


@jit
def residuals_and_gradients(
    hkl: NDArray[np.float64],
    panels: NDArray[np.int32],
    positions: NDArray[np.float64],
    axes: NDArray[np.float64],
    derivatives: NDArray[np.float64],
    inverses: NDArray[np.float64],
    beam: NDArray[np.float64],
    residuals: NDArray[np.float64],
    gradients: NDArray[np.float64],
) -> None:
    """Compare predictions with peaks.

    Parameters
    ----------
    hkl : float64[n, 3]
        Miller indices of the pairs.
    panels : int32[n], positions : float64[n, 2]
        Panel, fs and ss of the peaks [px].
    axes : float64[3, 3]
        Rows a*, b*, c* [Å⁻¹].
    derivatives : float64[n_parameters, 3, 3]
        Change of the rows with each parameter.
    inverses : float64[n_panels, 3, 3]
        Inverse panel matrices, see `Detector.inverses`.
    beam : float64[3]
        Packed beam.
    residuals : float64[n, 3], written
        Excitation error, fs and ss residual of each pair.
    gradients : float64[n, 3, n_parameters], written
        Their change with each parameter.
    """
    for i in range(hkl.shape[0]):
        h, k, l = hkl[i, 0], hkl[i, 1], hkl[i, 2]  # noqa: E741
        qx = h * axes[0, 0] + k * axes[1, 0] + l * axes[2, 0]
        qy = h * axes[0, 1] + k * axes[1, 1] + l * axes[2, 1]
        qz = h * axes[0, 2] + k * axes[1, 2] + l * axes[2, 2]
        error, k_pred, _ = place_lattice_point(qx, qy, qz, beam)
        k0 = beam[0]
        m = inverses[panels[i]]
        tz = qz + k_pred
        v0 = m[0, 0] * qx + m[0, 1] * qy + m[0, 2] * tz
        fs = (m[1, 0] * qx + m[1, 1] * qy + m[1, 2] * tz) / v0
        ss = (m[2, 0] * qx + m[2, 1] * qy + m[2, 2] * tz) / v0
        residuals[i, EXCITATION] = error
        residuals[i, FS] = fs - positions[i, 0]
        residuals[i, SS] = ss - positions[i, 1]
        distance = np.sqrt(qx * qx + qy * qy + (qz + k0) * (qz + k0))
        for p in range(derivatives.shape[0]):
            d = derivatives[p]
            dx = h * d[0, 0] + k * d[1, 0] + l * d[2, 0]
            dy = h * d[0, 1] + k * d[1, 1] + l * d[2, 1]
            dz = h * d[0, 2] + k * d[1, 2] + l * d[2, 2]
            g0 = m[0, 0] * dx + m[0, 1] * dy + m[0, 2] * dz
            g1 = m[1, 0] * dx + m[1, 1] * dy + m[1, 2] * dz
            g2 = m[2, 0] * dx + m[2, 1] * dy + m[2, 2] * dz
            gradients[i, EXCITATION, p] = -(qx * dx + qy * dy + (qz + k0) * dz) / distance
            gradients[i, FS, p] = (g1 - fs * g0) / v0
            gradients[i, SS, p] = (g2 - ss * g0) / v0


@jit
def normal_equations(
    residuals: NDArray[np.float64],
    gradients: NDArray[np.float64],
    weights: NDArray[np.float64],
    matrix: NDArray[np.float64],
    right_side: NDArray[np.float64],
) -> None:
    """Sum up the normal equations.

    Parameters
    ----------
    residuals : float64[n, 3], gradients : float64[n, 3, n_parameters]
        As above.
    weights : float64[n, 3]
        Weight of each squared residual.
    matrix : float64[n_parameters, n_parameters], right_side : float64[n_parameters], written
        The equations for the shifts.
    """
    n_parameters = right_side.shape[0]
    matrix[:] = 0.0
    right_side[:] = 0.0
    for i in range(residuals.shape[0]):
        for kind in range(3):
            weight = weights[i, kind]
            for p in range(n_parameters):
                weighted = weight * gradients[i, kind, p]
                right_side[p] -= weighted * residuals[i, kind]
                for r in range(p + 1):
                    matrix[p, r] += weighted * gradients[i, kind, r]
    for p in range(n_parameters):
        for r in range(p):
            matrix[r, p] = matrix[p, r]


def warm_up() -> None:
    """Compile the kernels for the signatures that the steps use."""
    residuals, gradients = np.zeros((1, 3)), np.zeros((1, 3, 1))
    residuals_and_gradients(
        np.ones((1, 3)),
        np.zeros(1, np.int32),
        np.zeros((1, 2)),
        np.eye(3),
        np.zeros((1, 3, 3)),
        np.ones((1, 3, 3)),
        np.ones(N_BEAM),
        residuals,
        gradients,
    )
    normal_equations(residuals, gradients, residuals, np.zeros((1, 1)), np.zeros(1))
