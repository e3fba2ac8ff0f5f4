"""The options of `braggstream simulate`; values stay text, so that all of them are checked in one place."""

from math import inf
from typing import Any

from braggstream.cli.command_parser import CommandParser
from braggstream.model.data_formats import DATA_FORMATS
from braggstream.model.errors import UserError

Rows = tuple[tuple[str, str, str | None, str], ...]
"""Option, placeholder of its value, default, help."""

CRYSTALS: Rows = (
    (
        "--space-group",
        "SYMBOL",
        None,
        "such as 'P 43 21 2', in the cell's setting (default: the simplest that fits)",
    ),
    ("--hit-fraction", "X", "0.5", "fraction of the frames with crystals"),
    ("--lattices", "N", "1", "crystals in a hit, or a range such as 1-3"),
    ("--d-min", "A", "2", "diffraction limit [Å]"),
    ("--photons", "N", "4000", "mean of a full reflection at the lowest resolution [photons]"),
    ("--b-factor", "A2", "15", "intensities fall as exp(-B/(2d²)) [Å²]"),
    ("--profile-radius", "R", "0.003", "radius (sigma) of a reciprocal lattice point [nm⁻¹]"),
    ("--mosaicity", "RAD", "0", "spread (sigma) of the blocks' orientations [rad]"),
    ("--cell-spread", "X", "0", "relative spread of the cell's lengths from crystal to crystal"),
    ("--scale-spread", "X", "0.3", "spread of the logarithm of a crystal's scale"),
)
BEAM: Rows = (
    ("--photon-energy", "EV", None, "for a geometry that looks it up in the frame [eV] (default: 9500)"),
    ("--camera-length", "M", None, "for a geometry that looks clen up in the frame [m] (default: 0.1)"),
    ("--energy-jitter", "X", "0", "relative spread of the photon energy from frame to frame"),
    ("--bandwidth", "X", None, "relative spread (sigma) of the wavelength (default: the geometry's)"),
)
DETECTOR: Rows = (
    ("--background", "N", "4", "background at the solvent ring [photons per pixel]"),
    ("--background-spread", "X", "0.1", "spread of the logarithm of its strength from frame to frame"),
    ("--spot-size", "PX", "0.7", "width (sigma) of spots, without the crystal's own [px]"),
    ("--read-noise", "ADU", "0", "electronic noise (sigma) [detector units]"),
    ("--bad-pixels", "X", "3e-4", "fraction of the pixels that read -1"),
    ("--dead-pixels", "X", "1e-4", "fraction of the pixels that read 0"),
    ("--hot-pixels", "X", "2e-5", "fraction of the pixels that read too much"),
)
SENDING: Rows = (
    ("--rate", "X", "25", "frames per second; 0 = as fast as they are taken"),
    ("--pool", "N", None, "different frames, made in advance; they come round again (default: 512 MiB of them)"),
    ("--tag", "TEXT", "ondaframedata", "first part of each broadcast message"),
    (
        "--patience",
        "S",
        None,
        "give up when nobody takes a frame for so long [s] (default: never with --serve, 60 with --asapo)",
    ),
)
ASAPO: Rows = (
    ("--host", "ADDRESS", "127.0.0.1", "address to listen at, as clients reach it"),
    ("--port", "N", "8400", "port of the endpoint; 0 = a free one"),
    ("--folder", "FOLDER", None, "keeps the service's state and files (default: a new one, gone at the end)"),
    ("--cache", "MIB", "512", "memory for data; the oldest fall out [MiB]"),
    ("--beamtime", "ID", "11001234", "beamtime of the frames and of the token"),
    ("--source", "NAME", "detector", "data source of the frames"),
    ("--streams", "N", "1", "the frames come in so many streams, one after the other"),
)
JUDGING: Rows = (
    ("--max-misorientation", "DEG", "1", "a right lattice is not turned further away [deg]"),
    ("--max-length-error", "PERCENT", "2", "its axes are not longer or shorter by more [percent]"),
    ("--max-angle-error", "DEG", "1.5", "its angles do not differ by more [deg]"),
)


def parser() -> CommandParser:
    """Make the parser."""
    made = CommandParser(
        prog="braggstream simulate",
        description="Make diffraction with known truth, write it to a file or serve it like a beamline; "
        "or judge a stream file by that truth.",
        allow_abbrev=False,
    )
    what = made.add_argument_group("What to do (one of these)")
    what.add_argument("-o", "--output", metavar="FILE", help="write the frames and the truth to this HDF5 file")
    what.add_argument("--serve", metavar="ADDRESS", help="send the frames from here, such as tcp://*:5002")
    what.add_argument("--asapo", action="store_true", help="be an ASAP::O service, filled with frames")
    what.add_argument("--asapo-send", metavar="ADDRESS", help="send the frames to this ASAP::O service")
    what.add_argument("--judge", metavar="STREAM", help="compare a stream file with --truth")
    what.add_argument("--examples", metavar="FOLDER", help="copy an example geometry and cell to this folder")
    frames = made.add_argument_group("Frames")
    frames.add_argument("-g", "--geometry", metavar="FILE", help="CrystFEL geometry file")
    frames.add_argument("-p", "--cell", metavar="FILE", help="CrystFEL cell file or PDB file")
    frames.add_argument("-n", "--n-frames", metavar="N", default="100", help="how many (default: 100); 0 = no end")
    frames.add_argument("--truth", metavar="FILE", help="the truth: written with frames, read by --judge")
    frames.add_argument("--seed", metavar="N", default="0", help="the same seed gives the same frames (default: 0)")
    _add(made, "Crystals", CRYSTALS)
    _add(made, "Beam", BEAM)
    _add(made, "Detector", DETECTOR)
    sending = _add(made, "Sending (with --serve or --asapo)", SENDING)
    sending.add_argument(
        "--socket",
        choices=("rep", "pub", "push"),
        default="rep",
        help="rep answers each request with a frame, pub broadcasts, push hands out (default: rep)",
    )
    sending.add_argument(
        "--data-format",
        choices=DATA_FORMATS[1:],
        default="msgpack",
        help="of the messages (default: msgpack); the last three are series with a start message",
    )
    service = _add(made, "ASAP::O (with --asapo)", ASAPO)
    service.add_argument("--no-frames", action="store_true", help="start the service and send nothing to it")
    service.add_argument("--keep-files", action="store_true", help="keep data in files too, besides the memory")
    service.add_argument("--token-file", metavar="FILE", help="the service's token (with --asapo-send)")
    service.add_argument(
        "--fault",
        metavar="WORD",
        action="append",
        default=[],
        help="something that goes wrong, any number of times: outage=AFTER,FOR or refusal=AFTER,FOR [s], "
        "wrong-token, old-protocol, lost-data, unfinished, hole=ID",
    )
    _add(made, "Judging (with --judge)", JUDGING)
    return made


def _add(made: CommandParser, title: str, rows: Rows) -> Any:
    group = made.add_argument_group(title)
    for name, placeholder, default, text in rows:
        shown = text if default is None else f"{text} (default: {default})"
        group.add_argument(name, metavar=placeholder, default=default, help=shown)
    return group


def number(name: str, text: str, low: float, high: float) -> float:
    """Read a number of an option; raises `UserError` outside its range."""
    try:
        found = float(text)
    except ValueError:
        found = inf
    if not low <= found <= high:
        raise UserError(f"{name}={text}: expected a number from {low:g} to {high:g}")
    return found


def whole(name: str, text: str, low: int, high: int) -> int:
    """Read a whole number of an option; raises `UserError` outside its range."""
    try:
        found = int(text)
    except ValueError:
        found = low - 1
    if not low <= found <= high:
        raise UserError(f"{name}={text}: expected a whole number from {low} to {high}")
    return found
