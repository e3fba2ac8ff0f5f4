"""What is given to the notebook door: paths, arrays, and what is neither."""

import numpy as np
import pytest

import braggstream as bs


def test_paths_serve_where_a_geometry_or_a_cell_is_expected(stills, geometry, cell, tmp_path):
    processor = bs.Processor(stills / "x.geom", cell=str(stills / "x.cell"), threshold=10, min_peaks=15)
    assert processor.settings.indexing.target_cell == cell and len(processor.geometry.panels) == 16
    (frame,) = bs.open_files(str(stills / "frames.h5"), stills / "x.geom")[:1]
    result = processor.process(frame)
    assert len(result.crystals) == 1
    assert bs.write_stream(tmp_path / "o.stream", stills / "x.geom", [result], cell=stills / "x.cell") == 1
    hkl = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    assert len(bs.index_q(hkl[np.any(hkl != 0, axis=1)] @ cell.reciprocal_axes(), stills / "x.cell"))
    with pytest.raises(bs.UserError, match="nowhere"):
        bs.Processor("nowhere.geom")
    with pytest.raises(bs.UserError, match=r"x\.cell"):
        bs.Processor(stills / "x.cell")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda geometry: bs.Processor(np.zeros((3, 3))),
            r"geometry: expected what bs.load_geometry gives, .* (3, 3)",
        ),
        (lambda geometry: bs.Processor(None), "geometry: expected what bs.load_geometry gives"),
        (
            lambda geometry: bs.Processor(geometry, cell=(79, 79, 38, 90, 90, 90)),
            "cell: expected what bs.load_cell",
        ),
        (lambda geometry: bs.open_files(geometry, "frames.h5"), "path: expected the path of a file"),
        (lambda geometry: bs.open_files([], geometry), "path: expected the path of a file"),
        (lambda geometry: bs.Processor(geometry).process("frames.h5"), "expected a frame or an image as an array"),
        (lambda geometry: bs.Processor(geometry).process([1, 2]), "take them one by one, in a loop"),
        (
            lambda geometry: bs.Processor(geometry).process(np.zeros((4, 4))),
            "an array has no headers, and .*energy",
        ),
        (lambda geometry: bs.draw(np.zeros((3, 3))), "draw: expected a frame"),
        (lambda geometry: bs.Processor(geometry, treshold=4), "there is no option treshold; .*mean threshold"),
        (lambda geometry: bs.Processor(geometry, indexing="asfd"), "did you mean asdf"),
        (lambda geometry: bs.Processor(geometry, peaks="peakfinder"), "did you mean peakfinder"),
        (lambda geometry: bs.merge([], symmetry="4/mmm", scal=True), "there is no option scal; .*mean scale"),
    ],
)
def test_what_is_none_gets_a_sentence(call, told, geometry):
    with pytest.raises(bs.UserError, match=told.replace("(3, 3)", r"\(3, 3\)")) as caught:
        call(geometry)
    assert "\n" not in str(caught.value)


def test_an_array_is_processed_where_the_geometry_says_it_all(stills, geometry, cell, tmp_path):
    text = (stills / "megapixel.stream.geom").read_text()
    literal = text.replace("beam_energy eV", "9500 eV").replace("detector_distance mm", "80 mm")
    (tmp_path / "literal.geom").write_text(literal)
    frame = bs.open_files(stills / "frames.h5", geometry)[0]
    image = np.zeros((1024, 1024), np.int32)
    for number, panel in enumerate(geometry.panels):
        window = slice(panel.min_ss, panel.max_ss + 1), slice(panel.min_fs, panel.max_fs + 1)
        image[window] = frame.panel_pixels(number)
    processor = bs.Processor(tmp_path / "literal.geom", cell=cell, threshold=10, min_snr=5, min_peaks=15)
    expected = bs.Processor(geometry, cell=cell, threshold=10, min_snr=5, min_peaks=15).process(frame)
    image.setflags(write=False)
    for made in (image, image.astype(">f4"), np.asfortranarray(image), image[None].repeat(2, 0)[1]):
        result = processor.process(made)
        assert np.allclose(result.peaks.fs, expected.peaks.fs) and len(result.peaks) == len(expected.peaks)
        assert len(result.crystals) == 1
    assert result.identity.event == "//3" and result.identity.serial == 4
    kept, other = processor.frame_of(image), processor.frame_of(np.zeros_like(image))
    assert not np.shares_memory(kept.bad, other.bad) and not np.shares_memory(kept.pixels, image)
    assert bs.draw(kept, result).figure is not None
    for wrong in (image[:100], image[0], image.astype(complex), np.array([["a"]])):
        with pytest.raises(bs.FrameError) as caught:
            processor.process(wrong)
        assert "\n" not in str(caught.value)


def test_methods_of_indexing_are_named_as_on_the_command_line(geometry, cell):
    assert bs.Processor(geometry).settings.indexing.methods == ("none",)
    assert bs.Processor(geometry, cell=cell).settings.indexing.methods == ("ffbidx",)
    assert bs.Processor(geometry, indexing="asdf, xgandalf").settings.indexing.methods == ("asdf", "xgandalf")
