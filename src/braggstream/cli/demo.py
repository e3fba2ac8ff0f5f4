"""`braggstream demo`: a simulated beamline, processed live by real processes, and judged by its truth."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from braggstream.cli.command_parser import CommandParser
from braggstream.cli.started import command, started
from braggstream.model.errors import UserError

FOLDER = "demo-output"
RATE = 40.0
"""Frames a second that the beamline sends."""
N_FRAMES = 600
N_PICTURED = 4
MOST_FROM_ASAPO = 200
"""Frames of the part with ASAP::O, at most."""
FAILED = 1
"""Exit status where a part of the demonstration failed."""
PATIENCE_S = 600.0
"""Longest time without a new chunk: on a new machine kernels are compiled before the first one."""
OPTIONS = ("--peaks=peakfinder8", "--threshold=10", "--min-snr=5", "--min-peaks=15")


def run(words: Sequence[str]) -> int:
    """Run `braggstream demo` with the words after its name; gives the exit status."""
    parser = CommandParser(
        prog="braggstream demo",
        description="Start a simulated beamline, process its frames live, judge the result, and draw a frame.",
    )
    parser.add_argument("--keep", metavar="FOLDER", default=FOLDER, help=f"where results go (default: {FOLDER})")
    parser.add_argument("--frames", type=int, default=N_FRAMES, metavar="N", help=f"how many (default: {N_FRAMES})")
    parser.add_argument("--rate", type=float, default=RATE, metavar="X", help=f"a second (default: {RATE:g})")
    chosen = parser.parse_args(words)
    if chosen.frames < 1 or not chosen.rate > 0:
        raise UserError("--frames and --rate: expected numbers above zero")
    kept = Path(chosen.keep)
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--keep: {error.strerror}", path=kept) from None
    with TemporaryDirectory(prefix="braggstream-demo-") as scratch:
        try:
            Demo(kept, Path(scratch), n_frames=chosen.frames, rate=chosen.rate).run()
        except UserError as error:
            print(f"braggstream demo: {error}", file=sys.stderr)
            return FAILED
    return 0


class Demo:
    """The parts of the demonstration, in order."""

    def __init__(self, kept: Path, scratch: Path, *, n_frames: int, rate: float) -> None:
        self._kept = kept
        self._scratch = scratch
        self._n_frames = n_frames
        self._rate = rate
        self._stream = kept / "demo.stream"

    def run(self) -> None:
        """Do all of it; raises `UserError` where a part fails."""
        self._say(f"1. A beamline that sends {self._n_frames} frames of one megapixel, {self._rate:g} a second")
        _finish("simulate", "--examples", str(self._kept))
        self._process_live()
        self._say("3. What is in the stream file")
        _finish("show", str(self._stream))
        self._say("4. Judged by the truth")
        _finish("simulate", "--judge", str(self._stream), "--truth", str(self._kept / "truth.json"))
        self._process_from_asapo()
        self._say("6. A processed frame")
        self._draw()
        self._say(f"All of it is in {self._kept}/: look at frame.png and demo.stream.")

    def _process_live(self) -> None:
        sending = ["--serve", f"ipc://{self._scratch}/beamline", "--truth", str(self._kept / "truth.json")]
        sending += ["-n", str(self._n_frames), "--rate", f"{self._rate:g}", "--pool", "60", "--seed", "1"]
        sending += ["--patience", f"{PATIENCE_S:g}"]
        with started(["simulate", *sending, *self._detector("megapixel.stream.geom")]) as beamline:
            self._stream.unlink(missing_ok=True)
            receiving = [
                f"--zmq-input=ipc://{self._scratch}/beamline",
                "--zmq-request=next",
                "--data-format=msgpack",
            ]
            receiving += [*self._detector("megapixel.stream.geom"), *OPTIONS, "-j", "2", "-o", str(self._stream)]
            receiving += [f"--json-summary={self._kept / 'demo.json'}"]
            self._say("2. " + shlex.join(["indexamajig", *receiving]))
            with started(["indexamajig", *receiving]) as indexamajig:
                _wait_for_all(self._stream, self._n_frames, beamline, indexamajig)

    def _process_from_asapo(self) -> None:
        """Two streams of a stand-in for ASAP::O, through the official clients where they are installed."""
        if find_spec("asapo_consumer") is None or find_spec("asapo_producer") is None:
            self._say("5. From ASAP::O: left out, it needs  pip install 'braggstream[asapo]'")
            return
        n_frames = max(2, min(self._n_frames, MOST_FROM_ASAPO))
        truth, stream = str(self._kept / "asapo-truth.json"), self._kept / "asapo.stream"
        words = ["--asapo", "--port", "0", "--folder", str(self._scratch / "asapo"), "--truth", truth]
        words += ["-n", str(n_frames), "--streams", "2", "--rate", f"{self._rate:g}", "--pool", "30", "--seed", "2"]
        words += ["--patience", f"{PATIENCE_S:g}"]
        words += self._detector("megapixel.stream.geom")
        stream.unlink(missing_ok=True)
        with started(["simulate", *words], stdout=subprocess.PIPE) as service:
            assert service.stdout is not None
            told = [service.stdout.readline().decode() for _ in range(3)]
            if not told[2]:
                raise UserError(f"the service ended early, with status {service.wait(20)}")
            receiving = [*shlex.split(told[2])[1:-1], str(stream)]
            self._say(
                f"5. The same from ASAP::O, {n_frames} frames in two streams; here it is a stand-in at "
                f"{told[0].split()[-1]}, and the official clients\n" + shlex.join(["indexamajig", *receiving])
            )
            with started(["indexamajig", *receiving]) as indexamajig:
                _wait_for_all(stream, n_frames, service, indexamajig)
        _finish("simulate", "--judge", str(stream), "--truth", truth)

    def _draw(self) -> None:
        frames = self._scratch / "frames.h5"
        words = ["-n", str(N_PICTURED), "--hit-fraction", "1", "--seed", "1"]
        _finish("simulate", "-o", str(frames), *words, *self._detector("megapixel.geom"))
        listed = self._scratch / "frames.lst"
        listed.write_text(f"{frames}\n")
        picture = ["--png", str(self._kept / "frame.png"), "-i", str(listed)]
        _finish("picture", *picture, *self._detector("megapixel.geom"), *OPTIONS)

    def _detector(self, geometry: str) -> list[str]:
        return ["-g", str(self._kept / geometry), "-p", str(self._kept / "tetragonal.cell")]

    def _say(self, line: str) -> None:
        print(f"\n{line}", flush=True)


def _wait_for_all(
    stream: Path, n_frames: int, beamline: "subprocess.Popen[bytes]", indexamajig: "subprocess.Popen[bytes]"
) -> None:
    """Wait until every frame is in the stream file, then end the run."""
    n_written, last = 0, monotonic()
    while n_written < n_frames:
        sleep(0.25)
        n_now = _n_chunks(stream)
        if n_now > n_written:
            n_written, last = n_now, monotonic()
        if indexamajig.poll() is not None:
            raise UserError(f"indexamajig ended early, with status {indexamajig.returncode}")
        if beamline.poll() not in (None, 0):
            raise UserError(f"the beamline ended early, with status {beamline.returncode}")
        if monotonic() - last > PATIENCE_S:
            raise UserError(f"only {n_written} of {n_frames} frames arrived in the stream file")
    indexamajig.send_signal(signal.SIGINT)
    if indexamajig.wait(60) != 0:
        raise UserError(f"indexamajig ended with status {indexamajig.returncode}")


def _n_chunks(stream: Path) -> int:
    if not stream.exists():
        return 0
    return len(re.findall(rb"^----- End chunk -----$", stream.read_bytes(), re.MULTILINE))


def _finish(*words: str) -> None:
    """Run one of our commands to its end; raises `UserError` where it fails."""
    status = subprocess.call(command(*words), stdin=subprocess.DEVNULL)
    if status:
        raise UserError(f"braggstream {words[0]} ended with status {status}")
