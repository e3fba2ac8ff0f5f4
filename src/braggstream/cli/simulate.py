"""`braggstream simulate`: options to settings, then a file, a beamline, a service, or a judgement."""

import argparse
from collections.abc import Sequence
from importlib.resources import files
from math import inf
from pathlib import Path

from braggstream.cli.notices import say
from braggstream.cli.simulate_asapo import send_to_asapo, serve_asapo
from braggstream.cli.simulate_options import number, parser, whole
from braggstream.cli.simulate_stop import StopFlag, progress
from braggstream.formats.cell import read_cell
from braggstream.formats.geom import read_geometry
from braggstream.formats.replaced_file import replace_file
from braggstream.model.errors import UserError
from braggstream.simulate.beamline import Beamline
from braggstream.simulate.file_store import write_frames
from braggstream.simulate.frames import Simulator
from braggstream.simulate.judge import Tolerance, judge
from braggstream.simulate.pool import make_pool, pool_size, streamed_truth
from braggstream.simulate.series_payloads import SERIES_MAKERS
from braggstream.simulate.settings import (
    BeamlineSettings,
    BeamSettings,
    CrystalSettings,
    ResponseSettings,
    SampleSettings,
    SimulationSettings,
)
from braggstream.simulate.truth import MAX_FRAMES, read_truth, write_truth

INCOMPLETE = 1
"""Exit status when fewer frames than asked for were sent."""

READY = "beamline ready at "
"""Starts the line that tells the address, once frames are ready to be sent."""

EXAMPLES = ("megapixel.geom", "megapixel.stream.geom", "tetragonal.cell")


def run(words: Sequence[str]) -> int:
    """Run `braggstream simulate` with the words after its name; gives the exit status."""
    options = parser().parse_args(list(words))
    if options.examples is not None:
        return _copy_examples(Path(options.examples))
    if options.judge is not None:
        return _judge(options)
    if options.asapo and not options.asapo_send:
        return serve_asapo(options, words)
    simulation = simulation_settings(options)
    is_endless = options.serve or options.asapo_send
    n_frames = whole("--n-frames", options.n_frames, 0 if is_endless else 1, MAX_FRAMES)
    sending = beamline_settings(options, n_frames)
    if [options.output, options.serve, options.asapo_send].count(None) != 2:
        raise UserError("choose one: --output=FILE, --serve=ADDRESS, --asapo, or --judge=STREAM")
    if options.geometry is None or options.cell is None:
        raise UserError("a geometry and a cell are needed: give them with -g FILE and -p FILE")
    simulator = Simulator(read_geometry(options.geometry), read_cell(options.cell, say), simulation)
    if options.output is not None:
        return _write(options, simulator, n_frames)
    if options.asapo_send is not None:
        return send_to_asapo(options, simulator, sending)
    return _serve(options, simulator, sending)


def simulation_settings(options: argparse.Namespace) -> SimulationSettings:
    """Turn options into settings; raises `UserError` for a value out of its range."""
    return SimulationSettings(
        crystal=CrystalSettings(
            space_group=options.space_group,
            d_min=number("--d-min", options.d_min, 0.1, 100.0),
            photons=number("--photons", options.photons, 0.0, 1e9),
            b_factor=number("--b-factor", options.b_factor, 0.0, 1000.0),
            profile_radius=number("--profile-radius", options.profile_radius, 1e-3, 1.0) * 0.1,
            mosaicity=number("--mosaicity", options.mosaicity, 0.0, 0.1),
            cell_spread=number("--cell-spread", options.cell_spread, 0.0, 0.1),
            scale_spread=number("--scale-spread", options.scale_spread, 0.0, 3.0),
        ),
        sample=SampleSettings(
            hit_fraction=number("--hit-fraction", options.hit_fraction, 0.0, 1.0),
            lattices=_lattices(options.lattices),
        ),
        beam=BeamSettings(
            photon_energy=_optional("--photon-energy", options.photon_energy, 100.0, 1e6),
            camera_length=_optional("--camera-length", options.camera_length, 1e-3, 100.0),
            energy_jitter=number("--energy-jitter", options.energy_jitter, 0.0, 0.1),
            bandwidth=_optional("--bandwidth", options.bandwidth, 0.0, 0.1),
        ),
        response=ResponseSettings(
            background=number("--background", options.background, 0.0, 1e6),
            background_spread=number("--background-spread", options.background_spread, 0.0, 3.0),
            spot_size=number("--spot-size", options.spot_size, 0.3, 8.0),
            read_noise=number("--read-noise", options.read_noise, 0.0, 1e6),
            bad_fraction=number("--bad-pixels", options.bad_pixels, 0.0, 0.3),
            dead_fraction=number("--dead-pixels", options.dead_pixels, 0.0, 0.3),
            hot_fraction=number("--hot-pixels", options.hot_pixels, 0.0, 0.3),
        ),
        seed=whole("--seed", options.seed, 0, 2**63 - 1),
    )


def beamline_settings(options: argparse.Namespace, n_frames: int) -> BeamlineSettings:
    """Turn options into settings; raises `UserError` for a value out of its range."""
    _pool(options)
    return BeamlineSettings(
        endpoint=options.serve or BeamlineSettings().endpoint,
        socket=options.socket,
        data_format=options.data_format,
        rate=number("--rate", options.rate, 0.0, 1e6),
        n_frames=n_frames,
        tag=options.tag,
        patience_s=inf if options.patience is None else number("--patience", options.patience, 0.1, 1e6),
    )


def _pool(options: argparse.Namespace) -> int | None:
    return None if options.pool is None else whole("--pool", options.pool, 1, 100_000)


def _write(options: argparse.Namespace, simulator: Simulator, n_frames: int) -> int:
    truth = write_frames(options.output, simulator, n_frames, progress=progress("made", n_frames))
    if options.truth is not None:
        write_truth(options.truth, truth)
    n_hits = sum(frame.is_hit for frame in truth.frames)
    print(f"{n_frames} frames, {n_hits} with crystals: {options.output}")
    return 0


def _serve(options: argparse.Namespace, simulator: Simulator, settings: BeamlineSettings) -> int:
    n_frames = settings.n_frames
    stop = StopFlag()
    beamline = Beamline(settings)
    is_done = False
    try:
        size = pool_size(simulator, n_frames, _pool(options))
        payloads, truths = make_pool(
            simulator, settings.data_format, size, progress=progress("made", size, stop.raise_if_set)
        )
        if options.truth is not None:
            write_truth(options.truth, streamed_truth(simulator, n_frames or MAX_FRAMES, truths))
        print(f"{READY}{beamline.endpoint}", flush=True)
        makers = SERIES_MAKERS
        series = makers[settings.data_format](simulator) if settings.data_format in makers else None
        sent = beamline.send(payloads, stop.is_set, series=series, say=say)
        is_done = not stop.is_set()
    except KeyboardInterrupt:
        return INCOMPLETE
    finally:
        beamline.close(wait=is_done)
    rate = (sent.n_frames - 1) / sent.seconds if sent.seconds > 0 else 0.0
    print(f"{sent.n_frames} frames sent in {sent.seconds:.1f} s, {rate:.1f} frames/s", flush=True)
    if options.truth is not None and not sent.is_complete and sent.n_frames:
        write_truth(options.truth, streamed_truth(simulator, sent.n_frames, truths[: sent.n_frames]))
    return 0 if sent.is_complete or not n_frames else INCOMPLETE


def _judge(options: argparse.Namespace) -> int:
    if options.truth is None:
        raise UserError("--judge needs --truth=FILE: a truth file, or the HDF5 file of simulated frames")
    tolerance = Tolerance(
        misorientation=number("--max-misorientation", options.max_misorientation, 0.0, 10.0),
        length=number("--max-length-error", options.max_length_error, 0.0, 50.0) / 100,
        angle=number("--max-angle-error", options.max_angle_error, 0.0, 30.0),
    )
    judgement = judge(options.judge, read_truth(options.truth), tolerance)
    print("\n".join(judgement.lines()))
    return 0


def _copy_examples(folder: Path) -> int:
    """Put the geometry and cell files that come with the package into a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in EXAMPLES:
            content = files("braggstream.simulate").joinpath("data", name).read_bytes()
            if not (folder / name).exists() or (folder / name).read_bytes() != content:
                replace_file(folder / name, content)
            print(folder / name)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", path=folder) from None
    return 0


def _optional(name: str, text: str | None, low: float, high: float) -> float | None:
    return None if text is None else number(name, text, low, high)


def _lattices(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    fewest, most = whole("--lattices", low, 1, 20), whole("--lattices", high or low, 1, 20)
    if most < fewest:
        raise UserError(f"--lattices={text}: expected a number, or a range such as 1-3")
    return fewest, most
