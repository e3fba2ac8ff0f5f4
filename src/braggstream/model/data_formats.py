"""Formats of streamed frames, as `--data-format` names them."""

AUTO = "auto"
"""Word of `--data-format` that leaves it to the bytes of each frame."""
DATA_FORMATS = (
    AUTO,
    "msgpack",
    "hdf5",
    "seedee",
    "cbf",
    "cbf.gz",
    "tiff",
    "npy",
    "dectris1",
    "dectris2",
    "jungfraujoch",
)
"""Words of `--data-format`."""
OF_SERIES = ("dectris1", "dectris2", "jungfraujoch")
"""Formats with a start message."""
