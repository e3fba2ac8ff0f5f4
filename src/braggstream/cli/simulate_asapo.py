"""`braggstream simulate --asapo`: a stand-in service for ASAP::O, and frames for it from a process beside it."""

import argparse
import contextlib
import select
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from braggstream.cli.simulate_options import number, whole
from braggstream.cli.simulate_stop import StopFlag, progress
from braggstream.cli.started import started
from braggstream.model.errors import UserError
from braggstream.simulate.asapo import AsapoService, AsapoSettings
from braggstream.simulate.asapo.sending import MAX_STREAMS, NAME, AsapoSender
from braggstream.simulate.asapo.settings import MIB, AsapoSendingSettings
from braggstream.simulate.frames import Simulator
from braggstream.simulate.pool import make_pool, pool_size, streamed_truth
from braggstream.simulate.series_payloads import SERIES_MAKERS
from braggstream.simulate.settings import BeamlineSettings
from braggstream.simulate.truth import MAX_FRAMES, write_truth

READY = "ASAP::O ready at "
"""Starts the line that tells the endpoint, once clients can connect."""

INCOMPLETE = 1
POLL_S = 0.05
CHILD_PATIENCE_S = 10.0
"""Less than whoever started this process may wait for it."""
TOKEN, SENDER_TOKEN = "token", "sender-token"
MAX_TOKEN_BYTES = 8192
ELSEWHERE = "elsewhere"
"""The beamtime of a token that is wrong on purpose."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A time in which the service answers 503 to everything, or refuses connections."""

    after_s: float
    for_s: float
    is_refusal: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What is to go wrong."""

    outages: tuple[Outage, ...] = ()
    has_wrong_token: bool = False
    has_old_protocol: bool = False
    loses_data: bool = False
    is_finished: bool = True
    hole: int = 0


def scenario(words: Sequence[str]) -> Scenario:
    """Read the values of `--fault`; raises `UserError` for others."""
    outages, flags, hole = [], set(), 0
    for word in words:
        name, _, value = word.partition("=")
        if name in ("outage", "refusal") and value.count(",") == 1:
            after, lasts = (number(f"--fault={name}", text, 0.0, 1e6) for text in value.split(","))
            outages.append(Outage(after, lasts, name == "refusal"))
        elif name == "hole":
            hole = whole("--fault=hole", value, 1, MAX_FRAMES)
        elif word in ("wrong-token", "old-protocol", "lost-data", "unfinished"):
            flags.add(word)
        else:
            raise UserError(
                f"--fault={word}: expected outage=AFTER,FOR, refusal=AFTER,FOR, wrong-token, old-protocol, "
                "lost-data, unfinished, or hole=ID"
            )
    return Scenario(
        outages=tuple(sorted(outages, key=lambda outage: outage.after_s)),
        has_wrong_token="wrong-token" in flags,
        has_old_protocol="old-protocol" in flags,
        loses_data="lost-data" in flags,
        is_finished="unfinished" not in flags,
        hole=hole,
    )


def serve_asapo(options: argparse.Namespace, words: Sequence[str]) -> int:
    """Be the service until told to stop; `words` is the whole command line, for the process that sends frames."""
    if options.output is not None or options.serve is not None:
        raise UserError("choose one: --output=FILE, --serve=ADDRESS, --asapo, or --judge=STREAM")
    planned = scenario(options.fault)
    sending_settings(options, planned, n_frames=whole("--n-frames", options.n_frames, 0, MAX_FRAMES))
    if options.host in ("", "0.0.0.0", "*"):
        raise UserError(f"--host={options.host}: expected the one address at which clients reach this machine")
    settings = AsapoSettings(
        host=options.host,
        port=whole("--port", options.port, 0, 65535),
        cache_bytes=0 if planned.loses_data else whole("--cache", options.cache, 0, 1 << 20) * MIB,
    )
    if not options.no_frames and (options.geometry is None or options.cell is None):
        raise UserError("frames need a geometry and a cell: -g FILE and -p FILE; or give --no-frames")
    stop = StopFlag()
    with _folder(options.folder) as folder, AsapoService(folder, settings) as service:
        if planned.has_old_protocol:
            service.faults.expired_protocols = frozenset({7})
        tokens = _write_tokens(service, folder, options.beamtime, planned)
        _introduce(service, tokens[0], options)
        to_child = ["--asapo-send", service.endpoint, "--token-file", str(tokens[1])]
        if options.no_frames:
            return _serve(service, None, planned, stop)
        # The sender ends when the pipe to it does, whatever becomes of this process.
        with started(["simulate", *words, *to_child], stdin=subprocess.PIPE, patience_s=CHILD_PATIENCE_S) as sender:
            return _serve(service, sender, planned, stop)


def send_to_asapo(options: argparse.Namespace, simulator: Simulator, beamline: BeamlineSettings) -> int:
    """Send frames to a service, the stand-in or a real one."""
    if options.token_file is None:
        raise UserError("--asapo-send needs --token-file=FILE")
    settings = sending_settings(options, scenario(options.fault), n_frames=beamline.n_frames)
    chosen = None if options.pool is None else whole("--pool", options.pool, 1, 100_000)
    stop = StopFlag()
    try:
        size = pool_size(simulator, settings.n_frames, chosen)
        tell = progress("made", size, stop.raise_if_set)
        payloads, truths = make_pool(simulator, beamline.data_format, size, progress=tell)
    except KeyboardInterrupt:
        return INCOMPLETE
    if options.truth is not None:
        truth = streamed_truth(simulator, settings.n_frames or MAX_FRAMES, truths, filename=NAME)
        write_truth(options.truth, truth)

    def should_stop() -> bool:
        return stop.is_set() or (options.asapo and _is_orphan())

    sent = AsapoSender(settings, _read_token(options.token_file)).send(payloads, should_stop)
    rate = (sent.n_frames - 1) / sent.seconds if sent.seconds > 0 else 0.0
    print(f"{sent.n_frames} frames sent in {sent.seconds:.1f} s, {rate:.1f} frames/s", flush=True)
    return 0 if sent.is_complete or not settings.n_frames else INCOMPLETE


def _is_orphan() -> bool:
    """Whether the service that started this process is gone: it held the other end of our standard input."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def sending_settings(options: argparse.Namespace, planned: Scenario, *, n_frames: int) -> AsapoSendingSettings:
    """Turn options into settings; raises `UserError` for a value out of its range."""
    if options.data_format in SERIES_MAKERS:
        raise UserError(f"--data-format={options.data_format} is sent over ZeroMQ: use --serve=ADDRESS")
    n_streams = whole("--streams", options.streams, 1, MAX_STREAMS - 1)
    if n_streams > max(n_frames, 1):
        raise UserError(f"--streams={n_streams}: expected no more streams than frames (-n)")
    return AsapoSendingSettings(
        endpoint=options.asapo_send or "",
        beamtime=options.beamtime,
        source=options.source,
        n_frames=n_frames,
        n_streams=n_streams,
        rate=number("--rate", options.rate, 0.0, 1e6),
        is_filed=options.keep_files,
        is_finished=planned.is_finished,
        hole=planned.hole,
        patience_s=number("--patience", options.patience or "60", 0.1, 1e6),
    )


@contextlib.contextmanager
def _folder(chosen: str | None) -> Iterator[Path]:
    if chosen is not None:
        yield Path(chosen).resolve()
        return
    with TemporaryDirectory(prefix="braggstream-asapo-") as made:
        yield Path(made)


def _write_tokens(service: AsapoService, folder: Path, beamtime: str, planned: Scenario) -> tuple[Path, Path]:
    """Write the token for whoever reads, which may be wrong, and the sender's; only the owner can read them."""
    given = {TOKEN: ELSEWHERE if planned.has_wrong_token else beamtime, SENDER_TOKEN: beamtime}
    for name, subject in given.items():
        path = folder / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(service.token(subject) + "\n")
    return folder / TOKEN, folder / SENDER_TOKEN


def _read_token(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            token = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {getattr(error, 'strerror', None) or 'not text'}", path=path) from None
    if not token:
        raise UserError("has no token in it", path=path)
    return token


def _introduce(service: AsapoService, token: Path, options: argparse.Namespace) -> None:
    """Tell how to reach it."""
    print(f"{READY}{service.endpoint}")
    print(f"beamtime {options.beamtime}, source {options.source}, token in {token}")
    command = [
        "indexamajig",
        f"--asapo-endpoint={service.endpoint}",
        f"--asapo-token-file={token}",
        f"--asapo-beamtime={options.beamtime}",
        f"--asapo-source={options.source}",
        "--asapo-group=online",
        "--asapo-acks",
        f"--data-format={options.data_format}",
    ]
    command += ["-g", options.geometry or "FILE.geom", "-p", options.cell or "FILE.cell"]
    command += ["--peaks=peakfinder8", "--threshold=10", "--min-snr=5", "--min-peaks=15"]
    print(shlex.join([*command, "-j", "2", "-o", "online.stream"]), flush=True)


def _serve(
    service: AsapoService, child: "subprocess.Popen[bytes] | None", planned: Scenario, stop: StopFlag
) -> int:
    """Serve until told to stop, or until the sender fails."""
    start, outages = monotonic(), list(planned.outages)
    back_at: float | None = None
    while not stop.is_set():
        now = monotonic() - start
        if back_at is not None and now >= back_at:
            service.start()
            back_at = None
        if outages and now >= outages[0].after_s:
            outage = outages.pop(0)
            if outage.is_refusal:
                service.stop()
                back_at = now + outage.for_s
            else:
                service.faults.answer_with(503, seconds=outage.for_s)
        if child is not None and child.poll() is not None:
            if child.returncode:
                return child.returncode
            child = None
        sleep(POLL_S)
    return 0
