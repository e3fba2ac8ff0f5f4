"""Tables of figures by resolution shell, which turn into those of other libraries."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.model.shown import Columns, Shown, counted
from braggstream.model.tables import import_pandas, import_pyarrow


@dataclass(frozen=True, kw_only=True, eq=False, slots=True, repr=False)
class ShellTable(Shown):
    """Figures by resolution shell, and overall."""

    columns: Mapping[str, NDArray]
    """Values of each figure by its name, one for each shell; `d_max`, `d_min` and `d` are in Å."""
    overall: Mapping[str, float]
    """Values from all reflections."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> NDArray:
        return self.columns[name]

    def _facts(self) -> dict[str, object]:
        overall = {name: _text(value) for name, value in self.overall.items()}
        return {"": counted(len(self), "shell"), **{f"overall {name}": text for name, text in overall.items()}}

    def _columns(self) -> Columns:
        return {name: [_text(value) for value in values] for name, values in self.columns.items()}

    def to_pandas(self) -> Any:
        """Give a pandas DataFrame, a row for each shell."""
        return import_pandas().DataFrame(dict(self.columns))

    def to_arrow(self) -> Any:
        """Give an Arrow table, a row for each shell."""
        return import_pyarrow("an Arrow table").table(dict(self.columns))

    def __str__(self) -> str:
        """Show the table as text, with the overall values in its last line."""
        names = list(self.columns)
        rows = [names, *([_text(self.columns[name][shell]) for name in names] for shell in range(len(self)))]
        rows.append([_text(self.overall[name]) if name in self.overall else "" for name in names])
        widths = [max(len(row[column]) for row in rows) for column in range(len(names))]
        return "\n".join(
            "  ".join(word.rjust(width) for word, width in zip(row, widths, strict=True)) for row in rows
        )


def edges_columns(edges: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Limits and middles of shells [Å], from their limits as 1/d, float64[n + 1] [Å⁻¹]."""
    with np.errstate(divide="ignore"):
        d = 1.0 / edges
    return {"d_max": d[:-1], "d_min": d[1:], "d": 2.0 / (edges[:-1] + edges[1:])}


def _text(value: Any) -> str:
    if isinstance(value, (int, np.integer)):
        return str(value)
    return "-" if isnan(value) else f"{value:.4g}"
