"""CrystFEL geometry files: reading them into `Geometry` (writing is `braggstream.formats.geom_write`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from braggstream.formats.geom_beamline import DIRECTIVES, BeamlineDraft
from braggstream.formats.geom_lines import Statement, StatementError, read_statement, shown
from braggstream.formats.geom_panels import PanelDraft, PanelError
from braggstream.formats.geom_regions import GroupReader, RegionDraft
from braggstream.formats.geom_write import write_geometry
from braggstream.formats.text_file import read_text_file, split_lines
from braggstream.model.errors import UserError
from braggstream.model.geometry import Geometry, LabRegion, Panel, PixelRegion, RigidGroup

__all__ = ["parse_geometry", "read_geometry", "write_geometry"]

MAX_BYTES = 16 << 20
"""Largest geometry file [bytes]."""
MAX_STREAM_BYTES = 1 << 20
"""Largest geometry that CrystFEL reads back from a stream file [bytes]."""
MAX_PIXELS = 1 << 30
"""Most pixels of all panels together."""

MAX_OWNERS = 10_000
"""Most panels, and most bad regions."""
MAX_MESSAGE, MAX_MESSAGE_OF_STRANGE_FILE = 1000, 180
"""Faults and remarks are told up to this length [characters]; a file with wrong statements may be anything."""
MAX_FAULTS, MAX_REMARKS = 4, 3
"""Most faults beside the first one, and most remarks, that are told."""


def read_geometry(path: str | Path) -> Geometry:
    """Read a geometry file; raises `UserError` with the line at fault."""
    return parse_geometry(read_text_file(path, "geometry file", max_bytes=MAX_BYTES), str(path))


def parse_geometry(text: str, path: str = "") -> Geometry:
    """Read the text of a geometry file; raises `UserError` with the line at fault.

    `path` is for messages.  All statements are read, and everything that is missing is looked for, before the
    faults are told in one line, with the remarks that may explain them.
    """
    reader = _Reader(path=path or "geometry")
    for number, line in enumerate(split_lines(text), start=1):
        with reader.blaming(number):
            statement = read_statement(line, number)
            if statement is not None:
                reader.take(statement)
    return reader.finish(text, path)


class _Reader:
    """What has been read so far, and what is wrong with it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._beamline = BeamlineDraft()
        self._defaults = PanelDraft()
        self._panels: dict[str, PanelDraft] = {}
        self._regions: dict[str, RegionDraft] = {}
        self._groups: list[Statement] = []
        self._faults: list[tuple[int, str]] = []
        self._notices: list[tuple[int, str]] = []
        self._line = 1
        self._unused_default: Statement | None = None
        self._is_known_default = True
        self._refused: dict[str | None, set[str]] = {}
        """Fields, by owner, of statements that are at fault: what they should have set is not missing."""

    @contextmanager
    def blaming(self, line: int) -> Iterator[None]:
        """Blame faults and remarks inside on this line; a fault ends the block, not the reading."""
        self._line = line
        try:
            yield
        except PanelError as fault:
            self._faults.append((fault.line, str(fault)))
        except StatementError as fault:
            self._faults.append((line, str(fault)))

    def _complain(self, remark: str) -> None:
        self._notices.append((self._line, remark))

    def take(self, statement: Statement) -> None:
        """Take one statement in; raises `StatementError`."""
        try:
            self._take(statement)
        except StatementError:
            self._refused.setdefault(statement.owner, set()).add(statement.field)
            raise

    def _take(self, statement: Statement) -> None:
        owner = statement.owner
        if len(self._panels) > MAX_OWNERS or len(self._regions) > MAX_OWNERS:
            raise StatementError(f"there are more than {MAX_OWNERS} panels or bad regions")
        if owner is None:
            self._take_top_level(statement)
        elif owner.startswith("bad"):
            region = self._regions.setdefault(owner, RegionDraft(name=owner, line=statement.line))
            region.set(statement, self._complain)
        else:
            self._take_panel_field(owner, statement)

    def _take_top_level(self, statement: Statement) -> None:
        name = statement.field
        if name in DIRECTIVES:
            self._beamline.set(statement, self._complain)
        elif name.startswith("group_"):
            self._groups.append(statement)
        elif not name.startswith("rigid_group"):
            self._unused_default = statement
            self._is_known_default = self._defaults.set(statement, self._complain)
            if not self._is_known_default:
                self._complain(f"'{shown(name)}' is not known and ignored")

    def _take_panel_field(self, owner: str, statement: Statement) -> None:
        panel = self._panels.get(owner)
        if panel is None:
            panel = self._panels[owner] = self._defaults.named(owner, statement.line)
            self._unused_default = None
        name = statement.field
        if name == "clen":
            raise StatementError(
                f"{shown(owner)}/clen: the camera length is for all panels, write 'clen = ...' alone"
            )
        if not panel.set(statement, self._complain):
            meant = f": it stands alone, without '{shown(owner)}/'" if name in DIRECTIVES else ""
            self._complain(f"a panel has no '{shown(name)}', the statement is ignored{meant}")

    def finish(self, text: str, path: str) -> Geometry:
        """Check the whole and give it; raises `UserError` with all that is at fault."""
        end = len(split_lines(text.rstrip("\r\n")))
        self._find_missing(end)
        panels = {} if self._faults else self._finish_panels()
        self._raise_faults()
        regions = self._finish_regions(panels)
        self._line = end
        groups = self._finish_groups()
        self._raise_faults()
        self._check_frame_axes(panels)
        if len(text) > MAX_STREAM_BYTES:
            self._complain(
                f"larger than {MAX_STREAM_BYTES} bytes: CrystFEL will not open a stream file that holds it"
            )
        return Geometry(
            panels=tuple(panels.values()),
            bad_regions=regions,
            groups=groups,
            text=text,
            path=path,
            notices=tuple(f"{self._path}:{line}: {remark}" for line, remark in sorted(self._notices)),
            **self._beamline.fields,
        )

    def _find_missing(self, end: int) -> None:
        """Note everything that the file lacks."""
        if not self._panels:
            self._faults.append((end, "there are no panels: expected statements such as panel1/min_fs = 0"))
        if self._panels and self._unused_default is not None:
            self._faults.append((self._unused_default.line, self._of_unused_default(self._unused_default.field)))
        refused = self._refused.get(None, set())
        self._faults += [(line or end, message) for message, line in self._beamline.missing(refused)]
        alike: dict[tuple[str, ...], list[PanelDraft]] = {}
        for name, draft in self._panels.items():
            missing = draft.missing(refused | self._refused.get(name, set()))
            alike.setdefault(tuple(missing), []).append(draft)
        for lacks, (first, *others) in alike.items():
            if lacks:
                have = f" and {len(others)} more have" if others else " has"
                self._faults.append((first.line, f"panel {shown(first.name)}{have} {', '.join(lacks)}"))

    def _of_unused_default(self, name: str) -> str:
        if self._is_known_default:
            return f"a default after the last panel has no effect: move '{shown(name)}' up, or name the panel"
        return f"a default after the last panel has no effect, and '{shown(name)}' is not known: take it out"

    def _finish_panels(self) -> dict[str, Panel]:
        panels = {}
        n_pixels = 0
        for name, draft in self._panels.items():
            with self.blaming(draft.line):
                panels[name] = panel = draft.finish()
                n_pixels += panel.width * panel.height
                if n_pixels > MAX_PIXELS:
                    raise StatementError(f"with panel {shown(name)} the detector has more than {MAX_PIXELS} pixels")
        return panels

    def _finish_regions(self, panels: dict[str, Panel]) -> tuple[PixelRegion | LabRegion, ...]:
        regions = []
        for draft in self._regions.values():
            with self.blaming(draft.line):
                region = draft.finish(panels, self._complain)
                if region is not None:
                    regions.append(region)
        return tuple(regions)

    def _finish_groups(self) -> tuple[RigidGroup, ...]:
        reader = GroupReader(panels=tuple(self._panels))
        for statement in self._groups:
            with self.blaming(statement.line):
                reader.add(statement, self._complain)
        return reader.finish(len(self._groups), self._complain)

    def _check_frame_axes(self, panels: dict[str, Panel]) -> None:
        first = next(iter(panels.values()))
        for panel in panels.values():
            if panel.dims.count("%") != first.dims.count("%"):
                self._line = self._panels[panel.name].line
                self._complain(
                    f"panel {shown(panel.name)} has {panel.dims.count('%')} axes with the role %, panel "
                    f"{shown(first.name)} has {first.dims.count('%')}: they share the values of one event"
                )
                return

    def _raise_faults(self) -> None:
        if not self._faults:
            return
        (line, message), *others = sorted(self._faults, key=lambda fault: fault[0])
        room = MAX_MESSAGE_OF_STRANGE_FILE if self._refused else MAX_MESSAGE
        for place, fault in others[:MAX_FAULTS]:
            if len(message) + len(fault) > room:
                break
            message += f"; line {place}: {fault}"
            del others[0]
        for place, remark in sorted(set(self._notices))[:MAX_REMARKS]:
            message += f"; remark on line {place}: {remark}" if len(message) + len(remark) <= room else ""
        if others:
            lines = ", ".join(str(other) for other, _ in others[:5])
            message += f" (and {len(others)} more: line {lines}{', ...' if len(others) > 5 else ''})"
        raise UserError(message, path=self._path, line=line)
