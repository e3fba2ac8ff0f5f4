"""The output stream: each message that was processed goes out again, a hit with its bytes, others as placeholders.

Names, numbers and metadata are CrystFEL's (`--asapo-output-stream`): source `<source>_hits`, the same stream, the
same number.  Beyond it, every number that was taken is sent, so that there are no holes; what the service could not
take is sent again; the end waits until all is out; and finished streams are finished there too.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from braggstream.model.errors import UserError
from braggstream.model.frame import MessageOrigin
from braggstream.model.optional import optional_library
from braggstream.model.settings import AsapoSourceSettings

SUFFIX = "_hits"
PLACEHOLDER = b"SKIPPED\0"
CACHE_ONLY = 9
"""Ingest mode: bytes into the cache, record into the data base."""
N_THREADS, TIMEOUT_MS = 8, 30_000
MOST_WAITING = 256
MOST_WAITING_BYTES = 1 << 29
"""More is not taken from the input before some of that is out."""
MAX_TOLD = 5
MAX_ERROR_TEXT = 300

Key = tuple[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parcel:
    origin: MessageOrigin
    payload: bytes

    @property
    def key(self) -> Key:
        return self.origin.stream, self.origin.number


class AsapoPublisher:
    """Sends messages in the background; `turn` has to be called now and then."""

    def __init__(
        self, settings: AsapoSourceSettings, *, say: Callable[[str], None], done: Callable[[Key], None]
    ) -> None:
        """Make the producer.  `done` is called, from any thread, when a message is out or was given up."""
        service = settings.service
        self._lib = optional_library("asapo_producer", extra="asapo", purpose="--asapo-output-stream")
        self._say, self._done = say, done
        self._token = service.token
        self.source = service.source + SUFFIX
        try:
            self._producer = self._lib.create_producer(
                service.endpoint, "processed", service.beamtime, "auto", self.source, service.token,
                N_THREADS, TIMEOUT_MS, "auto", "indexamajig",
            )  # fmt: skip
        except self._lib.AsapoProducerError as error:
            raise UserError(f"--asapo-output-stream: {self._text(error)}") from None
        self._producer.set_log_level("none")
        self._lock = threading.Lock()
        self._waiting: dict[Key, _Parcel] = {}
        self._n_bytes = 0
        self._again: deque[_Parcel] = deque()
        self._n_told = 0
        self._is_closing = False
        self.counts: Counter[str] = Counter()
        """Messages by what became of them: `hits`, `placeholders`, `failed`."""
        self._say(f"Hits go to the source {self.source}.")

    @property
    def is_full(self) -> bool:
        """Whether so much is waiting that no more should be taken."""
        return len(self._waiting) >= MOST_WAITING or self._n_bytes >= MOST_WAITING_BYTES

    def publish(self, origin: MessageOrigin, payload: bytes | None) -> None:
        """Send a hit with its bytes, or a placeholder for what is none."""
        parcel = _Parcel(origin=origin, payload=PLACEHOLDER if payload is None else payload)
        with self._lock:
            self._waiting[parcel.key] = parcel
            self._n_bytes += len(parcel.payload)
        self._send(parcel)

    def turn(self) -> None:
        """Send again what the service could not take."""
        while self._again:
            self._send(self._again.popleft())

    def close(self, finished: dict[str, tuple[int, str]], patience_s: float) -> int:
        """Send what is left, then end marks; gives how many messages could not be sent.

        Parameters
        ----------
        finished
            Last message and successor of each stream that was finished.
        patience_s
            Longest time for that [s].
        """
        deadline = monotonic() + patience_s
        while self._waiting and monotonic() < deadline:
            self.turn()
            self._wait_for_requests(min(500, max(1, int(1000 * (deadline - monotonic())))))
        self._is_closing = True
        if not self._waiting:
            for stream, (last, successor) in finished.items():
                self._producer.send_stream_finished_flag(stream, last, successor or None, None)
            self._wait_for_requests(max(1, int(1000 * (deadline - monotonic()))))
        return len(self._waiting)

    def _wait_for_requests(self, timeout_ms: int) -> None:
        try:
            self._producer.wait_requests_finished(timeout_ms)
        except self._lib.AsapoProducerError:
            return

    def _send(self, parcel: _Parcel) -> None:
        origin = parcel.origin
        is_hit = parcel.payload is not PLACEHOLDER
        kind = "data" if is_hit else "placeholder"

        def note(header: Any, error: Any) -> None:
            self._note(parcel, error, is_hit=is_hit)

        try:
            self._producer.send(
                origin.number,
                f"processed/{origin.stream}{SUFFIX}/{origin.stream}-{origin.number}.{kind}",
                parcel.payload,
                origin.metadata.decode() or None,
                ingest_mode=CACHE_ONLY,
                stream=origin.stream,
                callback=note,
            )
        except self._lib.AsapoProducerError as error:
            self._settle(parcel, self._text(error), kind)

    def _note(self, parcel: _Parcel, error: Any, *, is_hit: bool) -> None:
        """Hear what became of a message, from a thread of the producer's."""
        if isinstance(error, self._lib.AsapoTimeOutError) and not self._is_closing:
            self._again.append(parcel)
            return
        if error is None or isinstance(error, self._lib.AsapoServerWarning):
            self._settle(parcel, "", "hits" if is_hit else "placeholders")
        else:
            self._settle(parcel, self._text(error), "")

    def _settle(self, parcel: _Parcel, complaint: str, kind: str) -> None:
        with self._lock:
            if self._waiting.pop(parcel.key, None) is None:
                return
            self._n_bytes -= len(parcel.payload)
            self.counts["failed" if complaint else kind] += 1
            self._n_told += bool(complaint)
            is_told = complaint and self._n_told <= MAX_TOLD
        if is_told:
            self._say(f"Message {parcel.key[1]} of stream {parcel.key[0]} was not sent on: {complaint}")
        self._done(parcel.key)

    def _text(self, error: Any) -> str:
        text = str(error).replace(self._token, "...") if self._token else str(error)
        return " ".join(text.rpartition("caused by: ")[2].removeprefix("error: ").split())[:MAX_ERROR_TEXT]
