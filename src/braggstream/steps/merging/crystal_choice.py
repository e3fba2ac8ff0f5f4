"""Which crystals are merged: by their place among all others, and by their apparent resolution."""

import numpy as np
from numpy.typing import NDArray

from braggstream.model.half_sets import HalfSets
from braggstream.model.merge_settings import ChoiceSettings
from braggstream.model.observations import CrystalTable


class CrystalChoice:
    """Chooses among crystals that come block by block, in the order of the files."""

    def __init__(self, settings: ChoiceSettings) -> None:
        self._settings = settings
        self._halves = HalfSets()
        self.n_seen = 0
        self.n_chosen = 0

    @property
    def is_complete(self) -> bool:
        """Whether no further crystal can be chosen."""
        return 0 < self._settings.stop_after <= self.n_chosen

    def choose(self, crystals: CrystalTable) -> NDArray[np.bool_]:
        """Choose among the next crystals.

        Returns
        -------
        bool[n]
            Which are to be merged.
        """
        settings = self._settings
        number = self.n_seen + 1 + np.arange(len(crystals))
        self.n_seen += len(number)
        chosen = (number > settings.start_after) & (crystals.resolution_limit >= settings.least_resolution)
        if settings.parity != "all":
            chosen &= number % 2 == (settings.parity == "odd")
        if settings.half is not None:
            frames = zip(crystals.filename, crystals.event, crystals.serial.tolist(), strict=True)
            chosen &= np.array(self._halves.of(frames), np.int64) == settings.half
        if settings.stop_after:
            chosen &= self.n_chosen + np.cumsum(chosen) <= settings.stop_after
        self.n_chosen += int(chosen.sum())
        return chosen
