"""The ledger: its equation at every moment, CrystFEL's wording, and the counting of lost frames."""

import json
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braggstream.formats.series_message import sender_number
from braggstream.formats.wire import FrameOutcome
from braggstream.model.errors import UserError
from braggstream.pipeline.sampled_rates import SampledRates
from braggstream.pipeline.totals import Ledger, SenderNumbers, SentFrames
from braggstream.sinks.json_summary import write_json_summary


def outcome(status="written", **more):
    return FrameOutcome(serial=1, status=status, **more)


OUTCOMES = st.one_of(
    st.builds(outcome, st.sampled_from(["written", "skipped"]), is_hit=st.booleans(), n_crystals=st.integers(0, 3)),
    st.builds(outcome, st.just("failed"), reason=st.sampled_from(["decode", "crash"]), complaint=st.text()),
)


@given(st.lists(OUTCOMES), st.integers(0, 5))
def test_every_received_frame_is_in_one_row(outcomes, n_open):
    ledger = Ledger()
    for _ in range(len(outcomes) + n_open):
        ledger.receive()
    for number, settled in enumerate(outcomes, 1):
        ledger.settle(settled)
        frames = ledger.as_dict()["frames"]
        rows = sum(frames[row] for row in ("written", "skipped", "failed", "in_flight"))
        assert frames["received"] == rows
        assert frames["in_flight"] == len(outcomes) + n_open - number
    totals = ledger.as_dict()
    done = [settled for settled in outcomes if settled.status != "failed"]
    assert totals["processed"] == len(done)
    assert totals["hits"] == len([settled for settled in done if settled.is_hit])
    assert totals["indexable"] == len([settled for settled in done if settled.n_crystals])
    assert totals["crystals"] == sum(settled.n_crystals for settled in done)
    json.dumps(totals)


def test_wording_of_the_lines():
    ledger = Ledger()
    assert ledger.status_line(0.0) == (
        "0 images processed, 0 hits (0.0%), 0 indexable (0.0% of hits, 0.0% overall), 0 crystals, 0.0 images/sec."
    )
    for settled in [outcome(is_hit=True, n_crystals=2), outcome(is_hit=True), outcome(), outcome("skipped")]:
        ledger.settle(settled)
    assert ledger.final_line() == (
        "Final: 4 images processed, 2 hits (50.0%), 1 indexable (50.0% of hits, 25.0% overall), 2 crystals."
    )
    assert re.match(r"\d+ images processed, ", ledger.status_line(12.34))
    assert ledger.status_line(12.34).endswith(", 2 crystals, 12.3 images/sec.")


def lost(numbers):
    senders = SenderNumbers()
    for number in numbers:
        senders.see(number)
    return senders.n_lost


def test_gaps_are_lost_frames():
    assert lost([]) == lost([5]) == lost([5, 6, 7]) == 0
    assert lost([5, 8]) == 2
    assert lost([5, 8, 7]) == 1
    assert lost([5, 8, 6, 7, 9]) == 0
    assert lost([5, 5, 6, 6]) == 0


def test_sender_that_starts_anew_loses_nothing():
    assert lost([100_000, 100_001, 1, 2, 3]) == 0
    assert lost([1, 2, 10**12, 10**12 + 2]) == 1
    assert lost([10, 12, 100_000, 100_001]) == 1 + 99_987


@given(st.permutations(range(40)), st.sets(st.integers(1, 38)))
def test_order_does_not_matter_for_loss(order, missing):
    """Whatever overtakes what, the frames between the lowest and the highest number that did not come are lost."""
    numbers = [0, *(number for number in order if number not in missing and number > 0)]
    top = max(numbers)
    assert lost(numbers) == len([number for number in missing if number < top])


def number_of(series, image):
    return sender_number(series, image)


def test_series_are_numbered_by_themselves():
    """Two that take turns, one of them announced: what never came is lost, in the middle and at both ends."""
    senders = SentFrames()
    assert senders.n_lost is None
    senders.begin(7)
    for image in (2, 3, 5):
        senders.see(number_of(7, image))
        senders.see(number_of(8, image + 1000))
    assert senders.n_lost == 3 + 1
    senders.end(7, 10)
    assert senders.n_lost == 3 + 4 + 1
    senders.see(number_of(7, 8))  # It was late.
    assert senders.n_lost == 3 + 3 + 1
    senders.begin(7)  # The detector was started anew, and numbers its series from there.
    senders.end(7, 2)
    assert senders.n_lost == 3 + 3 + 1 + 2


@given(st.integers(1, 300), st.data())
def test_every_image_that_was_announced_is_received_or_lost(n_images, data):
    ledger = Ledger()
    ledger.senders.begin(3)
    came = data.draw(st.sets(st.integers(0, n_images - 1)))
    unread = data.draw(st.sets(st.sampled_from(sorted(came)))) if came else set()
    for image in data.draw(st.permutations(sorted(came))):
        ledger.receive()
        more = {} if image in unread else {"sender_number": number_of(3, image)}
        ledger.settle(outcome("failed", reason="decode") if image in unread else outcome(**more))
    ledger.senders.end(3, n_images)
    frames = ledger.as_dict()["frames"]
    assert (frames["sent"], frames["lost"]) == (n_images, n_images - len(came))


def test_many_series_take_little_memory():
    senders = SentFrames()
    for series in range(500):
        senders.begin(series)
        senders.see(number_of(series, 1))
    assert senders.n_lost == 500


def test_failures_without_a_number_are_not_lost_as_well():
    """A frame that arrived and could not be read leaves a gap in the numbers: it is failed, and not lost too."""
    ledger = Ledger()
    ledger.settle(outcome(sender_number=1))
    ledger.settle(outcome("failed", reason="decode"))
    ledger.settle(outcome(sender_number=3))
    assert ledger.n_lost == 0
    ledger.settle(outcome(sender_number=6))
    assert ledger.n_lost == 2


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)))
def test_what_was_sent_is_received_or_lost(lost_ones, left_out, unreadable):
    """Frames 0 to 61 are sent; some never arrive, some are sampled out, some cannot be read."""
    left_out, unreadable = left_out - lost_ones, unreadable - lost_ones - left_out
    ledger = Ledger()
    for number in sorted(set(range(62)) - lost_ones):
        if number in left_out:
            ledger.sample_out(1)
        else:
            ledger.receive()
            ledger.settle(
                outcome("failed", reason="decode") if number in unreadable else outcome(sender_number=number)
            )
    frames = ledger.as_dict()["frames"]
    assert frames["sent"] == 62 == frames["received"] + frames["lost"]
    assert (frames["lost"], frames["sampled_out"]) == (len(lost_ones), len(left_out))
    assert frames["received"] == frames["written"] + frames["failed"] + frames["sampled_out"]
    assert f"{len(lost_ones)} lost before they arrived, 62 sent." in ledger.ledger_line()


def test_rates_of_all_frames_where_hits_are_rarely_processed():
    """Hits and blank frames in turns of random length; after a hit the worker is busy for longer."""
    chance = random.Random(5)
    kinds: list[bool] = []
    while len(kinds) < 100_000:
        kinds += [chance.random() < 0.5] * chance.randrange(20, 150)
    rates = SampledRates()
    chosen = [0]
    while chosen[-1] < len(kinds) - 20:
        chosen.append(chosen[-1] + chance.randrange(*((8, 13) if kinds[chosen[-1]] else (1, 4))))
    for serial in sorted(chosen, key=lambda serial: serial + chance.randrange(20)):  # They end out of order.
        rates.see(serial, is_hit=kinds[serial], is_indexed=False)
    true = sum(kinds) / len(kinds)
    among_processed = sum(kinds[serial] for serial in chosen) / len(chosen)
    found = rates.rates
    assert found is not None and found[1] == 0
    assert abs(among_processed - true) > 0.2 and found[0] == pytest.approx(true, abs=0.01)


def test_complaints_are_kept_by_reason_and_bounded():
    ledger = Ledger()
    for number in range(100):
        ledger.settle(outcome("failed", reason="decode", complaint=f"no {number}", filename="f", event="//0"))
    totals = ledger.as_dict()
    assert totals["failed_by_reason"] == {"decode": 100}
    assert totals["first_failures"]["decode"][:2] == ["f //0: no 0", "f //0: no 1"]
    assert len(totals["first_failures"]["decode"]) == 10


def test_summary_file_is_replaced_whole(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text("old")
    write_json_summary(str(path), {"é": 1})
    assert json.loads(path.read_text()) == {"é": 1}
    assert path.stat().st_mode & 0o444
    kept = tmp_path / "summary.json.previous"
    assert sorted(tmp_path.iterdir()) == [path, kept] and kept.read_text() == "old"


def test_summary_file_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="--json-summary"):
        write_json_summary(str(tmp_path / "none" / "summary.json"), {})
