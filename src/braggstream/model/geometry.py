"""Geometry: what a CrystFEL geometry file says, before any frame is known.

`Geometry.detector` applies one frame's camera length, shifts and wavelength and gives the `Detector` arrays.
Reading and writing the file is `braggstream.formats.geom`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isnan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from braggstream.model.constants import HC_EV_ANGSTROM, wavelength_of_electron, wavelength_of_photon
from braggstream.model.detector import Detector
from braggstream.model.errors import HeaderError

HeaderLookup = Callable[[str], float]
"""Gives a header of the frame as a number, or raises `HeaderError`."""

AxisRole = Literal["ss", "fs", "%"] | int
"""What an axis of the data array is: slow scan, fast scan, the frame's event, or a fixed index."""

MAX_WAVELENGTH = 1e6
"""Wavelengths between this and its inverse are taken [Å]."""
MAX_LENGTH = 1e6
"""Longest camera length and detector shift [m]: what is longer is no length, and its square may overflow."""

LENGTH_UNITS: Mapping[str, float] = {"m": 1.0, "mm": 1e-3}
WAVELENGTH_UNITS: Mapping[str, float] = {"m": 1e10, "A": 1.0}
ENERGY_UNITS: Mapping[str, float] = {"eV": 1.0, "keV": 1e3}
VOLTAGE_UNITS: Mapping[str, float] = {"V": 1.0, "kV": 1e3}


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """A number of the geometry file: written there, or the name of a header to look up in each frame."""

    value: float | None = None
    """The number as written, in its own unit; None for a header."""
    header: str | None = None
    """Name of the header; None for a literal number."""
    unit: str = ""
    """The unit as written; empty where none was."""
    factor: float = 1.0
    """Multiplies the number: to Å, eV, V or m."""

    @property
    def is_literal(self) -> bool:
        """Whether every frame has the same value."""
        return self.header is None

    def resolve(self, header: HeaderLookup) -> float:
        """Give the value in Å, eV, V or m; raises `HeaderError` where the header is missing."""
        number = self.value if self.header is None else header(self.header)
        assert number is not None
        return number * self.factor


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """Where a bad-pixel mask lies, and which bits mean what."""

    data: str
    """HDF5 path, possibly with `%` placeholders."""
    file: str | None = None
    """File that holds it; None = the frame's own file."""
    good_bits: int = 0
    """A pixel that lacks one of these bits is bad."""
    bad_bits: int = 0
    """A pixel that has one of these bits is bad."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A condition on a pixel's value that makes it bad."""

    kind: Literal["lessthan", "morethan", "equal"]
    value: float | int
    """A whole number is kept as such where a double has not enough digits for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One flat rectangle of pixels, as the geometry file describes it."""

    name: str
    min_fs: int
    max_fs: int
    """Last fast-scan index in the data, inclusive."""
    min_ss: int
    max_ss: int
    """Last slow-scan index in the data, inclusive."""
    corner_x: float
    """Lab x of the corner [px]."""
    corner_y: float
    """Lab y of the corner [px]."""
    fs: tuple[float, float, float]
    """Lab direction of one step in fast scan [px]."""
    ss: tuple[float, float, float]
    """Lab direction of one step in slow scan [px]."""
    res: float
    """Pixels per metre."""
    coffset: float = 0.0
    """Added to the camera length [m]."""
    adu_per_photon: float | None = None
    """Gain [detector units per photon]; None where `adu_per_ev` is given."""
    adu_per_ev: float | None = None
    """Gain [detector units per eV of photon energy]."""
    max_adu: float = inf
    """A pixel above this is saturated [detector units]."""
    data: str = "/data/data"
    """Where the array is: HDF5 path (possibly with `%`), or MsgPack key."""
    dims: tuple[AxisRole, ...] = ("ss", "fs")
    """Role of each axis of the array."""
    masks: tuple[Mask, ...] = ()
    mask_edge_pixels: int = 0
    flags: tuple[Flag, ...] = ()
    saturation_map: str | None = None
    saturation_map_file: str | None = None
    no_index: bool = False
    """The whole panel is bad."""

    @property
    def width(self) -> int:
        """Pixels along fast scan."""
        return self.max_fs - self.min_fs + 1

    @property
    def height(self) -> int:
        """Pixels along slow scan."""
        return self.max_ss - self.min_ss + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelRegion:
    """Bad pixels given in coordinates of the data array, inclusive."""

    name: str
    panel: str
    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LabRegion:
    """Bad pixels given as a rectangle in the lab frame [px]; the bounds themselves are good."""

    name: str
    min_x: float
    max_x: float
    min_y: float
    max_y: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RigidGroup:
    """Panels, or groups of panels, that move together."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorOffset:
    """How far the whole detector stands from where a geometry file puts it, in the lab frame."""

    x: float = 0.0
    """[m]"""
    y: float = 0.0
    """[m]"""
    z: float = 0.0
    """Along the beam: added to the camera length [m]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """What a geometry file says."""

    panels: tuple[Panel, ...]
    wavelength_kind: Literal["wavelength", "photon_energy", "electron_voltage"]
    beam: Quantity
    """The wavelength [Å], photon energy [eV] or accelerating voltage [V]."""
    clen: Quantity
    """Camera length [m]."""
    shift_x: Quantity | None = None
    """Moves the whole detector along x [m]."""
    shift_y: Quantity | None = None
    """Moves the whole detector along y [m]."""
    bandwidth: float = 1e-8
    """Relative spread (sigma) of the wavelength."""
    peak_list: str | None = None
    """Where the peak list is: HDF5 path or MsgPack key."""
    peak_list_type: Literal["auto", "cxi", "list3"] = "auto"
    bad_regions: tuple[PixelRegion | LabRegion, ...] = ()
    groups: tuple[RigidGroup, ...] = ()
    """Bottom-up; the last one is called `all` where there is a hierarchy."""
    text: str = ""
    """The file, verbatim: it goes into every stream file."""
    path: str = ""
    """Where it was read from."""
    notices: tuple[str, ...] = ()
    """Complaints about statements that have no effect, one line each."""
    offset: DetectorOffset = DetectorOffset()
    """How far it was moved from what `text` says, see `model.moved_geometry`."""
    _cache: dict[tuple[float, float, float, float], Detector] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def is_static(self) -> bool:
        """Whether the detector stands at the same place in every frame."""
        quantities = (self.clen, self.shift_x, self.shift_y)
        return all(quantity is None or quantity.is_literal for quantity in quantities)

    def wavelength(self, header: HeaderLookup) -> float:
        """Wavelength of a frame [Å]; raises `HeaderError` where it is missing, not positive or not finite."""
        number = self.beam.resolve(header)
        if not 0 < number < inf:
            raise HeaderError(f"{self.wavelength_kind} is {number:g}, expected a positive number")
        wavelength = number
        if self.wavelength_kind == "photon_energy":
            wavelength = wavelength_of_photon(number)
        elif self.wavelength_kind == "electron_voltage":
            wavelength = wavelength_of_electron(number)
        if not 1.0 / MAX_WAVELENGTH < wavelength < MAX_WAVELENGTH:
            raise HeaderError(f"{self.wavelength_kind} is {number:g}, which is a wavelength of {wavelength:g} Å")
        return wavelength

    def detector(self, header: HeaderLookup, wavelength: float) -> Detector:
        """Place the panels for one frame; the last detector is kept, so an unmoved one costs nothing."""
        clen = self.clen.resolve(header)
        shift_x = self.shift_x.resolve(header) if self.shift_x else 0.0
        shift_y = self.shift_y.resolve(header) if self.shift_y else 0.0
        if not abs(clen) < MAX_LENGTH:
            raise HeaderError(f"clen is {clen:g} m, expected a length below {MAX_LENGTH:g} m")
        if abs(shift_x) >= MAX_LENGTH or abs(shift_y) >= MAX_LENGTH:
            raise HeaderError(
                f"the detector shift is {shift_x:g}, {shift_y:g} m, expected less than {MAX_LENGTH:g} m"
            )
        per_ev = any(panel.adu_per_ev is not None for panel in self.panels)
        key = (
            clen,
            0.0 if isnan(shift_x) else shift_x,
            0.0 if isnan(shift_y) else shift_y,
            wavelength if per_ev else 0.0,
        )
        found = self._cache.get(key)
        if found is None:
            found = self._place(key[0], key[1], key[2], wavelength)
            self._cache.clear()
            self._cache[key] = found
        return found

    def _check_poses(self, poses: NDArray[np.float64]) -> None:
        """Refuse a panel that the sample sees edge-on or not at all: no ray could be traced to it."""
        volumes = np.abs(np.linalg.det(poses))
        sound = (volumes > 1e-12 * np.linalg.norm(poses, axis=2).prod(axis=1)) & (volumes < inf)
        if not sound.all():
            name = self.panels[int(np.argmin(sound))].name
            raise HeaderError(f"camera length and shifts put panel {name} into a plane through the sample")

    def _place(self, clen: float, shift_x: float, shift_y: float, wavelength: float) -> Detector:
        panels = self.panels
        pixel = np.array([1.0 / panel.res for panel in panels])
        poses = np.empty((len(panels), 3, 3))
        for number, panel in enumerate(panels):
            size = pixel[number]
            poses[number, 0] = (
                panel.corner_x * size + shift_x,
                panel.corner_y * size + shift_y,
                clen + panel.coffset,
            )
            poses[number, 1] = np.array(panel.fs) * size
            poses[number, 2] = np.array(panel.ss) * size
        self._check_poses(poses)
        photon_energy = HC_EV_ANGSTROM / wavelength
        gains = [
            panel.adu_per_photon if panel.adu_per_photon is not None else (panel.adu_per_ev or 0.0) * photon_energy
            for panel in panels
        ]
        return Detector(
            names=tuple(panel.name for panel in panels),
            width=np.array([panel.width for panel in panels], np.int64),
            height=np.array([panel.height for panel in panels], np.int64),
            min_fs=np.array([panel.min_fs for panel in panels], np.int64),
            min_ss=np.array([panel.min_ss for panel in panels], np.int64),
            poses=poses,
            pixel_size=pixel,
            adu_per_photon=np.array(gains),
            max_adu=np.array([panel.max_adu for panel in panels]),
        )
