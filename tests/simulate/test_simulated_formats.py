"""Simulated frames come out of every format as they went in."""

import json
from importlib.resources import files

import cbor2
import numpy as np
import pytest

from braggstream.formats.cell import read_cell
from braggstream.formats.geom import parse_geometry
from braggstream.formats.parts import join_parts
from braggstream.model.data_formats import OF_SERIES
from braggstream.model.errors import UserError
from braggstream.simulate.frames import Simulator
from braggstream.simulate.pool import make_pool
from braggstream.simulate.series_payloads import SERIES_MAKERS
from braggstream.simulate.settings import SimulationSettings
from formats.image_frames import TEXT, load

ENERGY_LOOKED_UP = TEXT.replace("photon_energy = 9000 eV", "photon_energy = incident_energy eV")


def simulated(data_format, text=TEXT):
    cell = read_cell(str(files("braggstream.simulate").joinpath("data", "tetragonal.cell")))
    simulator = Simulator(parse_geometry(text), cell, SimulationSettings())
    payloads, _ = make_pool(simulator, data_format, 1)
    return simulator, payloads[0]


def one_part(message):
    return b"".join(join_parts(message)) if isinstance(message, list) else message


@pytest.mark.parametrize("data_format", ["cbf", "cbf.gz", "tiff", "npy", *OF_SERIES])
def test_pixels_come_out(data_format):
    simulator, payload = simulated(data_format)
    message = one_part(payload.message(3))
    start = one_part(SERIES_MAKERS[data_format](simulator).start(10)) if data_format in OF_SERIES else None
    for chosen in (None, data_format):
        frame = load(message, simulator.geometry, start=start, data_format=chosen)
        values, bad = simulator.frame(0).values, simulator.defects.bad
        found = frame.panel_pixels(0).reshape(-1).astype(np.int64)
        good = np.setdiff1d(np.arange(len(values)), bad)
        assert np.array_equal(found[good], values[good])
        if start is not None:
            assert np.array_equal(np.flatnonzero(frame.panel_bad(0).reshape(-1)), np.sort(bad))


def test_headers_that_a_format_has_not():
    with pytest.raises(UserError, match="incident_energy"):
        simulated("tiff", ENERGY_LOOKED_UP)
    simulator, payload = simulated("dectris2", ENERGY_LOOKED_UP)
    start = SERIES_MAKERS["dectris2"](simulator).start(1)
    frame = load(payload.message(0), simulator.geometry, start=start)
    assert frame.wavelength == pytest.approx(simulator.wavelength)


LOOKED_UP = {
    "clen = 0.1 m": ["clen = {} m", "clen = {} mm", "clen = {}"],
    "photon_energy = 9000 eV": ["photon_energy = {} eV", "photon_energy = {} keV", "photon_energy = {}"],
}
OWN_NAMES = {"clen = 0.1 m": "detector_distance", "photon_energy = 9000 eV": "incident_energy"}


@pytest.mark.parametrize(("literal", "line"), [(each, line) for each, lines in LOOKED_UP.items() for line in lines])
@pytest.mark.parametrize("data_format", ["msgpack", "hdf5", "seedee", "dectris1", "dectris2", "jungfraujoch"])
def test_units_of_what_is_looked_up(data_format, literal, line):
    """A header of any name is in the geometry's unit; under a name of the format's own it is in the format's."""
    assert literal in TEXT
    for name in ("a_name_of_ours", OWN_NAMES[literal]):
        text = TEXT.replace(literal, line.format(name))
        is_own = name != "a_name_of_ours" and data_format in OF_SERIES
        is_other = " m" not in line.replace(" mm", "") if literal.startswith("clen") else "keV" in line
        if is_own and is_other:
            unit = "m" if literal.startswith("clen") else "eV"
            advice = f"write  {line.split()[0]} = {name} {unit}$"
            with pytest.raises(UserError, match=advice):
                simulated(data_format, text)
            continue
        simulator, payload = simulated(data_format, text)
        start = one_part(SERIES_MAKERS[data_format](simulator).start(1)) if data_format in OF_SERIES else None
        metadata = json.dumps(dict(payload.metadata)).encode() if payload.metadata else b""
        frame = load(one_part(payload.message(0)), simulator.geometry, start=start, metadata=metadata)
        assert frame.wavelength == pytest.approx(simulator.wavelength)
        assert frame.detector.average_camera_length == pytest.approx(simulator.camera_length) == 0.1


def test_a_series_states_metres_and_electronvolts_whatever_the_geometry_file_has():
    text = TEXT.replace("clen = 0.1 m", "clen = 100 mm").replace("= 9000 eV", "= 9 keV")
    simulator, payload = simulated("dectris2", text)
    start = cbor2.loads(SERIES_MAKERS["dectris2"](simulator).start(1))
    assert list(start["detector_translation"]) == pytest.approx([0.0, 0.0, 0.1])
    assert start["incident_energy"] == pytest.approx(9000.0)
    assert start["incident_wavelength"] == pytest.approx(1.3776, abs=1e-4)
    assert start["pixel_size_x"] == start["pixel_size_y"] == pytest.approx(1.0 / simulator.geometry.panels[0].res)
    assert start["sensor_thickness"] < 0.01 and not dict(cbor2.loads(payload.message(0))["user_data"])
    told = json.loads(SERIES_MAKERS["dectris1"](simulator).start(1)[1])
    assert told["detector_distance"] == pytest.approx(0.1) and told["photon_energy"] == pytest.approx(9000.0)
    assert cbor2.loads(SERIES_MAKERS["jungfraujoch"](simulator).start(1))["detector_distance"] == pytest.approx(0.1)


def test_units_of_a_cbf():
    text = TEXT.replace("clen = 0.1 m", "clen = Detector_distance {}")
    simulator, payload = simulated("cbf", text.format("m"))
    frame = load(payload.message(0), simulator.geometry)
    assert frame.detector.average_camera_length == pytest.approx(0.1)
    with pytest.raises(
        UserError, match=r"cbf frames state Detector_distance as 0\.1, which would be read as 0\.0001 m"
    ):
        simulated("cbf", text.format("mm"))
    with pytest.raises(UserError, match="cbf frames state Wavelength"):
        simulated("cbf", TEXT.replace("photon_energy = 9000 eV", "photon_energy = Wavelength eV"))
