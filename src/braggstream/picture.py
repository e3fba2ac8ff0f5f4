"""A picture of a processed frame: pixels, found peaks, predicted reflections."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggstream.formats.replaced_file import replacing
from braggstream.kernels.layout import CORNER, FS, SS
from braggstream.model.detector import Detector
from braggstream.model.errors import MissingExtraError, UserError
from braggstream.model.frame import Frame
from braggstream.model.result import FrameResult

PIXELS_WANTED = 1200
"""Pixels of the picture along its longer side, about."""
RINGS = (20.0, 10.0, 6.0, 4.0, 3.0, 2.5, 2.0, 1.7, 1.5)
"""Resolutions that may be drawn as rings [Å]."""
MAX_RINGS = 4
CRYSTAL_COLOURS = ("tab:red", "tab:green", "tab:purple", "tab:brown")
PEAK_COLOUR = "tab:blue"


class Picture:
    """A drawn frame: a notebook shows it, `save` writes it."""

    def __init__(self, figure: Any) -> None:
        self.figure = figure
        """The Matplotlib figure, to draw more into."""

    def save(self, path: str | Path) -> None:
        """Write it to a file, of the format that its suffix tells; raises `UserError`."""
        target = Path(path)
        try:
            with replacing(target if target.suffix else target.with_suffix(".png")) as part:
                self.figure.savefig(part)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot write the picture: {error}", path=path) from None

    def __repr__(self) -> str:
        width, height = (round(inches * self.figure.dpi) for inches in self.figure.get_size_inches())
        return f"<Picture: {width} x {height} px>"

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        self.figure.savefig(content, format="png")
        return content.getvalue()


def draw(frame: Frame, result: FrameResult | None = None) -> Picture:
    """Draw a frame as the sample sees it (x to the left, y up).

    Squares are found peaks, circles are reflections (one colour a crystal); bad pixels are left blank.

    Parameters
    ----------
    frame
        The frame.
    result
        What processing found in it; without it, only pixels and resolution rings are drawn.

    Returns
    -------
    Picture
        A notebook shows it; `save` writes it.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed: `pip install 'braggstream[plot]'`.
    """
    if not isinstance(frame, Frame):
        raise UserError(f"draw: expected a frame, as bs.open_files gives them, not a {type(frame).__name__}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(library="matplotlib", extra="plot", purpose="drawing a frame") from None
    figure = Figure(figsize=(9, 9.4), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.07, 0.06, 0.9, 0.86))
    image, extent = assemble(frame)
    low, high = _grey_scale(image)
    axes.imshow(
        np.sqrt(np.clip(image - low, 0.0, None)), cmap="Greys", extent=extent, vmin=0.0, vmax=np.sqrt(high - low)
    )
    axes.set_facecolor("#f3efe6")
    _draw_rings(axes, frame)
    if result is not None:
        _draw_marks(axes, frame.detector, result)
    axes.set_xlim(extent[0], extent[1])
    axes.set_ylim(extent[2], extent[3])
    axes.set_xlabel("x [mm] (beam into the page, x to the left)")
    axes.set_ylabel("y [mm]")
    axes.set_title(_title(frame, result), fontsize=10)
    if result is not None and (len(result.peaks) or result.crystals):
        axes.legend(loc="upper right", fontsize=8, framealpha=0.9)
    return Picture(figure)


def assemble(frame: Frame) -> tuple[NDArray[np.float64], tuple[float, float, float, float]]:
    """Project all panels along the beam onto one image.

    Returns
    -------
    image : float64[rows, columns]
        Largest value of the pixels that fall on each point, NaN where there is none or only bad ones; y decreases
        with the row, x with the column.
    extent : (float, float, float, float)
        Left, right, lower and upper bound [mm].
    """
    places, values = [], []
    for panel in range(frame.detector.n_panels):
        pixels, bad = frame.panel_pixels(panel), frame.panel_bad(panel)
        pose = frame.detector.poses[panel] * 1000.0
        fs, ss = np.arange(pixels.shape[1]) + 0.5, np.arange(pixels.shape[0])[:, None] + 0.5
        good = bad == 0
        places.append([(pose[CORNER, k] + fs * pose[FS, k] + ss * pose[SS, k])[good] for k in (0, 1)])
        values.append(pixels[good].astype(np.float64))
    x, y = (np.concatenate([place[k] for place in places]) for k in (0, 1))
    if not len(x):
        return np.full((1, 1), np.nan), (1.0, -1.0, -1.0, 1.0)
    value = np.concatenate(values)
    size = 1000.0 * float(frame.detector.pixel_size.min())
    step = max(size, max(np.ptp(x), np.ptp(y)) / PIXELS_WANTED)
    column, row = np.floor((x.max() - x) / step).astype(int), np.floor((y.max() - y) / step).astype(int)
    image = np.full((int(row.max()) + 1, int(column.max()) + 1), -np.inf)
    np.maximum.at(image, (row, column), value)
    image[np.isneginf(image)] = np.nan
    left, top = float(x.max()) + step / 2, float(y.max()) + step / 2
    return image, (left, left - step * image.shape[1], top - step * image.shape[0], top)


def _grey_scale(image: NDArray[np.float64]) -> tuple[float, float]:
    known = image[np.isfinite(image)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.quantile(known, (0.01, 0.997))
    return float(low), float(max(high, low + 1.0))


def _draw_rings(axes: Any, frame: Frame) -> None:
    """Draw resolution rings for a detector across the beam."""
    distance = 1000.0 * frame.detector.average_camera_length
    furthest = 1.0 / frame.detector.max_inverse_d(frame.wavelength)
    wanted = [d for d in RINGS if d > max(furthest, frame.wavelength / 2.0) * 1.1][-MAX_RINGS:]
    turn = np.linspace(0.0, 2.0 * np.pi, 361)
    for d in wanted:
        angle = 2.0 * np.arcsin(frame.wavelength / (2.0 * d))
        if angle >= np.pi / 2.0:
            continue
        radius = distance * np.tan(angle)
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), color="tab:orange", linewidth=0.7, linestyle="--")
        axes.text(0.0, radius, f"{d:g} Å", color="tab:orange", fontsize=8, ha="center", va="bottom", clip_on=True)


def _draw_marks(axes: Any, detector: Detector, result: FrameResult) -> None:
    peaks = result.peaks
    if len(peaks):
        lab = 1000.0 * detector.lab_position(peaks.panel, peaks.fs, peaks.ss)
        axes.scatter(
            lab[:, 0], lab[:, 1], s=46, marker="s", facecolors="none", edgecolors=PEAK_COLOUR, linewidths=0.7,
            label=f"{len(peaks)} peaks",
        )  # fmt: skip
    for number, crystal in enumerate(result.crystals):
        found = crystal.reflections
        if found is None or not len(found):
            continue
        lab = 1000.0 * detector.lab_position(found.panel, found.fs, found.ss)
        colour = CRYSTAL_COLOURS[number % len(CRYSTAL_COLOURS)]
        axes.scatter(
            lab[:, 0], lab[:, 1], s=18, marker="o", facecolors="none", edgecolors=colour, linewidths=0.6,
            label=f"{len(found)} reflections",
        )  # fmt: skip


def _title(frame: Frame, result: FrameResult | None) -> str:
    text = f"{Path(frame.identity.filename).name} {frame.identity.event}"
    if result is None:
        return text
    for crystal in result.crystals:
        text += f"\n{crystal.lattice_type} {crystal.centring}  {crystal.cell.text}"
    return text if result.crystals else text + "\nnot indexed"
