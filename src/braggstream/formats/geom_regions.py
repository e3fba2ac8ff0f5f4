"""Bad regions and groups of panels of a geometry file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from braggstream.formats.geom_lines import Complain, Statement, StatementError, shown
from braggstream.formats.geom_panels import PanelError
from braggstream.formats.geom_values import index, number
from braggstream.model.geometry import LabRegion, Panel, PixelRegion, RigidGroup

MAX_MEMBERS = 64
"""Most members of a group."""
MAX_GROUPS = 512
"""Most groups, counting each panel as one."""

_PIXEL_FIELDS = ("min_fs", "max_fs", "min_ss", "max_ss")
_LAB_FIELDS = ("min_x", "max_x", "min_y", "max_y")


@dataclass(slots=True)
class RegionDraft:
    """A bad region as far as the file has been read."""

    name: str
    line: int
    """Where it is first mentioned."""
    panel: str | None = None
    pixel: dict[str, int] = field(default_factory=dict)
    lab: dict[str, float] = field(default_factory=dict)

    def set(self, statement: Statement, complain: Complain) -> None:
        """Take a statement in; raises `StatementError`."""
        name = statement.field
        if name in _PIXEL_FIELDS:
            self.pixel[name] = index(statement.value, complain)
        elif name in _LAB_FIELDS:
            self.lab[name] = number(statement.value, complain)
        elif name == "panel":
            self.panel = statement.value
        else:
            complain(
                f"a bad region has no '{shown(name)}', and '{shown(self.name)}' is one, as it begins with 'bad': "
                "the statement is ignored"
            )
        if self.pixel and self.lab:
            raise StatementError(f"{shown(self.name)} mixes pixel (fs, ss) and lab (x, y) bounds")

    def finish(self, panels: Mapping[str, Panel], complain: Complain) -> PixelRegion | LabRegion | None:
        """Check the region and give it; None, with a remark, where it marks nothing.  Raises `PanelError`."""
        if self.lab:
            return self._lab_region(complain)
        if not self.pixel:
            raise self._error(f"has no bounds: expected {', '.join(_PIXEL_FIELDS)} or {', '.join(_LAB_FIELDS)}")
        panel = self._owner(panels, complain)
        bounds = {name: self.pixel.get(name, 0) for name in _PIXEL_FIELDS}
        for name, bound in bounds.items():
            axis = name[-2:]
            low, high = getattr(panel, f"min_{axis}"), getattr(panel, f"max_{axis}")
            if not low <= bound <= high:
                raise self._error(
                    f"has {name} = {bound} outside panel {shown(panel.name)}, expected {low} to {high}"
                )
        return PixelRegion(name=self.name, panel=panel.name, **bounds)

    def _lab_region(self, complain: Complain) -> LabRegion | None:
        missing = [name for name in _LAB_FIELDS if name not in self.lab]
        if missing:
            complain(f"{shown(self.name)} marks nothing: it has no {', '.join(missing)}")
            return None
        return LabRegion(name=self.name, **self.lab)

    def _owner(self, panels: Mapping[str, Panel], complain: Complain) -> Panel:
        if self.panel is not None:
            if self.panel not in panels:
                raise self._error(f"names the panel '{shown(self.panel)}', which the file does not define")
            return panels[self.panel]
        if len(panels) > 1:
            raise self._error(f"has fs and ss bounds but no panel: expected {shown(self.name)}/panel = NAME")
        panel = next(iter(panels.values()))
        complain(f"{shown(self.name)} names no panel, {shown(panel.name)} is taken")
        return panel

    def _error(self, message: str) -> PanelError:
        return PanelError(f"bad region {shown(self.name)} {message}", self.line)


@dataclass(slots=True)
class GroupReader:
    """Builds the groups, bottom-up, from the panels and the `group_NAME = ...` lines."""

    panels: Iterable[str]
    known: set[str] = field(default_factory=set)
    groups: list[RigidGroup] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known.update(list(self.panels)[:MAX_GROUPS])

    def add(self, statement: Statement, complain: Complain) -> None:
        """Take one group line in; raises `StatementError`."""
        name = statement.field.removeprefix("group_")
        members = tuple(member for member in statement.value.split(",") if member)
        if name in self.known:
            raise StatementError(f"there is already a group or panel called '{shown(name)}'")
        if not 1 <= len(members) <= MAX_MEMBERS:
            raise StatementError(f"group '{shown(name)}' has {len(members)} members, expected 1 to {MAX_MEMBERS}")
        if len(set(members)) < len(members):
            raise StatementError(f"group '{shown(name)}' names a member twice")
        for member in members:
            self._check_member(member)
        if len(self.known) == MAX_GROUPS:
            complain(f"group '{shown(name)}' is ignored: there are {MAX_GROUPS} groups and panels already")
            return
        self.known.add(name)
        self.groups.append(RigidGroup(name=name, members=members))

    def _check_member(self, member: str) -> None:
        if member == "all" and any(group.name == "all" for group in self.groups):
            raise StatementError("the group 'all' is the top one and cannot be a member of another")
        if member not in self.known:
            hint = ": leave out the blanks after the commas" if member.strip() in self.known else ""
            raise StatementError(f"'{shown(member)}' is no panel or group defined further up{hint}")

    def finish(self, n_lines: int, complain: Complain) -> tuple[RigidGroup, ...]:
        """Give the groups, `all` last; without group lines, one of all panels."""
        if n_lines:
            return tuple(sorted(self.groups, key=lambda group: group.name == "all"))
        panels = tuple(self.panels)
        if "all" in panels:
            complain("a panel is called 'all': there is no hierarchy of groups")
        elif len(panels) > MAX_MEMBERS:
            complain(f"no group lines for more than {MAX_MEMBERS} panels: there is no hierarchy of groups")
        else:
            return (RigidGroup(name="all", members=panels),)
        return ()
