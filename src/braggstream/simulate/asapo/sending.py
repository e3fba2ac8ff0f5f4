"""Simulated frames sent to ASAP::O, the stand-in or a real one, with the official producer."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from braggstream.model.errors import MissingExtraError, UserError
from braggstream.simulate.asapo.receiver import IN_DATABASE, IN_FILES, TRANSFER
from braggstream.simulate.asapo.settings import AsapoSendingSettings
from braggstream.simulate.beamline import Schedule, Sent
from braggstream.simulate.payloads import Payload

NAME = "frame-{n}.raw"
"""How the messages are called; `{n}` is the frame's number from 0, over all streams."""

MOST_WAITING = 16
"""Messages that the producer holds at a time."""

MAX_STREAMS = 10_000
POLL_S = 0.1


class AsapoSender:
    """One producer.  Raises `UserError` where the official producer is not installed, or refuses its settings."""

    def __init__(self, settings: AsapoSendingSettings, token: str) -> None:
        try:
            import asapo_producer
        except ImportError:
            raise MissingExtraError(
                library="asapo_producer", extra="asapo", purpose="sending frames to ASAP::O"
            ) from None
        self.settings = settings
        self._waiting = threading.Semaphore(MOST_WAITING)
        self._failure: str | None = None
        self._library: Any = asapo_producer
        try:
            self._producer: Any = asapo_producer.create_producer(
                settings.endpoint,
                "processed",
                settings.beamtime,
                "auto",
                settings.source,
                token,
                1,
                int(settings.patience_s * 1000),
                "auto",
                "simulation",
            )
        except asapo_producer.AsapoProducerError as error:
            raise UserError(f"{settings.endpoint}: {error}") from None
        self._producer.set_log_level("none")

    def send(self, payloads: Sequence[Payload], should_stop: Callable[[], bool] = lambda: False) -> Sent:
        """Send the frames in turn, stream by stream; raises `UserError` where the service does not take one."""
        names = self._free_streams()
        schedule = Schedule(self.settings.rate)
        number, first, last = 0, 0.0, 0.0
        stream = next(names)
        for size in self._sizes():
            successor = next(names) if number + size < self.settings.n_frames else None
            position = 0
            while (not size or position < size) and not should_stop():
                schedule.wait(should_stop)
                if should_stop() or not self._send(stream, position + 1, number, payloads, should_stop):
                    break
                last = time.monotonic()
                first = first or last
                position, number = position + 1, number + 1
            if self.settings.is_finished and position:
                self._finish(stream, position, None if should_stop() else successor, should_stop)
            if self._failure or successor is None or should_stop():
                break
            stream = successor
        self._wait_for_all(should_stop)
        if self._failure:
            raise UserError(f"a frame was not taken: {self._failure}")
        is_complete = bool(self.settings.n_frames) and number == self.settings.n_frames
        return Sent(n_frames=number, seconds=last - first, is_complete=is_complete)

    def _sizes(self) -> Iterator[int]:
        """Frames of each stream; 0 = no end."""
        shares, more = divmod(self.settings.n_frames, self.settings.n_streams)
        return (shares + (index < more) for index in range(self.settings.n_streams))

    def _free_streams(self) -> Iterator[str]:
        """Names of streams that have no messages yet."""
        for index in range(1, MAX_STREAMS):
            name = f"run{index}"
            if not self._last_id(name):
                yield name
        raise UserError(f"{self.settings.endpoint}: there are {MAX_STREAMS} streams already")

    def _last_id(self, stream: str) -> int:
        try:
            return int(self._producer.get_stream_info(stream, int(self.settings.patience_s * 1000))["lastId"])
        except self._library.AsapoProducerError as error:
            raise UserError(f"{self.settings.endpoint}: {_one_line(error)}") from None

    def _send(
        self,
        stream: str,
        message_id: int,
        number: int,
        payloads: Sequence[Payload],
        should_stop: Callable[[], bool],
    ) -> bool:
        """Hand one frame to the producer; False where that is no use any more."""
        if message_id == self.settings.hole:
            return True
        payload = payloads[number % len(payloads)]
        if not self._has_room(should_stop):
            return False
        self._producer.send(
            message_id,
            f"processed/{self.settings.source}/{stream}/{NAME.replace('{n}', str(number))}",
            payload.message(number),
            dict(payload.metadata),
            ingest_mode=TRANSFER | IN_DATABASE | (IN_FILES if self.settings.is_filed else 0),
            stream=stream,
            callback=self._note,
        )
        return True

    def _finish(self, stream: str, last_id: int, successor: str | None, should_stop: Callable[[], bool]) -> None:
        if self._has_room(should_stop):
            self._producer.send_stream_finished_flag(stream, last_id, successor, self._note)

    def _has_room(self, should_stop: Callable[[], bool]) -> bool:
        """Wait until the producer may be given another message; False where it takes none, or we are to stop."""
        deadline = time.monotonic() + self.settings.patience_s
        while self._failure is None and time.monotonic() < deadline:
            if self._waiting.acquire(timeout=POLL_S):
                return True
            if should_stop():
                return False
        self._failure = self._failure or "the service takes nothing"
        return False

    def _wait_for_all(self, should_stop: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.settings.patience_s
        n_done = 0
        while n_done < MOST_WAITING and self._failure is None and time.monotonic() < deadline:
            n_done += self._waiting.acquire(timeout=POLL_S)
            if should_stop():
                deadline = min(deadline, time.monotonic() + 1.0)
        if n_done < MOST_WAITING and not should_stop():
            self._failure = self._failure or "the service takes nothing"

    def _note(self, _header: object, error: Exception | None) -> None:
        """Called by the producer's own thread for each message."""
        if error is not None and not isinstance(error, self._library.AsapoServerWarning):
            self._failure = self._failure or _one_line(error)
        self._waiting.release()


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]
