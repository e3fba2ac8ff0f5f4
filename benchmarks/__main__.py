"""Measure, print, keep as JSON, and compare with what was kept last."""

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks import chunks, end_to_end, gpu, growth, merging, peaks, reflections, stages

KEPT = Path(__file__).parent / "results" / "last.json"
SIZES = (1024, 2048, 4096)
DTYPES = ("uint16", "int32", "float32")
PARTS = ("stages", "chunks", "peaks", "reflections", "growth", "gpu", "end_to_end", "merging")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1M frames only, and each run end to end once")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be repeated")
    parser.add_argument("--keep", action="store_true", help=f"keep the figures in {KEPT.name}")
    chosen = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    found = {"machine": _processor()}
    measures: dict[str, Callable[[bool, dict], object]] = {
        "stages": _stages,
        "chunks": _chunks,
        "peaks": _peaks,
        "reflections": _reflections,
        "growth": _growth,
        "gpu": _gpu,
        "end_to_end": _end_to_end,
        "merging": _merging,
    }
    for part in chosen.only or PARTS:
        found[part] = measures[part](chosen.quick, kept)
    if chosen.keep:
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps({**kept, **found}, indent=1) + "\n")


def _stages(is_quick: bool, kept: dict) -> list[dict]:
    """Milliseconds a frame and core, and multiples of one plain pass over the frame."""
    rows = []
    before = {(row["size"], row["dtype"]): row for row in kept.get("stages", ())}
    print(f"{'frame':>14} {'stage':>12} {'ms':>9} {'passes':>8} {'before':>8}")
    for size in SIZES[:1] if is_quick else SIZES:
        for dtype in DTYPES:
            measured = stages.measure(size, dtype)
            rows.append(asdict(measured))
            last = before.get((measured.size, dtype), {"stages_ms": {}, "pass_ms": 1.0})
            for stage, ms in measured.stages_ms.items():
                passes = f"{last['stages_ms'][stage] / last['pass_ms']:.2f}" if stage in last["stages_ms"] else "-"
                print(
                    f"{measured.size:>6} {dtype:>7} {stage:>12} {ms:9.3f} {ms / measured.pass_ms:8.2f} {passes:>8}"
                )
    return rows


def _chunks(is_quick: bool, kept: dict) -> list[dict]:
    """Milliseconds of a compressed frame, ours and HDF5's, and how many times as fast ours is."""
    rows = []
    print(f"{'compressed frame':>22} {'ms':>8} {'HDF5':>8} {'times':>6} {'reused':>8} {'times':>6} {'wall':>6}")
    for row in chunks.measure(1024 if is_quick else 2048):
        rows.append(asdict(row))
        print(
            f"{row.name:>22} {row.ours_ms:8.2f} {row.hdf5_ms:8.2f} {row.hdf5_ms / row.ours_ms:6.2f} "
            f"{row.reused_ms:8.2f} {row.reused_ms / row.ours_ms:6.2f} {row.hdf5_wall_ms / row.ours_wall_ms:6.2f}"
        )
    return rows


def _peaks(is_quick: bool, kept: dict) -> list[dict]:
    """Least milliseconds of each search, bad pixels included, and multiples of one plain pass over the frame."""
    rows = []
    before = {
        (row["size"], row["dtype"], row["stage"]): row["least_ms"] / row["pass_ms"] for row in kept.get("peaks", ())
    }
    for size in SIZES[:1] if is_quick else SIZES:
        for dtype in DTYPES:
            for row in peaks.measure(size, dtype):
                rows.append(asdict(row))
                passes = before.get((row.size, dtype, row.stage))
                last = "-" if passes is None else f"{passes:.2f}"
                print(f"{row.size:>6} {dtype:>7} {row.stage:>12} {row.least_ms:9.3f} {row.passes:8.2f} {last:>8}")
    return rows


def _reflections(is_quick: bool, kept: dict) -> list[dict]:
    """Milliseconds between a lattice and its chunk, for a usual and a large cell."""
    rows = []
    before = {row["name"]: row for row in kept.get("reflections", ())}
    for scene in reflections.SCENES:
        row = reflections.measure(scene)
        rows.append(row)
        last = before.get(scene.name, {})
        print(f"{scene.name}: {row['peaks']:.0f} peaks, {row['reflections']:.0f} reflections")
        for stage, ms in row.items():
            if stage not in ("name", "asked_ms", "peaks", "reflections"):
                asked = {"all but formatting": f"{scene.asked_ms:g}"}.get(stage, "-")
                print(f"{stage:>24} {ms:9.3f} ms, asked {asked}, before {last.get(stage, float('nan')):.3f}")
    return rows


def _growth(is_quick: bool, kept: dict) -> dict[str, list[dict]]:
    """Milliseconds a hit by number of peaks and by volume of the cell."""
    found = growth.measure()
    for along, rows in found.items():
        before = {row[along]: _total(row) for row in kept.get("growth", {}).get(along, ())}
        for row in rows:
            last = f"{before[row[along]]:.2f}" if row[along] in before else "-"
            print(f"{along:>8} {row[along]:>6g} {_total(row):9.3f} ms a hit without its pixels (before: {last})")
    return found


def _total(row: dict[str, float]) -> float:
    return sum(row[stage] for stage in ("indexing", "prediction", "integration", "format"))


def _gpu(is_quick: bool, kept: dict) -> dict:
    """Frames a second on a CUDA device, where there is one, and how far its results are from the processor's."""
    reason = gpu.why_not()
    if reason is not None:
        print(f"GPU: nothing is measured: {reason}")
        return dict(kept.get("gpu", {}))
    deviations = gpu.deviations()
    print("GPU and CPU differ at most by", ", ".join(f"{value:.1g} ({name})" for name, value in deviations.items()))
    rows = {_gpu_key(row): row for row in kept.get("gpu", {}).get("rates", ())}
    print(f"{'4M uint16, peaks and lattices, workers':>40} {'MPS':>4} {'frames/s':>9} {'asked':>6} {'before':>8}")
    for row in map(asdict, gpu.measure()):
        last = f"{rows[_gpu_key(row)]['frames_per_s']:.1f}" if _gpu_key(row) in rows else "-"
        rows[_gpu_key(row)] = row
        service = "yes" if row["has_service"] else "no"
        place = f"{row['place']:>36} {row['workers']:>3} {service:>4}"
        print(f"{place} {row['frames_per_s']:9.1f} {gpu.ASKED:>6g} {last:>8}", flush=True)
    return {"device": gpu.name(), "deviations": deviations, "rates": list(rows.values())}


def _gpu_key(row: dict) -> tuple:
    return row["place"], row["workers"], row["has_service"]


def _end_to_end(is_quick: bool, kept: dict) -> list[dict]:
    """Frames a second over real sockets, beside the sender, and the memory of a worker."""
    rows = []
    before = {row["name"]: row for row in kept.get("end_to_end", ())}
    print(f"{'end to end':>36} {'frames/s':>9} {'asked':>6} {'before':>8} {'MiB a worker':>13}")
    for scenario in end_to_end.SCENARIOS:
        if is_quick and scenario.size != SIZES[0]:
            continue
        runs = [end_to_end.measure(scenario) for _ in range(1 if is_quick else 3)]
        rows.append(end_to_end.as_row(scenario, runs))
        asked = "-" if scenario.asked is None else f"{scenario.asked:g}"
        last = f"{_rate(before[scenario.name]):.1f}" if scenario.name in before else "-"
        memory = max(run.worker_share_mib for run in runs)
        print(f"{scenario.name:>36} {_rate(rows[-1]):9.1f} {asked:>6} {last:>8} {memory:13.0f}", flush=True)
    return rows


def _merging(is_quick: bool, kept: dict) -> list[dict]:
    """Seconds to merge 300 reflections of each crystal, from stream files and from the columnar cache."""
    rows = []
    before = {(row["way"], row["n_crystals"]): row for row in kept.get("merging", ())}
    print(
        f"{'merge of':>16} {'crystals':>9} {'s':>7} {'s (CPU)':>8} {'MB/s (CPU)':>10} {'MB':>6} {'asked':>6} before"
    )
    for n_crystals in merging.SIZES[:2] if is_quick else merging.SIZES:
        for merge in merging.measure(n_crystals):
            rows.append(asdict(merge))
            asked = f"{merging.ASKED_S[merge.way]:g}" if merge.way in merging.ASKED_S else "-"
            last = before.get((merge.way, n_crystals), {}).get("processor_s", float("nan"))
            print(
                f"{merge.way:>16} {n_crystals:>9} {merge.clock_s:7.1f} {merge.processor_s:8.1f}"
                f" {merge.file_mb / merge.processor_s:10.0f} {merge.memory_mb:6.0f}"
                f" {asked if n_crystals == merging.SIZES[-1] else '-':>6} {last:.1f}",
                flush=True,
            )
    return rows


def _rate(row: dict) -> float:
    return median(run["frames_per_s"] for run in row["runs"])


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


main()
