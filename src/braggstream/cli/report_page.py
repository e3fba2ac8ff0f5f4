"""The page of `braggstream report`: HTML that needs nothing beside it."""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from braggstream import __version__
from braggstream.formats.shell_table import ShellTable
from braggstream.pipeline.data_summary import MergedSummary, Row, StreamSummary
from braggstream.plots import cell_figure, histogram_figure, line_figure, shell_figure, svg_of

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin-bottom: 0; } h2 { font-size: 1.1em; margin: 1.6em 0 0.4em; }
p.about { color: #777; margin-top: 0.2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: 0.15em 0.9em 0.15em 0; text-align: right; } td:first-child, th:first-child { text-align: left; }
th { font-weight: 600; border-bottom: 1px solid #999; } tr:nth-child(even) td { background: #f6f6f4; }
svg { max-width: 100%; height: auto; } pre { background: #f6f6f4; padding: 0.8em; overflow-x: auto; }
"""
COLUMNS = {
    "n_reflections": ("Unique", "d", 1.0),
    "n_possible": ("Possible", "d", 1.0),
    "completeness": ("Compl. / %", ".1f", 100.0),
    "redundancy": ("Mult.", ".1f", 1.0),
    "snr": ("I/σ", ".2f", 1.0),
    "Rsplit": ("Rsplit / %", ".1f", 100.0),
    "CC": ("CC1/2", ".3f", 1.0),
    "CC*": ("CC*", ".3f", 1.0),
}
"""Title, digits and factor of the columns of the table of shells."""


def page_of(
    title: str,
    sources: Sequence[str],
    rows: Sequence[Row],
    *,
    stream: StreamSummary | None,
    merged: MergedSummary | None,
) -> str:
    """Write the page."""
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="about">{escape(", ".join(sources))}; Braggstream {__version__}</p>',
        "<h2>Table 1</h2><table><tr><th></th><th>Overall</th><th>Outermost shell</th></tr>",
        *(
            f"<tr><td>{escape(row.label)}</td><td>{escape(row.value)}</td><td>{escape(row.outer)}</td></tr>"
            for row in rows
        ),
        "</table>",
    ]
    if merged is not None:
        parts += _merged_parts(merged)
    if stream is not None:
        parts += _stream_parts(stream)
    return "\n".join([*parts, "</body></html>", ""])


def _merged_parts(merged: MergedSummary) -> Iterator[str]:
    shells, halves = merged.shells, merged.halves
    inverse_d = 1.0 / shells["d"]
    panels = {
        "Completeness [%]": {"completeness": 100.0 * shells["completeness"]},
        "Multiplicity": {"multiplicity": shells["redundancy"]},
        "⟨I/σ(I)⟩": {"signal": shells["snr"]},
    }
    yield "<h2>Merged data</h2>"
    for remark in merged.remarks:
        yield f"<p>{escape(remark)}</p>"
    yield svg_of(shell_figure(inverse_d, panels))
    if halves is not None:
        agreement = {
            "Half sets": {"CC1/2": halves["CC"], "CC*": halves["CC*"]},
            "Rsplit [%]": {"Rsplit": 100.0 * halves["Rsplit"]},
        }
        yield svg_of(shell_figure(inverse_d, agreement))
    wilson = merged.wilson
    label = "" if np.isnan(wilson.b_factor) else f"B = {wilson.b_factor:.1f} Å²"
    line = wilson.ln_k - 2.0 * wilson.b_factor * wilson.s_squared
    yield svg_of(
        line_figure("Wilson plot", "(sin θ/λ)² [Å⁻²]", wilson.s_squared, {"ln⟨I/εE⟩": wilson.ln_ratio, label: line})
    )
    yield _shell_table(shells, halves)


def _shell_table(shells: ShellTable, halves: ShellTable | None) -> str:
    columns = {name: shells[name] for name in COLUMNS if name in shells.columns}
    if halves is not None:
        columns |= {name: halves[name] for name in COLUMNS if name in halves.columns}
    head = "".join(f"<th>{escape(COLUMNS[name][0])}</th>" for name in columns)
    lines = [f"<h2>Shells</h2><table><tr><th>d / Å</th>{head}</tr>"]
    for shell in range(len(shells)):
        limits = f"{shells['d_max'][shell]:.2f} – {shells['d_min'][shell]:.2f}"
        cells = "".join(f"<td>{_number(values[shell], name)}</td>" for name, values in columns.items())
        lines.append(f"<tr><td>{limits}</td>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def _stream_parts(stream: StreamSummary) -> Iterator[str]:
    if not len(stream.cells):
        return
    yield f"<h2>Crystals: {escape(stream.lattice)}</h2>"
    yield svg_of(cell_figure([(f"{len(stream.cells)} crystals", stream.cells)]))
    if len(stream.resolutions):
        yield svg_of(histogram_figure("Apparent resolution of the crystals [Å]", stream.resolutions))


def _number(value: float, name: str) -> str:
    _, digits, factor = COLUMNS[name]
    if digits == "d":
        return str(int(value))
    return "–" if np.isnan(value) else format(factor * float(value), digits)
