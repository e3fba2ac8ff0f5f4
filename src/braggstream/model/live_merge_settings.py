"""What the user chose for merging while frames arrive (`indexamajig --live-merge`)."""

from dataclasses import dataclass
from math import inf

AUTO, OFF = "auto", "off"
"""Wishes about the operators of an indexing ambiguity that are none themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveMergeSettings:
    """How crystals are merged while the session runs, and what is told and written of it."""

    symmetry: str
    """Point group (`-y`, `--symmetry`)."""
    scale: bool = True
    """Scale crystals to the running mean and weigh them (off: `--no-live-scale`, the plain mean)."""
    polarisation: str = "horiz"
    """As `process_hkl` takes it (`--live-polarisation`)."""
    low: float | None = None
    """Lowest 1/d of the figures [Å⁻¹]; None = that of the data (`--live-lowres`, which takes Å)."""
    high: float | None = None
    """Highest 1/d of the figures [Å⁻¹]; None = that of the data (`--live-highres`, which takes Å)."""
    n_shells: int = 10
    """Shells of resolution (`--live-nshells`)."""
    min_measurements: int = 2
    """Fewest measurements of a reflection in a list (`--live-min-measurements`)."""
    ambiguity: str = "auto"
    """Operators of the indexing ambiguity, `auto` or `off` (`--live-ambiguity`)."""
    merge_by: str | None = None
    """Crystals are also merged apart by this header or key (`--merge-by`)."""
    goals: tuple[str, ...] = ()
    """What is to be reached (`--goal`)."""
    stop_at_goal: bool = False
    """End the session when all goals are reached (`--stop-at-goal`)."""
    prefix: str = "live"
    """Beginning of the names of all files that are written (`--live-prefix`)."""
    checkpoint: str | None = None
    """Where the state is kept for `--append`; None: not at all (`--live-checkpoint`)."""
    snapshot_every_s: float = inf
    """Write merged lists so often [s] (`--live-snapshot-every`)."""
