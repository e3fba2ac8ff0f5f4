"""Options of live merging (`--live-merge`)."""

from braggstream.cli.option import Option, off, option
from braggstream.model.live_merge_settings import AUTO

LIVE_OPTIONS: tuple[Option, ...] = (
    off("--live-merge", "merge crystals while frames arrive (beyond CrystFEL, as is all of this group)"),
    option("-y --symmetry", "text", "point group of the merged data, such as 4/mmm", argument="GROUP"),
    off("--no-live-scale", "merge as process_hkl does: no scaling, all weights alike"),
    option(
        "--live-polarisation",
        "text",
        "polarisation of the beam, as process_hkl takes it",
        default="horiz",
        argument="TYPE",
    ),
    option("--live-lowres", "number", "low-resolution limit of the figures of merit [Å]", argument="D"),
    option("--live-highres", "number", "high-resolution limit of the figures of merit [Å]", argument="D"),
    option("--live-nshells", "integer", "shells of resolution", default=10, least=1, most=1000, argument="N"),
    option(
        "--live-min-measurements",
        "integer",
        "fewest measurements of a reflection in a list",
        default=2,
        least=1,
        argument="N",
    ),
    option(
        "--live-ambiguity",
        "text",
        "operators of the indexing ambiguity, such as k,h,-l, separated by semicolons; auto: those that the "
        "lattice has and the point group has not; off: none",
        default=AUTO,
        argument="OPS",
    ),
    option("--merge-by", "text", "also merge crystals apart by this header or message key", argument="KEY"),
    option(
        "--goal",
        "list",
        "tell when this will be reached: cc12>0.9@2.0A, completeness>95@2.0A or multiplicity>10@2.0A; may be "
        "repeated",
        argument="GOAL",
    ),
    off("--stop-at-goal", "end the run in good order when all goals are reached"),
    option(
        "--live-prefix",
        "text",
        "beginning of the names of the files written: .json, .hkl, .hkl1, .hkl2, .mtz (default: beside the stream "
        "file)",
        argument="NAME",
    ),
    option(
        "--live-snapshot-every",
        "number",
        "write the merged lists so often [s]; SIGUSR2 asks for them at any time",
        least=1.0,
        argument="S",
    ),
    option(
        "--live-checkpoint",
        "text",
        "file that --append goes on from (default: beside the stream file); none: keep none",
        argument="FILE",
    ),
)
