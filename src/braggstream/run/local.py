"""A session on this machine: frames in, supervised workers, chunks into the stream file, the ledger kept."""

import os
import shutil
import sys
import tempfile
from collections import ChainMap
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from braggstream.formats.stream_continued import RecordedFrames, recorded_frames
from braggstream.formats.wire import Setup
from braggstream.model.errors import UserError
from braggstream.model.geometry import Geometry
from braggstream.model.settings import (
    AsapoSourceSettings,
    FileSourceSettings,
    OutputSettings,
    RunSettings,
    Settings,
    SourceSettings,
    ZmqSourceSettings,
)
from braggstream.pipeline.totals import Ledger
from braggstream.run.begun_source import BegunSource, n_slots_for, open_socket
from braggstream.run.diagnosis_watcher import DiagnosisWatcher
from braggstream.run.intake import FileIntake, Intake, MessageIntake
from braggstream.run.large_blocks import keep_large_blocks
from braggstream.run.lasting_log import LastingLog
from braggstream.run.left_out import LeftOut
from braggstream.run.output_pipe import reader_of
from braggstream.run.patient_output import Sink
from braggstream.run.processor import REAL_PROCESSOR
from braggstream.run.report import Report
from braggstream.run.results import Results, SessionRecord
from braggstream.run.sampling import SampledIntake
from braggstream.run.series import START_SLOTS, SeriesKeeper, may_be_series
from braggstream.run.session import Session
from braggstream.run.slots import SlotMemory
from braggstream.run.stopping import StopSignals
from braggstream.run.supervisor import Supervisor
from braggstream.run.system_limits import check_descriptors, raise_descriptor_limit
from braggstream.run.watching import make_watchers
from braggstream.sinks.durable import DurableFile
from braggstream.sinks.json_summary import write_json_summary
from braggstream.steps.device import CUDA
from braggstream.steps.indexing.external.descendants import end_marked
from braggstream.steps.indexing.methods import uses_programs


def run_session(
    geometry: Geometry,
    settings: Settings,
    source: SourceSettings | BegunSource,
    output: OutputSettings,
    run: RunSettings,
    *,
    processor: str = REAL_PROCESSOR,
    sink: Sink | None = None,
    record: SessionRecord | None = None,
) -> int:
    """Process all frames of a source; gives the exit status.

    Parameters
    ----------
    geometry, settings, source, output, run
        What the user chose.
    processor : str
        Factory of what workers do with a frame, as `module:name`.
    sink : Sink, optional
        Where chunks go instead of the stream file; it is closed at the end.
    record : SessionRecord, optional
        Is told how the stream file comes about.

    Raises
    ------
    BraggstreamError
        Something given by the user cannot be used, workers cannot start, or results cannot be written.
    """
    raise_descriptor_limit()
    keep_large_blocks()
    with ExitStack() as stack:
        settings = _with_scratch(settings, run, stack)
        return _run_session(
            geometry,
            settings,
            source,
            output,
            run,
            processor=processor,
            sink=sink,
            record=record,
        )


def _run_session(
    geometry: Geometry,
    settings: Settings,
    source: SourceSettings | BegunSource,
    output: OutputSettings,
    run: RunSettings,
    *,
    processor: str,
    sink: Sink | None,
    record: SessionRecord | None,
) -> int:
    n_slots = n_slots_for(run)
    setup = Setup(
        processor=processor,
        geometry=geometry,
        settings=settings,
        output=output,
        n_slots=n_slots,
        slot_bytes=settings.frame.max_message_bytes,
        processors=tuple(sorted(os.sched_getaffinity(0))) if run.cpu_pin else (),
        limits_memory=not isinstance(source, FileSourceSettings) and settings.peaks.device != CUDA,
    )
    ledger = Ledger()
    log = sys.stderr if isinstance(sys.stderr, LastingLog) else None
    report = Report(ledger, run.status_interval_s, log)
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignals())
        if sink is None and not stack.enter_context(reader_of(output.stream_file, stop, report.say)):
            return stop.status
        n_kept = 0 if isinstance(source, FileSourceSettings) else n_slots + START_SLOTS
        check_descriptors(run.n_workers, n_kept)
        memory = SlotMemory.create(n_kept, setup.slot_bytes)
        stack.callback(memory.close)
        results = stack.enter_context(Results(geometry, settings, output, sink=sink, say=report.say, record=record))
        recorded = RecordedFrames()
        if output.append:
            are_in_files = isinstance(source, FileSourceSettings)
            recorded = recorded_frames(output.stream_file, has_names=are_in_files)
        run = replace(run, serial_start=max(run.serial_start, recorded.highest + 1))
        if _are_numbered(source, output, settings):
            ledger.senders.before = recorded.highest or None
        receiving = stack.enter_context(ExitStack())
        intake = _open_intake(
            source,
            setup,
            memory,
            run=run,
            report=report,
            ledger=ledger,
            recorded=recorded,
            durable=results.durable,
        )
        receiving.callback(intake.close)
        results.keep()
        supervisor = Supervisor(
            setup=setup,
            memory=memory,
            n_workers=run.n_workers,
            frame_timeout_s=run.frame_timeout_s,
            say=report.say,
        )
        learners = make_watchers(setup, run, report.say)
        diagnosis = DiagnosisWatcher(setup, report.say, stop)
        watchers = [*learners, diagnosis]
        report.more_lines = [watcher.status_line for watcher in watchers]
        session = Session(
            ledger,
            report,
            intake=intake,
            output=results.output,
            supervisor=supervisor,
            stop=stop,
            watchers=watchers,
            stream_file=output.stream_file,
        )
        session.times.stream = LastingLog(sys.stdout) if run.profile else None
        try:
            return session.run()
        finally:
            receiving.close()
            ledger.n_replaced_workers = supervisor.n_replaced
            ledger.n_undelivered = intake.n_undelivered
            learned = [*(watcher.finish() for watcher in learners), intake.summary()]
            if run.profile:
                learned.append({"profile": session.times.as_dict()})
            with nullcontext() if log is None else log.patience(lambda: stop.n_received > 0):
                report.finish()
                _tell_between(ledger, report, learned)
                learned.append(diagnosis.finish())
                for line in session.times.table() if run.profile else ():
                    report.say(line)
            _write_summary(dict(ChainMap(ledger.as_dict(), *learned)), output, report, record)


def _tell_between(ledger: Ledger, report: Report, learned: list[dict[str, Any]]) -> None:
    """Tell how many frames the sender numbered between an earlier run and this one, which goes on with its file."""
    n = ledger.senders.n_between
    if n:
        learned.append({"not_recorded_before": n})
        report.say(
            f"{n} numbers of the sender lie between the last frame in the stream file and the first one of this "
            "run: those frames are not in it."
        )


def _write_summary(
    summary: dict[str, Any], output: OutputSettings, report: Report, record: SessionRecord | None
) -> None:
    if record is not None:
        record.take_summary(summary)
    if output.json_summary is not None:
        write_json_summary(output.json_summary, summary, say=report.say)


def _with_scratch(settings: Settings, run: RunSettings, stack: ExitStack) -> Settings:
    """Make a folder for the files of other programs, where some will be run; the stack removes it."""
    if not uses_programs(settings.indexing):
        return settings
    try:
        scratch = tempfile.mkdtemp(prefix=f"indexamajig.{os.getpid()}.", dir=run.temp_dir)
    except OSError as error:
        raise UserError(f"--temp-dir={run.temp_dir}: {error.strerror or error}") from None
    scratch = str(Path(scratch).absolute())
    stack.callback(shutil.rmtree, scratch, ignore_errors=True)
    stack.callback(end_marked, scratch)
    return replace(settings, indexing=replace(settings.indexing, scratch=scratch))


def _open_intake(
    source: SourceSettings | BegunSource,
    setup: Setup,
    memory: SlotMemory,
    *,
    run: RunSettings,
    report: Report,
    ledger: Ledger,
    recorded: RecordedFrames,
    durable: DurableFile,
) -> Intake:
    if isinstance(source, AsapoSourceSettings):
        return _asapo_intake(source, setup, memory, run=run, report=report, durable=durable)
    if isinstance(source, ZmqSourceSettings):
        source = BegunSource(source, open_socket(source, setup.settings.frame, run, report.say))
    if isinstance(source, BegunSource):
        socket, source = source.socket, source.settings
        kind = SampledIntake if source.subscribe and run.when_behind == "sample" else MessageIntake
        slots = range(setup.n_slots, setup.n_slots + START_SLOTS)
        may_be = may_be_series(setup.settings.frame.data_format)
        series = SeriesKeeper(memory, slots, report.notice, ledger.senders) if may_be else None
        needs_image = setup.settings.frame.load_image
        return kind(
            socket,
            memory,
            n_slots=setup.n_slots,
            serial_start=run.serial_start,
            series=series,
            left_out=None if socket.is_asking else LeftOut(report.say, needs_image=needs_image),
        )
    frames = open_frames(source, setup.geometry, run.serial_start)
    return FileIntake(frames, recorded, report.say, give_up=getattr(frames, "close", None))


def _asapo_intake(
    source: AsapoSourceSettings,
    setup: Setup,
    memory: SlotMemory,
    *,
    run: RunSettings,
    report: Report,
    durable: DurableFile,
) -> Intake:
    from braggstream.run.asapo_intake import AsapoIntake

    return AsapoIntake(
        source,
        memory,
        n_slots=setup.n_slots,
        n_workers=run.n_workers,
        slot_bytes=setup.slot_bytes,
        output=setup.output,
        durable=durable,
        say=report.say,
    )


def _are_numbered(source: SourceSettings | BegunSource, output: OutputSettings, settings: Settings) -> bool:
    """Whether serial numbers in the stream file are those of the sender, if it gives any, and all are there."""
    is_message = isinstance(source, ZmqSourceSettings | BegunSource)
    return is_message and output.write_non_hits and not may_be_series(settings.frame.data_format)


def open_frames(source: FileSourceSettings, geometry: Geometry, serial_start: int) -> Any:
    """Open the list of frames; raises `UserError` where it cannot be read."""
    from braggstream.sources.files import FileSource

    return FileSource(source, geometry, serial_start)
