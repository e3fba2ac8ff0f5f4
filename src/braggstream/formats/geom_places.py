"""Where a geometry file states something: file and line, for remarks on a geometry that was read long before."""

from braggstream.formats.geom_lines import StatementError, read_statement
from braggstream.formats.text_file import split_lines
from braggstream.model.geometry import Geometry


class StatementPlaces:
    """The lines of a geometry's statements."""

    def __init__(self, geometry: Geometry) -> None:
        self._path = geometry.path or "geometry"
        self._lines: dict[tuple[str | None, str], list[int]] = {}
        self._first: dict[str, int] = {}
        for number, line in enumerate(split_lines(geometry.text), start=1):
            try:
                statement = read_statement(line, number)
            except StatementError:
                continue
            if statement is None:
                continue
            self._lines.setdefault((statement.owner, statement.field), []).append(number)
            if statement.owner is not None:
                self._first.setdefault(statement.owner, number)

    def of(self, *fields: str, owner: str | None = None) -> str:
        """Name file and line where one of the fields was last set for a panel, a bad region or all.

        A panel has its own statements, and the defaults that stand before its first one.  Where none is found, the
        first line of the owner, or the file alone, is named.
        """
        lines = [line for field in fields for line in self._lines.get((owner, field), ())]
        if not lines and owner is not None:
            first = self._first.get(owner, 0)
            defaults = [line for field in fields for line in self._lines.get((None, field), ()) if line < first]
            lines = defaults or ([first] if first else [])
        return f"{self._path}:{max(lines)}" if lines else self._path
