"""A sender for the benchmarks: `python -m benchmarks.sender` answers requests with frames as fast as it is asked.

The mix of hits and blank frames is exact, and repeats: hits are spread evenly among the blank frames.
"""

import argparse
import sys
from time import perf_counter

import zmq

from benchmarks.frames import encode, frames

PATIENCE_MS = 120_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint")
    parser.add_argument("size", type=int)
    parser.add_argument("dtype")
    parser.add_argument("n_hits", type=int, help="different hits")
    parser.add_argument("n_blanks", type=int, help="different blank frames")
    parser.add_argument("n_frames", type=int, help="frames to send")
    chosen = parser.parse_args()
    pool = _mixed(
        _messages(chosen.size, chosen.dtype, chosen.n_hits, hit_fraction=1.0),
        _messages(chosen.size, chosen.dtype, chosen.n_blanks, hit_fraction=0.0),
    )
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(chosen.endpoint)
        _say("ready")
        first = last = 0.0
        for number in range(chosen.n_frames):
            if not socket.poll(PATIENCE_MS):
                sys.exit("nobody asks for frames")
            socket.recv()
            socket.send(pool[number % len(pool)], copy=False)
            last = perf_counter()
            first = first or last
        if not socket.poll(PATIENCE_MS):
            sys.exit("nobody took the last frame")
        _say(f"{(chosen.n_frames - 1) / (last - first):.6g}")


def _messages(size: int, dtype: str, n: int, *, hit_fraction: float) -> list[bytes]:
    return [encode(frame, dtype) for frame in frames(size, n=n, hit_fraction=hit_fraction)] if n else []


def _mixed(hits: list[bytes], blanks: list[bytes]) -> list[bytes]:
    """Spread hits evenly among blank frames."""
    places = [((i + 0.5) / len(hits), message) for i, message in enumerate(hits)]
    places += [((i + 0.5) / len(blanks), message) for i, message in enumerate(blanks)]
    return [message for _, message in sorted(places, key=lambda place: place[0])]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


main()
