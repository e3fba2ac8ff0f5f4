"""Blocks of observations as bytes: what a worker sends of a frame for merging, beside its chunk."""

from dataclasses import fields
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from braggstream.formats.wire import WireError
from braggstream.model.observations import COLUMNS, CrystalTable, Observations

_TEXTS = ("filename", "event", "indexed_by")
_OF_CRYSTAL: dict[str, tuple[str, tuple[int, ...]]] = {
    "serial": ("i8", ()),
    "reciprocal_axes": ("f8", (3, 3)),
    "wavelength": ("f8", ()),
    "bandwidth": ("f8", ()),
    "profile_radius": ("f8", ()),
    "resolution_limit": ("f8", ()),
    "det_shift": ("f8", (2,)),
    "n_saturated": ("i8", ()),
    "lattice_type": ("u1", ()),
    "centring": ("u1", ()),
    "unique_axis": ("u1", ()),
}
_OF_OBSERVATION: dict[str, tuple[str, tuple[int, ...]]] = {
    "hkl": ("i2", (3,)),
    **dict.fromkeys(COLUMNS[1:-1], ("f4", ())),
    "panel": ("i2", ()),
}
assert {*_TEXTS, *_OF_CRYSTAL} == {field.name for field in fields(CrystalTable)}


class _Record(msgspec.Struct, frozen=True, array_like=True):
    texts: list[list[bytes]]
    n_observations: list[int]
    """Of each crystal."""
    crystals: list[bytes]
    """Columns of numbers, in the order above."""
    observations: list[bytes]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Record)


def encode_observations(block: Observations) -> bytes:
    """Write a block; the names of the panels are left out, for both sides know them."""
    table = block.crystals
    record = _Record(
        texts=[[text.encode("utf-8", "surrogateescape") for text in getattr(table, name)] for name in _TEXTS],
        n_observations=np.diff(block.start).tolist(),
        crystals=[_bytes_of(getattr(table, name), kind) for name, (kind, _) in _OF_CRYSTAL.items()],
        observations=[_bytes_of(getattr(block, name), kind) for name, (kind, _) in _OF_OBSERVATION.items()],
    )
    return _ENCODER.encode(record)


def decode_observations(data: bytes, panel_names: tuple[str, ...] = ()) -> Observations:
    """Read a block; raises `WireError` where it is none."""
    try:
        record = _DECODER.decode(data)
        n_crystals = len(record.n_observations)
        lengths = np.array(record.n_observations, np.int64)
        start = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        n_observations = int(start[-1])
        if (lengths < 0).any() or any(len(column) != n_crystals for column in record.texts):
            raise ValueError("columns of different lengths")
        texts = [tuple(text.decode("utf-8", "surrogateescape") for text in column) for column in record.texts]
        crystals: dict[str, Any] = dict(zip(_TEXTS, texts, strict=True))
        crystals |= _columns(_OF_CRYSTAL, record.crystals, n_crystals)
        columns = _columns(_OF_OBSERVATION, record.observations, n_observations)
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        raise WireError(f"observations of a frame are broken: {error}") from error
    return Observations(crystals=CrystalTable(**crystals), start=start, panel_names=panel_names, **columns)


def _bytes_of(column: NDArray, kind: str) -> bytes:
    return np.ascontiguousarray(column, kind).tobytes()


def _columns(kinds: dict[str, tuple[str, tuple[int, ...]]], data: list[bytes], n_rows: int) -> dict[str, Any]:
    return {
        name: np.frombuffer(column, kind).reshape(n_rows, *shape)
        for (name, (kind, shape)), column in zip(kinds.items(), data, strict=True)
    }
