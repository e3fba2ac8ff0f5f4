"""Lines on stderr."""

import io

from braggstream.formats.wire import FrameOutcome
from braggstream.pipeline.totals import Ledger
from braggstream.run.report import Report


class Terminal(io.StringIO):
    def isatty(self):
        return True


def failure(number):
    return FrameOutcome(
        serial=number, status="failed", filename="f", event=f"//{number}", reason="decode", complaint="bad"
    )


def test_flood_of_failures_is_told_in_short():
    stream = io.StringIO()
    report = Report(Ledger(), 0.0, stream)
    for number in range(1000):
        report.outcome(failure(number))
    report.turn()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "f //0 (serial 0): failed (decode): bad"
    assert len(lines) == 23
    assert lines[20] == "... and 980 more failures (decode)"
    assert lines[21].startswith("Frames: 0 received, ")
    assert "0 images processed, " in lines[22]


def test_progress_bar_in_a_terminal_only():
    for stream, has_bar in ((Terminal(), True), (io.StringIO(), False)):
        ledger = Ledger()
        report = Report(ledger, 100.0, stream)
        report.total = 4
        ledger.settle(FrameOutcome(serial=1, status="written"))
        report.turn()
        assert ("1/4" in stream.getvalue()) == has_bar
        report.finish()
        assert (
            stream.getvalue()
            .splitlines()[-2]
            .endswith(
                "Final: 1 images processed, 0 hits (0.0%), 0 indexable (0.0% of hits, 0.0% overall), 0 crystals."
            )
        )


def test_compilation_under_way_of_a_frame_is_told():
    stream = io.StringIO()
    Report(Ledger(), 100.0, stream).outcome(FrameOutcome(serial=1, status="written", n_compiled=2))
    assert "waited for 2 kernels" in stream.getvalue()


def test_notices_of_a_sender_are_limited_too():
    stream = io.StringIO()
    report = Report(Ledger(), 0.0, stream)
    for number in range(100):
        report.notice(f"Series {number} begins.")
    report.turn()
    assert stream.getvalue().count("begins") == 20 and "... and 80 more notices" in stream.getvalue()
