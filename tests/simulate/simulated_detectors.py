"""Small geometries and cells for the simulator's tests."""

from braggstream.formats.geom import parse_geometry
from braggstream.model.cell import UnitCell
from braggstream.model.geometry import Geometry

BEAM = "photon_energy = 12000 eV\nclen = 0.080 m\nres = 13333.333\nadu_per_photon = 1\nflag_lessthan = 0\n"
STREAMED_BEAM = (
    "photon_energy = beam_energy eV\nclen = detector_distance mm\nres = 13333.333\nadu_per_photon = 1\n"
    "peak_list = peak_list\ndata = detector_data\n"
)
FILE_AXES = "data = /entry/data\ndim0 = %\ndim1 = ss\ndim2 = fs\n"
SQUARE = (
    "p/min_fs = 0\np/max_fs = 299\np/min_ss = 0\np/max_ss = 279\np/corner_x = -150.3\np/corner_y = -140.2\n"
    "p/fs = x\np/ss = y\n"
)
TWO_TILTED = (
    "a/min_fs = 0\na/max_fs = 199\na/min_ss = 0\na/max_ss = 149\na/corner_x = -210\na/corner_y = -80\n"
    "a/fs = +0.9998x +0.02y\na/ss = -0.02x +0.9998y\n"
    "b/min_fs = 0\nb/max_fs = 199\nb/min_ss = 150\nb/max_ss = 299\nb/corner_x = 215\nb/corner_y = 75\n"
    "b/fs = -0.98x -0.01y +0.19z\nb/ss = +0.01x -0.9999y\nb/coffset = 0.003\n"
)


def geometry(text: str = BEAM + FILE_AXES + SQUARE) -> Geometry:
    return parse_geometry(text, "test.geom")


def cell(
    a: float = 79.1,
    b: float = 79.1,
    c: float = 37.9,
    angles: tuple[float, float, float] = (90.0, 90.0, 90.0),
    **more: str,
) -> UnitCell:
    words = {"lattice_type": "tetragonal", "centring": "P", "unique_axis": "c"} | more
    return UnitCell(a=a, b=b, c=c, alpha=angles[0], beta=angles[1], gamma=angles[2], **words)
