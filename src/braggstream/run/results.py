"""The files of a session that frames go into: opened before it, one writer each, closed whole."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from braggstream.formats.stream_header import audit_text, stream_header
from braggstream.model.errors import UserError
from braggstream.model.geometry import Geometry
from braggstream.model.settings import OutputSettings, Settings
from braggstream.run.patient_output import PatientOutput, Sink
from braggstream.sinks.durable import DurableFile
from braggstream.sinks.mille_file import open_mille_file
from braggstream.sinks.piece_file import PieceFile
from braggstream.sinks.stream_file import StreamFileSink

if TYPE_CHECKING:
    from braggstream.sinks.reflections_file import ReflectionsFile

Say = Callable[[str], None]


class SessionRecord(Protocol):
    """What tells, beside the stream file, how that came about."""

    def begin(self) -> None:
        """Hear that the stream file begins to be this session's: an earlier one stays until there is a chunk."""
        ...

    def take_summary(self, summary: Mapping[str, Any]) -> None:
        """Take what the JSON summary holds, at the end."""
        ...


class Results:
    """Opens the stream file, and what the user wants beside it; entering it opens, leaving it closes."""

    def __init__(
        self,
        geometry: Geometry,
        settings: Settings,
        output: OutputSettings,
        *,
        sink: Sink | None,
        say: Say,
        record: SessionRecord | None,
    ) -> None:
        """Take what is to be written; chunks go to `sink`, or to the stream file where there is none."""
        self._geometry, self._settings, self._output = geometry, settings, output
        self._sink = sink
        self._say = say
        self._begun = record.begin if record is not None else lambda: None
        self._stack = ExitStack()
        self._is_kept = False
        self._made: list[PieceFile] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stack = stack
            self._open()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_kept:
            for file in self._made:
                file.withdraw()
        self._stack.close()

    def keep(self) -> None:
        """Leave the files where they are at the end, be there something in them or not."""
        self._is_kept = True

    def _open(self) -> None:
        output, say = self._output, self._say
        stream = None
        if self._sink is None:
            header = stream_header(self._geometry.text, output, self._settings.indexing.target_cell)
            written = StreamFileSink(output, header, say=say, begun=self._begun)
            sink: Sink = written
            stream = written.file
            self._made.append(stream)
        else:
            sink = self._sink
            self._begun()
        self._stack.callback(sink.close)
        records = None
        if output.mille_file is not None:
            records = open_mille_file(output.mille_file, goes_on=output.append, say=say)
            self._made.append(records)
            self._stack.callback(_end_records, records)
        reflections = None if output.reflections_file is None else self._open_reflections(output.reflections_file)
        if reflections is not None:
            self._stack.callback(reflections.close)
        self.output = PatientOutput(sink, records, say, reflections=reflections, watched=stream)
        self.durable = DurableFile(
            output.stream_file, (lambda: None) if stream is None else (lambda: stream.standing)
        )

    def _open_reflections(self, name: str) -> "ReflectionsFile":
        from braggstream.sinks.reflections_file import ReflectionsFile

        names = tuple(panel.name for panel in self._geometry.panels)
        audit = audit_text(self._output)
        return ReflectionsFile(name, names, audit, goes_on=self._output.append, say=self._say)


def _end_records(records: PieceFile) -> None:
    """Close the file of records, which is whole under its name then; raises `UserError`."""
    try:
        records.conclude()
        records.close()
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", path=error.filename) from None
    finally:
        records.close()
