"""From the crystals of stream files to the blocks that are merged."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.crystal_columns import (
    FREE,
    N_SHAPE,
    N_STATE,
    SHAPE_BANDWIDTH,
    SHAPE_RADIUS,
    SHAPE_WAVELENGTH,
    WITHIN,
    correct_polarisation,
    record_observations,
    squared_s,
)
from braggstream.model.cell import CENTRINGS
from braggstream.model.half_sets import half_of
from braggstream.model.observations import CrystalTable, Observations
from braggstream.steps.pairing import is_allowed
from braggstream.steps.partialator.block import CrystalBlock, CrystalList, packed, unpacked
from braggstream.steps.partialator.settings import MODELS, RANDOM, PartialSettings
from braggstream.steps.partiality import LEAST_BANDWIDTH, random_parts

FREE_SEED = 4357
FREE_ABOVE = 0.95
"""An observation is free if its random number, of a Mersenne Twister with this seed, is above this."""

WIDEST = 0.25
"""The largest profile radius, as a part of the shortest reciprocal spacing."""
LOW_INDICES = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)[1:]


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Loaded:
    """Everything that is merged."""

    blocks: list[CrystalBlock]
    slices: list[slice]
    """Where the crystals of each block stand in columns of all crystals."""
    crystals: CrystalList
    unique: NDArray[np.int32]
    """Unique reflections in their order, int32[n_unique, 3]."""


def load_crystals(
    observations: Iterable[Observations], settings: PartialSettings, *, bandwidth: float = LEAST_BANDWIDTH
) -> Loaded:
    """Take the crystals that can be used, correct their intensities, and number the unique reflections.

    Parameters
    ----------
    observations
        Blocks of at most `BLOCK` crystals.
    settings
        What the user asks for.
    bandwidth
        Relative bandwidth of frames that do not tell theirs.
    """
    loader = _Loader(settings, bandwidth)
    for part in observations:
        loader.add(part)
        if loader.is_full:
            break
    return loader.finish()


class _Loader:
    def __init__(self, settings: PartialSettings, bandwidth: float) -> None:
        self._settings = settings
        self._random = np.random.RandomState(FREE_SEED)
        self._blocks: list[CrystalBlock] = []
        self._keys: list[NDArray[np.int64]] = []
        self._unique = np.empty(0, np.int64)
        self._crystals = CrystalList()
        self._bandwidth = bandwidth
        self._frame: tuple[str, str] | None = None
        self._n_in_frame = 0
        self._n_accepted = 0

    @property
    def is_full(self) -> bool:
        limit = self._settings.stop_after
        return bool(limit) and self._n_accepted >= limit

    def add(self, found: Observations) -> None:
        """Add the crystals of a part of a stream."""
        settings = self._settings
        shape = self._shapes(found.crystals)
        numbers = self._numbers_in_frame(found.crystals)
        accepted = np.flatnonzero(self._is_accepted(found.crystals, shape))
        if settings.stop_after:
            accepted = accepted[: settings.stop_after - self._n_accepted]
        half = self._halves(found.crystals, numbers, accepted)
        self._n_accepted += len(accepted)
        if settings.only_half is not None:
            accepted, half = accepted[half == settings.only_half], half[half == settings.only_half]
        if len(accepted) < found.n_crystals:
            found = found.take(accepted)
        self._crystals.accept(found.crystals, half)
        if len(accepted):
            self._append(found, np.ascontiguousarray(shape[accepted]))

    def _append(self, found: Observations, shape: NDArray[np.float64]) -> None:
        settings, n = self._settings, found.n_crystals
        source = self._chosen(found)
        owner = found.crystal[source]
        is_free = np.zeros(len(source), np.bool_)
        if settings.hold_free_set:
            is_free = self._random.randint(0, 1 << 32, len(source), np.uint32) > FREE_ABOVE * 2.0**32
        asymmetric = settings.symmetry.asymmetric(found.hkl[source])
        keys = packed(asymmetric)
        order = np.lexsort((keys, owner))
        source, keys, is_free = source[order], keys[order], is_free[order]
        m = len(source)
        block = CrystalBlock(
            first=len(self._crystals) - n,
            start=np.searchsorted(owner, np.arange(n + 1)).astype(np.int64),
            hkl=found.hkl[source],
            uid=np.empty(0, np.int32),
            intensity=found.intensity[source].astype(np.float64),
            sigma=found.sigma[source].astype(np.float64),
            s2=np.empty(m),
            part=np.ones(m),
            log_full=np.empty(m),
            flags=np.where(is_free, FREE, 0).astype(np.uint8),
            state=np.zeros((n, N_STATE)),
            shape=shape,
        )
        squared_s(block.start, np.ascontiguousarray(asymmetric[order]), block.shape, block.s2)
        limit = (found.crystals.resolution_limit + settings.push_resolution)[owner]
        block.flags[2.0 * np.sqrt(block.s2) <= limit] |= WITHIN
        if settings.model == RANDOM:
            block.part[:] = random_parts(block.hkl, found.crystals.serial[owner])
        self._correct(block)
        self._blocks.append(block)
        self._keep(keys, block.hkl)

    def _chosen(self, found: Observations) -> NDArray[np.int64]:
        """Give the observations that are used, in the order of their indices, crystal by crystal."""
        is_low = found.peak_value < self._settings.max_adu
        is_usable = found.is_usable
        self._crystals.n_saturated += int(np.sum(~is_low))
        self._crystals.n_unusable += int(np.sum(is_low & ~is_usable))
        source = np.flatnonzero(is_low & is_usable)
        keys, owner = packed(found.hkl[source]), found.crystal[source]
        is_sorted = (keys[1:] >= keys[:-1]) | (owner[1:] != owner[:-1])
        return source if is_sorted.all() else source[np.lexsort((keys, owner))]

    def _keep(self, keys: NDArray[np.int64], hkl: NDArray) -> None:
        """Keep the numbers of a block's reflections, and those of their images under ambiguity operators."""
        self._keys.append(keys)
        images = [
            packed(self._settings.symmetry.asymmetric(hkl @ operator)) for operator in self._settings.operators
        ]
        self._unique = np.unique(np.concatenate([self._unique, *map(np.unique, [keys, *images])]))

    def _correct(self, block: CrystalBlock) -> None:
        settings = self._settings
        if settings.polarisation is not None:
            correct_polarisation(
                block.start,
                block.hkl,
                block.shape,
                settings.polarisation.numbers,
                block.intensity,
                block.sigma,
            )
        record(block, MODELS[settings.model])

    def _shapes(self, table: CrystalTable) -> NDArray[np.float64]:
        """Give the crystals' axes, radii and wavelengths with those that are forced, float64[n, N_SHAPE]."""
        settings, n = self._settings, len(table)
        shape = np.empty((n, N_SHAPE))
        shape[:, :9] = table.reciprocal_axes.reshape(n, 9)
        for column, own, forced in (
            (SHAPE_RADIUS, table.profile_radius, settings.force_radius),
            (SHAPE_WAVELENGTH, table.wavelength, settings.force_wavelength),
            (SHAPE_BANDWIDTH, self._bandwidths(table), settings.force_bandwidth),
        ):
            shape[:, column] = own if forced is None else forced
        return shape

    def _bandwidths(self, table: CrystalTable) -> NDArray[np.float64]:
        known = np.where(table.bandwidth >= 0.0, table.bandwidth, self._bandwidth)
        return np.asarray(np.maximum(known, LEAST_BANDWIDTH))

    def _is_accepted(self, table: CrystalTable, shape: NDArray[np.float64]) -> NDArray[np.bool_]:
        settings, crystals, n = self._settings, self._crystals, len(table)
        number = crystals.n_read + 1 + np.arange(n)
        crystals.n_read += n
        radius, wavelength = shape[:, SHAPE_RADIUS], shape[:, SHAPE_WAVELENGTH]
        reasons = {
            "skipped by --start-after": number <= settings.start_after,
            "resolution below --min-res": table.resolution_limit < settings.min_resolution,
            "no wavelength": ~((wavelength > 0.0) & (wavelength < inf)),
            "axes that are no numbers": ~np.isfinite(shape[:, :9]).all(axis=1),
            "profile radius too big": radius > WIDEST * _shortest_spacing(table, shape),
            "profile radius not positive": ~(radius > 0.0) & (settings.model == "xsphere"),
        }
        accepted = np.ones(n, np.bool_)
        for reason, is_bad in reasons.items():
            crystals.skip(reason, int(np.sum(accepted & is_bad)))
            accepted &= ~is_bad
        return accepted

    def _numbers_in_frame(self, table: CrystalTable) -> NDArray[np.int64]:
        """Number the crystals of each frame, which follow each other in a stream."""
        numbers = np.empty(len(table), np.int64)
        for place, frame in enumerate(zip(table.filename, table.event, strict=True)):
            self._n_in_frame = self._n_in_frame + 1 if frame == self._frame else 1
            self._frame, numbers[place] = frame, self._n_in_frame
        return numbers

    def _halves(
        self, table: CrystalTable, numbers: NDArray[np.int64], accepted: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Give the half set of each accepted crystal; by their order, odd numbers, from 0 on, are in the first."""
        if not self._settings.hash_halves:
            return np.asarray((self._n_accepted + np.arange(len(accepted)) + 1) % 2)
        names = ((table.filename[i], table.event[i], int(numbers[i])) for i in accepted.tolist())
        return np.array([half_of(*name) for name in names], np.int64)

    def finish(self) -> Loaded:
        """Number the unique reflections."""
        for number, keys in enumerate(self._keys):
            self._blocks[number].uid = np.searchsorted(self._unique, keys).astype(np.int32)
            self._keys[number] = keys[:0]
        return Loaded(
            blocks=self._blocks,
            slices=[block.numbers for block in self._blocks],
            crystals=self._crystals,
            unique=unpacked(self._unique),
        )


def record(block: CrystalBlock, model: int) -> None:
    """Give a block's partialities, and all that depends on them, for its crystals as they are."""
    record_observations(
        block.start,
        block.hkl,
        block.shape,
        model,
        block.intensity,
        block.sigma,
        block.part,
        block.log_full,
        block.flags,
    )


def _shortest_spacing(table: CrystalTable, shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the smallest 1/d of allowed reflections with indices from 0 to 3 [Å⁻¹], float64[n]."""
    shortest = np.empty(len(shape))
    for number in np.unique(table.centring):
        mine = table.centring == number
        hkl = LOW_INDICES[is_allowed(LOW_INDICES, CENTRINGS[number])]
        q = np.einsum("hi,nij->nhj", hkl, shape[mine, :9].reshape(-1, 3, 3))
        shortest[mine] = np.sqrt(np.einsum("nhj,nhj->nh", q, q)).min(axis=1)
    return shortest
