"""Fuzz one decoder: `python -m fuzz FORMAT [SECONDS] [FOLDER]`.

Anything but a frame or a `FrameError` of one line is a find; so is a message that takes longer than ten seconds or
more than 2 GiB.  What was found lies in FOLDER (`fuzz-FORMAT`), beside the corpus that grew.
"""

import json
import pkgutil
import sys
import time
from pathlib import Path

import atheris

import braggstream.kernels

# Numba cannot compile bytecode that counts its branches.
UNTOUCHED = [f"braggstream.kernels.{found.name}" for found in pkgutil.iter_modules(braggstream.kernels.__path__)]

with atheris.instrument_imports(include=["braggstream"], exclude=UNTOUCHED):
    from braggstream.formats.geom import parse_geometry
    from braggstream.model.data_formats import OF_SERIES
    from braggstream.model.errors import FrameError
    from braggstream.model.frame import Message, SeriesStart
    from braggstream.model.settings import FrameSettings
    from braggstream.pipeline.loading import FrameLoader

from fuzz.seeds import TARGETS  # noqa: E402 - Braggstream is imported instrumented

LONGEST_LINE = 600


def main() -> None:
    name = sys.argv[1]
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 600
    folder = Path(sys.argv[3] if len(sys.argv) > 3 else f"fuzz-{name}")
    target = TARGETS[name]
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / "words.txt"
    escaped = ["".join(map("\\x{:02x}".format, word)) for word in target.words]
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    loader = FrameLoader(
        parse_geometry(target.geometry), FrameSettings(load_peaks=target.load_peaks, data_format=name)
    )
    counts = {"format": name, "frames": 0, "refused": 0, "seconds": 0.0}
    started = time.monotonic()

    def try_message(data: bytes) -> None:
        try:
            start = SeriesStart(payload=data, number=counts["refused"]) if name in OF_SERIES else None
            frame = loader.from_message(Message(payload=memoryview(data), serial=1, start=start))
            assert frame.pixels.size >= 48
            counts["frames"] += 1
        except FrameError as error:
            line = str(error)
            if not line or "\n" in line or len(line) > LONGEST_LINE:
                raise AssertionError(f"not one short line: {line!r}") from error
            counts["refused"] += 1
        if counts["refused"] % 1000 == 0:
            counts["seconds"] = round(time.monotonic() - started, 1)
            (folder / "counts.json").write_text(json.dumps(counts))

    options = [
        f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=16384", "-print_final_stats=1",
        f"-dict={words}", f"-artifact_prefix={folder}/find-",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], try_message)
    atheris.Fuzz()


main()
