"""How nouns show themselves and turn into those of other libraries, and where their names are told."""

import inspect
import pydoc
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import braggstream as bs

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "python.md"


@pytest.fixture(scope="module")
def nouns(stills, geometry, cell, stream_file):
    frames = bs.open_files(stills / "frames.h5", geometry)
    stream = bs.read_stream(stream_file)
    observations = stream.observations()
    merged = bs.merge(observations, symmetry="4/mmm")
    result = stream[0]
    processor = bs.Processor(geometry, cell=cell)
    made = [
        geometry, cell, frames, frames[0], frames[0].identity, frames[1:3], stream, result, result.peaks,
        result.crystals[0], result.crystals[0].reflections, observations, observations.crystals, merged,
        bs.check(merged, cell), processor, processor.settings, processor.settings.peaks, bs.FrameSettings(),
        processor.settings.indexing, processor.settings.integration, bs.FfbidxSettings(),
        bs.draw(frames[0], result),
    ]  # fmt: skip
    return {type(noun).__name__: noun for noun in made}


class TestHowNounsShowThemselves:
    def test_every_public_noun_is_here(self, nouns):
        classes = {name for name in bs.__all__ if isinstance(getattr(bs, name), type)}
        assert classes - set(nouns) == {"BraggstreamError", "FrameError", "UserError"}

    def test_in_a_terminal_it_is_one_short_line(self, nouns):
        for name, noun in nouns.items():
            text = repr(noun)
            assert name in text and "\n" not in text and len(text) < 420, text
            assert "array(" not in text and " at 0x" not in text, text

    def test_in_a_notebook_it_is_a_small_table_of_sound_html(self, nouns):
        for name, noun in nouns.items():
            if name == "Picture":
                assert noun._repr_png_().startswith(b"\x89PNG")
                continue
            html = noun._repr_html_()
            assert name in html and len(html) < 8000
            assert balanced(html)

    def test_hostile_text_is_escaped_and_long_text_is_cut(self, nouns, stream_file, tmp_path):
        content = stream_file.read_bytes()
        evil = b"<script>alert(1)</script>\x1b[2J" + b"x" * 5000
        content = re.sub(rb"^Image filename: .*$", b"Image filename: " + evil, content, flags=re.MULTILINE)
        path = tmp_path / "<b>.stream"
        path.write_bytes(content)
        stream = bs.read_stream(path)
        for noun in (stream, stream[0], stream.observations().crystals):
            html = noun._repr_html_()
            assert "<script" not in html and "<b>.stream" not in html and len(html) < 8000 and balanced(html)
            assert "\x1b" not in html + repr(noun) and len(repr(noun)) < 420

    def test_empty_ones(self):
        empty = bs.PeakTable.empty()
        assert repr(empty) == "<PeakTable: 0 peaks>" and balanced(empty._repr_html_())
        none = bs.ReflectionList.of(np.zeros((0, 3)), [], [])
        assert "0 reflections" in repr(none) and balanced(none._repr_html_())

    def test_showing_a_file_reads_nothing(self, stream_file, tmp_path):
        path = tmp_path / "o.stream"
        path.write_bytes(stream_file.read_bytes())
        stream = bs.read_stream(path)
        path.unlink()
        assert "chunks" not in repr(stream) and "o.stream" in stream._repr_html_()

    def test_settings_show_what_was_chosen(self):
        assert repr(bs.PeakSettings(min_snr=3.5)) == "<PeakSettings: min_snr 3.5>"
        assert repr(bs.PeakSettings()) == "<PeakSettings: all as by default>"


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.is_sound = [], True

    def handle_starttag(self, tag, _attributes):
        self.open.append(tag)

    def handle_endtag(self, tag):
        self.is_sound &= bool(self.open) and self.open.pop() == tag


def balanced(html):
    parser = Balance()
    parser.feed(html)
    parser.close()
    return parser.is_sound and not parser.open


def test_peaks_and_reflections_as_data_frames(nouns):
    peaks, reflections = nouns["PeakTable"], nouns["ReflectionTable"]
    table = peaks.to_pandas()
    assert list(table) == ["panel", "fs", "ss", "intensity"] and len(table) == len(peaks)
    assert np.array_equal(table["intensity"], peaks.intensity)
    table = reflections.to_pandas()
    assert table.index.names == ["h", "k", "l"] and list(table)[:3] == ["I", "SIGI", "peak"]
    h, k, ell = map(int, reflections.hkl[7])
    assert table.loc[(h, k, ell), "I"] == reflections.intensity[7]


@pytest.mark.parametrize(("library", "extra"), [("pandas", "tables"), ("matplotlib", "plot")])
def test_a_missing_extra_is_named(library, extra, nouns, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    wanted = (
        [nouns["PeakTable"].to_pandas, nouns["ReflectionTable"].to_pandas, nouns["ReflectionList"].to_pandas]
        if library == "pandas"
        else [lambda: bs.draw(nouns["Frame"])]
    )
    for call in wanted:
        with pytest.raises(bs.UserError, match=rf"pip install 'braggstream\[{extra}\]'"):
            call()


def test_a_frame_as_an_image_and_as_a_picture(nouns, tmp_path):
    frame = nouns["Frame"]
    image, extent = bs.assemble(frame)
    assert image.ndim == 2 and np.nanmax(image) == frame.pixels[frame.bad == 0].max() and extent[0] > extent[1]
    for suffix, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
        bs.draw(frame).save(tmp_path / f"f{suffix}")
        assert (tmp_path / f"f{suffix}").read_bytes().startswith(start)
    for wrong in ("no/where.png", "f.nonsense"):
        with pytest.raises(bs.UserError, match="cannot write the picture"):
            bs.draw(frame).save(tmp_path / wrong)


class TestWhatThereIs:
    def test_dir_and_help_show_the_names(self):
        assert {name for name in dir(bs) if not name.startswith("_")} == set(bs.__all__)
        text = pydoc.render_doc(bs, renderer=pydoc.plaintext)
        for name in bs.__all__:
            assert name in text
        assert "process(self, frame" in text

    def test_each_name_is_in_the_reference_and_has_a_docstring(self):
        reference = REFERENCE.read_text()
        documented = set(
            re.findall(r"auto(?:function|class|exception):: braggstream\.(\w+)$", reference, re.MULTILINE)
        )
        assert documented == set(bs.__all__)
        for name in bs.__all__:
            first = (inspect.getdoc(getattr(bs, name)) or "").partition("\n\n")[0]
            assert first.endswith(".") and not first.startswith(f"{name}("), name
            for member, value in vars(getattr(bs, name)).items() if isinstance(getattr(bs, name), type) else ():
                if not member.startswith("_") and callable(value):
                    assert inspect.getdoc(value), f"{name}.{member}"

    def test_types_are_for_whoever_installs_the_package(self):
        assert (Path(bs.__file__).parent / "py.typed").exists()
