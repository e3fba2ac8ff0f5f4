"""The options of `partialator`."""

from math import inf

from braggstream.cli.option import off, option

SMALLEST = 1e-12
"""Least value of what has to be positive."""

INPUT = (
    option(
        "-i --input",
        "list",
        "stream file, also .xz or .gz; may be repeated, `-` is standard input",
        argument="FILE",
    ),
    option("-y --symmetry", "text", "point group in which is merged", default="1", argument="GROUP"),
    option("--start-after", "integer", "crystals to skip", default=0, least=0, argument="N"),
    option(
        "--stop-after",
        "integer",
        "stop after so many accepted crystals; 0: never",
        default=0,
        least=0,
        argument="N",
    ),
    option("--start-params", "text", "scales to start from, as written to OUTPUT.params", argument="FILE"),
    option(
        "--reference", "text", "scale to this reflection list, not to what is merged", argument="FILE", hidden=True
    ),
)
OUTPUT = (
    option(
        "-o --output",
        "text",
        "reflection list; the half sets get 1 and 2 behind its name",
        default="partialator.hkl",
        argument="FILE",
    ),
    off("--output-every-cycle", "write lists after each cycle too, with iterNN_ before their names"),
    option("--custom-split", "text", "merge data sets apart: lines FILENAME EVENT DATASET", argument="FILE"),
    option("--unmerged-output", "text", "write scaled observations crystal by crystal", argument="FILE"),
    option("--output-cell", "text", "write the mean cell as a cell file", argument="FILE"),
    option("--harvest-file", "text", "write the settings as JSON", argument="FILE"),
    off("--no-params", "do not write OUTPUT.params, what was found for each crystal"),
    option(
        "--halves",
        "text",
        "how half sets are made: `order` of the crystals, as the reference does, or `hash` of their "
        "frames' names, which no order changes",
        default="order",
        argument="order|hash",
    ),
    off("--strict-halves", "scale and refine each half set by itself too: halves that know nothing of each other"),
    option("--log-folder", "text", "folder of logs of refinement", default="pr-logs", argument="DIR"),
    off("--no-logs", "write no logs of refinement; there are none with --model=unity"),
)
MERGING = (
    option(
        "-n --iterations",
        "integer",
        "cycles of refinement and scaling",
        default=10,
        least=0,
        most=10000,
        argument="N",
    ),
    option(
        "-m --model",
        "text",
        "partiality: xsphere, unity, ggpm, offset, or random for tests",
        default="xsphere",
        argument="MODEL",
    ),
    option(
        "--scaling",
        "text",
        "how crystals are scaled and weighted: `logs`, as the reference does; `errors`, by a model of errors;"
        " `auto`: logs with unity, errors with the other models",
        default="auto",
        argument="HOW",
    ),
    off("--compat-sigma", "give the reference's errors of merged intensities with --scaling=errors too"),
    off("--no-scale", "fit no scales"),
    off("--no-Bscale", "fit no B factors"),
    off("--no-pr", "refine no orientations, radii and wavelengths"),
    off("--no-deltacchalf", "leave out no crystals because they make CC1/2 worse"),
    option(
        "--max-rel-b --max-rel-B",
        "number",
        "leave out crystals with a larger |B| [Å²]",
        default=100.0,
        least=0.0,
        argument="B",
        may_be_infinite=True,
    ),
    off("--no-free", "hold no observations out of refinement"),
    option("-j", "integer", "threads", default=1, least=1, most=4096, argument="N"),
)
OBSERVATIONS = (
    option(
        "--min-measurements",
        "integer",
        "fewest measurements of a merged reflection",
        default=2,
        least=1,
        argument="N",
    ),
    option(
        "--max-adu",
        "number",
        "use observations whose highest pixel is below this",
        default=inf,
        argument="X",
        may_be_infinite=True,
    ),
    option("--min-res", "number", "use crystals that diffract to this or beyond [Å]", argument="D", least=SMALLEST),
    option(
        "--res-push --push-res",
        "number",
        "merge observations up to so much beyond their crystal's resolution [1/nm]",
        default=inf,
        argument="X",
        may_be_infinite=True,
    ),
    option(
        "--polarization --polarisation",
        "text",
        "horiz, vert, none, or angle and percentage such as 30deg90",
        default="horiz",
        argument="TYPE",
    ),
    off("--no-polarization --no-polarisation", "the same as --polarisation=none"),
)
AMBIGUITY = (
    option(
        "--operator",
        "text",
        "operators that indexing cannot tell apart, such as k,h,-l; separated by ;",
        argument="OP",
    ),
    option(
        "-w --apparent-symmetry", "text", "apparent point group, from which the operators follow", argument="GROUP"
    ),
)
BEAM = (
    option("--force-bandwidth", "number", "relative bandwidth of all frames", least=SMALLEST, argument="F"),
    option("--force-radius", "number", "profile radius of all crystals [1/nm]", least=SMALLEST, argument="R"),
    option("--force-lambda", "number", "wavelength of all frames [Å]", least=SMALLEST, argument="L"),
)
CLUSTER = (
    option("--dask-scheduler", "text", "work on the workers of this Dask scheduler", argument="ADDRESS"),
    option(
        "--dask-workers",
        "integer",
        "work in so many processes of this machine, with Dask",
        least=1,
        most=1024,
        argument="N",
    ),
)
GROUPS = {
    "Input": INPUT,
    "Output": OUTPUT,
    "Merging": MERGING,
    "Which observations count": OBSERVATIONS,
    "Indexing ambiguity": AMBIGUITY,
    "Beam and crystals": BEAM,
    "On a cluster (beyond CrystFEL)": CLUSTER,
}
