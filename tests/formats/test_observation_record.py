"""Observations on the wire: what comes out is what went in; what is broken is told."""

import msgspec
import numpy as np
import pytest

from braggstream.formats.observation_record import decode_observations, encode_observations
from braggstream.formats.stream_columns import observations_of_chunk, read_observations
from braggstream.formats.stream_header import CHUNK_BEGIN, CHUNK_END
from braggstream.formats.wire import WireError
from braggstream.model.observations import COLUMNS


@pytest.mark.golden
def test_observations_come_out_as_they_went_in(golden):
    (block,) = read_observations(golden / "merging" / "many.stream.xz")
    again = decode_observations(encode_observations(block), block.panel_names)
    for name in COLUMNS:
        assert np.array_equal(getattr(again, name), getattr(block, name)), name
    assert np.array_equal(again.start, block.start) and again.panel_names == ("p0",)
    for name in block.crystals.__slots__:
        assert np.array_equal(getattr(again.crystals, name), getattr(block.crystals, name)), name


def test_a_frame_without_crystals():
    chunk = f"{CHUNK_BEGIN}\nImage filename: a\nphoton_energy_eV = 1\n{CHUNK_END}\n".encode()
    block = decode_observations(encode_observations(observations_of_chunk(chunk, ("p",))))
    assert block.n_crystals == len(block) == 0


@pytest.mark.golden
def test_broken_records_are_told(golden):
    (block,) = read_observations(golden / "merging" / "many.stream.xz")
    whole = encode_observations(block.between(0, 2))
    record = msgspec.msgpack.decode(whole)
    short = [[*record[:3], [column[:-1] for column in record[3]]], [record[0], [-5, 5], *record[2:]], record[:3]]
    for data in (b"", b"\x93", whole[:-9], *map(msgspec.msgpack.encode, short)):
        with pytest.raises(WireError):
            decode_observations(data)
