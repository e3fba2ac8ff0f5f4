"""What cannot be in a geometry or in options is told before the first frame, with the statement that says so."""

from dataclasses import replace

import pytest

from braggstream.formats.geom import parse_geometry
from braggstream.model.cell import UnitCell
from braggstream.model.settings import FrameSettings, IndexingSettings, PeakSettings, Settings
from braggstream.pipeline.setup_overview import overview

SOUND = """\
photon_energy = 12000 eV
adu_per_photon = 1
res = 6666.67
clen = 85.0 mm
data = /entry/data/data
p0/min_fs = 0
p0/max_fs = 511
p0/min_ss = 0
p0/max_ss = 539
p0/corner_x = -254.3
p0/corner_y = -272.3
p0/fs = +1.0x +0.0y
p0/ss = +0.0x +1.0y
"""
SECOND = """\
p1/min_fs = 512
p1/max_fs = 1023
p1/min_ss = 0
p1/max_ss = 539
p1/corner_x = 270
p1/corner_y = -272.3
p1/fs = +1.0x +0.0y
p1/ss = +0.0x +1.0y
"""
TETRAGONAL = UnitCell(a=79.2, b=79.2, c=38.0, alpha=90, beta=90, gamma=90, lattice_type="tetragonal")
PF8 = PeakSettings(method="peakfinder8", threshold=10, min_peaks=15)


def expecting(*lengths):
    return {"indexing": IndexingSettings(target_cell=TETRAGONAL.with_parameters([*lengths, 90, 90, 90]))}


CHOSEN = Settings(
    peaks=PF8,
    indexing=IndexingSettings(target_cell=TETRAGONAL),
)


def warnings(text, settings=CHOSEN):
    lines = list(overview(parse_geometry(text, "x.geom"), settings))
    return [line.removeprefix("Warning: ") for line in lines if line.startswith("Warning: ")]


@pytest.mark.parametrize(
    "text",
    [
        SOUND,
        SOUND + SECOND,
        SOUND.replace("12000 eV", "/LCLS/photon_energy eV").replace("85.0 mm", "/detector_z"),
        SOUND + "bad1/min_x = -10\nbad1/max_x = 10\nbad1/min_y = -5\nbad1/max_y = 5\n",
        SOUND + "detector_shift_x = 0.4 mm\ndetector_shift_y = -3 mm\n",
        SOUND.replace("photon_energy = 12000 eV", "electron_voltage = 200 kV").replace("85.0 mm", "2 m"),
    ],
)
def test_nothing_is_said_of_what_can_be(text):
    assert warnings(text) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("12000 eV", "12 eV", 1, "write photon_energy = 12 keV"),
        ("12000 eV", "12000 keV", 1, "write photon_energy = 12000 eV"),
        ("photon_energy = 12000 eV", "wavelength = 12000 A", 1, "write photon_energy = 12000 eV"),
        ("photon_energy = 12000 eV", "wavelength = 1.03e-10 A", 1, "which is a wavelength of 1.03e-10"),
        ("photon_energy = 12000 eV", "electron_voltage = 200 V", 1, "write its unit, V or kV"),
        ("85.0 mm", "85.0 m", 4, "write clen = 85 mm"),
        ("85.0 mm", "85.0", 4, "write clen = 85 mm"),
        ("85.0 mm", "0.085 mm", 4, "write clen = 0.085 m"),
        ("85.0 mm", "-85.0 mm", 4, "before the sample"),
        ("85.0 mm", "2 m", 4, "sees no further than"),
        ("6666.67", "6.66667", 3, "pixels of 150 mm: res counts pixels per metre"),
        ("6666.67", "0.15", 3, "for pixels of 0.15 mm write res = 6666.67"),
        ("6666.67", "150", 3, "for pixels of 150 µm write res = 6666.67"),
        ("adu_per_photon = 1", "adu_per_photon = 0", 2, "a number above 0"),
        ("-254.3", "-254300", 11, "the beam passes the detector"),
        ("data = /entry/data/data", "data = /entry/data/data\np0/coffset = 85", 6, "coffset = 85 is in metres"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(old, new, line, words):
    assert SOUND.count(old) == 1
    told = warnings(SOUND.replace(old, new))
    assert any(each.startswith(f"x.geom:{line}: ") and words in each for each in told), told


@pytest.mark.parametrize(
    ("more", "line", "words"),
    [
        ("bad1/min_x = 10\nbad1/max_x = -10\nbad1/min_y = -5\nbad1/max_y = 5\n", 15, "min_x = 10 is above"),
        ("bad1/min_fs = 9\nbad1/max_fs = 2\nbad1/min_ss = 0\nbad1/max_ss = 5\n", 15, "min_fs = 9 is above"),
        ("bad1/min_x = 900\nbad1/max_x = 950\nbad1/min_y = -5\nbad1/max_y = 5\n", 14, "covers no pixel"),
        ("bad1/min_x = 0.05\nbad1/max_x = 0.06\nbad1/min_y = -5\nbad1/max_y = 5\n", 14, "covers no pixel"),
        ("detector_shift_x = 1\ndetector_shift_y = 0\n", 14, "write detector_shift_x = 1 mm"),
        (
            SECOND.replace("max_fs = 1023", "max_fs = 1000").replace("min_fs = 512", "min_fs = 500"),
            17,
            "same pixels",
        ),
        (SECOND.replace("corner_x = 270", "corner_x = 27"), 19, "panels p0 and p1 cover one another"),
    ],
)
def test_what_cannot_be_of_regions_shifts_and_panels(more, line, words):
    told = warnings(SOUND + more)
    assert [each for each in told if each.startswith(f"x.geom:{line}: ") and words in each], told


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"peaks": replace(PF8, max_res=2)}, "--max-res=2 is a radius in pixels"),
        ({"peaks": replace(PF8, min_res=300, max_res=200)}, "no pixel is searched"),
        ({"peaks": replace(PF8, min_res=900)}, "pixels from the beam"),
        ({"peaks": PeakSettings(method="zaef", threshold=0.1)}, "--threshold=0.1 is 0.1 photons"),
        (expecting(0.79, 0.79, 0.38), "in nm"),
        (expecting(7.92, 7.92, 3.8), "points"),
        (expecting(7920, 7920, 3800), "in Å"),
    ],
)
def test_what_cannot_be_of_options_is_told_with_their_name(settings, words):
    told = warnings(SOUND, Settings(**settings))
    assert len(told) == 1 and words in told[0], told


def test_a_resolution_that_leaves_no_pixel():
    beside = SOUND.replace("p0/corner_x = -254.3", "p0/corner_x = 200")
    assert "every pixel" in warnings(beside, Settings(frame=FrameSettings(highres=0.05)))[0]
    assert warnings(beside, Settings(frame=FrameSettings(highres=0.5))) == []


def test_a_ceiling_below_the_threshold():
    told = warnings(SOUND.replace("adu_per_photon = 1", "adu_per_photon = 1\nmax_adu = 8"))
    assert told == ["--threshold=10: max_adu of panel p0 is 8, so that every peak is saturated"]


def test_the_block_tells_size_distance_resolution_energy_and_photons():
    lines = list(overview(parse_geometry(SOUND.replace("adu_per_photon = 1", "adu_per_eV = 0.0001")), CHOSEN))
    assert lines == [
        "Frames     512 x 540 pixels of 150 µm",
        "Detector   85 mm from the sample, edge at 2.45 Å, corner at 1.79 Å",
        "Beam       12000 eV, 1.0332 Å",
        "Peaks      peakfinder8, threshold 10 = 8.333 photons (adu_per_eV), signal to noise 5, 15 peaks make a hit",
    ]
