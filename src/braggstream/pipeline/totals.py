"""The ledger: every frame received is in exactly one row of it.

    sent     = received + lost
    received = written + skipped + failed + sampled out + in flight

The wording of `status_line` and `final_line` is CrystFEL's: scripts at beamlines read them.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from braggstream.formats.series_message import SERIES_STEP, sender_number
from braggstream.formats.wire import FrameOutcome
from braggstream.pipeline.sampled_rates import SampledRates

MAX_KEPT_COMPLAINTS = 10
"""So many complaints of each reason are kept for the summary."""

MAX_GAP = 1_000_000
"""A larger jump of the sender's number is a restart of its numbering and no loss."""

MAX_SERIES = 64
"""So many series of numbers are looked after at the same time."""

MEMORY = 4096
"""So many of the sender's numbers are remembered, for frames that overtake one another."""


@dataclass(slots=True)
class SenderNumbers:
    """Gaps in the sender's own numbering, where frames may arrive a little out of order.

    A number that was jumped over is missing until it comes.  A number far below the highest one means that the
    sender has started anew.
    """

    highest: int | None = None
    n_lost: int = 0
    before: int | None = None
    """The highest number that an earlier session has recorded, where this one goes on with its file."""
    n_between: int = 0
    """Numbers between that one and the lowest of this session."""
    _missing: set[int] = field(default_factory=set)

    def begin(self, number: int) -> None:
        """Hear that the frames are numbered from this one on."""
        self._missing.clear()
        self.highest = number - 1

    def end(self, number: int) -> None:
        """Hear that frames up to this number, without it, were to come: those that have not are lost."""
        if self.highest is not None and self.highest < number - 1:
            self.n_lost += number - 1 - self.highest
            self._missing.update(range(max(self.highest + 1, number - MEMORY), number))
            self.highest = number - 1

    def see(self, number: int) -> None:
        """Take note of a frame's number."""
        if self.before is not None and 0 < number - self.before < MAX_GAP:
            between = number - self.before - 1
            self.n_between = between if self.highest is None else min(between, self.n_between)
        if self.highest is None or not -MEMORY < number - self.highest < MAX_GAP:
            self._missing.clear()
            self.highest = number
        elif number > self.highest:
            gap = number - self.highest - 1
            self.n_lost += gap
            self._missing.update(range(max(self.highest + 1, number - MEMORY), number))
            self.highest = number
            if len(self._missing) > 2 * MEMORY:
                self._missing = {missing for missing in self._missing if missing > number - MEMORY}
        elif number in self._missing:
            self._missing.remove(number)
            self.n_lost -= 1


NO_SERIES = 0


@dataclass(slots=True)
class SentFrames:
    """What the numbers that senders give to their frames tell, each series of images by itself."""

    _by_series: dict[int, SenderNumbers] = field(default_factory=dict)
    """By the part of the number that tells series apart; zero where there are none.  The latest are last."""
    _n_lost_before: int = 0
    """Lost frames of series that are not looked after any more."""
    before: int | None = None
    """The highest number, in no series, that an earlier session recorded in the file that this one goes on with."""

    @property
    def n_between(self) -> int:
        """Numbers between that one and the lowest of this session."""
        return self._by_series[NO_SERIES].n_between if NO_SERIES in self._by_series else 0

    @property
    def n_lost(self) -> int | None:
        """Frames that were numbered and have not come; None where no frame has a number."""
        if not self._by_series:
            return None
        return self._n_lost_before + sum(numbers.n_lost for numbers in self._by_series.values())

    def see(self, number: int) -> None:
        """Take note of a frame's number."""
        series, image = divmod(number, SERIES_STEP)
        self._numbers(series).see(image)

    def begin(self, series: int) -> None:
        """Hear that a series begins, with image 0."""
        self._numbers(sender_number(series, 0) // SERIES_STEP).begin(0)

    def end(self, series: int, n_images: int) -> None:
        """Hear that a series has ended, for which so many images were announced."""
        self._numbers(sender_number(series, 0) // SERIES_STEP).end(n_images)

    def _numbers(self, series: int) -> SenderNumbers:
        before = self.before if series == NO_SERIES else None
        found = self._by_series.pop(series, None) or SenderNumbers(before=before)
        if len(self._by_series) >= MAX_SERIES:
            self._n_lost_before += self._by_series.pop(next(iter(self._by_series))).n_lost
        self._by_series[series] = found
        return found


@dataclass(slots=True)
class Ledger:
    """Counts of a session, and the lines that tell them."""

    n_received: int = 0
    n_written: int = 0
    n_skipped: int = 0
    n_sampled_out: int = 0
    """Frames left out because workers were behind (`--when-behind=sample`)."""
    n_hits: int = 0
    n_indexable: int = 0
    n_crystals: int = 0
    n_replaced_workers: int = 0
    n_taken_back: int = 0
    """Frames whose chunks were written and are gone, because something else cut the file short; also failed."""
    failed: Counter[str] = field(default_factory=Counter)
    """Frames without a chunk, by reason."""
    complaints: dict[str, list[str]] = field(default_factory=dict)
    """The first complaints of each reason."""
    step_seconds: Counter[str] = field(default_factory=Counter)
    """Seconds that workers spent, by step."""
    senders: SentFrames = field(default_factory=SentFrames)
    sampled: SampledRates = field(default_factory=SampledRates)
    n_undelivered: int = 0
    """Frames that a message service should have, by its own numbering, and never gave."""
    _n_unnumbered: int = 0
    """Failed frames whose number is not known."""

    @property
    def n_processed(self) -> int:
        """Frames that went through the recipe, hit or not."""
        return self.n_written + self.n_skipped + self.n_taken_back

    @property
    def n_failed(self) -> int:
        """Frames that could not be processed."""
        return self.failed.total()

    @property
    def n_in_flight(self) -> int:
        """Frames received and in no other row yet."""
        return self.n_received - self.n_written - self.n_skipped - self.n_failed - self.n_sampled_out

    @property
    def n_sent(self) -> int | None:
        """Frames that the sender sent since the first one that arrived; None where it does not number them."""
        return None if self.senders.n_lost is None else self.n_received + self.n_lost

    @property
    def fraction_processed(self) -> float:
        """Part of the frames received that was not left out, chosen without regard to what is in them."""
        return 1.0 - self.n_sampled_out / self.n_received if self.n_received else 1.0

    @property
    def n_lost(self) -> int:
        """Frames that the sender numbered and that never arrived.

        A frame that arrived and was not read leaves a gap in the numbers too, but is in another row already.
        """
        n_jumped_over = (self.senders.n_lost or 0) - self._n_unnumbered - self.n_sampled_out
        return self.n_undelivered + max(0, n_jumped_over)

    def receive(self) -> None:
        """Count a frame taken from its source."""
        self.n_received += 1

    def sample_out(self, n_frames: int) -> None:
        """Count frames that arrived and are left out."""
        self.n_received += n_frames
        self.n_sampled_out += n_frames

    def settle(self, outcome: FrameOutcome) -> None:
        """Count what became of a frame."""
        if outcome.sender_number is not None:
            self.senders.see(outcome.sender_number)
        for step, seconds in outcome.timings.items():
            self.step_seconds[step] += seconds  # type: ignore[assignment]
        if outcome.status == "failed":
            self._fail(outcome)
            return
        if outcome.status == "written":
            self.n_written += 1
        else:
            self.n_skipped += 1
        self.sampled.see(outcome.serial, is_hit=outcome.is_hit, is_indexed=outcome.n_crystals > 0)
        self.n_hits += outcome.is_hit
        self.n_indexable += outcome.n_crystals > 0
        self.n_crystals += outcome.n_crystals

    def take_back(self, n_frames: int, path: str) -> None:
        """Count frames as failed whose chunks are not in the stream file any more."""
        self.n_written -= n_frames
        self.n_taken_back += n_frames
        self.failed["output"] += n_frames
        complaint = f"{path}: {n_frames} chunks were taken out by something else"
        self.complaints.setdefault("output", []).append(complaint)

    def _fail(self, outcome: FrameOutcome) -> None:
        self._n_unnumbered += outcome.sender_number is None
        self.failed[outcome.reason] += 1
        kept = self.complaints.setdefault(outcome.reason, [])
        if len(kept) < MAX_KEPT_COMPLAINTS:
            kept.append(f"{outcome.filename} {outcome.event}: {outcome.complaint}")

    def status_line(self, rate: float) -> str:
        """Tell the totals and the rate [frames per second]."""
        return f"{self._counts()}, {rate:.1f} images/sec."

    def final_line(self) -> str:
        """Tell the totals at the end of the session."""
        return f"Final: {self._counts()}."

    def ledger_line(self, *, is_final: bool = True) -> str:
        """Tell where every received frame went; at the end, those in flight were abandoned."""
        parts = [
            f"{self.n_received} received",
            f"{self.n_written} written",
            f"{self.n_skipped} skipped",
            f"{self.n_failed} failed",
        ]
        if self.failed:
            parts[-1] += " (" + ", ".join(f"{n} {reason}" for reason, n in sorted(self.failed.items())) + ")"
        if self.n_sampled_out:
            rates = self.sampled.rates
            of_all = "" if rates is None else f"; hit rate of all {100.0 * rates[0]:.1f}%"
            processed = f"{100.0 * self.fraction_processed:.1f}% processed"
            parts.append(f"{self.n_sampled_out} sampled out ({processed}{of_all})")
        if self.n_in_flight:
            parts.append(f"{self.n_in_flight} {'abandoned' if is_final else 'in flight'}")
        if self.n_sent is not None:
            parts.append(f"{self.n_lost} lost before they arrived, {self.n_sent} sent")
        elif self.n_undelivered:
            parts.append(f"{self.n_undelivered} lost before they arrived")
        return "Frames: " + ", ".join(parts) + "."

    def _rates(self) -> dict[str, float] | None:
        """Rates that the frames left out do not distort; None where nothing was processed."""
        rates = self.sampled.rates
        return None if rates is None else {"hits": rates[0], "indexed": rates[1]}

    def _counts(self) -> str:
        n, hits, indexable = self.n_processed, self.n_hits, self.n_indexable
        return (
            f"{n} images processed, {hits} hits ({_percent(hits, n)}), "
            f"{indexable} indexable ({_percent(indexable, hits)} of hits, {_percent(indexable, n)} overall), "
            f"{self.n_crystals} crystals"
        )

    def as_dict(self) -> dict[str, Any]:
        """Give all of it as plain values, for a summary that programs read."""
        return {
            "frames": {
                "sent": self.n_sent,
                "received": self.n_received,
                "written": self.n_written,
                "skipped": self.n_skipped,
                "failed": self.n_failed,
                "sampled_out": self.n_sampled_out,
                "in_flight": self.n_in_flight,
                "lost": self.n_lost,
            },
            "processed": self.n_processed,
            "fraction_processed": self.fraction_processed,
            "rates_of_all_frames": self._rates(),
            "hits": self.n_hits,
            "indexable": self.n_indexable,
            "crystals": self.n_crystals,
            "failed_by_reason": dict(sorted(self.failed.items())),
            "first_failures": {reason: list(kept) for reason, kept in sorted(self.complaints.items())},
            "replaced_workers": self.n_replaced_workers,
            "seconds_by_step": {step: round(seconds, 6) for step, seconds in sorted(self.step_seconds.items())},
        }


def _percent(part: int, whole: int) -> str:
    """Give a percentage; none of nothing is 0.0 %, where CrystFEL prints `nan%`."""
    return f"{100.0 * part / whole if whole else 0.0:.1f}%"
