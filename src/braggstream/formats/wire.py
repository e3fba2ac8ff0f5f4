"""What crosses between our own processes, as MessagePack.

The set-up goes from the parent to the fork server once; tasks, adjustments and outcomes go between parent and
workers; orders and notes between parent and fork server.  Pixels never travel here: they lie in shared memory, and
a task names the slot.  Every message is decoded against its type, so nothing that a broken process sends is taken
on trust.
"""

import os
from dataclasses import dataclass
from typing import Any, Literal, Self, get_type_hints

import msgspec

from braggstream.model.adjustments import Adjustments
from braggstream.model.frame import MessageOrigin
from braggstream.model.frame_sample import FrameSample
from braggstream.model.geometry import Geometry, LabRegion, PixelRegion
from braggstream.model.settings import OutputSettings, Settings


class _Message(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Base of all messages: positional on the wire."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that workers need to know before the first frame."""

    processor: str
    """Factory of the processor, as `module:name`; it is called with this set-up."""
    geometry: Geometry
    settings: Settings
    output: OutputSettings
    n_slots: int = 1
    slot_bytes: int = 1 << 30
    """Address space of one slot of shared memory [bytes]."""
    processors: tuple[int, ...] = ()
    """Worker k is bound to the k-th of these, modulo their number; empty = not bound."""
    limits_memory: bool = False
    """Whether a worker's allocations fail beyond a limit: frames come from outside."""


class _SetupOnWire(msgspec.Struct, frozen=True, kw_only=True):
    """A set-up whose geometry is plain maps: its bad regions are of two types, which are told apart below."""

    processor: str
    geometry: dict[str, Any]
    settings: Settings
    output: OutputSettings
    n_slots: int
    slot_bytes: int
    processors: tuple[int, ...]
    limits_memory: bool


class FileTask(_Message, frozen=True, kw_only=True, array_like=True, tag="file"):
    """Process a frame of a file."""

    serial: int
    path: bytes
    """The file's name as the system knows it, which need not be text."""
    event: str
    fault: str = ""
    """Why there is no frame, where that is known already."""

    @classmethod
    def of(cls, *, filename: str, event: str, serial: int, fault: str = "") -> Self:
        """Make a task from a name as Python writes it."""
        shown = fault.encode(errors="replace").decode()  # Names in it need not be text.
        return cls(serial=serial, path=os.fsencode(filename), event=event, fault=shown)

    @property
    def filename(self) -> str:
        """The file's name as Python writes it: what is no text is kept in surrogates."""
        return os.fsdecode(self.path)


class MessageTask(_Message, frozen=True, kw_only=True, array_like=True, tag="message"):
    """Process the message that lies in a slot of shared memory."""

    serial: int
    slot: int
    n_bytes: int
    origin: MessageOrigin | None = None
    """What the service says of the message, where it came from one."""
    start_slot: int = -1
    """Slot of the start message of its series; negative where there is none."""
    start_bytes: int = 0
    start_number: int = 0
    """Counts the start messages."""
    refusal: str = ""
    """Why there is no start message, where one came that could not be understood."""

    def in_slot(self, slot: int) -> "MessageTask":
        """Give the same task with its message in a slot."""
        return msgspec.structs.replace(self, slot=slot)

    def without_start(self, refusal: str) -> "MessageTask":
        """Give the same task without a start message, and why there is none where that is known."""
        return msgspec.structs.replace(self, refusal=refusal) if refusal else self

    def of_series(self, *, slot: int, n_bytes: int, number: int) -> "MessageTask":
        """Give the same task with its series' start message."""
        return msgspec.structs.replace(self, start_slot=slot, start_bytes=n_bytes, start_number=number)


Task = FileTask | MessageTask


class AdjustOrder(_Message, frozen=True, kw_only=True, array_like=True, tag="adjust"):
    """To a worker: process the frames that follow with these adjustments."""

    adjustments: Adjustments


class Hello(_Message, frozen=True, kw_only=True, array_like=True, tag="hello"):
    """A worker is ready for its first frame."""

    pid: int


OutcomeStatus = Literal["written", "skipped", "failed", "unwarmed"]


class FrameOutcome(_Message, frozen=True, kw_only=True, array_like=True, tag="outcome"):
    """What became of one frame: its chunk, and what the ledger has to know."""

    serial: int
    status: OutcomeStatus
    """`unwarmed` is no end: the kernels have to be compiled for `pixel_type` first, then the frame comes again."""
    filename: str = ""
    event: str = ""
    chunk: bytes = b""
    """Text of the frame's chunk; empty where there is none."""
    calibration: bytes = b""
    """Millepede records."""
    observations: bytes = b""
    """Crystals and reflections for merging, where `OutputSettings.send_observations` asks: `observation_record`."""
    is_hit: bool = False
    n_crystals: int = 0
    sender_number: int | None = None
    reason: str = ""
    """Short code of a failure."""
    complaint: str = ""
    """What was wrong, in one line."""
    contents: str = ""
    """What the file or message of a failed frame holds, in one line; with the first failures of a worker only."""
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """What is to be told once in a session, however many frames it is true of."""
    missing_headers: tuple[str, ...] = ()
    """Headers that were to be copied and that the frame has not."""
    timings: dict[str, float] = {}
    """Seconds by step."""
    pixel_type: str = ""
    n_compiled: int = 0
    """Signatures that had to be compiled while this frame waited; 0 when everything was warm."""
    adjustment: int = 0
    """Number of the adjustments that the frame was processed with."""
    cells: tuple[tuple[float, ...], ...] = ()
    """Axes a*, b*, c* of its crystals, nine numbers each, while a unit cell is looked for [Å⁻¹]."""
    offsets: tuple[tuple[float, ...], ...] = ()
    """What its crystals know of where the detector stands, see `OffsetEstimate.numbers`."""
    sample: FrameSample | None = None
    """What is kept of a few frames, to tell what is wrong with all."""
    is_last: bool = False
    """The worker has grown too large and is to be replaced."""


class ForkOrder(_Message, frozen=True, kw_only=True, array_like=True, tag="fork"):
    """To the fork server: make a worker; its socket comes with the order."""

    worker: int
    token: int
    """Comes back in the notes about this worker."""


class WarmOrder(_Message, frozen=True, kw_only=True, array_like=True, tag="warm"):
    """To the fork server: compile or load the kernels for a pixel type."""

    pixel_type: str


class EndOrder(_Message, frozen=True, kw_only=True, array_like=True, tag="end"):
    """To the fork server: the session ends in good order; a parent that was killed does not say so."""


class CompilingNote(_Message, frozen=True, kw_only=True, array_like=True, tag="compiling"):
    """Kernels are not in the cache and are being compiled."""

    n_ready: int
    """Modules of kernels that are ready..."""
    n_all: int
    """...of so many."""


class WarmNote(_Message, frozen=True, kw_only=True, array_like=True, tag="warmed"):
    """Kernels are ready, or cannot be."""

    pixel_type: str
    """Empty for the first warm-up, after which workers can be forked."""
    n_compiled: int
    seconds: float
    complaint: str = ""
    """Why there are none for this pixel type."""


class ForkedNote(_Message, frozen=True, kw_only=True, array_like=True, tag="forked"):
    """A worker process exists."""

    token: int
    pid: int


class EndedNote(_Message, frozen=True, kw_only=True, array_like=True, tag="ended"):
    """A worker process has ended."""

    token: int
    pid: int
    exit_code: int
    """Exit status, or minus the number of the signal that ended it."""
    complaint: str = ""
    """Why it did not come into being at all."""


class BrokenNote(_Message, frozen=True, kw_only=True, array_like=True, tag="broken"):
    """The fork server cannot be set up; it ends."""

    complaint: str
    is_user_error: bool


class _DiagnosisOrder(_Message, frozen=True, kw_only=True, array_like=True):
    """To the process that looks for what is wrong with a session."""

    setup: bytes
    counts: tuple[int, int, int]
    """Frames, hits, indexed hits."""
    frames: tuple[tuple[FrameSample, bool, bool], ...]
    """Samples of frames, each with whether it is a hit, and whether it is indexed."""


Order = ForkOrder | WarmOrder | EndOrder
Note = CompilingNote | WarmNote | ForkedNote | EndedNote | BrokenNote

_ENCODER = msgspec.msgpack.Encoder()
_SETUPS = msgspec.msgpack.Decoder(_SetupOnWire)
_TASKS = msgspec.msgpack.Decoder(FileTask | MessageTask | AdjustOrder)
_OUTCOMES = msgspec.msgpack.Decoder(Hello | FrameOutcome)
_ORDERS = msgspec.msgpack.Decoder(Order)
_NOTES = msgspec.msgpack.Decoder(Note)
_DIAGNOSES = msgspec.msgpack.Decoder(_DiagnosisOrder)


class WireError(Exception):
    """Bytes from one of our own processes that make no sense: it is broken."""


def encode(message: _Message) -> bytes:
    """Encode any message but the set-up."""
    return _encoded(message)


def last(outcome: FrameOutcome) -> FrameOutcome:
    """Give the outcome of a worker that is to be replaced after it."""
    return msgspec.structs.replace(outcome, is_last=True)


def decode_task(data: bytes | bytearray | memoryview) -> Task | AdjustOrder:
    """Decode what the parent sends to a worker; raises `WireError`."""
    return _decoded(_TASKS, data)


def decode_outcome(data: bytes | bytearray | memoryview) -> Hello | FrameOutcome:
    """Decode what a worker sends to the parent; raises `WireError`."""
    return _decoded(_OUTCOMES, data)


def decode_order(data: bytes | bytearray | memoryview) -> Order:
    """Decode what the parent sends to the fork server; raises `WireError`."""
    return _decoded(_ORDERS, data)


def decode_note(data: bytes | bytearray | memoryview) -> Note:
    """Decode what the fork server sends to the parent; raises `WireError`."""
    return _decoded(_NOTES, data)


def encode_setup(setup: Setup) -> bytes:
    """Encode the set-up."""
    return _encoded(setup)


def decode_setup(data: bytes) -> Setup:
    """Decode the set-up; raises `WireError`."""
    wired = _decoded(_SETUPS, data)
    rest = {name: getattr(wired, name) for name in wired.__struct_fields__ if name != "geometry"}
    return Setup(geometry=_geometry(wired.geometry), **rest)


def encode_diagnosis(
    setup: Setup, counts: tuple[int, int, int], frames: list[tuple[FrameSample, bool, bool]]
) -> bytes:
    """Encode what a diagnosis of a session needs: how many frames, hits and indexed hits, and samples of frames."""
    return _encoded(_DiagnosisOrder(setup=encode_setup(setup), counts=counts, frames=tuple(frames)))


def decode_diagnosis(
    data: bytes,
) -> tuple[Setup, tuple[int, int, int], tuple[tuple[FrameSample, bool, bool], ...]]:
    """Decode it again; raises `WireError`."""
    order = _decoded(_DIAGNOSES, data)
    return decode_setup(order.setup), order.counts, order.frames


def _geometry(plain: dict[str, Any]) -> Geometry:
    """Build a geometry from plain maps."""
    hints = get_type_hints(Geometry)
    regions: tuple[PixelRegion | LabRegion, ...] = tuple(
        msgspec.convert(region, PixelRegion) if "panel" in region else msgspec.convert(region, LabRegion)
        for region in plain.pop("bad_regions", ())
    )
    values = {name: msgspec.convert(value, hints[name]) for name, value in plain.items()}
    return Geometry(bad_regions=regions, **values)


def _encoded(message: _Message | Setup) -> bytes:
    try:
        return _ENCODER.encode(message)
    except UnicodeEncodeError:  # A name that is no text, in something that is told to people.
        return _ENCODER.encode(_legible(msgspec.to_builtins(message, builtin_types=(bytes,))))


def _legible(value: Any) -> Any:
    r"""Write the bytes that are no text as `\udcff`, in all that a value holds."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_legible(key): _legible(each) for key, each in value.items()}
    return [_legible(each) for each in value] if isinstance(value, list | tuple) else value


def _decoded(decoder: Any, data: bytes | bytearray | memoryview) -> Any:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"a message between processes is broken: {error}") from error
