"""What a hit costs between its lattice and its chunk, for a usual and for a large cell."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

from benchmarks.frames import CELL, SEED, encode, geometry_text
from braggstream.formats.geom import parse_geometry
from braggstream.formats.stream_write import format_chunk
from braggstream.model.cell import UnitCell
from braggstream.model.crystal import Crystal
from braggstream.model.frame import Frame, Message
from braggstream.model.geometry import Geometry
from braggstream.model.result import FrameResult
from braggstream.model.settings import (
    FrameSettings,
    IndexingSettings,
    IntegrationSettings,
    OutputSettings,
    PeakSettings,
    Settings,
)
from braggstream.pipeline.loading import FrameLoader
from braggstream.pipeline.recipe import Recipe
from braggstream.simulate.frames import Simulator
from braggstream.simulate.settings import CrystalSettings, SampleSettings, SimulationSettings
from braggstream.steps.integration import make_integrator
from braggstream.steps.prediction import predict_reflections
from braggstream.steps.profile_radius import measure_profile_radius
from braggstream.steps.refinement import refine_crystal
from braggstream.steps.resolution import resolution_limit
from braggstream.steps.view import PeakView

N_FRAMES = 4
N_ROUNDS = 15
LARGE = UnitCell(a=117.0, b=223.0, c=309.0, alpha=90, beta=90, gamma=90, lattice_type="orthorhombic", centring="P")
METHODS = {
    "rings": IntegrationSettings(),
    "rings-cen-grad": IntegrationSettings(centre=True, gradient=True),
    "prof2d": IntegrationSettings(method="prof2d", centre=True),
}
USUAL_STAGES = ("refine", "profile radius", "resolution", "predict", "rings")
"""What a hit takes without options; the other ways of integration are alternatives."""


@dataclass(frozen=True)
class Scene:
    """One kind of hit."""

    name: str
    cell: UnitCell
    size: int
    d_min: float
    asked_ms: float
    """For refinement, prediction and integration together."""


SCENES = (
    Scene("79 x 79 x 38 Å, 1M", CELL, 1024, 2.0, 4.0),
    Scene("117 x 223 x 309 Å, 4M", LARGE, 2048, 3.0, 10.0),
)


def measure(scene: Scene) -> dict:
    """Medians over the hits of the shortest time of each stage [ms]: other processes only ever add to it."""
    geometry = parse_geometry(geometry_text(scene.size))
    rows = [_stages(frame, result, axes, scene.cell, geometry) for frame, result, axes in _hits(scene, geometry)]
    found = {stage: median(row[stage] for row in rows) for stage in rows[0]}
    usual = sum(found[stage] for stage in USUAL_STAGES)
    return {"name": scene.name, "asked_ms": scene.asked_ms, "all but formatting": usual, **found}


def _stages(
    frame: Frame, result: FrameResult, start: Crystal, cell: UnitCell, geometry: Geometry
) -> dict[str, float]:
    view = PeakView.of(frame, result.peaks, geometry.bandwidth)
    crystal = refine_crystal(start, view, cell)
    assert crystal is not None
    crystal = replace(crystal, profile_radius=measure_profile_radius(crystal, view) or 0.0)

    def predict() -> Crystal:
        table = predict_reflections(crystal, frame.detector, frame.wavelength, geometry.bandwidth)
        return replace(crystal, reflections=table)

    predicted = predict()
    times = {
        "refine": _shortest(lambda: refine_crystal(start, view, cell)),
        "profile radius": _shortest(lambda: measure_profile_radius(crystal, view)),
        "resolution": _shortest(lambda: resolution_limit(crystal, view.q)),
        "predict": _shortest(predict),
    }
    for name, settings in METHODS.items():
        integrate = make_integrator(settings)
        times[name] = _shortest(lambda integrate=integrate: integrate(frame, (predicted,)))
    (finished,), _ = make_integrator(METHODS["rings"])(frame, (predicted,))
    whole, output = replace(result, crystals=(finished,)), OutputSettings(stream_file="")
    times["format"] = _shortest(lambda: format_chunk(whole, geometry, output))
    assert predicted.reflections is not None
    return {"peaks": len(view), "reflections": len(predicted.reflections), **times}


def _shortest(function: Callable[[], object]) -> float:
    function()
    times = []
    for _ in range(N_ROUNDS):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return 1e3 * min(times)


def _hits(scene: Scene, geometry: Geometry) -> Iterator[tuple[Frame, FrameResult, Crystal]]:
    """Simulated hits, their peaks, and the true lattice to start from."""
    peaks = PeakSettings(method="peakfinder8", threshold=10, min_snr=5)
    finder = Recipe(geometry, Settings(peaks=peaks, indexing=IndexingSettings(methods=("none",))))
    settings = SimulationSettings(
        seed=SEED, crystal=CrystalSettings(d_min=scene.d_min), sample=SampleSettings(hit_fraction=1.0)
    )
    simulator = Simulator(geometry, scene.cell, settings)
    loader = FrameLoader(geometry, FrameSettings(data_format="msgpack"))
    for number in range(N_FRAMES):
        made = simulator.frame(number)
        message = encode(made.values.reshape(scene.size, scene.size), "int32")
        frame = loader.from_message(Message(payload=message, serial=number + 1))
        crystal = Crystal(
            reciprocal_axes=made.truth.lattices[0],
            lattice_type=scene.cell.lattice_type,
            centring=scene.cell.centring,
            unique_axis=scene.cell.unique_axis,
        )
        yield frame, finder.process(frame), crystal
