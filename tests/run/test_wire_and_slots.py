"""What processes say to one another, and the memory that they share."""

import os
import resource
import socket
from dataclasses import asdict, replace
from math import inf, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from braggstream.formats import wire
from braggstream.formats.geom import parse_geometry
from braggstream.model.adjustments import Adjustments
from braggstream.model.cell import UnitCell
from braggstream.model.geometry import DetectorOffset, Flag, Geometry, LabRegion, Mask, Panel, PixelRegion, Quantity
from braggstream.model.settings import IndexingSettings, OutputSettings, Settings
from braggstream.run import slots
from braggstream.run.links import Inbox, LinkBroken, receive_message, send_message
from braggstream.run.slots import PAGE, SlotMemory
from braggstream.run.system_limits import SystemRefusal


def panel(name):
    return Panel(
        name=name,
        min_fs=0,
        max_fs=9,
        min_ss=0,
        max_ss=9,
        corner_x=-5.0,
        corner_y=1.5,
        fs=(1.0, 0.0, 0.0),
        ss=(0.0, 1.0, 0.0),
        res=1e4,
        max_adu=inf,
        dims=("%", 3, "ss", "fs"),
        masks=(Mask(data="/mask", file="m.h5", good_bits=1, bad_bits=0xFFFFFFFF),),
        flags=(Flag(kind="equal", value=-1.0),),
    )


def test_setup_survives_the_way():
    geometry = Geometry(
        panels=(panel("a"), panel("b")),
        wavelength_kind="photon_energy",
        beam=Quantity(header="energy", unit="eV"),
        clen=Quantity(value=0.1),
        bad_regions=(
            LabRegion(name="r", min_x=-inf, max_x=1.0, min_y=0.0, max_y=2.0),
            PixelRegion(name="s", panel="a", min_fs=1, max_fs=2, min_ss=3, max_ss=4),
        ),
        text="é\n",
        path="x.geom",
    )
    cell = UnitCell(a=1.0, b=2.0, c=3.0, alpha=90.0, beta=90.0, gamma=nan, lattice_type="cubic")
    setup = wire.Setup(
        processor="m:f",
        geometry=geometry,
        settings=Settings(indexing=IndexingSettings(target_cell=cell, methods=("ffbidx", "none"))),
        output=OutputSettings(stream_file="out.stream", command_line=("indexamajig", "-j", "2")),
        n_slots=3,
        processors=(0, 3),
    )
    # NaN is not equal to itself, hence the comparison as text.
    assert repr(asdict(wire.decode_setup(wire.encode_setup(setup)))) == repr(asdict(setup))


def test_adjustments_survive_the_way():
    cell = UnitCell(a=1.0, b=2.0, c=3.0, alpha=90.0, beta=90.0, gamma=90.0)
    adjustments = Adjustments(
        number=3,
        offset=DetectorOffset(x=1e-4, y=-2e-4, z=1e-3),
        indexing=IndexingSettings(target_cell=cell, methods=("ffbidx",)),
    )
    order = wire.AdjustOrder(adjustments=adjustments)
    assert wire.decode_task(wire.encode(order)) == order


@given(st.binary(max_size=200))
@example(b"\x91\xa2\x00\x80")
@example(b"\x91" * 100000)
def test_nonsense_is_refused(data):
    for decode in (wire.decode_task, wire.decode_outcome, wire.decode_order, wire.decode_note, wire.decode_setup):
        try:
            decode(data)
        except wire.WireError:
            continue


def test_wrong_types_are_refused():
    with pytest.raises(wire.WireError):
        wire.decode_task(wire.encode(wire.Hello(pid=1)))


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 40))
def test_messages_survive_any_cutting(messages, piece):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        inbox = Inbox(ours)
        stream, far = socket.socketpair()
        with stream, far:
            for message in messages:
                send_message(stream, message)
            sent = far.recv(1 << 16) if messages else b""
        received = []
        for start in range(0, len(sent), piece):
            theirs.sendall(sent[start : start + piece])
            received += inbox.read()
        assert received == messages
        theirs.close()
        assert inbox.read() == []
        assert inbox.is_ended


def test_absurd_length_is_refused():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(LinkBroken):
            Inbox(ours).read()


def test_torn_message_is_no_message():
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(b"\x0a\0\0\0half")
        theirs.close()
        with pytest.raises(LinkBroken):
            receive_message(ours)


def test_slots_do_not_overlap_and_grow():
    parent = SlotMemory.create(3, 1 << 30)
    worker = SlotMemory(os.dup(parent.descriptor), 1 << 30)
    for size in (1, PAGE, 10 * PAGE + 7, 3):
        contents = [bytes([slot + size % 251]) * size for slot in range(3)]
        for slot, content in enumerate(contents):
            assert parent.fill(slot, content) == size
        for slot, content in enumerate(contents):
            view = worker.view(slot, size)
            assert view.readonly
            assert bytes(view) == content
            view.release()
    taken = os.fstat(parent.descriptor).st_blocks * 512
    assert taken < 60 * PAGE
    worker.close()
    parent.close()


def test_slot_of_a_frame_that_is_still_looked_at():
    memory = SlotMemory.create(1, 1 << 20)
    memory.fill(0, b"old")
    kept = memory.view(0, 3)
    memory.fill(0, bytes(5 * PAGE))
    assert len(kept) == 3
    del kept
    memory.close()


def test_message_larger_than_a_slot():
    memory = SlotMemory.create(1, PAGE)
    with pytest.raises(ValueError, match="larger than a slot"):
        memory.fill(0, bytes(PAGE + 1))
    memory.close()


def taken_by(memory):
    return os.fstat(memory.descriptor).st_blocks * 512


def test_large_messages_give_their_memory_back_and_usual_ones_keep_it(monkeypatch):
    monkeypatch.setattr(slots, "KEPT_BYTES", 10 * PAGE)
    parent = SlotMemory.create(3, 1 << 30)
    worker = SlotMemory(os.dup(parent.descriptor), 1 << 30)
    for slot, n_pages in enumerate((10, 11, 300)):
        parent.fill(slot, bytes([slot + 1]) * n_pages * PAGE)
        assert worker.view(slot, 5)[:] == bytes([slot + 1]) * 5
    assert taken_by(parent) >= 321 * PAGE
    parent.release(2)
    parent.release(1)
    parent.release(0)
    assert taken_by(parent) == 10 * PAGE
    # What is filled afterwards is seen by workers that have the slot mapped.
    parent.fill(2, b"new" * 50 * PAGE)
    assert bytes(worker.view(2, 150 * PAGE)) == b"new" * 50 * PAGE
    parent.release(2)
    parent.release(2)
    assert taken_by(parent) == 10 * PAGE
    worker.close()
    parent.close()


def test_memory_that_the_system_does_not_give_is_told_with_the_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100 * 1024, hard))
    try:
        with pytest.raises(SystemRefusal, match=r"3 messages.*File too large \(ulimit -f is 100 KiB\)"):
            SlotMemory.create(3, 1 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    memory = SlotMemory.create(1, 1 << 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        with pytest.raises(SystemRefusal, match=r"Too many open files \(ulimit -n is 1\)"):
            memory.fill(0, b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        memory.close()


def test_flags_of_64_bits_survive_the_way():
    """Whole numbers of more digits than floats have, and the flag that no geometry file has."""
    flags = "".join(f"p/flag_{kind} = {number}\n" for kind, number in FLAGS)
    geometry = parse_geometry(
        "photon_energy = 9000 eV\nclen = 0.1 m\nres = 10000\nadu_per_photon = 1\n" + flags
        + "".join(f"p/{line}\n" for line in ("min_fs = 0", "max_fs = 7", "min_ss = 0", "max_ss = 5"))
        + "p/corner_x = 0\np/corner_y = 0\np/fs = x\np/ss = y\n"
    )  # fmt: skip
    panel = replace(geometry.panels[0], flags=(*geometry.panels[0].flags, Flag(kind="largest", value=0)))
    setup = wire.Setup(
        processor="m:f",
        geometry=replace(geometry, panels=(panel,), _cache={}),
        settings=Settings(),
        output=OutputSettings(stream_file="x"),
    )
    found = wire.decode_setup(wire.encode_setup(setup)).geometry.panels[0].flags
    assert [(flag.kind, flag.value) for flag in found] == [*FLAGS, ("largest", 0)]


FLAGS = [("equal", 2**64 - 1), ("morethan", 2**64 - 2), ("lessthan", -(2**53) - 1), ("equal", 5.5)]
