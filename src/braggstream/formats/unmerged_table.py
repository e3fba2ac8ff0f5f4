"""Unmerged observations for other programs: MTZ with a batch for each crystal, and Parquet with a row for each."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.mtz import empty_mtz, save_mtz, with_isym
from braggstream.formats.replaced_file import replacing
from braggstream.model.cell import UnitCell
from braggstream.model.errors import UserError
from braggstream.model.observations import Observations
from braggstream.model.space_group import import_gemmi
from braggstream.model.tables import import_pyarrow, observation_table

MOST_CRYSTALS = (1 << 24) - 1
"""Batch numbers are floats of single precision in MTZ files."""
MOST_OBSERVATIONS = 200_000_000
"""An MTZ file is made in memory."""
MTZ_COLUMNS = (
    ("H", "H"),
    ("K", "H"),
    ("L", "H"),
    ("M/ISYM", "Y"),
    ("BATCH", "B"),
    ("I", "J"),
    ("SIGI", "Q"),
    ("XDET", "R"),
    ("YDET", "R"),
)


def write_unmerged_mtz(
    path: str | Path, blocks: Iterable[Observations], cell: UnitCell, symmetry: Any
) -> tuple[int, int]:
    """Write an unmerged MTZ file.

    Parameters
    ----------
    path
        The file; what it held is gone.
    blocks
        Crystals, in blocks; each becomes a batch, numbered from 1 in their order, with its own cell and wavelength.
    cell
        The cell of the data set.
    symmetry
        gemmi's space group; indices are brought to its asymmetric unit, and M/ISYM tells how.

    Returns
    -------
    (int, int)
        Crystals and observations written.
    """
    mtz = empty_mtz(cell, symmetry, MTZ_COLUMNS)
    parts = [np.zeros((0, len(MTZ_COLUMNS)), np.float32)]
    n_crystals = n_observations = 0
    for block in blocks:
        parts.append(_mtz_rows(block, symmetry, first_batch=n_crystals + 1))
        _add_batches(mtz, block, first_batch=n_crystals + 1)
        n_crystals += block.n_crystals
        n_observations += len(block)
        if n_crystals > MOST_CRYSTALS or n_observations > MOST_OBSERVATIONS:
            raise UserError(
                f"an MTZ file holds at most {MOST_CRYSTALS} crystals and {MOST_OBSERVATIONS} observations here:"
                " write Parquet",
                path=path,
            )
    mtz.set_data(np.concatenate(parts))
    mtz.sort(5)
    save_mtz(mtz, path)
    return n_crystals, n_observations


def write_unmerged_parquet(path: str | Path, blocks: Iterable[Observations]) -> tuple[int, int]:
    """Write a Parquet file with a row for each observation; gives the numbers of crystals and observations.

    Columns: `crystal` (from 0), `filename`, `event`, `h`, `k`, `l`, `I`, `SIGI`, `peak`, `background`, `fs`, `ss`,
    `panel`, and of the crystal `inverse_d` [Å⁻¹] by its own cell and `wavelength` [Å].
    """
    try:
        with replacing(path) as part:
            return _write_rows(path, str(part), blocks)
    except OSError as error:
        raise UserError(f"cannot write the table: {error.strerror or error}", path=path) from None


def _write_rows(path: str | Path, part: str, blocks: Iterable[Observations]) -> tuple[int, int]:
    pyarrow = import_pyarrow()
    writer = None
    n_crystals = n_observations = 0
    try:
        for block in blocks:
            table = observation_table(block, first_crystal=n_crystals)
            if writer is None:
                writer = pyarrow.parquet.ParquetWriter(part, table.schema, compression="zstd")
            writer.write_table(table)
            n_crystals += block.n_crystals
            n_observations += len(block)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise UserError("there are no crystals to write", path=path)
    return n_crystals, n_observations


def _mtz_rows(block: Observations, symmetry: Any, *, first_batch: int) -> NDArray[np.float32]:
    unique, row = np.unique(block.hkl, axis=0, return_inverse=True)
    hkl, isym = with_isym(unique.astype(np.int32), symmetry)
    row = row.ravel()
    columns = [
        hkl[row],
        isym[row],
        block.crystal + first_batch,
        block.intensity,
        block.sigma,
        block.fs,
        block.ss,
    ]
    return np.column_stack(columns).astype(np.float32)


def _add_batches(mtz: Any, block: Observations, *, first_batch: int) -> None:
    gemmi = import_gemmi()
    crystals = block.crystals
    direct = np.linalg.inv(crystals.reciprocal_axes).transpose(0, 2, 1)
    dataset = mtz.datasets[0].id
    for n, axes in enumerate(direct):
        batch = gemmi.Mtz.Batch()
        batch.number = first_batch + n
        batch.title = (
            f"{Path(crystals.filename[n]).name} {crystals.event[n]}"[:70].encode("ascii", "replace").decode()
        )
        batch.cell = gemmi.UnitCell(*UnitCell.from_direct_axes(axes).parameters)
        batch.wavelength = float(crystals.wavelength[n])
        batch.dataset_id = dataset
        mtz.batches.append(batch)
