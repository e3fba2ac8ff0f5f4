"""HDF5 files of the correlations between crystals (`ambigator --corr-matrix`)."""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.replaced_file import replacing
from braggstream.model.errors import UserError


def write_correlations(path: str | Path, plain: NDArray[np.float32], reindexed: NDArray[np.float32]) -> None:
    """Write two matrices, float32[n, n], under the names that CrystFEL gives them."""
    try:
        with replacing(path) as part, h5py.File(part, "w") as file:
            file["correlation_matrix"] = plain
            file["correlation_matrix_reindexed"] = reindexed
    except OSError as error:
        raise UserError(f"cannot write the correlations: {error.strerror or error}", path=path) from None
