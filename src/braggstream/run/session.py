"""The loop of a session: tasks from the source to workers, outcomes to the output, the ledger and the watchers."""

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import zmq

from braggstream.formats.wire import FrameOutcome
from braggstream.model.adjustments import Adjustments
from braggstream.model.errors import FileError, UserError
from braggstream.pipeline.timing import StageTimes
from braggstream.pipeline.totals import Ledger
from braggstream.run.cell_watcher import CellWatcher
from braggstream.run.held_frames import HeldFrames
from braggstream.run.intake import Intake, soonest
from braggstream.run.patient_output import PatientOutput
from braggstream.run.report import Report
from braggstream.run.stopping import StopSignals
from braggstream.run.supervisor import Settled, Supervisor
from braggstream.run.watching import Watcher

if TYPE_CHECKING:
    pass

DONE, NOTHING_PROCESSED, FILES_LACKING = 0, 5, 6
"""Exit statuses, CrystFEL's but for the last; for those of signals see `StopSignals.status`."""


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
        stream_file: str = "",
    ) -> None:
        self._ledger = ledger
        self._report = report
        self._intake = intake
        self._output = output
        self._supervisor = supervisor
        self._stop = stop
        self._watchers = watchers
        self._stream_file = stream_file
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
            self._conclude_output()
            self._intake.wind_down()
            self._ledger.sample_out(self._intake.sampled_out())
        if self._error is not None:
            raise self._error
        return self._status()

    def _conclude_output(self) -> None:
        """See for the last time that what was written is there; what is not, is not counted as written."""
        self._output.conclude()
        self._take_back()
        self._error = self._error or self._output.error
        n_gone = self._ledger.n_taken_back
        if n_gone and self._error is None:
            gone = f"{n_gone} chunks that were written are gone: something else took them"
            self._error = UserError(gone, path=self._stream_file)

    def _take_back(self) -> None:
        n_lost = self._output.take_lost()
        if n_lost:
            self._ledger.take_back(n_lost, self._stream_file)

    def _status(self) -> int:
        if self._stop.n_received:
            return self._stop.status
        if not self._ledger.n_processed and not self._intake.n_known:
            return NOTHING_PROCESSED
        return FILES_LACKING if self._ledger.failed[FileError.reason] else DONE

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
        self._take_back()
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
