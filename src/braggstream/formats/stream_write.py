"""CrystFEL's stream format 2.3: one chunk a frame."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.number_table import TableLayout
from braggstream.formats.stream_header import (
    CHUNK_BEGIN,
    CHUNK_END,
    CRYSTAL_BEGIN,
    CRYSTAL_END,
    PEAKS_BEGIN,
    PEAKS_END,
    PEAKS_TITLE,
    REFLECTIONS_BEGIN,
    REFLECTIONS_END,
    REFLECTIONS_TITLE,
    one_line,
    stream_bytes,
)
from braggstream.model.constants import photon_energy_of
from braggstream.model.crystal import Crystal, ReflectionTable
from braggstream.model.frame import HeaderValue
from braggstream.model.geometry import DetectorOffset, Geometry
from braggstream.model.result import FrameResult
from braggstream.model.settings import OutputSettings

_PEAK_LINES = TableLayout("%7.2f %7.2f %10.2f  %10.2f   %s\n")
_REFLECTION_LINES = TableLayout("%4i %4i %4i %10.2f %10.2f %10.2f %10.2f %6.1f %6.1f %s\n")


def format_chunk(result: FrameResult, geometry: Geometry, output: OutputSettings) -> bytes:
    """Write what one frame gave as a chunk of the stream file."""
    parts = _chunk(result, geometry, output)
    return b"".join(part if isinstance(part, bytes) else stream_bytes(part) for part in parts)


def _chunk(result: FrameResult, geometry: Geometry, output: OutputSettings) -> Iterator[str | bytes]:
    identity = result.identity
    yield (
        f"{CHUNK_BEGIN}\n"
        f"Image filename: {one_line(identity.filename)}\n"
        f"Event: {one_line(identity.event)}\n"
        f"Image serial number: {identity.serial}\n"
        f"hit = {int(result.is_hit)}\n"
        f"indexed_by = {result.indexed_by}\n"
    )
    if result.indexed_by != "none":
        yield f"n_indexing_tries = {result.n_tries}\n"
    yield (
        f"photon_energy_eV = {photon_energy_of(result.wavelength):f}\n"
        f"beam_divergence = {result.divergence:.2e} rad\n"
        f"beam_bandwidth = {result.bandwidth:.2e} (fraction)\n"
    )
    yield from (_header_line(name, value) for name, value in (*result.headers, *_offset_headers(geometry)))
    limit = result.peak_resolution * 10.0
    yield (
        f"average_camera_length = {result.average_camera_length:f} m\n"
        f"num_peaks = {len(result.peaks)}\n"
        f"peak_resolution = {limit:f} nm^-1 or {_in_angstrom(limit):f} A\n"
    )
    if output.write_peaks:
        yield f"{PEAKS_BEGIN}\n{PEAKS_TITLE}\n"
        yield _peak_lines(result, geometry)
        yield f"{PEAKS_END}\n"
    for crystal in result.crystals:
        yield from _crystal(crystal, geometry, output)
    yield f"{CHUNK_END}\n"


def _offset_headers(geometry: Geometry) -> tuple[tuple[str, HeaderValue], ...]:
    """Tell where the detector stood, where that is not what the header's geometry says."""
    offset = geometry.offset
    if offset == DetectorOffset():
        return ()
    parts = (("x", offset.x), ("y", offset.y), ("z", offset.z))
    return tuple((f"braggstream/detector_offset_{axis}_mm", part * 1000.0) for axis, part in parts)


def _header_line(name: str, value: HeaderValue) -> str:
    name = one_line(name)
    match value:
        case float():
            return f"header/float/{name} = {value:f}\n"
        case int():
            return f"header/int/{name} = {value}\n"
        case str():
            is_one_line = "\n" not in value and "\r" not in value
            return f"header/str/{name} = {one_line(value)}\n" if is_one_line else ""


def _peak_lines(result: FrameResult, geometry: Geometry) -> bytes:
    peaks = result.peaks
    columns = np.empty((4, len(peaks)))
    _write_positions(peaks.panel, peaks.fs, peaks.ss, geometry, columns[:2])
    np.multiply(result.peak_inverse_d, 10.0, out=columns[2])
    columns[3] = peaks.intensity
    return _PEAK_LINES.write(columns, peaks.panel, geometry.panels)


def _write_positions(
    panel: NDArray[np.int32],
    fs: NDArray[np.float64],
    ss: NDArray[np.float64],
    geometry: Geometry,
    places: NDArray[np.float64],
) -> None:
    """Give positions in the data array, float64[2, n]."""
    corners = np.array([(panel.min_fs, panel.min_ss) for panel in geometry.panels], np.float64)
    places[0] = fs + corners[panel, 0]
    places[1] = ss + corners[panel, 1]


def _crystal(crystal: Crystal, geometry: Geometry, output: OutputSettings) -> Iterator[str | bytes]:
    cell = crystal.cell
    lengths = " ".join(f"{length / 10.0:7.5f}" for length in cell.parameters[:3])
    angles = " ".join(f"{angle:7.5f}" for angle in cell.parameters[3:])
    yield f"{CRYSTAL_BEGIN}\nCell parameters {lengths} nm, {angles} deg\n"
    for name, axis in zip(("astar", "bstar", "cstar"), (crystal.reciprocal_axes * 10.0).tolist(), strict=True):
        yield f"{name} = {axis[0]:+9.7f} {axis[1]:+9.7f} {axis[2]:+9.7f} nm^-1\n"
    yield (
        f"lattice_type = {crystal.lattice_type}\n"
        f"centering = {crystal.centring}\n"
        f"unique_axis = {crystal.unique_axis}\n"
        f"profile_radius = {crystal.profile_radius * 10.0:.5f} nm^-1\n"
    )
    for name, residual in crystal.residuals:
        parts = f"{residual.excitation:f} {residual.fs:f} {residual.ss:f}"
        yield f"predict_refine/{name} = {residual.total:f} ({parts})\n"
    # Seen from the geometry in the header, a detector that was moved for all frames is part of the crystal's shift.
    shift_x = (crystal.det_shift[0] + geometry.offset.x) * 1000.0
    shift_y = (crystal.det_shift[1] + geometry.offset.y) * 1000.0
    yield f"predict_refine/det_shift x = {shift_x:.3f} y = {shift_y:.3f} mm\n"
    reflections = crystal.reflections
    if reflections is None or not output.write_reflections:
        yield f"No integrated reflections.\n{CRYSTAL_END}\n"
        return
    limit = crystal.resolution_limit * 10.0
    yield (
        f"diffraction_resolution_limit = {limit:.2f} nm^-1 or {_in_angstrom(limit):.2f} A\n"
        f"num_reflections = {len(reflections)}\n"
        f"num_saturated_reflections = {crystal.n_saturated}\n"
        f"num_implausible_reflections = {crystal.n_implausible}\n"
        f"{REFLECTIONS_BEGIN}\n{REFLECTIONS_TITLE}\n"
    )
    yield _reflection_lines(reflections, geometry)
    yield f"{REFLECTIONS_END}\n{CRYSTAL_END}\n"


def _reflection_lines(reflections: ReflectionTable, geometry: Geometry) -> bytes:
    columns = np.empty((9, len(reflections)))
    columns[:3] = reflections.hkl.T
    columns[3] = reflections.intensity
    columns[4] = reflections.sigma
    columns[5] = reflections.peak_value
    columns[6] = reflections.background
    _write_positions(reflections.panel, reflections.fs, reflections.ss, geometry, columns[7:])
    return _REFLECTION_LINES.write(columns, reflections.panel, geometry.panels)


def _in_angstrom(inverse_nm: float) -> float:
    return 10.0 / inverse_nm if inverse_nm else float("inf")
