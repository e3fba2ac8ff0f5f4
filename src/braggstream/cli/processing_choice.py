"""`indexamajig`: which options say what is done with a frame."""

from math import inf
from pathlib import Path
from typing import Any

from braggstream.cli.notices import say
from braggstream.cli.output_choice import check_new_file
from braggstream.formats.cell import read_target_cell
from braggstream.model.cell import UnitCell
from braggstream.model.data_formats import AUTO, DATA_FORMATS
from braggstream.model.errors import UserError
from braggstream.model.geometry import Geometry
from braggstream.model.near_names import did_you_mean, expected_one_of
from braggstream.model.point_group import point_group
from braggstream.model.settings import (
    DEFAULT_RADII,
    AsdfSettings,
    CalibrationSettings,
    FelixSettings,
    FfbidxSettings,
    FrameSettings,
    GeometrySettings,
    IndexingSettings,
    IntegrationSettings,
    PeakSettings,
    PinkIndexerSettings,
    Settings,
    TaketwoSettings,
    XgandalfSettings,
)
from braggstream.steps.indexing import check_means, check_methods
from braggstream.steps.indexing.methods import KNOWN_CELL_METHOD, NO_CELL_METHOD, NO_INDEXING
from braggstream.steps.merging.fitting_lattice import can_have
from braggstream.steps.peaks import check_peak_method

MAX_COPIED_HEADERS = 32
SUPPLIED_PEAKS = ("msgpack", "hdf5", "cxi")
INTEGRATION_WORDS: dict[str, dict[str, Any]] = {
    "none": {"method": "none", "centre": False, "keep_saturated": False, "gradient": False},
    "rings": {"method": "rings", "centre": False, "keep_saturated": False, "gradient": False},
    "prof2d": {"method": "prof2d", "centre": True, "keep_saturated": False, "gradient": False},
    "cen": {"centre": True},
    "nocen": {"centre": False},
    "sat": {"keep_saturated": True},
    "nosat": {"keep_saturated": False},
    "grad": {"gradient": True},
    "nograd": {"gradient": False},
}


def processing_settings(options: dict[str, Any], geometry: Geometry) -> Settings:
    """Understand everything that is done with a frame; raises `UserError`."""
    return Settings(
        frame=frame_settings(options),
        peaks=_peaks(options),
        indexing=_indexing(options, geometry),
        integration=_integration(options),
        geometry=_geometry_refinement(options),
        calibration=_calibration(options, geometry),
    )


def frame_settings(options: dict[str, Any]) -> FrameSettings:
    """Understand how frames are read; raises `UserError`."""
    data_format, highres, headers = options["data_format"], options["highres"], options["copy_header"] or ()
    if data_format is not None and data_format not in DATA_FORMATS:
        raise UserError(f"--data-format={data_format}: {expected_one_of(data_format, DATA_FORMATS)}")
    if highres is not None and not highres > 0:
        raise UserError(f"--highres={highres:g}: expected a resolution in Å, above zero")
    if options["merge_by"] is not None and options["merge_by"] not in headers[:MAX_COPIED_HEADERS]:
        headers = (options["merge_by"], *headers)  # The stream file has to tell the groups apart, too.
    if len(headers) > MAX_COPIED_HEADERS:
        say(f"--copy-header: only the first {MAX_COPIED_HEADERS} of {len(headers)} headers are copied")
    return FrameSettings(
        data_format=None if data_format == AUTO else data_format,
        load_image=not options["no_image_data"],
        load_masks=not options["no_mask_data"],
        highres=inf if highres is None else 1.0 / highres,
        copy_headers=headers[:MAX_COPIED_HEADERS],
        load_peaks=options["peaks"] in SUPPLIED_PEAKS,
    )


def _peaks(options: dict[str, Any]) -> PeakSettings:
    radii = options["peak_radius"] or options["int_radius"] or DEFAULT_RADII
    check_peak_method(options["peaks"])
    same = ("threshold", "min_squared_gradient", "min_snr", "min_pix_count", "max_pix_count")
    more = ("local_bg_radius", "min_res", "max_res", "min_peaks", "median_filter", "filter_noise")
    of_peakfinder9 = ("min_snr_biggest_pix", "min_snr_peak_pix", "min_sig", "min_peak_over_neighbour")
    if options["filter_noise"]:
        say("--filter-noise: pixels beside a negative one become zero; CrystFEL would make the whole frame zero")
    return PeakSettings(
        method=options["peaks"],
        radii=radii,
        use_saturated=not options["no_use_saturated"],
        revalidate=not options["no_revalidate"],
        check_snr=options["check_hdf5_snr"],
        half_pixel_shift=not options["no_half_pixel_shift"],
        fast=options["peakfinder8_fast"],
        **{name: options[name] for name in same + more + of_peakfinder9},
    )


def _indexing(options: dict[str, Any], geometry: Geometry) -> IndexingSettings:
    cell = None if options["pdb"] is None else read_target_cell(options["pdb"], say)
    if options["pdb"] is not None and options["live_merge"] and options["symmetry"] is not None:
        _check_live_merge(cell, options["pdb"], options["symmetry"])
    methods = _methods(options["indexing"], cell)
    if options["find_cell"] is not None and cell is not None:
        raise UserError("--find-cell: the unit cell is given already, with -p: leave one of them out")
    if options["find_cell"] is not None and methods == (NO_INDEXING,):
        raise UserError("--find-cell needs lattices: leave --indexing=none out")
    for notice in check_methods(methods, has_cell=cell is not None):
        say(notice)
    is_flat = len({panel.coffset for panel in geometry.panels}) == 1
    beam_stated = geometry.path if geometry.beam.is_literal else None
    length_stated = geometry.path if geometry.clen.is_literal and is_flat else None
    settings = IndexingSettings(
        methods=methods,
        target_cell=cell,
        tolerance=_tolerance(options["tolerance"]),
        check_cell=not options["no_check_cell"],
        check_peaks=not options["no_check_peaks"],
        refine=not options["no_refine"],
        spot_centres=not options["no_spot_centres"],
        moves_detector=options["refine_detector_shift"],
        retry=not options["no_retry"],
        multi=options["multi"],
        max_lattices=options["max_lattices"],
        ffbidx=FfbidxSettings(**_of_engine("ffbidx_", options)),
        xgandalf=XgandalfSettings(**_of_engine("xgandalf_", options)),
        taketwo=TaketwoSettings(**_of_engine("taketwo_", options)),
        find_cell=options["find_cell"] is not None,
        pink_indexer=PinkIndexerSettings(**_of_engine("pinkIndexer_", options)),
        felix=FelixSettings(**_of_engine("felix_", options)),
        solutions_file=options["fromfile_input_file"],
        asdf=AsdfSettings(fast=options["asdf_fast"]),
        wavelength_estimate=_estimate("wavelength_estimate", 1e10, options, stated_in=beam_stated),
        camera_length_estimate=_estimate("camera_length_estimate", 1.0, options, stated_in=length_stated),
    )
    check_means(settings)
    return settings


def _check_live_merge(cell: UnitCell | None, path: str, symmetry: str) -> None:
    """Warn of a cell that the crystals of a point group cannot have; raises `UserError` where there is none."""
    if cell is None:
        raise UserError(f"--live-merge needs a unit cell, and {path} gives a lattice type only")
    if not can_have(cell, point_group(symmetry)):
        say(f"Warning: point group {symmetry} is not possible with the cell of {path}")


def _estimate(name: str, factor: float, options: dict[str, Any], *, stated_in: str | None) -> float | None:
    """Value that frames are compared with; where the geometry states it for all frames, none is needed."""
    value = _scaled(options[name], factor)
    if value is not None and stated_in is not None:
        say(f"--{name.replace('_', '-')} is not needed: {stated_in} states the value for all frames")
        return None
    return value


def _of_engine(prefix: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options whose names begin with an engine's, without its name."""
    return {name.removeprefix(prefix): options[name] for name in options if name.startswith(prefix)}


def _methods(words: str | None, cell: UnitCell | None) -> tuple[str, ...]:
    """Methods as typed; without `--indexing` the one for a known cell, or the one that needs none."""
    if words is not None:
        return tuple(word.strip() for word in words.split(","))
    return (NO_CELL_METHOD,) if cell is None else (KNOWN_CELL_METHOD,)


def _tolerance(text: str) -> tuple[float, float, float, float, float, float]:
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 4:
        numbers = [*numbers, numbers[3], numbers[3]]
    if len(numbers) != 6 or not all(number >= 0 for number in numbers):
        raise UserError(f"--tolerance={text}: expected six numbers: a,b,c in percent and al,be,ga in degrees")
    a, b, c, alpha, beta, gamma = numbers
    return (a, b, c, alpha, beta, gamma)


def _integration(options: dict[str, Any]) -> IntegrationSettings:
    radius = options["fix_profile_radius"]
    push_res = options["push_res"]
    return IntegrationSettings(
        **_integration_method(options["integration"]),
        radii=options["int_radius"] or DEFAULT_RADII,
        push_res=inf if push_res is None else push_res / 10.0,
        overpredict=options["overpredict"],
        fix_profile_radius=None if radius is None or radius < 0 else radius * 1e-10,
        fix_divergence=options["fix_divergence"],
        cell_parameters_only=options["cell_parameters_only"],
    )


def _geometry_refinement(options: dict[str, Any]) -> GeometrySettings:
    mode, path = options["refine_geometry"], options["refined_geometry"]
    if mode not in ("off", "report", "live"):
        raise UserError(f"--refine-geometry={mode}: expected off, report or live")
    if mode == "off":
        if path is not None:
            raise UserError("--refined-geometry is written by --refine-geometry=live or --refine-geometry=report")
        return GeometrySettings()
    path = path or str(Path(options["output"]).with_suffix(".refined.geom"))
    check_new_file("--refined-geometry", path, options)
    return GeometrySettings(refine=mode, refined_file=path)


def _integration_method(text: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for word in text.replace(",", "-").split("-"):
        if word in ("rescut", "norescut"):
            raise UserError(f"--integration={text}: {word} is no longer used; use --push-res=X")
        if word not in INTEGRATION_WORDS:
            near = did_you_mean(word, INTEGRATION_WORDS)
            raise UserError(f"--integration={text}: '{word}' is not one of {', '.join(INTEGRATION_WORDS)}{near}")
        chosen |= INTEGRATION_WORDS[word]
    return chosen


def _calibration(options: dict[str, Any], geometry: Geometry) -> CalibrationSettings:
    if not options["mille"]:
        return CalibrationSettings()
    if not any(group.name == "all" for group in geometry.groups):
        raise UserError("--mille needs a group of all panels, called 'all'", path=geometry.path)
    if options["no_refine"]:
        say("--mille: without refinement there are no records")
    level = options["max_mille_level"]
    return CalibrationSettings(write_records=True, max_level=1 if level < 0 else level)


def _scaled(number: float | None, factor: float) -> float | None:
    return None if number is None else number * factor
