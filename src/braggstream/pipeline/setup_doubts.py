"""What cannot be in a geometry: told with the statement that says so, before frames are lost on it.

A wrong unit is the commonest: each doubt says which value was understood, and what to write where another one is
meant.  Nothing here stops a run.
"""

from collections.abc import Iterator
from math import isfinite

import numpy as np

from braggstream.formats.geom_places import StatementPlaces
from braggstream.model.constants import photon_energy_of
from braggstream.model.detector import Detector
from braggstream.model.errors import HeaderError
from braggstream.model.exposure import Exposure
from braggstream.model.geometry import Geometry, LabRegion, PixelRegion, Quantity
from braggstream.pipeline.detector_extent import Extent, overlapping_panels

ENERGIES_EV = (100.0, 1e6)
"""Photons outside of these make no diffraction patterns of crystals [eV]."""
VOLTAGES_V = (1e3, 1e7)
LENGTHS_M = (5e-3, 10.0)
"""Camera lengths [m]."""
PIXELS_M = (1e-6, 1e-3)
MOST_SHIFT_M = 0.1
MOST_COARSE = 8.0
"""A detector whose corners see no further records no crystal structure [Å]."""
MOST_FINE = 0.35
"""Photons do not diffract further [Å]."""
MOST_NAMES = 4
THIN_PX = 2.0
"""A bad region as thin as that may lie between pixels."""
MOST_REGIONS = 200
"""So many bad regions are looked at."""


def geometry_doubts(geometry: Geometry, exposure: Exposure) -> Iterator[str]:
    """Tell what cannot be in a geometry; what `exposure` does not know is left out."""
    places = StatementPlaces(geometry)
    yield from _pixel_doubts(geometry, places)
    yield from _gain_doubts(geometry, places)
    yield from _shared_pixels(geometry, places)
    yield from _region_doubts(geometry, places)
    yield from _beam_doubts(geometry, exposure.wavelength, places)
    yield from _distance_doubts(geometry, exposure.clen, places)
    for axis, shift in (("x", exposure.shift_x), ("y", exposure.shift_y)):
        if shift is not None and abs(shift) >= MOST_SHIFT_M:
            quantity = geometry.shift_x if axis == "x" else geometry.shift_y
            hint = _other_unit(f"detector_shift_{axis}", quantity, "mm" if abs(shift) < 100.0 else "")
            yield f"{places.of(f'detector_shift_{axis}')}: the detector is shifted by {shift:g} m in {axis}{hint}"
    if exposure.is_complete:
        yield from _placed_doubts(geometry, exposure, places)


def _pixel_doubts(geometry: Geometry, places: StatementPlaces) -> Iterator[str]:
    wrong = {panel.res: panel.name for panel in reversed(geometry.panels) if not _within(1.0 / panel.res, PIXELS_M)}
    for res, name in list(wrong.items())[:MOST_NAMES]:
        hint = ""
        for unit, factor in (("mm", 1e-3), ("µm", 1e-6)):
            if _within(res * factor, PIXELS_M):
                hint = f"; for pixels of {res:g} {unit} write res = {1.0 / (res * factor):g}"
        yield (
            f"{places.of('res', owner=name)}: res = {res:g} are pixels of {_length(1.0 / res)}: res counts pixels "
            f"per metre{hint}"
        )


def _gain_doubts(geometry: Geometry, places: StatementPlaces) -> Iterator[str]:
    for panel in geometry.panels:
        for field, gain in (("adu_per_photon", panel.adu_per_photon), ("adu_per_eV", panel.adu_per_ev)):
            if gain is not None and gain <= 0.0:
                yield (
                    f"{places.of(field, owner=panel.name)}: {field} = {gain:g}: errors of intensities need a "
                    "number above 0"
                )
                return


def _shared_pixels(geometry: Geometry, places: StatementPlaces) -> Iterator[str]:
    """Panels made by copying the lines of another one, of which some were not changed."""
    bounds = np.array([(each.min_fs, each.max_fs, each.min_ss, each.max_ss) for each in geometry.panels])
    sources = [(each.data, each.dims) for each in geometry.panels]
    n_told = 0
    for number, (panel, (min_fs, max_fs, min_ss, max_ss)) in enumerate(zip(geometry.panels, bounds, strict=True)):
        before = bounds[:number]
        same = (before[:, 0] <= max_fs) & (before[:, 1] >= min_fs)
        same &= (before[:, 2] <= max_ss) & (before[:, 3] >= min_ss)
        for other in np.flatnonzero(same).tolist():
            if sources[other] == sources[number] and n_told < MOST_NAMES:
                n_told += 1
                yield (
                    f"{places.of('min_fs', 'max_fs', 'min_ss', 'max_ss', owner=panel.name)}: panels "
                    f"{geometry.panels[other].name} and {panel.name} are the same pixels of the data"
                )


def _region_doubts(geometry: Geometry, places: StatementPlaces) -> Iterator[str]:
    for region in geometry.bad_regions:
        if isinstance(region, PixelRegion):
            pairs = (("fs", region.min_fs, region.max_fs), ("ss", region.min_ss, region.max_ss))
        else:
            pairs = (("x", region.min_x, region.max_x), ("y", region.min_y, region.max_y))  # type: ignore[assignment]
        for axis, low, high in pairs:
            if low > high:
                yield (
                    f"{places.of(f'min_{axis}', f'max_{axis}', owner=region.name)}: bad region {region.name} "
                    f"covers no pixel: min_{axis} = {low:g} is above max_{axis} = {high:g}"
                )


def _beam_doubts(geometry: Geometry, wavelength: float | None, places: StatementPlaces) -> Iterator[str]:
    kind = geometry.wavelength_kind
    if kind == "electron_voltage":
        voltage = geometry.beam.value
        if voltage is not None and not _within(voltage * geometry.beam.factor, VOLTAGES_V):
            yield f"{places.of(kind)}: electrons of {voltage * geometry.beam.factor:g} V{_beam_hint(geometry)}"
        return
    if wavelength is not None and not _within(photon_energy_of(wavelength), ENERGIES_EV):
        energy = photon_energy_of(wavelength)
        yield (
            f"{places.of(kind)}: {kind} is understood as {energy:.4g} eV, {wavelength:.4g} Å"
            f"{_beam_hint(geometry, energy)}"
        )


def _beam_hint(geometry: Geometry, energy: float = 0.0) -> str:
    beam, kind = geometry.beam, geometry.wavelength_kind
    number = beam.header or f"{beam.value:g}"
    if kind == "photon_energy" and 1.0 <= energy < ENERGIES_EV[0]:
        return f"; if the number is in keV write {kind} = {number} keV"
    if kind == "photon_energy" and beam.factor == 1e3:
        return f"; if the number is in eV write {kind} = {number} eV"
    if kind == "wavelength" and beam.value is not None and _within(beam.value, (1e3, 1e5)):
        return f"; if it is an energy write photon_energy = {number} eV"
    if kind == "wavelength":
        return f"; write its unit, m or A, as in {kind} = {number} {'A' if beam.unit == 'm' else 'm'}"
    if kind == "electron_voltage":
        return f"; write its unit, V or kV, as in {kind} = {number} {'V' if beam.unit == 'kV' else 'kV'}"
    return ": is the unit right?"


def _distance_doubts(geometry: Geometry, clen: float | None, places: StatementPlaces) -> Iterator[str]:
    offsets = [panel.coffset for panel in geometry.panels]
    worst = int(np.argmax(np.abs(offsets)))
    if abs(offsets[worst]) > LENGTHS_M[1]:
        yield (
            f"{places.of('coffset', owner=geometry.panels[worst].name)}: coffset = {offsets[worst]:g} is in metres"
        )
        return
    if clen is None:
        return
    distance = clen + float(np.mean(offsets))
    if _within(distance, LENGTHS_M):
        return
    with_offset = f", with coffset {distance:g} m" if any(offsets) else ""
    if distance < 0.0:
        yield f"{places.of('clen')}: clen is {clen:g} m{with_offset}: the detector stands before the sample"
        return
    hint = ""
    if distance > LENGTHS_M[1]:
        hint = _other_unit("clen", geometry.clen, "mm")
    elif distance < LENGTHS_M[0] and geometry.clen.factor != 1.0:
        hint = _other_unit("clen", geometry.clen, "m")
    yield f"{places.of('clen')}: clen is understood as {clen:g} m{with_offset}{hint}"


def _other_unit(name: str, quantity: Quantity | None, unit: str) -> str:
    if quantity is None or not unit:
        return ""
    number = quantity.header or f"{quantity.value:g}"
    return f"; if the number is in {unit} write {name} = {number} {unit}" if quantity.unit != unit else ""


def _placed_doubts(geometry: Geometry, exposure: Exposure, places: StatementPlaces) -> Iterator[str]:
    try:
        detector = exposure.detector(geometry)
    except HeaderError as error:
        yield f"{places.of('clen')}: {error}"
        return
    assert exposure.wavelength is not None
    extent = Extent.of(detector, exposure.wavelength)
    if extent.beam_off_px > extent.diagonal_px:
        yield (
            f"{places.of('corner_x', 'corner_y', owner=geometry.panels[0].name)}: the beam passes the detector at "
            f"{extent.beam_off_px:.0f} pixels, more than its size: corner_x and corner_y are in pixels from it"
        )
    is_sound = _within(abs(detector.average_camera_length), LENGTHS_M) and all(
        _within(1.0 / panel.res, PIXELS_M) for panel in geometry.panels
    )
    if is_sound and extent.corner > MOST_COARSE:
        yield f"{places.of('clen')}: the detector sees no further than {extent.corner:.3g} Å"
    if is_sound and geometry.wavelength_kind != "electron_voltage" and extent.corner < MOST_FINE:
        yield (
            f"{places.of(geometry.wavelength_kind)}: the detector sees to {extent.corner:.2g} Å, further than "
            "crystals diffract"
        )
    for one, other in overlapping_panels(detector)[:MOST_NAMES]:
        names = geometry.panels[one].name, geometry.panels[other].name
        yield (
            f"{places.of('corner_x', 'corner_y', owner=names[1])}: panels {names[0]} and {names[1]} cover "
            "one another"
        )
    yield from _missed_regions(geometry, detector, places)


def _missed_regions(geometry: Geometry, detector: Detector, places: StatementPlaces) -> Iterator[str]:
    """Bad regions of the lab frame in which no pixel lies."""
    for region in geometry.bad_regions[:MOST_REGIONS]:
        if not isinstance(region, LabRegion) or region.min_x > region.max_x or region.min_y > region.max_y:
            continue
        if not any(_covers(region, detector, panel) for panel in range(detector.n_panels)):
            yield (
                f"{places.of('min_x', owner=region.name)}: bad region {region.name} covers no pixel: its bounds "
                "are in pixels from the beam"
            )


def _covers(region: LabRegion, detector: Detector, panel: int) -> bool:
    """Tell whether a corner of a pixel of the panel lies in a region, as far as that may be in question."""
    pose = detector.poses[panel] / float(detector.pixel_size[panel])
    width, height = int(detector.width[panel]), int(detector.height[panel])
    corners = np.array([(1, i, j) for i in (0, width) for j in (0, height)]) @ pose[:, :2]
    low, high = corners.min(axis=0), corners.max(axis=0)
    if high[0] <= region.min_x or low[0] >= region.max_x or high[1] <= region.min_y or low[1] >= region.max_y:
        return False
    if min(region.max_x - region.min_x, region.max_y - region.min_y) > THIN_PX:
        return True
    steps = np.arange(width)
    for row in range(height):
        x = pose[0, 0] + steps * pose[1, 0] + row * pose[2, 0]
        y = pose[0, 1] + steps * pose[1, 1] + row * pose[2, 1]
        if ((x > region.min_x) & (x < region.max_x) & (y > region.min_y) & (y < region.max_y)).any():
            return True
    return False


def _within(number: float, bounds: tuple[float, float]) -> bool:
    return isfinite(number) and bounds[0] <= number <= bounds[1]


def _length(metres: float) -> str:
    """Write a length with the unit that suits it."""
    for unit, factor in (("m", 1.0), ("mm", 1e3), ("µm", 1e6)):
        if metres * factor >= 1.0 or unit == "µm":
            return f"{metres * factor:.4g} {unit}"
    raise AssertionError
