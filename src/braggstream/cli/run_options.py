"""Options of how `indexamajig` runs: where its options come from, what it tells, what happens under load."""

from braggstream.cli.option import Option, off, option

RUN_OPTIONS: tuple[Option, ...] = (
    option(
        "--config",
        "text",
        "options from a TOML file; those of the command line win (beyond CrystFEL)",
        argument="FILE",
    ),
    option(
        "--write-config",
        "text",
        "write the options in force to a TOML file; without an input, leave then (beyond CrystFEL)",
        argument="FILE",
    ),
    option(
        "--when-behind",
        "text",
        "while workers are behind: wait (the sender has to; default with --zmq-request, --zmq-pull, ASAP::O), or "
        "sample (the newest frames are processed, others counted; default with --zmq-subscribe) (beyond CrystFEL)",
        argument="HOW",
    ),
    off("--profile", "tell where the time goes: a line a frame on stdout, and a table at the end"),
    option(
        "--harvest-file",
        "text",
        "write the parameters of the analysis to this file (JSON); not with --serial-start above 1",
        argument="FILE",
    ),
    option("--spectrum-file", "refused", "no longer used: leave it out", argument="FILE", hidden=True),
    *(
        Option((name,), "refused", "CrystFEL's own workers are told so; here they need no option", None, "X", True)
        for name in (
            "--fd-stream",
            "--fd-mille",
            "--shm-name",
            "--queue-semaphore",
            "--worker-id",
            "--worker-tmpdir",
        )
    ),
)

OF_THE_MANUAL = {
    "--serial-offset": "use --serial-start=N",
    "--min-sq-gradient": "use --min-squared-gradient=G",
    "--noise-filter": "use --filter-noise",
    "--no-sat-corr": "saturated peaks are kept unless --no-use-saturated is given; leave it out",
}
"""Names that stand in the reference's manual and are none of its options, and what to give instead."""
