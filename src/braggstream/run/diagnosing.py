"""The process in which a session's frames are diagnosed: it takes seconds, which the loop of a session has not.

    python -m braggstream.run.diagnosing PARENT

On standard input the order and the set-up, on standard output a line for each thing to be told.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from braggstream.formats.wire import Setup, decode_diagnosis, encode_diagnosis
from braggstream.pipeline.diagnosis import diagnose
from braggstream.pipeline.session_samples import SampledFrame, SessionCounts
from braggstream.run.ties import die_with_parent, name_process

POLITENESS = 10
"""The workers come first."""


def order_of(setup: Setup, counts: SessionCounts, frames: Sequence[SampledFrame]) -> bytes:
    """Write what `main` reads."""
    return encode_diagnosis(
        replace(setup, geometry=replace(setup.geometry, _cache={})),
        (counts.n_processed, counts.n_hits, counts.n_indexed),
        [(each.sample, each.is_hit, each.is_indexed) for each in frames],
    )


def main(words: Sequence[str]) -> int:
    """Diagnose what standard input describes."""
    die_with_parent(int(words[0]))
    name_process("braggstream-why")
    os.nice(POLITENESS)
    setup, counts, frames = decode_diagnosis(sys.stdin.buffer.read())
    lines = diagnose(
        setup.geometry,
        setup.settings,
        SessionCounts(n_processed=counts[0], n_hits=counts[1], n_indexed=counts[2]),
        [SampledFrame(sample=sample, is_hit=hit, is_indexed=indexed) for sample, hit, indexed in frames],
    )
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
