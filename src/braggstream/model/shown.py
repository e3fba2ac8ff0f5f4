"""How nouns show themselves: one line in a terminal, a small table in a notebook, both of bounded size."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

MAX_TEXT = 80
"""Longest text that is shown of one value."""
MAX_FACTS = 24
MAX_ROWS = 8
"""Rows of a table that a notebook shows."""
STYLE = "text-align:left;padding:0 1em 0 0"

Columns = Mapping[str, Any]
"""Columns of a table: sequences or arrays of equal length."""


class Shown:
    """Gives a class its `repr` and its table in notebooks; both come from what it tells of itself."""

    __slots__ = ()

    def _facts(self) -> Mapping[str, object]:
        """What there is to know, by name, short; a fact without a name explains itself."""
        return {}

    def _columns(self) -> Columns:
        """First rows of a table, by the name of the column; at least `MAX_ROWS` of them where there are more."""
        return {}

    def __repr__(self) -> str:
        facts = [f"{name} {shown(value)}".strip() for name, value in self._facts().items()]
        return f"<{type(self).__name__}: {', '.join(facts[:MAX_FACTS])}>" if facts else f"<{type(self).__name__}>"

    def _repr_html_(self) -> str:
        facts = dict(list(self._facts().items())[:MAX_FACTS])
        head = f"<b>{_escaped(type(self).__name__)}</b> {_escaped(shown(facts.pop('', '')))}"
        rows = "".join(_row([name], [value]) for name, value in facts.items())
        return f"<div>{head}{f'<table>{rows}</table>' if rows else ''}{_table(self._columns())}</div>"


class ShownSettings(Shown):
    """A dataclass of settings that shows what is not as it is by default."""

    __slots__ = ()

    def _facts(self) -> Mapping[str, object]:
        return {field.name: value for field, value in self._chosen()} or {"": "all as by default"}

    def _chosen(self) -> list[tuple[Any, Any]]:
        found = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            default = field.default if field.default_factory is MISSING else field.default_factory()
            if value != default:
                found.append((field, value))
        return found


def shown(value: object) -> str:
    """Write a value in few characters that can be printed; of long texts, the middle is left out.

    >>> shown(0.123456789), shown((1.0, 2.5)), len(shown("a" * 100)), shown("\\x1b[2J")
    ('0.1235', '1 2.5', 80, '\\\\x1b[2J')
    """
    if isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") == "f":
        text = f"{value:.4g}"
    elif isinstance(value, tuple | list):
        text = " ".join(shown(each) for each in value[:MAX_TEXT])
    else:
        text = str(value)
    if not text.isprintable():
        text = text.encode("unicode_escape").decode()
    half = MAX_TEXT // 2
    return text if len(text) <= MAX_TEXT else f"{text[:half]}…{text[1 - half :]}"


def counted(number: int, noun: str) -> str:
    """Write a number of things.

    >>> counted(1, "peak"), counted(12, "peak")
    ('1 peak', '12 peaks')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def _table(columns: Columns) -> str:
    if not columns:
        return ""
    n_rows = max(map(len, columns.values()))
    head = "".join(f'<th style="{STYLE}">{_escaped(name)}</th>' for name in columns)
    rows = "".join(
        _row([], [values[number] for values in columns.values()]) for number in range(min(n_rows, MAX_ROWS))
    )
    more = _row([], ["…"] * len(columns)) if n_rows > MAX_ROWS else ""
    return f"<table><tr>{head}</tr>{rows}{more}</table>"


def _row(heads: Sequence[str], values: Sequence[object]) -> str:
    cells = [f'<th style="{STYLE}">{_escaped(head)}</th>' for head in heads]
    cells += [f'<td style="{STYLE}">{_escaped(shown(value))}</td>' for value in values]
    return f"<tr>{''.join(cells)}</tr>"


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)
