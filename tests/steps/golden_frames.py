"""The reference's simulated frames, their truth, and the reference's own output for them."""

import lzma
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np

from braggstream.formats.geom import read_geometry
from braggstream.kernels.layout import N_COLUMNS
from braggstream.model.constants import wavelength_of_photon
from braggstream.model.crystal import Crystal
from braggstream.model.frame import Frame, FrameIdentity
from braggstream.model.peaks import PeakTable
from braggstream.steps.view import PeakView


@dataclass
class Chunk:
    """What the reference wrote for one frame with a crystal."""

    number: int
    peaks: PeakTable
    crystal: Crystal
    residuals: dict[str, tuple[float, ...]]
    hkl: np.ndarray
    columns: np.ndarray  # I, sigma, peak, background, fs, ss
    panel: np.ndarray


def panel_table(detector, offsets=None):
    """Panels that lie one after another in the data, as rows of the reader's layout."""
    table = np.zeros((detector.n_panels, N_COLUMNS), np.int64)
    table[:, 0] = detector.starts[:-1] if offsets is None else offsets
    table[:, 1] = detector.width
    table[:, 2] = detector.width
    table[:, 3] = detector.height
    table[:, 4] = detector.starts[:-1]
    return table


@cache
def load_frames(folder: Path, name: str):
    """All frames of a golden file."""
    geometry = read_geometry(folder / f"{name}.geom")
    frames = []
    with h5py.File(folder / f"{name}.h5") as file:
        data, energy = file["entry/data/data"][:], file["entry/photon_energy"][:]
    for number, pixels in enumerate(data):
        # The single-panel file states one energy for all; the other one looks it up.
        wavelength = geometry.wavelength(lambda _, number=number: float(energy[number]))
        detector = geometry.detector(lambda _: float("nan"), wavelength)
        frames.append(
            Frame(
                identity=FrameIdentity(filename=f"{name}.h5", event=f"//{number}", serial=number + 1),
                detector=detector,
                wavelength=wavelength,
                pixels=np.ascontiguousarray(pixels).reshape(-1),
                panel_table=panel_table(detector),
                bad=(pixels.reshape(-1) < 0).astype(np.uint8),
            )
        )
    return frames


@cache
def true_axes(folder: Path, name: str):
    """True rows a*, b*, c* of every frame [Å⁻¹]."""
    with h5py.File(folder / f"{name}.h5") as file:
        return file["truth/reciprocal"][:, 0] / 10.0


@cache
def load_chunks(folder: Path, stream: str):
    """Frames with a crystal in one of the reference's stream files."""
    text = lzma.decompress((folder / "streams" / f"{stream}.stream.xz").read_bytes()).decode()
    frames = load_frames(folder, stream.split("-", maxsplit=1)[0])
    found = []
    for chunk in text.split("----- Begin chunk -----")[1:]:
        if "--- Begin crystal" in chunk:
            found.append(_chunk(chunk, frames[0].detector.names))
    return found


def view_of(frame: Frame, peaks: PeakTable) -> PeakView:
    """The peaks of a golden frame; its geometry states no bandwidth."""
    return PeakView.of(frame, peaks, 1e-8)


def wavelength(energy_ev: float) -> float:
    """Wavelength of a photon [Å]."""
    return wavelength_of_photon(energy_ev)


def _chunk(text, names):
    peaks = [line.split() for line in _between(text, "fs/px   ss/px (1/d)", "End of peak list")]
    rows = [line.split() for line in _between(text, "   h    k    l ", "End of reflections")]
    axes = np.array(
        [_numbers(re.search(rf"^{axis} = (.*) nm", text, re.M)[1]) for axis in ("astar", "bstar", "cstar")]
    )
    notes = re.findall(r"^predict_refine/(\w+) = [-\d.]+ \((.*)\)$", text, re.M)
    return Chunk(
        number=int(re.search(r"^Event: //(\d+)", text, re.M)[1]),
        peaks=PeakTable.from_columns(
            [names.index(row[4]) for row in peaks], *[[float(row[i]) for row in peaks] for i in (0, 1, 3)]
        ),
        crystal=Crystal(
            reciprocal_axes=axes / 10.0,
            lattice_type=re.search(r"^lattice_type = (\w+)", text, re.M)[1],
            centring=re.search(r"^centering = (\w+)", text, re.M)[1],
            unique_axis=(re.search(r"^unique_axis = (.)", text, re.M) or "?*")[1],
            profile_radius=float(re.search(r"^profile_radius = (\S+)", text, re.M)[1]) / 10.0,
            resolution_limit=float(re.search(r"^diffraction_resolution_limit = (\S+)", text, re.M)[1]) / 10.0,
        ),
        residuals={name: _numbers(values) for name, values in notes},
        hkl=np.array([row[:3] for row in rows], int),
        columns=np.array([row[3:9] for row in rows], float),
        panel=np.array([names.index(row[9]) for row in rows]),
    )


def _between(text, first, last):
    lines = text[text.index(first) :].splitlines()[1:]
    return lines[: lines.index(last)]


def _numbers(text):
    return tuple(float(word) for word in text.split())
