"""The options of ASAP::O."""

from braggstream.cli.option import Option, off, option

TOKEN_VARIABLE = "BRAGGSTREAM_ASAPO_TOKEN"
"""Environment variable from which the token is taken where no option gives it; workers do not get to see it."""

SERVICE_OPTIONS: tuple[Option, ...] = (
    option("--asapo-endpoint", "text", "receive frames from ASAP::O at this address", argument="HOST:PORT"),
    option("--asapo-token", "text", "the token that permits it; it is written nowhere", argument="TOKEN"),
    option(
        "--asapo-token-file",
        "text",
        f"take the token from this file; without either, from the variable {TOKEN_VARIABLE} (beyond CrystFEL)",
        argument="FILE",
    ),
    option("--asapo-beamtime", "text", "beamtime", argument="ID"),
    option("--asapo-source", "text", "data source, the detector for example", argument="NAME"),
)

ASAPO_OPTIONS: tuple[Option, ...] = (
    *SERVICE_OPTIONS,
    option("--asapo-group", "text", "consumer group: sessions of one group share the frames", argument="NAME"),
    option(
        "--asapo-stream",
        "text",
        "message stream (default: all of the source, in the order of their creation, and new ones as they come)",
        argument="NAME",
    ),
    off(
        "--asapo-follow",
        "after --asapo-stream, go on with its successor (beyond CrystFEL)",
    ),
    off("--asapo-wait-for-stream", "wait for a stream that is empty or not there yet"),
    option(
        "--asapo-consumer-timeout",
        "integer",
        "how long one question for the next message waits [ms]",
        default=500,
        least=1,
        most=600_000,
        argument="MS",
    ),
    off("--asapo-acks", "acknowledge each frame once its chunk is on disk; one that is not comes again"),
    option(
        "--asapo-resend-delay",
        "number",
        "with --asapo-acks: a frame that is not acknowledged comes again after so long [s] (beyond CrystFEL)",
        default=60.0,
        least=0.001,
        most=1e6,
        argument="S",
    ),
    off("--asapo-output-stream", "send hits on, to the source of the same name with _hits"),
    option(
        "--no-data-timeout",
        "number",
        "end after so long without a frame at the end of all streams [s]",
        default=60.0,
        least=0.0,
        may_be_infinite=True,
        argument="S",
    ),
)
