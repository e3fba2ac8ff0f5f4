"""`indexamajig`: options to settings, in the order in which CrystFEL checks them, then the run."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

from braggstream.cli.asapo_options import asapo_source, asapo_token
from braggstream.cli.config_file import read_options, without_secrets, write_config
from braggstream.cli.device_choice import settings_on_device
from braggstream.cli.harvest import write_harvest
from braggstream.cli.live_merge_options import check_ambiguity, live_merge_settings
from braggstream.cli.option_table import GROUPS
from braggstream.cli.provenance import Provenance
from braggstream.formats.cell import read_cell
from braggstream.formats.geom import read_geometry
from braggstream.model.cell import HAS_UNIQUE_AXIS, UnitCell
from braggstream.model.data_formats import AUTO, DATA_FORMATS, OF_SERIES
from braggstream.model.errors import BraggstreamError, UserError
from braggstream.model.geometry import Geometry
from braggstream.model.settings import (
    DEFAULT_RADII,
    AsdfSettings,
    CalibrationSettings,
    FelixSettings,
    FfbidxSettings,
    FileSourceSettings,
    FrameSettings,
    GeometrySettings,
    IndexingSettings,
    IntegrationSettings,
    OutputSettings,
    PeakSettings,
    PinkIndexerSettings,
    RunSettings,
    Settings,
    SourceSettings,
    TaketwoSettings,
    XgandalfSettings,
    ZmqSourceSettings,
)
from braggstream.run.begun_source import BegunSource, begin_series
from braggstream.run.lasting_log import let_log_last
from braggstream.run.local import run_session
from braggstream.run.ties import hide_in_process_list
from braggstream.steps.indexing import check_means, check_methods
from braggstream.steps.indexing.methods import KNOWN_CELL_METHOD, NO_CELL_METHOD, NO_INDEXING
from braggstream.steps.peaks import check_peak_method

WRONG_USE = 1
"""Exit status of a wrong option value or an unusable file, as CrystFEL's."""

MAX_WORKERS = 1024
MAX_SUBSCRIPTIONS = 256
MAX_COPIED_HEADERS = 32
SHORTEST_SECRET = 8
"""A shorter text is no token that would be worth looking for in other words."""
INPUTS = ("input", "zmq_input", "asapo_endpoint")
"""Options that name where frames come from."""
SUPPLIED_PEAKS = ("msgpack", "hdf5", "cxi")


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A command line, understood: everything that a run needs."""

    geometry: Geometry
    settings: Settings
    source: SourceSettings | BegunSource
    output: OutputSettings
    run: RunSettings


def run(words: Sequence[str]) -> int:
    """Run `indexamajig` with the words after its name; gives the exit status."""
    let_log_last()
    record: Provenance | None = None
    try:
        words, options = read_options(words)
        hide_in_process_list(options["asapo_token"] or "")
        if options["write_config"] is not None:
            write_config(options)
            if all(options.get(name) is None for name in INPUTS):
                return 0
        session = understand_options(words, options)
        for notice in session.geometry.notices:
            _say(notice)
        _say_cell(session.settings.indexing)
        if options["harvest_file"] is not None:
            write_harvest(options, session.settings)
        record = Provenance(words, options)
        record.begin()
        status = run_session(
            session.geometry,
            session.settings,
            session.source,
            session.output,
            session.run,
            tell_summary=record.take_summary,
        )
    except BraggstreamError as error:
        _say(f"indexamajig: {error}")
        status = WRONG_USE
    if record is not None:
        record.end(status, _say)
    return status


def understand(words: Sequence[str]) -> Session:
    """Turn the command line into settings; raises `UserError` for the first thing that is wrong."""
    return understand_options(*read_options(words))


def understand_options(words: Sequence[str], options: dict[str, Any]) -> Session:
    """Turn options into settings; raises `UserError` for the first thing that is wrong."""
    geometry, begun = _geometry_and_series(options)
    if options["hdf5_peaks"] is not None:
        geometry = replace(geometry, peak_list=options["hdf5_peaks"], _cache={})
    source = _source(options)
    if options["peaks"] in SUPPLIED_PEAKS and geometry.peak_list is None:
        raise UserError(f"--peaks={options['peaks']} needs  peak_list = PLACE  in {geometry.path}")
    settings = Settings(
        frame=_frame(options),
        peaks=_peaks(options),
        indexing=_indexing(options, geometry),
        integration=_integration(options),
        geometry=_geometry(options),
        calibration=_calibration(options, geometry),
    )
    settings, notices = settings_on_device(settings, options["device"])
    for notice in notices:
        _say(notice)
    live_merge = live_merge_settings(options)
    check_ambiguity(live_merge)
    return Session(
        geometry=geometry,
        settings=settings,
        source=begun or source,
        output=_output(options, words, settings),
        run=replace(_run(options), live_merge=live_merge),
    )


def _geometry_and_series(options: dict[str, Any]) -> tuple[Geometry, BegunSource | None]:
    """Read the geometry file; without one, make it from the start message of a series, where there will be such."""
    if options["geometry"] is not None:
        return read_geometry(options["geometry"]), None
    if options["data_format"] not in OF_SERIES:
        raise UserError("a geometry file is needed: give it with -g FILE")
    source = _source(options)
    if not isinstance(source, ZmqSourceSettings):
        raise UserError("a geometry file is needed: give it with -g FILE (--zmq-input can do without)")
    return begin_series(source, _frame(options), _run(options), _say)


def _source(options: dict[str, Any]) -> SourceSettings:
    """Choose the source; the order of the checks decides which message a user sees first."""
    given = [name for name in ("input", "zmq_input", "asapo_endpoint") if options[name] is not None]
    if not given:
        raise UserError("an input is needed: give a list of files with -i FILE, --zmq-input or --asapo-endpoint")
    if options["output"] is None:
        raise UserError("an output file is needed: give it with -o FILE")
    if len(given) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in given[:2])
        raise UserError(f"{first} and {second} cannot be used together: choose one")
    if options["asapo_endpoint"] is not None:
        return asapo_source(options)
    list_file = options["input"]
    if list_file is not None:
        return FileSourceSettings(
            list_file=list_file,
            prefix=_prefix(options),
            basename=options["basename"],
            wait_for_file=options["wait_for_file"],
        )
    return _zmq_source(options)


def _zmq_source(options: dict[str, Any]) -> ZmqSourceSettings:
    tags, request, pull = options["zmq_subscribe"] or (), options["zmq_request"], options["zmq_pull"]
    if request is not None and tags:
        raise UserError("--zmq-request and --zmq-subscribe cannot be used together: choose one")
    if pull and (request is not None or tags):
        raise UserError("--zmq-pull cannot be used with --zmq-request or --zmq-subscribe: choose one")
    if request is None and not tags and not pull:
        raise UserError("--zmq-input needs --zmq-request=TEXT, --zmq-subscribe=TAG or --zmq-pull")
    if len(tags) > MAX_SUBSCRIPTIONS:
        raise UserError(f"--zmq-subscribe was given {len(tags)} times, at most {MAX_SUBSCRIPTIONS} are possible")
    return ZmqSourceSettings(endpoint=options["zmq_input"], request=request, subscribe=tags, pull=pull)


def _prefix(options: dict[str, Any]) -> str:
    prefix = str(options["prefix"])
    if prefix and not options["no_check_prefix"] and not prefix.endswith("/") and Path(prefix).is_dir():
        _say(f"--prefix={prefix} is a folder: a slash is added")
        return prefix + "/"
    return prefix


def _frame(options: dict[str, Any]) -> FrameSettings:
    data_format, highres, headers = options["data_format"], options["highres"], options["copy_header"] or ()
    if data_format is not None and data_format not in DATA_FORMATS:
        raise UserError(f"--data-format={data_format}: expected one of {', '.join(DATA_FORMATS)}")
    if highres is not None and not highres > 0:
        raise UserError(f"--highres={highres:g}: expected a resolution in Å, above zero")
    if options["merge_by"] is not None and options["merge_by"] not in headers[:MAX_COPIED_HEADERS]:
        headers = (options["merge_by"], *headers)  # The stream file has to tell the groups apart, too.
    if len(headers) > MAX_COPIED_HEADERS:
        _say(f"--copy-header: only the first {MAX_COPIED_HEADERS} of {len(headers)} headers are copied")
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
        _say("--filter-noise: pixels beside a negative one become zero; CrystFEL would make the whole frame zero")
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
    cell = None if options["pdb"] is None else read_cell(options["pdb"])
    methods = _methods(options["indexing"], cell)
    if options["find_cell"] is not None and cell is not None:
        raise UserError("--find-cell: the unit cell is given already, with -p: leave one of them out")
    if options["find_cell"] is not None and methods == (NO_INDEXING,):
        raise UserError("--find-cell needs lattices: leave --indexing=none out")
    for notice in check_methods(methods, has_cell=cell is not None):
        _say(notice)
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


def _estimate(name: str, factor: float, options: dict[str, Any], *, stated_in: str | None) -> float | None:
    """Value that frames are compared with; where the geometry states it for all frames, none is needed."""
    value = _scaled(options[name], factor)
    if value is not None and stated_in is not None:
        _say(f"--{name.replace('_', '-')} is not needed: {stated_in} states the value for all frames")
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


def _geometry(options: dict[str, Any]) -> GeometrySettings:
    mode, path = options["refine_geometry"], options["refined_geometry"]
    if mode not in ("off", "report", "live"):
        raise UserError(f"--refine-geometry={mode}: expected off, report or live")
    if mode == "off":
        if path is not None:
            raise UserError("--refined-geometry is written by --refine-geometry=live or --refine-geometry=report")
        return GeometrySettings()
    path = path or str(Path(options["output"]).with_suffix(".refined.geom"))
    _check_new_file("--refined-geometry", path, options)
    return GeometrySettings(refine=mode, refined_file=path)


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


def _integration_method(text: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for word in text.replace(",", "-").split("-"):
        if word in ("rescut", "norescut"):
            raise UserError(f"--integration={text}: {word} is no longer used; use --push-res=X")
        if word not in INTEGRATION_WORDS:
            known = ", ".join(INTEGRATION_WORDS)
            raise UserError(f"--integration={text}: '{word}' is not one of {known}")
        chosen |= INTEGRATION_WORDS[word]
    return chosen


FOUND_CELL = "Unit cell: found from the first hits, which were then indexed again"
AUDIT = {
    "live": "Geometry refinement: live; detector_offset_x_mm, y and z in each chunk tell where it stood",
    "report": "Geometry refinement: report; nothing is applied",
}


def _calibration(options: dict[str, Any], geometry: Geometry) -> CalibrationSettings:
    if not options["mille"]:
        return CalibrationSettings()
    if not any(group.name == "all" for group in geometry.groups):
        raise UserError("--mille needs a group of all panels, called 'all'", path=geometry.path)
    if options["no_refine"]:
        _say("--mille: without refinement there are no records")
    level = options["max_mille_level"]
    return CalibrationSettings(write_records=True, max_level=1 if level < 0 else level)


def _output(options: dict[str, Any], words: Sequence[str], settings: Settings) -> OutputSettings:
    return OutputSettings(
        stream_file=options["output"],
        append=options["append"],
        write_non_hits=not options["no_non_hits_in_stream"],
        write_peaks=not options["no_peaks_in_stream"],
        write_reflections=not options["no_refls_in_stream"],
        mille_file=str(Path(options["mille_dir"], options["mille_file"])) if options["mille"] else None,
        json_summary=options["json_summary"],
        reflections_file=_reflections_file(options),
        send_observations=options["reflections_out"] is not None,
        command_line=("indexamajig", *_shown_words(options, words)),
        indexing_words=options["indexing"] or ",".join(settings.indexing.methods),
        found_cell_file=_found_cell_file(options),
        audit_lines=_audit_lines(settings),
    )


def _shown_words(options: dict[str, Any], words: Sequence[str]) -> list[str]:
    """Give the command line as it is told: without the token of ASAP::O, wherever in it that may be."""
    shown = without_secrets(words, GROUPS)
    token = "" if options["asapo_endpoint"] is None else asapo_token(options)
    return [word.replace(token, "***") for word in shown] if len(token) >= SHORTEST_SECRET else shown


def _audit_lines(settings: Settings) -> tuple[str, ...]:
    """Tell what happens to frames that the command line alone does not tell."""
    lines = [] if settings.geometry.refine == "off" else [AUDIT[settings.geometry.refine]]
    return (*lines, FOUND_CELL) if settings.indexing.find_cell else tuple(lines)


def _reflections_file(options: dict[str, Any]) -> str | None:
    path = options["reflections_out"]
    if path is None:
        return None
    _check_new_file("--reflections-out", path, options)
    if options["cell_parameters_only"]:
        raise UserError("--reflections-out needs reflections: leave --cell-parameters-only out")
    if Path(path).suffix == ".parquet":
        raise UserError(
            "--reflections-out writes an Arrow stream, which a killed run leaves readable: name it .arrows"
        )
    return str(path)


def _found_cell_file(options: dict[str, Any]) -> str | None:
    path = options["find_cell"]
    if path is None:
        return None
    path = path or str(Path(options["output"]).with_suffix(".cell"))
    _check_new_file("--find-cell", path, options)
    return str(path)


def _check_new_file(option: str, path: str, options: dict[str, Any]) -> None:
    """Refuse a file that would overwrite another one of this run, or whose folder is not there."""
    names = ("geometry", "output", "pdb", "input", "json_summary", "config")
    for name in (options[each] for each in names):
        if name is not None and Path(path).resolve() == Path(name).resolve():
            raise UserError(f"{option}={path} would overwrite {name}: give another name")
    if not Path(path).parent.is_dir():
        raise UserError(f"{option}={path}: there is no folder {Path(path).parent}")


def _run(options: dict[str, Any]) -> RunSettings:
    n_workers, n_processors = options["j"], len(os.sched_getaffinity(0))
    if n_workers < 1:
        raise UserError(f"-j {n_workers}: expected the number of worker processes, at least 1")
    if n_workers > MAX_WORKERS:
        _say(f"-j {n_workers}: {MAX_WORKERS} workers are started, which is the most")
    elif n_workers > n_processors:
        _say(f"-j {n_workers}: more workers than the {n_processors} processors of this machine")
    if options["cpu_pin"] and n_workers > n_processors:
        raise UserError(f"--cpu-pin: there are {n_processors} processors for {n_workers} workers")
    if not os.access(options["temp_dir"], os.W_OK | os.X_OK):
        raise UserError(f"--temp-dir={options['temp_dir']}: expected a folder in which files can be made")
    if not options["frame_timeout"] > 0:
        raise UserError(f"--frame-timeout={options['frame_timeout']:g}: expected seconds, above zero")
    return RunSettings(
        when_behind=_when_behind(options),
        n_workers=min(n_workers, MAX_WORKERS),
        serial_start=options["serial_start"],
        frame_timeout_s=options["frame_timeout"],
        profile=options["profile"],
        cpu_pin=options["cpu_pin"],
        temp_dir=options["temp_dir"],
    )


def _when_behind(options: dict[str, Any]) -> Literal["wait", "sample"]:
    """Only a broadcast is sampled: other senders can wait."""
    is_broadcast = bool(options["zmq_subscribe"])
    chosen = options["when_behind"] or ("sample" if is_broadcast else "wait")
    if chosen not in ("wait", "sample"):
        raise UserError(f"--when-behind={chosen}: expected wait or sample")
    if chosen == "sample" and not is_broadcast:
        raise UserError("--when-behind=sample is for --zmq-subscribe: other senders wait, and no frame is left out")
    return "sample" if chosen == "sample" else "wait"


def _scaled(number: float | None, factor: float) -> float | None:
    return None if number is None else number * factor


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _say_cell(indexing: IndexingSettings) -> None:
    """Tell how the target cell was understood, and what will be done with it."""
    cell = indexing.target_cell
    if cell is None:
        _say("No target unit cell.")
    else:
        unique = f", unique axis {cell.unique_axis}" if cell.lattice_type in HAS_UNIQUE_AXIS else ""
        lengths = " ".join(f"{length:.2f}" for length in cell.parameters[:3])
        angles = " ".join(f"{angle:.2f}" for angle in cell.parameters[3:])
        _say(f"Target unit cell: {cell.lattice_type} {cell.centring}{unique}: {lengths} Å, {angles} deg")
    _say(f"Indexing methods: {', '.join(indexing.methods)}")
    if indexing.methods != ("none",):
        switches = {
            "cell check": indexing.check_cell and (cell is not None or indexing.find_cell),
            "peak check": indexing.check_peaks,
            "refinement": indexing.refine,
            "multi-lattice": indexing.multi,
            "retry": indexing.retry,
        }
        _say(", ".join(f"{name} {'on' if on else 'off'}" for name, on in switches.items()))
