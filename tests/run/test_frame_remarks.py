"""What is told once of frames."""

from braggstream.formats.remarks import MAX_REMARKS, Remarks
from braggstream.formats.wire import FrameOutcome
from braggstream.run.frame_remarks import ENOUGH, FrameRemarks


def outcome(*missing, status="written", remarks=()):
    return FrameOutcome(serial=1, status=status, missing_headers=missing, remarks=remarks)


def test_headers_that_no_frame_has_are_told_once():
    said = []
    watcher = FrameRemarks(["a", "b", "c"], said.append)
    watcher.recorded(outcome(status="failed"))
    watcher.recorded(outcome("a", "b", "c"))
    watcher.recorded(outcome("a", "b", status="skipped"))
    for _ in range(ENOUGH - 3):
        watcher.recorded(outcome("a", "b"))
    assert said == []
    watcher.recorded(outcome("a"))
    assert said == [f"--copy-header=a: none of {ENOUGH} frames has this header"]
    watcher.finish()
    assert len(said) == 1


def test_short_sessions_tell_it_at_the_end():
    said = []
    watcher = FrameRemarks(["a"], said.append)
    watcher.finish()
    assert said == []  # Without frames there is nothing to tell.
    watcher.recorded(outcome("a"))
    watcher.finish()
    assert said == ["--copy-header=a: none of 1 frames has this header"]


def test_remarks_of_all_workers_are_told_once():
    said = []
    watcher = FrameRemarks([], said.append)
    for _ in range(3):
        watcher.recorded(outcome(remarks=("odd", "strange")))
    assert said == ["odd", "strange"]


def test_remarks_are_bounded():
    remarks = Remarks()
    for number in range(2 * MAX_REMARKS):
        remarks.add(f"line {number}")
        remarks.add(f"about the same {number}", about="one thing")
    assert len(remarks.take()) == MAX_REMARKS
    assert remarks.take() == ()
