"""Measure, print, keep as JSON, and compare with what was kept last."""

import argparse
import json
import platform
import statistics
from dataclasses import asdict
from pathlib import Path

from benchmarks import end_to_end, peaks, stages

KEPT = Path(__file__).parent / "results" / "last.json"
SIZES = (1024, 2048, 4096)
DTYPES = ("uint16", "int32", "float32")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1M frames only, and one run end to end")
    parser.add_argument("--keep", action="store_true", help=f"keep the figures in {KEPT.name}")
    chosen = parser.parse_args()
    before = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    found = {"machine": platform.processor() or platform.machine(), "stages": [], "peaks": [], "end_to_end": {}}
    print(f"{'frame':>14} {'stage':>12} {'ms':>9} {'passes':>8} {'before':>8}")
    for size in SIZES[:1] if chosen.quick else SIZES:
        for dtype in DTYPES:
            measured = stages.measure(size, dtype)
            found["stages"].append(asdict(measured))
            for stage, ms in measured.stages_ms.items():
                ratio = ms / measured.pass_ms
                last = _passes_before(before, measured.size, dtype, stage)
                print(f"{measured.size:>6} {dtype:>7} {stage:>12} {ms:9.3f} {ratio:8.2f} {last:>8}")
            for row in peaks.measure(size, dtype):
                found["peaks"].append(asdict(row))
                print(f"{row.size:>6} {dtype:>7} {row.stage:>12} {row.least_ms:9.3f} {row.passes:8.2f} {'':>8}")
    runs = [end_to_end.measure() for _ in range(1 if chosen.quick else 3)]
    rate = statistics.median(run["frames_per_s"] for run in runs)
    found["end_to_end"] = {"frames_per_s": rate, "runs": runs}
    last_rate = before.get("end_to_end", {}).get("frames_per_s", "-")
    print(f"end to end, 1M int32 over ZeroMQ, two workers: {rate:.1f} frames/s (before: {last_rate})")
    if chosen.keep:
        KEPT.write_text(json.dumps(found, indent=1) + "\n")


def _passes_before(before: dict, size: str, dtype: str, stage: str) -> str:
    for kept in before.get("stages", ()):
        if kept["size"] == size and kept["dtype"] == dtype and stage in kept["stages_ms"]:
            return f"{kept['stages_ms'][stage] / kept['pass_ms']:.2f}"
    return "-"


main()
