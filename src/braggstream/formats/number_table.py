"""Lines of numbers that end with the name of a panel, as printf would write them but many times faster."""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from braggstream.kernels.fixed_point import LONGEST, write_table
from braggstream.model.geometry import Panel

_FIELD = re.compile(r"( *)%(\d+)(?:\.(\d))?[fi]")


class TableLayout:
    """A line's format: fields such as `%4i` and `%10.2f`, and `%s` for the name of a panel at the end."""

    def __init__(self, line: str) -> None:
        self._line = line
        fields = _FIELD.findall(line)
        gap = len(line.split("%s", maxsplit=1)[0]) - len(line.split("%s", maxsplit=1)[0].rstrip(" "))
        rows = [(len(spaces), int(width), int(decimals or 0)) for spaces, width, decimals in fields]
        self._layout = np.array([*rows, (gap, 0, 0)], np.int64)
        self._n_bytes = sum(spaces + max(width, LONGEST) for spaces, width, _ in rows) + gap + 1

    def write(self, columns: NDArray[np.float64], panel: NDArray[np.int32], panels: Sequence[Panel]) -> bytes:
        """Write rows of numbers, float64[n_columns, n], each with the name of its panel, int32[n]."""
        names, lengths = _names(tuple(one.name for one in panels))
        n = columns.shape[1]
        out = np.empty(n * (self._n_bytes + names.shape[1]), np.uint8)
        n_bytes = write_table(columns, self._layout, np.ascontiguousarray(panel, np.int32), names, lengths, out)
        return out[:n_bytes].tobytes() if n_bytes >= 0 else self._write_slowly(columns, panel, panels)

    def _write_slowly(
        self, columns: NDArray[np.float64], panel: NDArray[np.int32], panels: Sequence[Panel]
    ) -> bytes:
        """Write numbers of any size."""
        rows: list[object] = []
        for numbers, number in zip(columns.T.tolist(), panel.tolist(), strict=True):
            rows += [*numbers, panels[number].name]
        return (self._line * columns.shape[1] % tuple(rows)).encode("utf-8", "replace")


@lru_cache(maxsize=8)
def _names(names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    encoded = [name.encode("utf-8", "replace") for name in names]
    lengths = np.array([len(name) for name in encoded], np.int64)
    table = np.zeros((len(names), max(int(lengths.max(initial=1)), 1)), np.uint8)
    for number, name in enumerate(encoded):
        table[number, : len(name)] = np.frombuffer(name, np.uint8)
    return table, lengths
