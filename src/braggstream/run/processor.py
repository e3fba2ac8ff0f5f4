"""What a worker does with one piece of work: load the frame, take it through the recipe, format its chunk."""

import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from time import perf_counter
from typing import Protocol

from braggstream.formats.wire import FrameOutcome, Setup
from braggstream.model.adjustments import Adjustments
from braggstream.model.errors import FrameError
from braggstream.model.frame import FileSlot, Frame, Message
from braggstream.model.frame_sample import FrameSample
from braggstream.model.geometry import Geometry
from braggstream.model.moved_geometry import moved_geometry
from braggstream.model.result import FrameResult
from braggstream.model.settings import OutputSettings, Settings
from braggstream.run.system_limits import refusal_in
from braggstream.steps.device import CUDA

Work = FileSlot | Message

REAL_PROCESSOR = "braggstream.run.processor:FrameProcessor"

STREAMED_NAME = "ZMQdata"
"""`Image filename` of a streamed frame that does not say who it is."""


class Unwarmed(Exception):
    """The kernels are not ready for this frame's pixel type."""

    def __init__(self, pixel_type: str) -> None:
        super().__init__(pixel_type)
        self.pixel_type = pixel_type


class Processor(Protocol):
    """Made once in the fork server, warmed up there, and inherited by every worker."""

    usual_pixel_types: tuple[str, ...]
    """Types to be ready for before the first frame."""

    def warm_up(self, pixel_types: Iterable[str], after_each: Callable[[int, int], None]) -> None:
        """Get ready for frames of these types; `after_each` hears how many modules of how many are ready."""
        ...

    def begin_work(self, worker: int) -> None:
        """Called once in each worker, before its first frame: what a fork does not survive is opened here."""
        ...

    def n_compiled(self) -> int:
        """Count the signatures that this process had to compile so far."""
        ...

    def adjust(self, adjustments: Adjustments) -> None:
        """Process the frames that follow with these adjustments, whatever they were processed with before."""
        ...

    def process(self, work: Work) -> FrameOutcome:
        """Process one frame; raises `FrameError` for a bad one and `Unwarmed` for a type not warmed up for."""
        ...


def make_processor(setup: Setup) -> Processor:
    """Call the factory that the set-up names."""
    module, _, name = setup.processor.partition(":")
    factory: Callable[[Setup], Processor] = getattr(import_module(module), name)
    return factory(setup)


def outcome_of(processor: Processor, work: Work) -> FrameOutcome:
    """Process one frame; whatever goes wrong with it becomes a row of the ledger.

    An error outside `FrameError` is a bug, unless the system has refused something: it is told with its traceback,
    and costs this frame only.
    """
    try:
        return processor.process(work)
    except Unwarmed as state:
        return failure_of(work, status="unwarmed", pixel_type=state.pixel_type)
    except FrameError as error:
        return failure_of(work, reason=error.reason, complaint=str(error), contents=error.contents)
    except MemoryError:
        return failure_of(work, reason="memory", complaint="needs more memory than a frame may take")
    except Exception as error:
        refusal = refusal_in(error) if isinstance(error, OSError) else ""
        if refusal:
            return failure_of(work, reason="system", complaint=refusal)
        traceback.print_exc(file=sys.stderr)
        return failure_of(work, reason="internal", complaint=f"{type(error).__name__}: {error}")


def failure_of(work: Work, **more: str) -> FrameOutcome:
    """Give the outcome of a frame that was not processed."""
    filename, event = name_of(work)
    return FrameOutcome(serial=work.serial, filename=filename, event=event, **{"status": "failed", **more})  # type: ignore[arg-type]


def name_of(work: Work) -> tuple[str, str]:
    """Name a frame as it is called before it is loaded: file and event."""
    if isinstance(work, FileSlot):
        return work.filename, work.event
    if work.origin is not None:
        return f"{work.origin.name} of stream {work.origin.stream}, message {work.origin.number}", "//"
    return STREAMED_NAME, f"//{work.serial}"


class FrameProcessor:
    """The real processor: `FrameLoader`, `Recipe`, `format_chunk`."""

    usual_pixel_types = ("int32", "uint16", "float32")

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._output = setup.output
        self._warmed: set[str] = set()
        self._take_sample = _make_sampler(setup)
        self._equip(Adjustments(), setup.geometry, setup.settings)

    def _equip(self, adjustments: Adjustments, geometry: Geometry, settings: Settings) -> None:
        from braggstream.formats.stream_write import format_chunk
        from braggstream.pipeline.loading import FrameLoader
        from braggstream.pipeline.recipe import Recipe

        self._format = format_chunk
        self._record = _observation_writer() if self._output.send_observations else None
        self._adjustments = adjustments
        self._geometry = geometry
        self._loader = FrameLoader(geometry, settings.frame)
        self._recipe = Recipe(geometry, settings)

    def adjust(self, adjustments: Adjustments) -> None:
        """Make loader and recipe anew; what is compiled stays."""
        if adjustments == self._adjustments:
            return
        chosen = self._setup.settings
        settings = replace(chosen, geometry=replace(chosen.geometry, ask_every=adjustments.ask_every))
        if adjustments.indexing is not None:
            settings = replace(settings, indexing=adjustments.indexing)
        self._loader.close()
        self._equip(adjustments, moved_geometry(self._setup.geometry, adjustments.offset), settings)

    def warm_up(self, pixel_types: Iterable[str], after_each: Callable[[int, int], None]) -> None:
        """Compile or load the kernels for these types."""
        from braggstream.kernels.warm import warm_up

        wanted = tuple(pixel_types)
        warm_up(wanted, after_each=after_each)
        self._warmed.update(wanted)

    def begin_work(self, worker: int) -> None:
        """Open the CUDA device that falls to this worker, and compile for it, where the settings ask for one."""
        settings = self._setup.settings
        if CUDA not in (settings.peaks.device, settings.indexing.device):
            return
        from braggstream.kernels.cuda.device import use_device
        from braggstream.kernels.warm import warm_up

        use_device(worker)
        warm_up(self.usual_pixel_types, device=CUDA)

    def n_compiled(self) -> int:
        """Count the signatures that this process had to compile so far."""
        from braggstream.kernels._jit import n_compiled

        return n_compiled()

    def process(self, work: Work) -> FrameOutcome:
        """Process one frame; raises `FrameError` or `Unwarmed`."""
        n_before = self.n_compiled()
        started = perf_counter()
        frame = self.load(work)
        if frame.pixels.dtype.name not in self._warmed:
            raise Unwarmed(frame.pixels.dtype.name)
        loaded = perf_counter()
        result = self.find(frame)
        is_written = result.is_hit or self._output.write_non_hits
        sample = self._take_sample(frame, result)
        found = perf_counter()
        chunk = self._format(result, self._geometry, self._output) if is_written else b""
        return FrameOutcome(
            serial=work.serial,
            status="written" if is_written else "skipped",
            filename=result.identity.filename,
            event=result.identity.event,
            chunk=chunk,
            calibration=result.calibration,
            observations=self._observations(result, chunk),
            is_hit=result.is_hit,
            n_crystals=len(result.crystals),
            sender_number=result.identity.sender_number,
            warnings=result.warnings,
            remarks=self._loader.remarks.take(),
            missing_headers=self._loader.missing_headers,
            timings={"load": loaded - started, **result.timings, "format": perf_counter() - found},
            n_compiled=self.n_compiled() - n_before,
            adjustment=self._adjustments.number,
            cells=self._cells(result),
            offsets=tuple(estimate.numbers for estimate in result.offsets),
            sample=sample,
        )

    def _observations(self, result: FrameResult, chunk: bytes) -> bytes:
        """Give what merging needs as a reader of the stream file would find it, to the last digit."""
        if self._record is None or not result.crystals:
            return b""
        if not chunk or not self._output.write_reflections:
            chunk = self._format(result, self._geometry, OutputSettings(stream_file="", write_peaks=False))
        names = tuple(panel.name for panel in self._geometry.panels)
        return self._record(chunk, names)

    def _cells(self, result: FrameResult) -> tuple[tuple[float, ...], ...]:
        indexing = self._adjustments.indexing or self._setup.settings.indexing
        if not indexing.find_cell:
            return ()
        return tuple(tuple(crystal.reciprocal_axes.ravel().tolist()) for crystal in result.crystals)

    def load(self, work: Work) -> Frame:
        """Decode a frame; raises `FrameError`."""
        if isinstance(work, FileSlot):
            return self._loader.from_file(work)
        return self._loader.from_message(work)

    def find(self, frame: Frame) -> FrameResult:
        """Take a frame through the recipe."""
        return self._recipe.process(frame)


def _make_sampler(setup: Setup) -> Callable[[Frame, FrameResult], FrameSample | None]:
    """Make what looks at a few frames more closely; only in sessions, where there is somebody to be told."""
    if not setup.processor:
        return lambda _frame, _result: None
    from braggstream.pipeline.frame_samples import FrameSampler

    return FrameSampler(setup.geometry, setup.settings)


def _observation_writer() -> Callable[[bytes, tuple[str, ...]], bytes]:
    """Give what turns a chunk into a record for merging; its kernel is imported, so that it is warmed up."""
    from braggstream.formats.observation_record import encode_observations
    from braggstream.formats.stream_columns import observations_of_chunk

    return lambda chunk, names: encode_observations(observations_of_chunk(chunk, names))
