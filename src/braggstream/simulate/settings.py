"""What is simulated: the sample, its diffraction, the detector's behaviour, and the beamline that sends it."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class CrystalSettings:
    """The crystals and how they diffract."""

    space_group: str | None = None
    """Hermann-Mauguin symbol in the cell's setting; None = the simplest of the cell's lattice type and centring."""
    d_min: float = 2.0
    """Diffraction limit [Å]."""
    photons: float = 4000.0
    """Mean of a fully recorded reflection at the lowest resolution, for a crystal of scale one [photons]."""
    b_factor: float = 15.0
    """Wilson B factor: intensities fall as exp(-B / (2 d²)) [Å²]."""
    profile_radius: float = 3e-4
    """Radius (sigma) of a reciprocal lattice point [Å⁻¹]."""
    mosaicity: float = 0.0
    """Spread (sigma) of the orientations of a crystal's blocks; the radius grows with resolution [rad]."""
    cell_spread: float = 0.0
    """Relative spread (sigma) of the cell's lengths from crystal to crystal, isotropic."""
    scale_spread: float = 0.3
    """Spread (sigma) of the logarithm of a crystal's scale: not all crystals are equally large."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSettings:
    """What the beam meets."""

    hit_fraction: float = 0.5
    """Fraction of the frames with at least one crystal."""
    lattices: tuple[int, int] = (1, 1)
    """Fewest and most crystals in a hit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamSettings:
    """The beam.  Values that the geometry file writes out are not chosen here."""

    photon_energy: float | None = None
    """For a geometry that looks it up in the frame [eV]; None = 9500."""
    camera_length: float | None = None
    """For a geometry that looks it up in the frame [m]; None = 0.1."""
    energy_jitter: float = 0.0
    """Relative spread (sigma) of the photon energy from frame to frame; the geometry must look it up."""
    bandwidth: float | None = None
    """Relative spread (sigma) of the wavelength within a frame; None = the geometry's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseSettings:
    """What the detector makes of the photons."""

    background: float = 4.0
    """Background at the top of the solvent ring [photons per pixel]."""
    background_spread: float = 0.1
    """Spread (sigma) of the logarithm of the background's strength from frame to frame."""
    spot_size: float = 0.7
    """Width (sigma) of a spot that beam and crystal size cause, before the crystal's own [px]."""
    read_noise: float = 0.0
    """Spread (sigma) of the electronic noise [detector units]."""
    bad_fraction: float = 3e-4
    """Fraction of the pixels that read -1 in all frames."""
    dead_fraction: float = 1e-4
    """Fraction of the pixels that read 0 in all frames."""
    hot_fraction: float = 2e-5
    """Fraction of the pixels that read far too much in all frames."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationSettings:
    """All that the frames depend on, besides geometry and cell."""

    crystal: CrystalSettings = field(default_factory=CrystalSettings)
    sample: SampleSettings = field(default_factory=SampleSettings)
    beam: BeamSettings = field(default_factory=BeamSettings)
    response: ResponseSettings = field(default_factory=ResponseSettings)
    seed: int = 0
    """The same seed gives the same frames."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamlineSettings:
    """How frames are sent."""

    endpoint: str = "tcp://127.0.0.1:*"
    """Address to bind; `*` as port takes a free one."""
    socket: Literal["rep", "pub", "push"] = "rep"
    """REP answers requests, PUB broadcasts (and may lose frames), PUSH hands out."""
    data_format: str = "msgpack"
    """One of `DATA_FORMATS` other than `auto`."""
    """Seedee is for ASAP::O only, which carries metadata."""
    rate: float = 25.0
    """Frames per second; 0 = as fast as they are taken."""
    n_frames: int = 100
    """Frames to send; 0 = until stopped."""
    tag: str = "ondaframedata"
    """First part of each PUB message."""
    patience_s: float = inf
    """The sender gives up when nobody has taken a frame for so long [s]; a receiver may compile for minutes."""
