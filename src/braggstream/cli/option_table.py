"""Every option of `indexamajig`: CrystFEL's names and defaults, and what is ours beyond them.

One row an option.  The parser, `--help` and the reference page in the documentation are all made from this table.
"""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

Kind = Literal["flag", "undo", "text", "integer", "number", "radii", "list", "optional", "refused", "ignored"]
"""`undo` takes back the flag that `default` names; the last one on the command line counts."""

LARGEST = 2.0**31 - 1
"""Largest whole number of an option: serial numbers of 32 bits are what readers of stream files expect."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of the command line."""

    names: tuple[str, ...]
    """The spellings; the first one is the option's name in messages."""
    kind: Kind
    help: str
    """What it does, with units; for `refused` options, why and what to use instead."""
    default: Any = None
    argument: str = ""
    """Placeholder of the argument in the help text; for refused and ignored options, whether there is one."""
    hidden: bool = False
    least: float = -inf
    most: float = inf
    """Limits of a number; infinity itself is a value only where `may_be_infinite`."""
    may_be_infinite: bool = False

    @property
    def key(self) -> str:
        """Name under which the parsed value is kept."""
        return self.names[-1].lstrip("-").replace("-", "_")


def _option(names: str, kind: Kind, help_text: str, **more: Any) -> Option:
    return Option(tuple(names.split()), kind, help_text, **more)


def _off(name: str, help_text: str) -> Option:
    return _option(name, "flag", help_text, default=False)


def _undo(name: str, key: str, **more: Any) -> Option:
    flag = "--" + key.replace("_", "-")
    return _option(name, "undo", f"takes {flag} back; the default", default=key, **more)


GROUPS: dict[str, tuple[Option, ...]] = {
    "Input and output": (
        _option("-i --input", "text", "list of image files; - is standard input", argument="FILE"),
        _option("-o --output", "text", "stream file to write", argument="FILE"),
        _option("-g --geometry", "text", "geometry file", argument="FILE"),
        _option("-x --prefix", "text", "text put in front of each name of the list", default="", argument="TEXT"),
        _off("--basename", "drop the folder part of each name of the list first"),
        _off("--no-check-prefix", "do not add a missing slash to a prefix that is a folder"),
        _option("--temp-dir", "text", "folder for the files of other programs", default=".", argument="DIR"),
        _option(
            "--wait-for-file",
            "integer",
            "seconds to wait for a missing file; -1: for ever",
            default=0,
            least=-1,
            argument="N",
        ),
        _option(
            "--highres",
            "number",
            "pixels at or beyond this resolution are bad [Å]",
            may_be_infinite=True,
            argument="D",
        ),
        _off("--no-image-data", "do not load pixels: every one counts as zero"),
        _off("--no-mask-data", "do not load bad-pixel masks"),
        _off("--append", "go on at the end of an existing stream file (beyond CrystFEL)"),
        _option(
            "--json-summary",
            "text",
            "write ledger and totals to this file at the end (beyond CrystFEL)",
            argument="FILE",
        ),
        _option("--serial-start", "integer", "serial number of the first frame", default=1, least=0, argument="N"),
        _off("--no-non-hits-in-stream", "write no chunk for frames that are no hits"),
        _option(
            "--copy-hdf5-field --copy-header",
            "list",
            "copy a header value into each chunk; may be repeated",
            argument="NAME",
        ),
        _off("--no-peaks-in-stream", "write no peak lists"),
        _off("--no-refls-in-stream", "write no reflection lists"),
    ),
    "Streamed input": (
        _option("--zmq-input", "text", "receive frames from this ZeroMQ address", argument="ADDRESS"),
        _option("--zmq-subscribe", "list", "SUB: prefix of the messages; may be repeated", argument="TAG"),
        _option("--zmq-request", "text", "REQ: the text that asks for a frame", argument="TEXT"),
        _off("--zmq-pull", "PULL: take frames from a PUSH socket (beyond CrystFEL)"),
        _option(
            "--data-format",
            "text",
            "format of streamed frames: msgpack or hdf5 (default: recognised from the bytes)",
            argument="FORMAT",
        ),
        _option("--no-data-timeout", "ignored", "only concerns ASAP::O input", argument="S"),
    ),
    "Peak search": (
        _option(
            "--peaks",
            "text",
            "zaef, peakfinder8, peakfinder9, msgpack, hdf5, cxi or none",
            default="zaef",
            argument="METHOD",
        ),
        _option(
            "--peak-radius", "radii", "ring radii of the peak search [px]", least=0, most=1000, argument="R1,R2,R3"
        ),
        _option("--min-peaks", "integer", "a frame with so many peaks is a hit", default=0, argument="N"),
        _option(
            "-t --threshold",
            "number",
            "lowest pixel value of a peak (zaef, peakfinder8) [detector units]",
            default=800.0,
            argument="ADU",
        ),
        _option(
            "--min-gradient --min-squared-gradient",
            "number",
            "lowest squared gradient (zaef)",
            default=100000.0,
            argument="G",
        ),
        _option("--min-snr", "number", "lowest signal-to-noise ratio", default=5.0, argument="X"),
        _option(
            "--min-pix-count", "integer", "fewest pixels of a peak (peakfinder8)", default=2, least=0, argument="N"
        ),
        _option(
            "--max-pix-count", "integer", "most pixels of a peak (peakfinder8)", default=200, least=0, argument="N"
        ),
        _option(
            "--local-bg-radius",
            "integer",
            "radius of the local background (peakfinder8, peakfinder9) [px]",
            default=3,
            least=0,
            most=100,
            argument="N",
        ),
        _option("--min-res", "number", "inner radius of the search (peakfinder8) [px]", default=0.0, argument="N"),
        _option(
            "--max-res",
            "number",
            "outer radius of the search, 0: none (peakfinder8) [px]",
            default=0.0,
            may_be_infinite=True,
            argument="N",
        ),
        _off("--no-use-saturated", "drop saturated peaks (zaef, peakfinder8, supplied peaks)"),
        _option("--use-saturated", "ignored", "the default", hidden=True),
        _off("--no-revalidate", "use supplied peaks untouched"),
        _off("--no-half-pixel-shift", "do not add half a pixel to supplied positions"),
        _off("--check-hdf5-snr", "apply --min-snr to supplied peaks"),
        _off("--peakfinder8-fast", "background statistics from 100 pixels of each radius (peakfinder8)"),
        _option(
            "--min-snr-biggest-pix",
            "number",
            "lowest signal of a peak's highest pixel (peakfinder9) [standard deviations]",
            default=7.0,
            argument="X",
        ),
        _option(
            "--min-snr-peak-pix",
            "number",
            "lowest signal of a peak's other pixels (peakfinder9) [standard deviations]",
            default=6.0,
            argument="X",
        ),
        _option(
            "--min-sig",
            "number",
            "lowest background deviation that is reckoned with (peakfinder9) [detector units]",
            default=11.0,
            argument="ADU",
        ),
        _option(
            "--min-peak-over-neighbour",
            "number",
            "how much higher a peak is than pixels one window radius away (peakfinder9) [detector units]",
            default=-inf,
            may_be_infinite=True,
            argument="ADU",
        ),
        _option(
            "--median-filter",
            "integer",
            "subtract the median of the square of this half-width before the search [px]",
            default=0,
            least=0,
            most=100,
            argument="N",
        ),
        _off("--filter-noise", "before the search, set to zero what touches a negative pixel"),
        _option(
            "--hdf5-peaks", "text", "place of the peak list, in place of peak_list in the geometry", argument="PATH"
        ),
    ),
    "Indexing": (
        _option(
            "-z --indexing",
            "text",
            "methods, tried in order: ffbidx, xgandalf, taketwo, smallcell, asdf, file, or none",
            argument="METHODS",
        ),
        _option("-p --pdb", "text", "unit cell: CrystFEL cell file or PDB file", argument="FILE"),
        _option(
            "--find-cell",
            "optional",
            "find the unit cell from the first hits, write it to FILE (default: beside the stream file), and index "
            "with it from then on, the first hits again too (beyond CrystFEL)",
            argument="FILE",
        ),
        _option(
            "--tolerance",
            "text",
            "allowed deviation from the cell: a,b,c [percent], al,be,ga [deg]",
            default="5,5,5,1.5,1.5,1.5",
            argument="TOL",
        ),
        _off("--no-check-cell", "do not compare the lattice with the cell, nor restrain it to its type"),
        _off("--no-check-peaks", "do not ask that the lattice is more than chance"),
        _off("--no-refine", "no prediction refinement"),
        _off("--no-retry", "no further attempts with fewer peaks (ffbidx makes none)"),
        _off("--multi", "look for several lattices"),
        _option(
            "--max-lattices",
            "integer",
            "with --multi, at most so many a frame (beyond CrystFEL)",
            default=100,
            least=1,
            argument="N",
        ),
        _undo("--check-cell", "no_check_cell", hidden=True),
        _undo("--check-peaks", "no_check_peaks", hidden=True),
        _undo("--refine", "no_refine", hidden=True),
        _undo("--retry", "no_retry", hidden=True),
        _undo("--no-multi", "multi", hidden=True),
        _option("--no-cell-combinations", "ignored", "obsolete", hidden=True),
        _option("--max-indexer-threads", "ignored", "every method takes one thread", argument="N"),
        _option("--wavelength-estimate", "number", "a frame 10 % off gives a warning [m]", argument="M"),
        _option("--camera-length-estimate", "number", "a frame 10 % off gives a warning [m]", argument="M"),
        _off("--refine-detector-shift", "refine the detector's shift for each crystal, too (beyond CrystFEL)"),
        _off("--mille", "write Millepede records, for the calibration of the geometry"),
        _option("--mille-file", "text", "name of their file", default="mille-data.bin", argument="FILE"),
        _option("--mille-dir", "text", "its folder; made where it is missing", default=".", argument="DIR"),
        _option(
            "--max-mille-level",
            "integer",
            "deepest level of groups of panels in the records; 0: the whole detector",
            default=99,
            argument="N",
        ),
        _option(
            "--fromfile-input-file",
            "text",
            "lattices for --indexing=file (braggstream solutions writes such lists)",
            argument="FILE",
        ),
    ),
    "ffbidx": (
        _option("--ffbidx-max-spots", "integer", "peaks used, strongest first", default=200, argument="N"),
        _option("--ffbidx-output-cells", "integer", "cells refined", default=32, argument="N"),
        _option("--ffbidx-num-candidate-vectors", "integer", "lattice vectors kept", default=32, argument="N"),
        _off("--ffbidx-redundant-computations", "sample all three axes"),
        _undo("--ffbidx-no-redundant-computations", "ffbidx_redundant_computations"),
        _option(
            "--ffbidx-length-threshold", "number", "axes this close count as one [Å]", default=1e-9, argument="X"
        ),
        _option("--ffbidx-triml", "number", "lower trim of a distance", default=0.001, argument="X"),
        _option("--ffbidx-trimh", "number", "upper trim of a distance", default=0.3, argument="X"),
        _option("--ffbidx-delta", "number", "added to distances before the logarithm", default=0.1, argument="X"),
        _option("--ffbidx-dist1", "number", "a spot is close to a vector's planes", default=0.2, argument="X"),
        _option("--ffbidx-dist3", "number", "a spot is close to a lattice point", default=0.15, argument="X"),
        _option("--ffbidx-min-spots", "integer", "fewest spots to refine a vector", default=6, argument="N"),
        _option("--ffbidx-num-halfsphere-points", "integer", "directions sampled", default=32768, argument="N"),
        _option("--ffbidx-num-angle-points", "integer", "angles sampled; 0: auto", default=0, argument="N"),
        _option("--ffbidx-ifssr-min-spots", "integer", "fewest spots to refine a cell", default=8, argument="N"),
        _option("--ffbidx-ifssr-max-dist", "number", "largest distance [Å⁻¹]", default=0.00075, argument="X"),
        _option("--ffbidx-ifssr-max-iter", "integer", "most rounds", default=32, argument="N"),
        _option(
            "--ffbidx-ifssr-threshold-contraction",
            "number",
            "shrinks the distance a round",
            default=0.8,
            argument="X",
        ),
    ),
    "asdf": (_off("--asdf-fast", "search with fewer peaks, in less time"),),
    "xgandalf": (
        _option(
            "--xgandalf-sps --xgandalf-sampling-pitch",
            "integer",
            "density of the samples, 0 to 4; 5 to 7 with sums of axes",
            default=6,
            argument="N",
        ),
        _option(
            "--xgandalf-gdis --xgandalf-grad-desc-iterations",
            "integer",
            "steps of the ascent, 0 (few) to 5",
            default=4,
            argument="N",
        ),
        _option(
            "--xgandalf-tol --xgandalf-tolerance",
            "number",
            "relative deviation from the expected cell",
            default=0.02,
            argument="X",
        ),
        _off(
            "--xgandalf-ndfpc --xgandalf-no-deviation-from-provided-cell",
            "only turn the expected cell, do not fit it",
        ),
        _option(
            "--xgandalf-min-lvl --xgandalf-min-lattice-vector-length",
            "number",
            "shortest axis of the primitive cell, where none is given [Å]",
            default=30.0,
            argument="X",
        ),
        _option(
            "--xgandalf-max-lvl --xgandalf-max-lattice-vector-length",
            "number",
            "longest axis of the primitive cell, where none is given [Å]",
            default=250.0,
            argument="X",
        ),
        _option(
            "--xgandalf-max-peaks",
            "integer",
            "peaks of lowest resolution with which vectors are looked for",
            default=250,
            argument="N",
        ),
        _off("--xgandalf-fast-execution", "the same as --xgandalf-sps=2 --xgandalf-gdis=3"),
    ),
    "felix": (
        _option("--felix-domega", "number", "step in omega [deg]", default=2.0, argument="X"),
        _option(
            "--felix-fraction-max-visits", "number", "of the most visits of a voxel", default=0.75, argument="X"
        ),
        _option("--felix-max-internal-angle", "number", "largest mean angle [deg]", default=0.25, argument="X"),
        _option("--felix-max-uniqueness", "number", "largest uniqueness", default=0.5, argument="X"),
        _option("--felix-min-completeness", "number", "least completeness", default=0.001, argument="X"),
        _option("--felix-min-visits", "integer", "fewest visits of a voxel", default=15, argument="N"),
        _option("--felix-num-voxels", "integer", "voxels along an edge", default=100, argument="N"),
        _option("--felix-sigma", "number", "error of the angles [deg]", default=0.2, argument="X"),
        _option("--felix-tthrange-max", "number", "largest two-theta [deg]", default=30.0, argument="X"),
        _option("--felix-tthrange-min", "number", "smallest two-theta [deg]", default=0.0, argument="X"),
    ),
    "pinkIndexer": (
        _option(
            "--pinkIndexer-cpc --pinkIndexer-considered-peaks-count",
            "integer",
            "how many peaks vote: 0 (16) to 4 (64)",
            default=4,
            argument="N",
        ),
        _option(
            "--pinkIndexer-ar --pinkIndexer-angle-resolution",
            "integer",
            "how finely rotations are told apart: 0 (8 deg) to 4 (2 deg)",
            default=2,
            argument="N",
        ),
        _option(
            "--pinkIndexer-rt --pinkIndexer-refinement-type",
            "integer",
            "0: none, 1: rotation, 2: cell, 3: both, 4: both from several starts, 5: and beam centre",
            default=1,
            argument="N",
        ),
        _option(
            "--pinkIndexer-tol --pinkIndexer-tolerance",
            "number",
            "largest distance of a peak from its lattice point, as part of the shortest axis",
            default=0.06,
            argument="X",
        ),
        _option(
            "--pinkIndexer-reflection-radius",
            "number",
            "radius of a lattice point [Å⁻¹] (default: 2 % of the shortest axis)",
            argument="R",
        ),
        _option(
            "--pinkIndexer-mrfi --pinkIndexer-max-resolution-for-indexing",
            "number",
            "peaks further out do not vote [Å⁻¹]",
            default=inf,
            argument="X",
        ),
        _option(
            "--pinkIndexer-max-refinement-disbalance",
            "number",
            "how one-sided the explained peaks may be: 0 to 2",
            default=0.4,
            argument="X",
        ),
        _option("--pinkIndexer-multi", "ignored", "use --multi"),
        _option("--pinkIndexer-no-check-indexed", "ignored", "solutions are always checked"),
    ),
    "taketwo": (
        _option("--taketwo-member-threshold", "integer", "members that end the search", default=20, argument="N"),
        _option(
            "--taketwo-len-tolerance", "number", "error of a vector's length [Å⁻¹]", default=0.001, argument="X"
        ),
        _option(
            "--taketwo-angle-tolerance",
            "number",
            "error of the angle between vectors [deg]",
            default=0.6,
            argument="X",
        ),
        _option(
            "--taketwo-trace-tolerance",
            "number",
            "orientations closer than this are one [deg]",
            default=3.0,
            argument="X",
        ),
    ),
    "Geometry": (
        _option(
            "--refine-geometry",
            "text",
            "estimate beam centre and camera length from the crystals found: off, report (tell and write them) or "
            "live (also process the frames that follow with them) (beyond CrystFEL)",
            default="off",
            argument="MODE",
        ),
        _option(
            "--refined-geometry",
            "text",
            "geometry file that --refine-geometry writes at the end (default: beside the stream file)",
            argument="FILE",
        ),
    ),
    "Integration": (
        _option(
            "--integration",
            "text",
            "rings, prof2d (which implies -cen) or none, with -cen, -sat, -grad or their opposites",
            default="rings-nocen-nosat-nograd",
            argument="METHOD",
        ),
        _option(
            "--int-radius", "radii", "ring radii [px]", default=(4.0, 5.0, 7.0), most=1000, argument="R1,R2,R3"
        ),
        _option("--fix-profile-radius", "number", "use this profile radius [1/m]", argument="R"),
        _option("--fix-divergence", "number", "recorded in the stream file [rad]", default=0.0, argument="D"),
        _option(
            "--push-res",
            "number",
            "integrate this far beyond the crystal's resolution [1/nm]",
            may_be_infinite=True,
            argument="X",
        ),
        _off("--overpredict", "predict too many reflections"),
        _off("--cell-parameters-only", "neither predict nor integrate"),
        _option("--int-diag", "refused", "not available in this version: leave it out", argument="WHAT"),
        _option("--fix-bandwidth", "ignored", "obsolete: set bandwidth in the geometry file", argument="X"),
    ),
    "Running": (
        _option("-j", "integer", "worker processes", default=1, argument="N"),
        _off("--cpu-pin", "bind worker k to processor k"),
        _option(
            "--device",
            "text",
            "where peakfinder8 and ffbidx run: cpu, cuda, or auto: cuda where there is a device (beyond CrystFEL)",
            default="cpu",
            argument="DEVICE",
        ),
        _option(
            "--frame-timeout",
            "number",
            "a worker longer on one frame is replaced [s] (beyond CrystFEL)",
            default=240.0,
            may_be_infinite=True,
            argument="S",
        ),
        _option("--profile", "refused", "timings are in the file of --json-summary"),
        _option("--harvest-file", "refused", "not available in this version: leave it out", argument="FILE"),
        _option("--spectrum-file", "refused", "no longer used", argument="FILE", hidden=True),
    ),
}

_ENGINE_HELP = "taketwo felix xgandalf pinkindexer fromfile asdf ffbidx smallcell"
_PINK_REPLACED = {
    "thread-count": "--max-indexer-threads",
    "tc": "--max-indexer-threads",
    "override-photon-energy": "--wavelength-estimate and photon_energy in the geometry file",
    "override-bandwidth": "bandwidth in the geometry file",
    "override-visible-energy-range": "bandwidth in the geometry file",
}
_ASAPO = "endpoint token beamtime source group stream consumer-timeout"
_ASAPO_FLAGS = ("--asapo-wait-for-stream", "--asapo-acks", "--asapo-output-stream")

GROUPS["Other engines"] = (
    *(
        Option((f"--help-{engine}",), "refused", "the options of engines are in --help", None, "", True)
        for engine in _ENGINE_HELP.split()
    ),
    *(
        Option((f"--pinkIndexer-{word}",), "refused", f"it was replaced by {instead}", None, "X", True)
        for word, instead in _PINK_REPLACED.items()
    ),
)
GROUPS["ASAP::O"] = (
    *(
        Option((f"--asapo-{word}",), "refused", "ASAP::O is not available in this version", None, "X", True)
        for word in _ASAPO.split()
    ),
    *(Option((n,), "refused", "ASAP::O is not available in this version", None, "", True) for n in _ASAPO_FLAGS),
)
