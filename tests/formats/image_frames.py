"""A small detector, and what loads frames of it from messages and files."""

import numpy as np

from braggstream.formats.geom import parse_geometry
from braggstream.model.errors import FrameError
from braggstream.model.frame import FileSlot, Frame, Message, MessageOrigin, SeriesStart
from braggstream.model.settings import FrameSettings
from braggstream.pipeline.loading import FrameLoader

HEIGHT, WIDTH = 41, 61
TEXT = """photon_energy = 9000 eV
clen = 0.1 m
res = 10000
adu_per_photon = 1
p/min_fs = 2
p/max_fs = 60
p/min_ss = 1
p/max_ss = 40
p/corner_x = 0
p/corner_y = 0
p/fs = x
p/ss = y
"""
GEOMETRY = parse_geometry(TEXT)


def made(dtype, shape=(HEIGHT, WIDTH)):
    values = np.random.default_rng(4).poisson(3.0, shape)
    values[3, 5] = 127
    return values.astype(dtype)


def panel_of(values):
    """What the panel shows of an image."""
    return values[1:41, 2:61]


def load(payload, geometry=GEOMETRY, *, metadata=b"", start=None, **chosen):
    """Load a message; gives a frame or a `FrameError` with one line, and fails with anything else."""
    origin = None
    if metadata:
        origin = MessageOrigin(stream="default", number=7, name="run1/frame_7", metadata=metadata)
    begun = None if start is None else SeriesStart(payload=start, number=1)
    message = Message(payload=memoryview(payload), serial=1, origin=origin, start=begun)
    loader = FrameLoader(geometry, FrameSettings(**chosen))
    try:
        return loader.from_message(message)
    except FrameError as error:
        assert str(error) and "\n" not in str(error) and len(str(error)) < 600
        return error


def load_file(path, geometry=GEOMETRY, event="//", **chosen):
    loader = FrameLoader(geometry, FrameSettings(**chosen))
    try:
        return loader.from_file(FileSlot(filename=str(path), event=event, serial=1))
    finally:
        loader.close()


def assert_shows(frame, values):
    assert isinstance(frame, Frame), frame
    assert np.array_equal(frame.panel_pixels(0), panel_of(values))


def assert_survives(sound, *, geometry=GEOMETRY, n_changes=150, n_cuts=60, head=120, **more):
    """Cut anywhere and with bits changed anywhere, a message is a frame or an error of this frame, and small."""
    import tracemalloc

    rng = np.random.default_rng(5)
    assert isinstance(load(sound, geometry, **more), Frame)
    places = [*range(min(head, len(sound))), *rng.integers(0, len(sound), n_changes)]
    tracemalloc.start()
    for length in {*range(0, min(head, len(sound)), 3), *rng.integers(0, len(sound), n_cuts).tolist()}:
        assert isinstance(load(sound[:length], geometry, **more), Frame | FrameError)
    for place in places:
        broken = bytearray(sound)
        broken[place] = int(rng.integers(256))
        assert isinstance(load(bytes(broken), geometry, **more), Frame | FrameError)
    assert tracemalloc.get_traced_memory()[1] < (1 << 24) + 40 * len(sound)
    tracemalloc.stop()
