"""Index sets of simulated hits, judge the lattices by the truth, and put the figures beside the asked ones."""

import argparse
import json
from fnmatch import fnmatch
from math import isnan
from pathlib import Path

from benchmarks.quality.measure import Measured, measure
from benchmarks.quality.sets import (
    ASKED_CELL_ERROR,
    ASKED_MISORIENTATION,
    ASKED_MS,
    ASKED_WRONG,
    SETS,
    FrameSet,
)
from braggstream.steps.indexing import INDEXERS

KEPT = Path(__file__).parent.parent / "results" / "quality.json"
DEFAULT_METHODS = {"with": "ffbidx", "without": "asdf"}
HEAD = f"{'set':>18} {'cell':>7} {'method':>10} {'right %':>8} {'asked':>6} {'wrong %':>8} {'asked':>5} "
HEAD += f"{'deg':>7} {'asked':>6} {'length':>8} {'asked':>7} {'ms':>7} {'asked':>5} {'most ms':>8}"


def main() -> None:
    chosen = _options()
    found: list[Measured] = []
    print(HEAD, flush=True)
    for frame_set in SETS:
        if not any(fnmatch(frame_set.name, pattern) for pattern in chosen.sets.split(",")):
            continue
        for kind in ("with", "without") if chosen.cell == "both" else (chosen.cell,):
            methods = tuple((chosen.method or DEFAULT_METHODS[kind]).split(","))
            if kind == "without" and (frame_set.expected_cell != frame_set.cell or methods[0] not in INDEXERS):
                continue
            measured = measure(
                frame_set, methods=methods, has_cell=kind == "with", n_frames=chosen.frames, seed=chosen.seed
            )
            found.append(measured)
            print(_line(frame_set, measured, kind), flush=True)
    print("!: short of what is asked.  deg, length: medians of hits with 150 peaks and more; ms: median a hit")
    if chosen.keep:
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps([one.as_record() for one in found], indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--cell", choices=("with", "without", "both"), default="both", help="tell the cell or not")
    parser.add_argument(
        "--method",
        help=f"methods as for --indexing (default: {DEFAULT_METHODS['with']} with a cell, "
        f"{DEFAULT_METHODS['without']} without, where it is there)",
    )
    parser.add_argument("--sets", default="*", help="names of sets, with * and ?, separated by commas")
    parser.add_argument("--frames", type=int, default=200, help="hits of each set")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives other hits")
    parser.add_argument("--keep", action="store_true", help=f"keep the figures in {KEPT.name}")
    return parser.parse_args()


def _line(frame_set: FrameSet, measured: Measured, kind: str) -> str:
    is_sought = measured.n_lattices > 0
    asked = frame_set.asked_with_cell if kind == "with" else frame_set.asked_without_cell
    asked_ms = ASKED_MS[kind] * (1 if is_sought else 2)
    right = _figure(measured.right if is_sought else None, asked, "8.2f", "6g", more_is_better=True)
    wrong = _figure(measured.wrong, ASKED_WRONG, "8.2f", "5g")
    angle = _figure(measured.misorientation, ASKED_MISORIENTATION, "7.4f", "6g")
    length = _figure(measured.cell_error, ASKED_CELL_ERROR, "8.1e", "7.0e")
    time = _figure(measured.median_ms, asked_ms if measured.n_lattices <= measured.n_frames else None, "7.2f", "5g")
    name = f"{frame_set.name:>18} {kind:>7} {measured.methods:>10}"
    return f"{name} {right} {wrong} {angle} {length} {time} {measured.longest_ms:8.2f}"


def _figure(
    found: float | None, asked: float | None, style: str, asked_style: str, *, more_is_better: bool = False
) -> str:
    """A figure and what is asked, marked where it falls short; blanks for what there is not."""
    text = "" if found is None or isnan(found) else f"{found:{style}}".strip()
    beside = f"{asked:{asked_style}}" if text and asked is not None else ""
    if text and asked is not None and (found < asked if more_is_better else found > asked):
        text = f"!{text}"
    return f"{text:>{_width(style)}} {beside:>{_width(asked_style)}}"


def _width(style: str) -> int:
    return int(style.rstrip("gfe").partition(".")[0])


main()
