"""The official ASAP::O consumer, with its answers as plain values and its errors sorted by what can be done.

Nothing here goes on by itself: one call asks the service once, for as long as the consumer's time limit.
"""

import contextlib
import re
import socket
import warnings
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from braggstream.model.errors import SourceError, UserError
from braggstream.model.optional import optional_library
from braggstream.model.settings import AsapoServiceSettings

PIPELINE_STEP = "indexamajig"
FINISH_MARK = "asapo_finish_stream"
"""Name of the record that ends a stream; it is no message."""
NO_SUCCESSOR = "asapo_no_next"
DEPRECATED = (
    "Retrieving elements in order",
    "The argument 'detailed",
    ".*deprecated since version 24.11",
)
MAX_ERROR_TEXT = 300
CONNECT_S = 2.0


class ServiceAway(SourceError):
    """The service does not answer, or answers nonsense: worth another attempt later."""

    def __init__(self, text: str, full_text: str = "") -> None:
        super().__init__(text)
        self.full_text = full_text


class EndOfStream(SourceError):
    """Everything that the stream holds by now was handed out."""

    def __init__(self, id_max: int) -> None:
        super().__init__(f"end of stream at message {id_max}")
        self.id_max = id_max


class StreamFinished(SourceError):
    """The stream's sender has said that there will be no more; `successor` is the next stream, if it named one."""

    def __init__(self, id_max: int, successor: str) -> None:
        super().__init__(f"stream finished at message {id_max}")
        self.id_max = id_max
        self.successor = "" if successor == NO_SUCCESSOR else successor


class Hole(SourceError):
    """A message is missing although later ones are here."""

    def __init__(self, number: int) -> None:
        super().__init__(f"message {number} is missing")
        self.number = number


class Unreadable(ServiceAway):
    """An answer that the client's own code cannot read: names that are no text, metadata without bottom.

    Where it was a message that was handed out, nobody knows which one.
    """


class NoBytes(SourceError):
    """The service knows the message, and has not its bytes any more."""


class Refusal(UserError):
    """The service refuses what it was asked: a wrong token, or names that it does not take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamInfo:
    """What the service says of a stream."""

    name: str
    size: int
    """Id of its last message."""
    created_ns: int = 0
    last_ns: int = 0
    """Times of its first and its last message [ns since 1970]."""
    is_finished: bool = False
    successor: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """A message that the service has handed out; its bytes are still there."""

    stream: str
    number: int
    name: str
    n_bytes: int
    metadata: object = None
    record: Any = None
    """As the client wants it back."""
    fault: str = ""
    """Why it is no message that can be processed; its position has been passed all the same."""

    @property
    def time_s(self) -> float | None:
        """When the service received it [s since 1970]; None where its record does not say."""
        stated = self.record.get("timestamp") if isinstance(self.record, dict) else None
        return stated * 1e-9 if isinstance(stated, int) and 0 < stated < 1 << 63 else None

    @property
    def data_server(self) -> object:
        """Address of the server that should have its bytes."""
        return self.record.get("source") if isinstance(self.record, dict) else None


class AsapoClient:
    """One consumer; to be used by one thread at a time."""

    def __init__(self, settings: AsapoServiceSettings, *, timeout_s: float) -> None:
        """Make a consumer, which asks nobody yet; raises `UserError`."""
        self._settings = settings
        self.asked_at: float | None = None
        """Since when the service has been asked and has not answered [s, monotonic]."""
        self._lib = optional_library("asapo_consumer", extra="asapo", purpose="ASAP::O")
        for text in DEPRECATED:  # Messages in order are what a stream file of a run is made of.
            warnings.filterwarnings("ignore", text, DeprecationWarning)
        try:
            self._consumer = self._lib.create_consumer(
                settings.endpoint, "auto", False, settings.beamtime, settings.source, settings.token,
                max(1, round(timeout_s * 1000)), instance_id="auto", pipeline_step=PIPELINE_STEP,
            )  # fmt: skip
        except self._lib.AsapoConsumerError as error:
            raise UserError(f"ASAP::O: {self._text(error)}") from None

    def resend(self, delay_s: float, attempts: int) -> None:
        """Have messages that are not acknowledged handed out again."""
        self._consumer.set_resend_nacs(True, round(delay_s * 1000), attempts)

    def interrupt(self) -> None:
        """End the call that another thread waits in."""
        self._consumer.interrupt_current_operation()

    def next(self, stream: str, group: str) -> Announcement:
        """Ask for the group's next message.

        Raises
        ------
        EndOfStream, StreamFinished, Hole, ServiceAway, Refusal
        """
        return self._message("get_next", group, stream)

    def by_number(self, stream: str, number: int) -> Announcement:
        """Ask for one message, whoever had it; raises as `next` does."""
        return self._message("get_by_id", number, stream)

    def data(self, announcement: Announcement) -> memoryview:
        """Fetch a message's bytes; raises `NoBytes` or `ServiceAway`.

        To the client, a data server that does not answer just has no data: it is asked again where it listens.
        """
        try:
            try:
                found = self._consumer.retrieve_data(announcement.record)
            except self._lib.AsapoDataNotInCacheError:
                if not _is_reachable(announcement.data_server):
                    raise ServiceAway(f"no data server at {announcement.data_server}") from None
                found = self._consumer.retrieve_data(announcement.record)
        except self._lib.AsapoDataNotInCacheError as error:
            raise NoBytes(self._text(error)) from None
        except self._lib.AsapoLocalIOError as error:
            raise NoBytes(self._text(error)) from None
        except self._lib.AsapoWrongInputError as error:
            raise NoBytes(f"refused: {self._text(error)}") from None
        except self._lib.AsapoConsumerError as error:
            raise ServiceAway(self._text(error)) from None
        return memoryview(b"") if found is None else memoryview(found).cast("B")

    def acknowledge(self, stream: str, group: str, number: int) -> None:
        """Say that a message is done with; a second time does no harm.  Raises `ServiceAway` or `Refusal`."""
        try:
            self._ask("acknowledge", group, number, stream=stream)
        except Refusal:
            # Acknowledged before: by a run that was killed, or before the position was set back.  Or refused.
            self.size(stream)

    def hand_back(self, stream: str, group: str, number: int) -> None:
        """Have a message handed out again, to whoever asks next; raises `ServiceAway` or `Refusal`."""
        self._ask("neg_acknowledge", group, number, delay_ms=0, stream=stream)

    def unacknowledged(self, stream: str, group: str) -> list[int]:
        """Give the messages that the group has not acknowledged; raises `ServiceAway` or `Refusal`."""
        found = self._ask("get_unacknowledged_messages", group, from_id=0, to_id=0, stream=stream)
        return [int(number) for number in found]

    def set_position(self, stream: str, group: str, position: int) -> None:
        """Have the message after this one handed out next; raises `ServiceAway` or `Refusal`."""
        self._ask("set_lastread_marker", group, position, stream=stream)

    def size(self, stream: str) -> int:
        """Give the number of messages in a stream; raises `ServiceAway` or `Refusal`."""
        return int(self._ask("get_current_size", stream=stream))

    def streams(self) -> list[StreamInfo]:
        """Give all streams of the source in the order of their creation; raises `ServiceAway` or `Refusal`."""
        found = [_stream_info(each) for each in self._ask("get_stream_list")]
        return sorted(found, key=lambda info: info.created_ns)

    def _message(self, name: str, which: object, stream: str) -> Announcement:
        """Ask for a message; a record that the client cannot read is one too, and fails."""
        try:
            return self._announced(self._ask(name, which, meta_only=True, stream=stream), stream)
        except ServiceAway as error:
            number = _number_of_unreadable(error.full_text)
            if number is None:
                raise
            is_dataset = '"messages":' in error.full_text
            if name == "get_next" and not is_dataset:
                with contextlib.suppress(SourceError):
                    return self.by_number(stream, number)  # The answer may have been cut off.
            return self._unreadable(stream, number, is_dataset=is_dataset)

    def _unreadable(self, stream: str, number: int, *, is_dataset: bool) -> Announcement:
        """Say what is wrong with a record that is no plain message; a data set of one part is as good as one."""
        found = Announcement(stream=stream, number=number, name=f"message {number}", n_bytes=0)
        if not is_dataset:
            return replace(found, fault="its record makes no sense to the client")
        try:
            dataset = self._consumer.get_dataset_by_id(number, min_size=0, stream=stream)
        except self._lib.AsapoPartialDataError as error:
            dataset = error.partial_data
        except self._lib.AsapoConsumerError as error:
            raise ServiceAway(self._text(error)) from None
        parts, n_expected = dataset["content"], int(dataset["expected_size"])
        if n_expected == len(parts) == 1:
            return self._announced(parts[0], stream)
        is_whole = len(parts) >= n_expected
        what = f"of {n_expected} parts" if is_whole else f"with {len(parts)} of {n_expected} parts"
        return replace(
            found,
            name=str(parts[0]["name"]) if parts else found.name,
            fault=f"a data set {what}{'' if is_whole else ', incomplete'}: only single messages are frames",
        )

    def _ask(self, name: str, *values: object, **more: object) -> Any:
        self.asked_at = monotonic()
        try:
            return self._answer(name, *values, **more)
        finally:
            self.asked_at = None

    def _answer(self, name: str, *values: object, **more: object) -> Any:
        lib = self._lib
        try:
            return getattr(self._consumer, name)(*values, **more)
        except lib.AsapoEndOfStreamError as error:
            raise EndOfStream(int(error.id_max or 0)) from None
        except lib.AsapoStreamFinishedError as error:
            raise StreamFinished(int(error.id_max or 0), str(error.next_stream or "")) from None
        except lib.AsapoNoDataError as error:
            if not error.id:
                raise ServiceAway(self._text(error)) from None
            raise Hole(int(error.id)) from None
        except lib.AsapoWrongInputError as error:
            raise Refusal(self._refusal(error)) from None
        except lib.AsapoUnsupportedClientError as error:
            raise Refusal(
                f"--asapo-endpoint={self._settings.endpoint}: the service does not speak this client's protocol, "
                f"any more or yet: install the asapo-consumer that fits it ({self._text(error)})"
            ) from None
        except lib.AsapoConsumerError as error:
            raise ServiceAway(self._text(error), str(error)) from None
        except (ValueError, RecursionError, LookupError, TypeError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}"[:MAX_ERROR_TEXT]) from None

    def _announced(self, answer: Any, stream: str) -> Announcement:
        record = answer[1] if isinstance(answer, tuple) else answer
        return Announcement(
            stream=stream,
            number=int(record["_id"]),
            name=str(record["name"]),
            n_bytes=int(record["size"]),
            metadata=record.get("meta"),
            record=record,
        )

    def _refusal(self, error: Exception) -> str:
        chosen = self._settings
        return (
            f"--asapo-endpoint={chosen.endpoint}: refused: {self._text(error)}: do --asapo-token, "
            f"--asapo-beamtime={chosen.beamtime} and --asapo-source={chosen.source} fit together?"
        )

    def _text(self, error: Exception) -> str:
        """The heart of an error: the client wraps it into others, and may repeat the token."""
        text = str(error).replace(self._settings.token, "...") if self._settings.token else str(error)
        heart = text.rpartition("caused by: ")[2].removeprefix("error: ")
        return " ".join(heart.split())[:MAX_ERROR_TEXT]


def _number_of_unreadable(text: str) -> int | None:
    """Number of the message in an answer that the client cannot read; None where it is no such answer."""
    found = re.search(
        r'malformed response.{0,40}\{[^{}]{0,200}?"_id":\s{0,9}([0-9]{1,19})\s{0,9}[,}]', text, re.DOTALL
    )
    return int(found[1]) if found else None


def _is_reachable(address: object) -> bool:
    """Whether somebody listens at `host:port`."""
    host, _, port = str(address).rpartition(":")
    try:
        with socket.create_connection((host, int(port)), CONNECT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def _stream_info(found: Any) -> StreamInfo:
    return StreamInfo(
        name=str(found["name"]),
        size=int(found["lastId"]),
        created_ns=int(found["timestampCreated"]),
        last_ns=int(found["timestampLast"]),
        is_finished=bool(found["finished"]),
        successor=str(found["nextStream"] or ""),
    )
