"""A small processor for tests of processes: no kernels, no geometry, and it misbehaves on demand.

A frame's name (file name, or text of the message) says what happens to it.
"""

import os
import signal
import time

from braggstream.formats.announced import STREAM_HEADER
from braggstream.formats.stream_header import CHUNK_BEGIN, CHUNK_END
from braggstream.formats.wire import FrameOutcome
from braggstream.model.adjustments import Adjustments
from braggstream.model.errors import DecodeError, MissingDataError, UserError
from braggstream.model.frame import FileSlot
from braggstream.run.processor import Unwarmed

LENGTH_OF_BURSTS = 100


class FakeProcessor:
    usual_pixel_types = ("int32",)

    def __init__(self, setup):
        self.setup = setup
        self.warmed = set()
        self.n = 0
        self.kept = []
        self.adjustments = Adjustments()
        if setup.geometry.path == "broken.geom":
            raise UserError("no panel", path="broken.geom", line=3)

    def warm_up(self, pixel_types, after_each):
        if self.setup.geometry.path == "slow.geom":
            time.sleep(600)
        for name in pixel_types:
            if name == "complex64":
                raise TypeError("no such kernel")
            self.warmed.add(name)
            self.n += name not in ("int32", "uint16")
            after_each(1, 1)

    def begin_work(self, worker):
        pass

    def n_compiled(self):
        return self.n

    def adjust(self, adjustments):
        self.adjustments = adjustments

    def process(self, work):
        if isinstance(work, FileSlot):
            name = work.filename
        else:
            name = bytes(work.payload[:64]).split(b"\0")[0].decode("latin-1")
        word, _, rest = name.partition(":")
        if word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif word in ("hang", "slow"):
            os.write(2, f"working on {name}\n".encode())
            time.sleep(float(rest or 600))
        elif word == "bad":
            raise DecodeError("not a frame")
        elif word == "bug":
            raise ZeroDivisionError("a bug")
        elif word == "work":
            time.sleep(0.008)
        elif word == "burst":
            time.sleep(0.012 if is_burst_hit(int(rest)) else 0.002)
        elif word == "allocate":
            bytearray(int(rest) << 30)
        elif word == "keep":  # 10 MiB that are never given back.
            self.kept.append(b"\1" * (10 << 20))
        elif word == "type" and rest not in self.warmed:
            raise Unwarmed(rest)
        indexing = self.adjustments.indexing
        if word == "fails" and indexing is not None:
            raise DecodeError("not a second time")
        is_hit = word != "blank"
        if word in ("work", "burst"):
            is_hit = (is_work_hit if word == "work" else is_burst_hit)(int(rest))
        is_written = is_hit or self.setup.output.write_non_hits
        size = int(rest) if word == "big" else 10
        where = f"worker {os.getpid()} offset {self.adjustments.offset.x:g}"
        if indexing is not None:
            where += f" cell {indexing.target_cell.lattice_type}"
        origin = None if isinstance(work, FileSlot) else work.origin
        if origin is not None and origin.fault:
            raise MissingDataError(origin.fault)
        chunk = f"frame {name} serial {work.serial} {where} {'x' * size}\n".encode()
        if origin is not None:
            chunk = announced_chunk(chunk, origin)
        return FrameOutcome(
            serial=work.serial,
            status="written" if is_written else "skipped",
            filename=name,
            event="//",
            chunk=chunk if is_written else b"",
            is_hit=is_hit,
            n_crystals=2 if word == "crystal" else 0,
            sender_number=int(rest) if word in ("number", "work", "burst") else None,
            timings={"load": 0.5},
            warnings=("odd",) if word == "warn" else (),
            adjustment=self.adjustments.number,
            cells=(reciprocal_axes(work.serial),) if word in ("crystal", "fails") and indexing is None else (),
        )


def is_work_hit(number):
    """About three in ten, without a pattern."""
    return number * 2654435761 % 2**32 % 1000 < 300


def announced_chunk(line, origin):
    """Look like a chunk of a message as far as those need it who go on with a stream file."""
    head = f"{CHUNK_BEGIN}\nImage serial number: {origin.number}\nheader/str/{STREAM_HEADER} = {origin.stream}\n"
    return head.encode() + line + f"{CHUNK_END}\n".encode()


def is_burst_hit(number):
    """A hundred hits, a hundred blank frames, and so on."""
    return number // LENGTH_OF_BURSTS % 2 == 0


def reciprocal_axes(serial):
    """Axes of a tetragonal cell of 50, 50 and 80 Å, with a small error."""
    error = 1e-6 * (serial % 7)
    return (0.02, error, 0.0, 0.0, 0.02, 0.0, 0.0, 0.0, 0.0125 * (1 + error))
