"""Every option of `indexamajig`: CrystFEL's names and defaults, and what is ours beyond them.

One row an option.  The parser, `--help` and the reference page in the documentation are all made from this table.
"""

from math import inf

from braggstream.cli.asapo_options import ASAPO_OPTIONS
from braggstream.cli.engine_options import ENGINE_GROUPS
from braggstream.cli.live_merge_options import LIVE_OPTIONS
from braggstream.cli.option import Option, off, option, undo
from braggstream.cli.run_options import RUN_OPTIONS
from braggstream.model.data_formats import DATA_FORMATS

GROUPS: dict[str, tuple[Option, ...]] = {
    "Input and output": (
        option("-i --input", "text", "list of image files; - is standard input", argument="FILE"),
        option("-o --output", "text", "stream file to write", argument="FILE"),
        option("-g --geometry", "text", "geometry file", argument="FILE"),
        option("-x --prefix", "text", "text put in front of each name of the list", default="", argument="TEXT"),
        off("--basename", "drop the folder part of each name of the list first"),
        off("--no-check-prefix", "do not add a missing slash to a prefix that is a folder"),
        option("--temp-dir", "text", "folder for the files of other programs", default=".", argument="DIR"),
        option(
            "--wait-for-file",
            "integer",
            "seconds to wait for a missing file; -1: for ever",
            default=0,
            least=-1,
            argument="N",
        ),
        option(
            "--highres",
            "number",
            "pixels at or beyond this resolution are bad [Å]",
            may_be_infinite=True,
            argument="D",
        ),
        off("--no-image-data", "do not load pixels: every one counts as zero"),
        off("--no-mask-data", "do not load bad-pixel masks"),
        off(
            "--append",
            "go on with an existing stream file, without the frames that it has (beyond CrystFEL)",
        ),
        option(
            "--json-summary",
            "text",
            "write ledger and totals to this file at the end (beyond CrystFEL)",
            argument="FILE",
        ),
        option(
            "--reflections-out",
            "text",
            "write crystals and reflections to a columnar cache too, for process_hkl (beyond CrystFEL)",
            argument="FILE",
        ),
        option("--serial-start", "integer", "serial number of the first frame", default=1, least=0, argument="N"),
        off("--no-non-hits-in-stream", "write no chunk for frames that are no hits"),
        option(
            "--copy-hdf5-field --copy-header",
            "list",
            "copy a header value into each chunk, all: every one; may be repeated",
            argument="NAME",
        ),
        off("--no-peaks-in-stream", "write no peak lists"),
        off("--no-refls-in-stream", "write no reflection lists"),
    ),
    "Streamed input": (
        option("--zmq-input", "text", "receive frames from this ZeroMQ address", argument="ADDRESS"),
        option("--zmq-subscribe", "list", "SUB: prefix of the messages; may be repeated", argument="TAG"),
        option("--zmq-request", "text", "REQ: the text that asks for a frame", argument="TEXT"),
        off("--zmq-pull", "PULL: take frames from a PUSH socket (beyond CrystFEL)"),
        option(
            "--data-format",
            "text",
            "format of streamed frames: auto (default: told by the bytes of each), " + ", ".join(DATA_FORMATS[1:]),
            argument="FORMAT",
        ),
    ),
    "ASAP::O": ASAPO_OPTIONS,
    "Peak search": (
        option(
            "--peaks",
            "text",
            "zaef, peakfinder8, peakfinder9, msgpack, hdf5, cxi or none",
            default="zaef",
            argument="METHOD",
        ),
        option(
            "--peak-radius", "radii", "ring radii of the peak search [px]", least=0, most=1000, argument="R1,R2,R3"
        ),
        option("--min-peaks", "integer", "a frame with so many peaks is a hit", default=0, argument="N"),
        option(
            "-t --threshold",
            "number",
            "lowest pixel value of a peak (zaef, peakfinder8) [detector units]",
            default=800.0,
            argument="ADU",
        ),
        option(
            "--min-gradient --min-squared-gradient",
            "number",
            "lowest squared gradient (zaef)",
            default=100000.0,
            argument="G",
        ),
        option("--min-snr", "number", "lowest signal-to-noise ratio", default=5.0, argument="X"),
        option(
            "--min-pix-count", "integer", "fewest pixels of a peak (peakfinder8)", default=2, least=0, argument="N"
        ),
        option(
            "--max-pix-count", "integer", "most pixels of a peak (peakfinder8)", default=200, least=0, argument="N"
        ),
        option(
            "--local-bg-radius",
            "integer",
            "radius of the local background (peakfinder8, peakfinder9) [px]",
            default=3,
            least=0,
            most=100,
            argument="N",
        ),
        option("--min-res", "number", "inner radius of the search (peakfinder8) [px]", default=0.0, argument="N"),
        option(
            "--max-res",
            "number",
            "outer radius of the search, 0: none (peakfinder8) [px]",
            default=0.0,
            may_be_infinite=True,
            argument="N",
        ),
        off("--no-use-saturated", "drop saturated peaks (zaef, peakfinder8, supplied peaks)"),
        option("--use-saturated", "ignored", "the default", hidden=True),
        off("--no-revalidate", "use supplied peaks untouched"),
        off("--no-half-pixel-shift", "do not add half a pixel to supplied positions"),
        off("--check-hdf5-snr", "apply --min-snr to supplied peaks"),
        off("--peakfinder8-fast", "background statistics from 100 pixels of each radius (peakfinder8)"),
        option(
            "--min-snr-biggest-pix",
            "number",
            "lowest signal of a peak's highest pixel (peakfinder9) [standard deviations]",
            default=7.0,
            argument="X",
        ),
        option(
            "--min-snr-peak-pix",
            "number",
            "lowest signal of a peak's other pixels (peakfinder9) [standard deviations]",
            default=6.0,
            argument="X",
        ),
        option(
            "--min-sig",
            "number",
            "lowest background deviation that is reckoned with (peakfinder9) [detector units]",
            default=11.0,
            argument="ADU",
        ),
        option(
            "--min-peak-over-neighbour",
            "number",
            "how much higher a peak is than pixels one window radius away (peakfinder9) [detector units]",
            default=-inf,
            may_be_infinite=True,
            argument="ADU",
        ),
        option(
            "--median-filter",
            "integer",
            "subtract the median of the square of this half-width before the search [px]",
            default=0,
            least=0,
            most=100,
            argument="N",
        ),
        off("--filter-noise", "before the search, set to zero what touches a negative pixel"),
        option(
            "--hdf5-peaks", "text", "place of the peak list, in place of peak_list in the geometry", argument="PATH"
        ),
    ),
    "Indexing": (
        option(
            "-z --indexing",
            "text",
            "methods, tried in order: ffbidx, xgandalf, taketwo, smallcell, asdf, file, or none",
            argument="METHODS",
        ),
        option("-p --pdb", "text", "unit cell: CrystFEL cell file or PDB file", argument="FILE"),
        option(
            "--find-cell",
            "optional",
            "find the unit cell from the first hits, write it to FILE (default: beside the stream file), and index "
            "with it from then on, the first hits again too (beyond CrystFEL)",
            argument="FILE",
        ),
        option(
            "--tolerance",
            "text",
            "allowed deviation from the cell: a,b,c [percent], al,be,ga [deg]",
            default="5,5,5,1.5,1.5,1.5",
            argument="TOL",
        ),
        off("--no-check-cell", "do not compare the lattice with the cell, nor restrain it to its type"),
        off("--no-check-peaks", "do not ask that the lattice is more than chance"),
        off("--no-refine", "no prediction refinement"),
        off("--no-retry", "no further attempts with fewer peaks (ffbidx makes none)"),
        off("--multi", "look for several lattices"),
        option(
            "--max-lattices",
            "integer",
            "with --multi, at most so many a frame (beyond CrystFEL)",
            default=100,
            least=1,
            argument="N",
        ),
        undo("--check-cell", "no_check_cell", hidden=True),
        undo("--check-peaks", "no_check_peaks", hidden=True),
        undo("--refine", "no_refine", hidden=True),
        undo("--retry", "no_retry", hidden=True),
        undo("--no-multi", "multi", hidden=True),
        option("--no-cell-combinations", "ignored", "obsolete", hidden=True),
        option("--max-indexer-threads", "ignored", "every method takes one thread", argument="N"),
        option("--wavelength-estimate", "number", "a frame 10 % off gives a warning [m]", argument="M"),
        option("--camera-length-estimate", "number", "a frame 10 % off gives a warning [m]", argument="M"),
        off(
            "--no-spot-centres", "refine with positions as the search lists them (beyond CrystFEL: fitted centres)"
        ),
        off("--refine-detector-shift", "refine the detector's shift for each crystal, too (beyond CrystFEL)"),
        off("--mille", "write Millepede records, for the calibration of the geometry"),
        option("--mille-file", "text", "name of their file", default="mille-data.bin", argument="FILE"),
        option("--mille-dir", "text", "its folder; made where it is missing", default=".", argument="DIR"),
        option(
            "--max-mille-level",
            "integer",
            "deepest level of groups of panels in the records; 0: the whole detector",
            default=99,
            argument="N",
        ),
        option(
            "--fromfile-input-file",
            "text",
            "lattices for --indexing=file (braggstream solutions writes such lists)",
            argument="FILE",
        ),
    ),
    **ENGINE_GROUPS,
    "Geometry": (
        option(
            "--refine-geometry",
            "text",
            "estimate beam centre and camera length from the crystals found: off, report (tell and write them) or "
            "live (also process the frames that follow with them) (beyond CrystFEL)",
            default="off",
            argument="MODE",
        ),
        option(
            "--refined-geometry",
            "text",
            "geometry file that --refine-geometry writes at the end (default: beside the stream file) "
            "(beyond CrystFEL)",
            argument="FILE",
        ),
    ),
    "Integration": (
        option(
            "--integration",
            "text",
            "rings, prof2d (which implies -cen) or none, with -cen, -sat, -grad or their opposites",
            default="rings-nocen-nosat-nograd",
            argument="METHOD",
        ),
        option("--int-radius", "radii", "ring radii [px]", default=(4.0, 5.0, 7.0), most=1000, argument="R1,R2,R3"),
        option("--fix-profile-radius", "number", "use this profile radius [1/m]", argument="R"),
        option("--fix-divergence", "number", "recorded in the stream file [rad]", default=0.0, argument="D"),
        option(
            "--push-res",
            "number",
            "integrate this far beyond the crystal's resolution [1/nm]",
            may_be_infinite=True,
            argument="X",
        ),
        off("--overpredict", "predict too many reflections"),
        off("--cell-parameters-only", "neither predict nor integrate"),
        option(
            "--int-diag",
            "refused",
            "integration draws nothing: each reflection's peak and background are columns of the stream file, and "
            "braggstream picture draws a frame",
            argument="WHAT",
        ),
        option("--fix-bandwidth", "ignored", "obsolete: set bandwidth in the geometry file"),
    ),
    "Live merging (beyond CrystFEL)": LIVE_OPTIONS,
    "Running": (
        option("-j", "integer", "worker processes", default=1, argument="N"),
        off("--cpu-pin", "bind worker k to processor k"),
        option(
            "--device",
            "text",
            "where peakfinder8 and ffbidx run: cpu, cuda, or auto: cuda where there is a device (beyond CrystFEL)",
            default="cpu",
            argument="DEVICE",
        ),
        option(
            "--frame-timeout",
            "number",
            "a worker longer on one frame is replaced [s] (beyond CrystFEL)",
            default=240.0,
            may_be_infinite=True,
            argument="S",
        ),
        off("--keep-going", "do not end where the first 100 frames all fail (beyond CrystFEL)"),
        *RUN_OPTIONS,
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
