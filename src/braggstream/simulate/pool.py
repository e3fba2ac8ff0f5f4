"""Frames made in advance, ready to be sent, and the truth that belongs to them."""

from collections.abc import Callable

from braggstream.simulate.frames import Simulator
from braggstream.simulate.image_payloads import ENCODERS, ImageMaker
from braggstream.simulate.payloads import FILENAME, MAKERS, Payload, PayloadMaker
from braggstream.simulate.series_payloads import SERIES_MAKERS
from braggstream.simulate.truth import FrameTruth, Truth

POOL_BYTES = 1 << 29
"""Memory for frames made in advance, where their number is not chosen [bytes]."""


def pool_size(simulator: Simulator, n_frames: int, chosen: int | None) -> int:
    """How many different frames to make for sending `n_frames`; 0 frames to send means no end."""
    most = chosen if chosen is not None else max(1, POOL_BYTES // (4 * simulator.detector.n_pixels))
    return min(most, n_frames) if n_frames else most


def make_pool(
    simulator: Simulator, data_format: str, size: int, *, progress: Callable[[int], None] = lambda _: None
) -> tuple[list[Payload], list[FrameTruth]]:
    """Make `size` frames in a format; `progress` is called with the number done.

    Raises `UserError` where the geometry does not suit streamed frames.
    """
    maker = payload_maker(simulator, data_format)
    payloads: list[Payload] = []
    truths = []
    for number in range(size):
        frame = simulator.frame(number)
        payloads.append(maker.encode(frame))
        truths.append(frame.truth)
        progress(number + 1)
    return payloads, truths


def payload_maker(simulator: Simulator, data_format: str) -> PayloadMaker:
    """Choose the maker of a format; raises `UserError` where the geometry does not suit it."""
    if data_format in SERIES_MAKERS:
        return SERIES_MAKERS[data_format](simulator)
    if data_format in ENCODERS:
        return ImageMaker(simulator, data_format)
    return MAKERS[data_format](simulator)


def streamed_truth(
    simulator: Simulator, n_frames: int, truths: list[FrameTruth], *, filename: str = FILENAME
) -> Truth:
    """The truth of `n_frames` streamed frames that show the pool's frames in turn.

    `filename` holds `{n}` where each frame has a name of its own; otherwise the event counts them.
    """
    return Truth(
        filename=filename,
        event="//" if "{n}" in filename else "//{n}",
        n_frames=n_frames,
        frames=tuple(truths),
        cell=simulator.cell,
        space_group=simulator.space_group.xhm(),
    )
