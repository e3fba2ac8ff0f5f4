"""A session on this machine: frames in, supervised workers, chunks into the stream file, the ledger kept."""

import os
import shutil
import sys
import tempfile
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import zmq

from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
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
from braggstream.pipeline.timing import StageTimes
from braggstream.pipeline.totals import Ledger
from braggstream.run.begun_source import BegunSource, n_slots_for, open_socket
from braggstream.run.cell_watcher import CellWatcher
from braggstream.run.held_frames import HeldFrames
from braggstream.run.intake import FileIntake, Intake, MessageIntake, soonest
from braggstream.run.large_blocks import keep_large_blocks
from braggstream.run.patient_output import PatientOutput, Sink
from braggstream.run.processor import REAL_PROCESSOR
from braggstream.run.report import Report
from braggstream.run.sampling import SampledIntake
from braggstream.run.series import START_SLOTS, SeriesKeeper, may_be_series
from braggstream.run.slots import SlotMemory
from braggstream.run.stopping import StopSignals
from braggstream.run.supervisor import Settled, Supervisor
from braggstream.run.ties import raise_descriptor_limit
from braggstream.run.watching import Watcher, make_watchers
from braggstream.sinks.json_summary import write_json_summary
from braggstream.sinks.mille_file import open_mille_file
from braggstream.steps.device import CUDA
from braggstream.steps.indexing.methods import uses_programs

if TYPE_CHECKING:
    from braggstream.sinks.reflections_file import ReflectionsFile

DONE, SHUT_DOWN, NOTHING_PROCESSED, KILLED = 0, 1, 5, 128
"""Exit statuses, as CrystFEL's; a second stop signal gives its number plus 128."""


def run_session(
    geometry: Geometry,
    settings: Settings,
    source: SourceSettings | BegunSource,
    output: OutputSettings,
    run: RunSettings,
    *,
    processor: str = REAL_PROCESSOR,
    sink: Sink | None = None,
    tell_summary: Callable[[Mapping[str, Any]], None] | None = None,
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
    tell_summary : callable, optional
        Is given what the JSON summary holds, at the end.

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
            geometry, settings, source, output, run, processor=processor, sink=sink, tell_summary=tell_summary
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
    tell_summary: Callable[[Mapping[str, Any]], None] | None,
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
    report = Report(ledger, run.status_interval_s)
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignals())
        memory = SlotMemory.create(n_slots + START_SLOTS, setup.slot_bytes)
        stack.callback(memory.close)
        intake = _open_intake(source, setup, memory, run=run, report=report)
        receiving = stack.enter_context(ExitStack())
        receiving.callback(intake.close)
        sink = sink or open_sink(geometry, settings, output)
        stack.callback(sink.close)
        records = None if output.mille_file is None else open_mille_file(output.mille_file)
        if records is not None:
            stack.callback(records.close)
        reflections = None if output.reflections_file is None else open_reflections(geometry, output)
        if reflections is not None:
            stack.callback(reflections.close)
        supervisor = Supervisor(
            setup=setup,
            memory=memory,
            n_workers=run.n_workers,
            frame_timeout_s=run.frame_timeout_s,
            say=report.say,
        )
        watchers = make_watchers(setup, run, report.say)
        report.more_lines = [watcher.status_line for watcher in watchers]
        session = Session(
            ledger,
            report,
            intake=intake,
            output=PatientOutput(sink, records, report.say, reflections=reflections),
            supervisor=supervisor,
            stop=stop,
            watchers=watchers,
        )
        session.times.stream = sys.stdout if run.profile else None
        try:
            return session.run()
        finally:
            receiving.close()
            ledger.n_replaced_workers = supervisor.n_replaced
            ledger.n_undelivered = intake.n_undelivered
            learned = [*(watcher.finish() for watcher in watchers), intake.summary()]
            report.finish()
            if run.profile:
                learned.append({"profile": session.times.as_dict()})
                for line in session.times.table():
                    report.say(line)
            summary = dict(ChainMap(ledger.as_dict(), *learned))
            if tell_summary is not None:
                tell_summary(summary)
            if output.json_summary is not None:
                write_json_summary(output.json_summary, summary)


class Session:
    """The loop that everything meets in: it only ever waits for all of it together."""

    def __init__(
        self,
        ledger: Ledger,
        report: Report,
        *,
        intake: Intake,
        output: PatientOutput,
        supervisor: Supervisor,
        stop: StopSignals,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self._ledger = ledger
        self._report = report
        self._intake = intake
        self._output = output
        self._supervisor = supervisor
        self._stop = stop
        self._watchers = watchers
        self._finder = next((watcher for watcher in watchers if isinstance(watcher, CellWatcher)), None)
        self._held = HeldFrames(intake, self._finder, report.say)
        self._is_open = False
        self._is_stopping = False
        self._error: BaseException | None = None
        self.times = StageTimes()

    def run(self) -> int:
        """Run until the frames end or the user ends it; gives the exit status."""
        at_once = True
        try:
            self._supervisor.start()
            while self._stop.n_received < 2 and not self._is_done():
                self._wait()
                self._turn()
            at_once = self._stop.n_received > 1 or not self._supervisor.is_warm
        finally:
            self._supervisor.close(at_once=at_once)
            for outcome in self._held.abandon():
                self._record(outcome)
            self._count(self._output.abandon())
            self._intake.wind_down()
            self._ledger.sample_out(self._intake.sampled_out())
        if self._error is not None:
            raise self._error
        return self._status()

    def _status(self) -> int:
        if self._stop.n_received > 1:
            return KILLED + self._stop.last
        if self._stop.n_received:
            return SHUT_DOWN if self._stop.is_shutdown else DONE
        return DONE if self._ledger.n_processed else NOTHING_PROCESSED

    def _is_done(self) -> bool:
        return self._has_no_work and not self._held and not self._output.is_stuck

    @property
    def _has_no_work(self) -> bool:
        return (not self._is_taking or self._intake.is_ended) and self._supervisor.n_open == 0

    @property
    def _is_taking(self) -> bool:
        """Whether frames are taken: until the run is stopped, and then those that were asked for before."""
        return not self._is_stopping or (self._error is None and self._intake.is_winding_down)

    @property
    def _is_listening(self) -> bool:
        """Whether the source is heard: not while results wait for room, unless it cannot wait itself."""
        return self._is_taking and (self._intake.keeps_newest or not self._output.is_stuck)

    def _turn(self) -> None:
        """Do everything that can be done now."""
        self._heed_signals()
        for settled in self._supervisor.turn():
            self._settle(settled)
        self._heed_cell()
        self._write()
        if self._supervisor.is_warm and not self._is_open and not self._is_stopping:
            self._is_open = True
            self._intake.open()
        if self._is_open and self._is_listening and not self._held.has_tasks:
            self._take()
        self._heed_watchers()
        self._report.turn()

    def _heed_watchers(self) -> None:
        """Let watchers do what is due; one of them may have what was wished for."""
        for watcher in self._watchers:
            reason = watcher.turn()
            if reason and not self._is_stopping:
                self._report.say(f"{reason}: stopping; finishing {self._supervisor.n_open} frames.")
                self._intake.wind_down()
                self._is_stopping = True

    def _heed_cell(self) -> None:
        """See to the results that wait for the unit cell."""
        if not self._held or self._finder is None:
            return
        if self._has_no_work and not self._is_stopping:
            self._adjust(self._finder.conclude(self._supervisor.adjustments), self._finder)
        if self._is_stopping or not (self._finder.is_looking or self._held.is_known):
            for outcome in self._held.give_up():
                self._record(outcome)
        for task in self._held.tasks():
            self._supervisor.submit(task)

    @property
    def _n_wanted(self) -> int:
        """How many frames are to be handed out now: some beyond the free workers, unless the newest are wanted."""
        if self._output.is_stuck:
            return 0
        n_workers = self._supervisor.n_workers
        n_given = self._supervisor.n_open if self._intake.keeps_newest else self._supervisor.n_waiting
        return n_workers - min(n_workers, n_given)

    def _take(self) -> None:
        """Take frames, as many as keep the workers busy, and hand them out."""
        started = monotonic()
        tasks = self._intake.take(self._n_wanted)
        self.times.parent["receiving"] += monotonic() - started  # type: ignore[assignment]
        self._ledger.sample_out(self._intake.sampled_out())
        for task in tasks:
            self._ledger.receive()
            self._supervisor.submit(task)
        for settled in self._supervisor.turn():
            self._settle(settled)
        self._report.total = self._intake.total
        if self._intake.error is not None:
            self._end(self._intake.error)

    def _settle(self, settled: Settled) -> None:
        """Write a frame's chunk and count the frame, unless it waits; learn from it."""
        if settled.worker is not None:
            self.times.add(settled.worker, settled.outcome.timings, since=settled.since, until=monotonic())
        outcome = self._held.sift(settled)
        seen = settled.outcome if outcome is None else self._record(outcome)
        self._intake.release(settled.task)
        for watcher in self._watchers:
            self._adjust(watcher.see(seen, self._supervisor.adjustments), watcher)

    def _adjust(self, wanted: Adjustments | None, watcher: Watcher) -> None:
        """Have the frames that follow processed as a watcher wants it."""
        if wanted is None:
            return
        self._supervisor.adjust(wanted)
        if watcher is self._finder:
            self._held.process_again(self._supervisor.adjustments.number)

    def _record(self, outcome: FrameOutcome) -> FrameOutcome:
        """Have a frame's chunk written and the frame counted, now or when there is room; gives the outcome."""
        self._output.put(outcome)
        self._write()
        return outcome

    def _write(self) -> None:
        """Write what can be written, and count its frames."""
        started = monotonic()
        self._count(self._output.settle())
        self.times.parent["writing"] += monotonic() - started  # type: ignore[assignment]
        if self._output.error is not None:
            self._end(self._output.error)

    def _count(self, outcomes: Iterable[FrameOutcome]) -> None:
        for outcome in outcomes:
            self._intake.recorded(outcome)
            self._ledger.settle(outcome)
            self._report.outcome(outcome)
            for watcher in self._watchers:
                watcher.recorded(outcome)

    def _end(self, error: BaseException) -> None:
        """Stop to take frames because of an error; it is raised when those in flight are finished."""
        self._is_stopping = True
        self._error = self._error or error

    def _heed_signals(self) -> None:
        if not self._stop.n_received:
            return
        self._stop.drain()
        if not self._is_stopping and self._stop.n_received == 1:
            n_open = self._supervisor.n_open
            waiting = f"; finishing {n_open} frames (once more to stop at once)" if n_open else ""
            if self._output.is_stuck:
                waiting += f"; {self._output.n_waiting} frames wait for room (once more to stop without them)"
            self._report.say(f"Stopping{waiting}.")
            self._intake.wind_down()
        self._is_stopping = True

    def _wait(self) -> None:
        """Wait until something happens or is due."""
        poller = zmq.Poller()
        poller.register(self._stop.descriptor, zmq.POLLIN)
        pollables: list[Any] = [self._supervisor.descriptor]
        deadlines = [self._supervisor.deadline(), self._report.deadline(), self._output.deadline()]
        deadlines += [watcher.deadline() for watcher in self._watchers]
        if self._is_open and self._is_listening:
            pollables += self._intake.pollables()
            deadlines.append(self._intake.deadline())
        for pollable in pollables:
            poller.register(pollable, zmq.POLLIN)
        started = monotonic()
        poller.poll(soonest(*deadlines))
        self.times.parent["waiting"] += monotonic() - started  # type: ignore[assignment]


def _with_scratch(settings: Settings, run: RunSettings, stack: ExitStack) -> Settings:
    """Make a folder for the files of other programs, where some will be run; the stack removes it."""
    if not uses_programs(settings.indexing):
        return settings
    try:
        scratch = tempfile.mkdtemp(prefix=f"indexamajig.{os.getpid()}.", dir=run.temp_dir)
    except OSError as error:
        raise UserError(f"--temp-dir={run.temp_dir}: {error.strerror or error}") from None
    stack.callback(shutil.rmtree, scratch, ignore_errors=True)
    return replace(settings, indexing=replace(settings.indexing, scratch=str(Path(scratch).absolute())))


def open_sink(geometry: Geometry, settings: Settings, output: OutputSettings) -> Sink:
    """Open the stream file and write its header."""
    from braggstream.formats.stream_header import stream_header
    from braggstream.sinks.stream_file import StreamFileSink

    return StreamFileSink(output, stream_header(geometry.text, output, settings.indexing.target_cell))


def open_reflections(geometry: Geometry, output: OutputSettings) -> "ReflectionsFile":
    """Open the columnar cache; raises `UserError`."""
    from braggstream.formats.stream_header import audit_text
    from braggstream.sinks.reflections_file import ReflectionsFile

    names = tuple(panel.name for panel in geometry.panels)
    assert output.reflections_file is not None
    return ReflectionsFile(output.reflections_file, names, audit_text(output), goes_on=output.append)


def _open_intake(
    source: SourceSettings | BegunSource,
    setup: Setup,
    memory: SlotMemory,
    *,
    run: RunSettings,
    report: Report,
) -> Intake:
    if isinstance(source, AsapoSourceSettings):
        return _asapo_intake(source, setup, memory, run=run, report=report)
    if isinstance(source, ZmqSourceSettings):
        source = BegunSource(source, open_socket(source, setup.settings.frame, run, report.say))
    if isinstance(source, BegunSource):
        socket, source = source.socket, source.settings
        kind = SampledIntake if source.subscribe and run.when_behind == "sample" else MessageIntake
        slots = range(setup.n_slots, setup.n_slots + START_SLOTS)
        may_be = may_be_series(setup.settings.frame.data_format)
        series = SeriesKeeper(memory, slots, report.notice) if may_be else None
        return kind(socket, memory, n_slots=setup.n_slots, serial_start=run.serial_start, series=series)
    return FileIntake(open_frames(source, setup.geometry, run.serial_start))


def _asapo_intake(
    source: AsapoSourceSettings, setup: Setup, memory: SlotMemory, *, run: RunSettings, report: Report
) -> Intake:
    from braggstream.run.asapo_intake import AsapoIntake

    return AsapoIntake(
        source,
        memory,
        n_slots=setup.n_slots,
        n_workers=run.n_workers,
        slot_bytes=setup.slot_bytes,
        output=setup.output,
        say=report.say,
    )


def open_frames(source: FileSourceSettings, geometry: Geometry, serial_start: int) -> Any:
    """Open the list of frames; raises `UserError` where it cannot be read."""
    from braggstream.sources.files import FileSource

    return FileSource(source, geometry, serial_start)
