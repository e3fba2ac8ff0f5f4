"""Simulated frames come out of every format as they went in."""

from importlib.resources import files

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
