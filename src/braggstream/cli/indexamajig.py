"""`indexamajig`: options to settings, in the order in which CrystFEL checks them, then the run."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from braggstream.cli.config_file import read_options, write_config
from braggstream.cli.device_choice import settings_on_device
from braggstream.cli.harvest import write_harvest
from braggstream.cli.live_merge_choice import check_ambiguity, live_merge_settings
from braggstream.cli.notices import say
from braggstream.cli.output_choice import output_settings
from braggstream.cli.processing_choice import SUPPLIED_PEAKS, frame_settings, processing_settings
from braggstream.cli.provenance import Provenance
from braggstream.cli.source_choice import source_settings
from braggstream.formats.geom import read_geometry
from braggstream.model.cell import HAS_UNIQUE_AXIS
from braggstream.model.data_formats import OF_SERIES
from braggstream.model.errors import BraggstreamError, UserError
from braggstream.model.geometry import Geometry
from braggstream.model.settings import (
    AsapoSourceSettings,
    IndexingSettings,
    OutputSettings,
    RunSettings,
    Settings,
    SourceSettings,
    ZmqSourceSettings,
)
from braggstream.pipeline.setup_overview import overview
from braggstream.run.begun_source import BegunSource, begin_series
from braggstream.run.lasting_log import let_log_last
from braggstream.run.local import run_session

WRONG_USE = 1
"""Exit status of a wrong option value or an unusable file, as CrystFEL's."""
MAX_WORKERS = 1024
INPUTS = ("input", "zmq_input", "asapo_endpoint")
"""Options that name where frames come from."""


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
        if options["write_config"] is not None:
            write_config(options)
            if all(options.get(name) is None for name in INPUTS):
                return 0
        session = understand_options(words, options)
        for notice in session.geometry.notices:
            say(notice)
        say(*overview(session.geometry, session.settings))
        say(*cell_lines(session.settings.indexing))
        harvest = None if options["harvest_file"] is None else lambda: write_harvest(options, session.settings)
        record = Provenance(words, options, begun=harvest)
        status = run_session(
            session.geometry,
            session.settings,
            session.source,
            session.output,
            session.run,
            record=record,
        )
    except BraggstreamError as error:
        say(f"indexamajig: {error}")
        status = WRONG_USE
    if record is not None:
        record.end(status, say)
    return status


def understand(words: Sequence[str]) -> Session:
    """Turn the command line into settings; raises `UserError` for the first thing that is wrong."""
    return understand_options(*read_options(words))


def understand_options(words: Sequence[str], options: dict[str, Any]) -> Session:
    """Turn options into settings; raises `UserError` for the first thing that is wrong."""
    geometry, begun = _geometry_and_series(options)
    if options["hdf5_peaks"] is not None:
        geometry = replace(geometry, peak_list=options["hdf5_peaks"], _cache={})
    source = source_settings(options)
    if options["peaks"] in SUPPLIED_PEAKS and geometry.peak_list is None:
        raise UserError(f"--peaks={options['peaks']} needs  peak_list = PLACE  in {geometry.path}")
    settings = processing_settings(options, geometry)
    settings, notices = settings_on_device(settings, options["device"])
    for notice in notices:
        say(notice)
    live_merge = live_merge_settings(options)
    check_ambiguity(live_merge)
    return Session(
        geometry=geometry,
        settings=settings,
        source=begun or source,
        output=output_settings(options, words, settings, secret=_secret_of(source)),
        run=replace(_run(options), live_merge=live_merge),
    )


def _secret_of(source: SourceSettings) -> str:
    return source.service.token if isinstance(source, AsapoSourceSettings) else ""


def _geometry_and_series(options: dict[str, Any]) -> tuple[Geometry, BegunSource | None]:
    """Read the geometry file; without one, make it from the start message of a series, where there will be such."""
    if options["geometry"] is not None:
        return read_geometry(options["geometry"]), None
    if options["data_format"] not in OF_SERIES:
        raise UserError("a geometry file is needed: give it with -g FILE")
    source = source_settings(options)
    if not isinstance(source, ZmqSourceSettings):
        raise UserError("a geometry file is needed: give it with -g FILE (--zmq-input can do without)")
    return begin_series(source, frame_settings(options), _run(options), say)


def _run(options: dict[str, Any]) -> RunSettings:
    n_workers, n_processors = options["j"], len(os.sched_getaffinity(0))
    if n_workers < 1:
        raise UserError(f"-j {n_workers}: expected the number of worker processes, at least 1")
    if n_workers > MAX_WORKERS:
        say(f"-j {n_workers}: {MAX_WORKERS} workers are started, which is the most")
    elif n_workers > n_processors:
        say(f"-j {n_workers}: more workers than the {n_processors} processors of this machine")
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
        keep_going=options["keep_going"],
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


def cell_lines(indexing: IndexingSettings) -> Iterator[str]:
    """Tell how the target cell was understood, and what will be done with it."""
    cell = indexing.target_cell
    if cell is None:
        yield "No target unit cell."
    else:
        unique = f", unique axis {cell.unique_axis}" if cell.lattice_type in HAS_UNIQUE_AXIS else ""
        lengths = " ".join(f"{length:.2f}" for length in cell.parameters[:3])
        angles = " ".join(f"{angle:.2f}" for angle in cell.parameters[3:])
        yield f"Target unit cell: {cell.lattice_type} {cell.centring}{unique}: {lengths} Å, {angles} deg"
    yield f"Indexing methods: {', '.join(indexing.methods)}"
    if indexing.methods != ("none",):
        switches = {
            "cell check": indexing.check_cell and (cell is not None or indexing.find_cell),
            "peak check": indexing.check_peaks,
            "refinement": indexing.refine,
            "multi-lattice": indexing.multi,
            "retry": indexing.retry,
        }
        yield ", ".join(f"{name} {'on' if on else 'off'}" for name, on in switches.items())
