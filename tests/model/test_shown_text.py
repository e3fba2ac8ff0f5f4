"""Text from outside: what steers a terminal is written out, what is text stays."""

from hypothesis import given
from hypothesis import strategies as st

from braggstream.formats.stream_header import one_line, stream_bytes
from braggstream.formats.stream_write import _header_line
from braggstream.model.shown_text import shown

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\x00\x7f\x0b\x0c\x1c\x1e\x85\u2028\u2029\u202e\b\r\n"


def test_text_stays_and_what_steers_is_written_out():
    assert shown("Å µ – 日本 x\x1b[2J\n") == "Å µ – 日本 x\\x1b[2J\\n"
    assert shown("a\nb\tc", keep="\n") == "a\nb\\tc"
    assert one_line("lysozyme Å\tx") == "lysozyme Å\tx"
    assert one_line("a\x1b[2Jb\r\nc") == "a\\x1b[2Jb  c"
    # Bytes of a file name that are no text stay what they are.
    assert stream_bytes(one_line("f\udcff\udc80.h5")) == b"f\xff\x80.h5"


@given(st.text(max_size=20).map(lambda text: text + HOSTILE))
def test_nothing_that_steers_is_left(text):
    for left in (shown(text), one_line(text)):
        assert all(c.isprintable() or c == "\t" or "\udc80" <= c <= "\udcff" for c in left)
        assert len(left.splitlines()) == 1


def test_headers_of_messages_do_not_steer_whoever_shows_the_stream_file():
    line = _header_line("note\n----- End chunk -----", f"a\x1b[2J{HOSTILE.strip()}b")
    assert line.startswith("header/str/note ----- End chunk ----- = a\\x1b[2J\\x1b]0;title")
    assert line.count("\n") == 1 and line.rstrip("\n").isprintable()
    assert _header_line("note", "two\nlines") == ""
