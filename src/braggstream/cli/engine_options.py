"""The options of single indexing methods, a group a method."""

from math import inf

from braggstream.cli.option import Option, off, option, undo

ENGINE_GROUPS: dict[str, tuple[Option, ...]] = {
    "ffbidx": (
        option("--ffbidx-max-spots", "integer", "peaks used, strongest first", default=200, argument="N"),
        option("--ffbidx-output-cells", "integer", "cells refined", default=32, argument="N"),
        option("--ffbidx-num-candidate-vectors", "integer", "lattice vectors kept", default=32, argument="N"),
        off("--ffbidx-redundant-computations", "sample all three axes"),
        undo("--ffbidx-no-redundant-computations", "ffbidx_redundant_computations"),
        option(
            "--ffbidx-length-threshold", "number", "axes this close count as one [Å]", default=1e-9, argument="X"
        ),
        option("--ffbidx-triml", "number", "lower trim of a distance", default=0.001, argument="X"),
        option("--ffbidx-trimh", "number", "upper trim of a distance", default=0.3, argument="X"),
        option("--ffbidx-delta", "number", "added to distances before the logarithm", default=0.1, argument="X"),
        option("--ffbidx-dist1", "number", "a spot is close to a vector's planes", default=0.2, argument="X"),
        option("--ffbidx-dist3", "number", "a spot is close to a lattice point", default=0.15, argument="X"),
        option("--ffbidx-min-spots", "integer", "fewest spots to refine a vector", default=6, argument="N"),
        option("--ffbidx-num-halfsphere-points", "integer", "directions sampled", default=32768, argument="N"),
        option("--ffbidx-num-angle-points", "integer", "angles sampled; 0: auto", default=0, argument="N"),
        option("--ffbidx-ifssr-min-spots", "integer", "fewest spots to refine a cell", default=8, argument="N"),
        option("--ffbidx-ifssr-max-dist", "number", "largest distance [Å⁻¹]", default=0.00075, argument="X"),
        option("--ffbidx-ifssr-max-iter", "integer", "most rounds", default=32, argument="N"),
        option(
            "--ffbidx-ifssr-threshold-contraction",
            "number",
            "shrinks the distance a round",
            default=0.8,
            argument="X",
        ),
    ),
    "asdf": (off("--asdf-fast", "search with fewer peaks, in less time"),),
    "xgandalf": (
        option(
            "--xgandalf-sps --xgandalf-sampling-pitch",
            "integer",
            "density of the samples, 0 to 4; 5 to 7 with sums of axes",
            default=6,
            argument="N",
        ),
        option(
            "--xgandalf-gdis --xgandalf-grad-desc-iterations",
            "integer",
            "steps of the ascent, 0 (few) to 5",
            default=4,
            argument="N",
        ),
        option(
            "--xgandalf-tol --xgandalf-tolerance",
            "number",
            "relative deviation from the expected cell",
            default=0.02,
            argument="X",
        ),
        off(
            "--xgandalf-ndfpc --xgandalf-no-deviation-from-provided-cell",
            "only turn the expected cell, do not fit it",
        ),
        option(
            "--xgandalf-min-lvl --xgandalf-min-lattice-vector-length",
            "number",
            "shortest axis of the primitive cell, where none is given [Å]",
            default=30.0,
            argument="X",
        ),
        option(
            "--xgandalf-max-lvl --xgandalf-max-lattice-vector-length",
            "number",
            "longest axis of the primitive cell, where none is given [Å]",
            default=250.0,
            argument="X",
        ),
        option(
            "--xgandalf-max-peaks",
            "integer",
            "peaks of lowest resolution with which vectors are looked for",
            default=250,
            argument="N",
        ),
        off("--xgandalf-fast-execution", "the same as --xgandalf-sps=2 --xgandalf-gdis=3"),
    ),
    "felix": (
        option("--felix-domega", "number", "step in omega [deg]", default=2.0, argument="X"),
        option(
            "--felix-fraction-max-visits", "number", "of the most visits of a voxel", default=0.75, argument="X"
        ),
        option("--felix-max-internal-angle", "number", "largest mean angle [deg]", default=0.25, argument="X"),
        option("--felix-max-uniqueness", "number", "largest uniqueness", default=0.5, argument="X"),
        option("--felix-min-completeness", "number", "least completeness", default=0.001, argument="X"),
        option("--felix-min-visits", "integer", "fewest visits of a voxel", default=15, argument="N"),
        option("--felix-num-voxels", "integer", "voxels along an edge", default=100, argument="N"),
        option("--felix-sigma", "number", "error of the angles [deg]", default=0.2, argument="X"),
        option("--felix-tthrange-max", "number", "largest two-theta [deg]", default=30.0, argument="X"),
        option("--felix-tthrange-min", "number", "smallest two-theta [deg]", default=0.0, argument="X"),
    ),
    "pinkIndexer": (
        option(
            "--pinkIndexer-cpc --pinkIndexer-considered-peaks-count",
            "integer",
            "how many peaks vote: 0 (16) to 4 (64)",
            default=4,
            argument="N",
        ),
        option(
            "--pinkIndexer-ar --pinkIndexer-angle-resolution",
            "integer",
            "how finely rotations are told apart: 0 (8 deg) to 4 (2 deg)",
            default=2,
            argument="N",
        ),
        option(
            "--pinkIndexer-rt --pinkIndexer-refinement-type",
            "integer",
            "0: none, 1: rotation, 2: cell, 3: both, 4: both from several starts, 5: and beam centre",
            default=1,
            argument="N",
        ),
        option(
            "--pinkIndexer-tol --pinkIndexer-tolerance",
            "number",
            "largest distance of a peak from its lattice point, as part of the shortest axis",
            default=0.06,
            argument="X",
        ),
        option(
            "--pinkIndexer-reflection-radius",
            "number",
            "radius of a lattice point [Å⁻¹] (default: 2 % of the shortest axis)",
            argument="R",
        ),
        option(
            "--pinkIndexer-mrfi --pinkIndexer-max-resolution-for-indexing",
            "number",
            "peaks further out do not vote [Å⁻¹]",
            default=inf,
            argument="X",
        ),
        option(
            "--pinkIndexer-max-refinement-disbalance",
            "number",
            "how one-sided the explained peaks may be: 0 to 2",
            default=0.4,
            argument="X",
        ),
        option("--pinkIndexer-multi", "ignored", "use --multi"),
        option("--pinkIndexer-no-check-indexed", "ignored", "solutions are always checked"),
    ),
    "taketwo": (
        option("--taketwo-member-threshold", "integer", "members that end the search", default=20, argument="N"),
        option(
            "--taketwo-len-tolerance", "number", "error of a vector's length [Å⁻¹]", default=0.001, argument="X"
        ),
        option(
            "--taketwo-angle-tolerance",
            "number",
            "error of the angle between vectors [deg]",
            default=0.6,
            argument="X",
        ),
        option(
            "--taketwo-trace-tolerance",
            "number",
            "orientations closer than this are one [deg]",
            default=3.0,
            argument="X",
        ),
    ),
}
