"""What a run is about to do, as a tired person reads it: frames, detector, beam, threshold, and what cannot be."""

from collections.abc import Iterator
from contextlib import suppress
from math import isfinite

import numpy as np

from braggstream.formats.geom_places import StatementPlaces
from braggstream.model.constants import photon_energy_of
from braggstream.model.errors import HeaderError
from braggstream.model.exposure import Exposure
from braggstream.model.geometry import Geometry
from braggstream.model.settings import PeakSettings, Settings
from braggstream.pipeline.detector_extent import Extent
from braggstream.pipeline.search_doubts import USE_THRESHOLD, search_doubts
from braggstream.pipeline.setup_doubts import geometry_doubts

LABEL_WIDTH = 11


def overview(geometry: Geometry, settings: Settings) -> Iterator[str]:
    """Describe what a geometry file and options say, before any frame; doubts come last."""
    try:
        exposure = Exposure.stated(geometry)
    except HeaderError as error:
        yield from doubts_in_words([f"{StatementPlaces(geometry).of(geometry.wavelength_kind)}: {error}"])
        return
    yield labelled("Frames", _frames(geometry))
    yield from exposure_lines(geometry, exposure)
    yield labelled("Peaks", _peaks(geometry, exposure, settings.peaks))
    yield from doubts_in_words(all_doubts(geometry, exposure, settings))


def exposure_lines(geometry: Geometry, exposure: Exposure) -> Iterator[str]:
    """Describe detector and beam; what only frames know is named by its header."""
    offset = float(np.mean([panel.coffset for panel in geometry.panels]))
    if exposure.clen is None:
        distance = f"distance from the header {geometry.clen.header}"
    else:
        distance = f"{1e3 * (exposure.clen + offset):.5g} mm from the sample"
    reach = ""
    if exposure.is_complete:
        with suppress(HeaderError), np.errstate(all="ignore"):
            reach = _reach(geometry, exposure)
    yield labelled("Detector", distance + reach)
    if exposure.wavelength is None:
        yield labelled("Beam", f"{geometry.wavelength_kind} from the header {geometry.beam.header}")
    elif geometry.wavelength_kind == "electron_voltage":
        yield labelled("Beam", f"electrons of {exposure.wavelength:.5g} Å")
    else:
        yield labelled("Beam", f"{photon_energy_of(exposure.wavelength):.6g} eV, {exposure.wavelength:.5g} Å")


def all_doubts(geometry: Geometry, exposure: Exposure, settings: Settings) -> list[str]:
    """Collect what cannot be, as far as the exposure tells; each thing once."""
    with np.errstate(all="ignore"):  # Numbers that cannot be may overflow, too.
        found = list(geometry_doubts(geometry, exposure))
        with suppress(HeaderError):  # A detector that cannot be placed is in doubt already.
            found += search_doubts(geometry, exposure, settings)
    return list(dict.fromkeys(found))


def doubts_in_words(doubts: list[str]) -> Iterator[str]:
    """Give a line for each doubt."""
    for doubt in doubts:
        yield f"Warning: {doubt}"


def labelled(label: str, text: str) -> str:
    """Give a line of a block: what it is about, and what there is to say."""
    return f"{label:{LABEL_WIDTH}}{text}"


def _frames(geometry: Geometry) -> str:
    panels = geometry.panels
    sizes = sorted({1e6 / panel.res for panel in panels})
    size = f"{sizes[0]:.4g}" if len(sizes) == 1 else f"{sizes[0]:.4g} to {sizes[-1]:.4g}"
    n_pixels = sum(panel.width * panel.height for panel in panels)
    if len(panels) == 1:
        return f"{panels[0].width} x {panels[0].height} pixels of {size} µm"
    is_one_image = len({(panel.data, panel.dims) for panel in panels}) == 1
    widths = max(panel.max_fs for panel in panels) + 1, max(panel.max_ss for panel in panels) + 1
    within = f"{widths[0]} x {widths[1]} pixels: " if is_one_image else ""
    return f"{within}{len(panels)} panels, {n_pixels} pixels of {size} µm"


def _reach(geometry: Geometry, exposure: Exposure) -> str:
    assert exposure.wavelength is not None
    extent = Extent.of(exposure.detector(geometry), exposure.wavelength)
    edge = f"edge at {extent.edge:.2f} Å, " if isfinite(extent.edge) else "the beam passes it, "
    return f", {edge}corner at {extent.corner:.2f} Å"


def _peaks(geometry: Geometry, exposure: Exposure, peaks: PeakSettings) -> str:
    parts = [peaks.method]
    if peaks.method in USE_THRESHOLD:
        parts.append(f"threshold {peaks.threshold:g}{_in_photons(geometry, exposure, peaks.threshold)}")
    if peaks.method != "none":
        parts.append(f"signal to noise {peaks.min_snr:g}")
    hits = f"{peaks.min_peaks} peaks make a hit" if peaks.min_peaks else "every frame is a hit (--min-peaks=0)"
    return ", ".join([*parts, hits])


def _in_photons(geometry: Geometry, exposure: Exposure, threshold: float) -> str:
    gains = [
        panel.adu_per_photon
        if panel.adu_per_photon is not None
        else (panel.adu_per_ev or 0.0) * photon_energy_of(exposure.wavelength or np.inf)
        for panel in geometry.panels
    ]
    gain = float(np.median(gains))
    stated = "adu_per_photon" if geometry.panels[0].adu_per_photon is not None else "adu_per_eV"
    return f" = {threshold / gain:.4g} photons ({stated})" if gain > 0 else ""
