"""What a program of ours does before anything else, however it was started."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from braggstream.cli.config_file import is_secret
from braggstream.cli.indexamajig import understand
from braggstream.cli.option_table import GROUPS
from braggstream.cli.process_start import SECRET_OPTION, secret_places
from cli.commands import BRAGGSTREAM, INDEXAMAJIG, PF8, run

WATCHED = """
import json, sys
seen = {}
def look(event, arguments):
    if event == "import" and arguments[0] not in seen:
        with open("/proc/self/cmdline", "rb") as file:
            seen[arguments[0]] = b"S3cret" in file.read()
        with open(FILE, "w") as file:
            json.dump(seen, file)
sys.addaudithook(look)
"""
"""A `sitecustomize` that notes for each module whether the token could be read when it was imported."""

QUICK = {"braggstream", "signal", "enum", "ctypes", "_ctypes", "struct", "_struct"}
"""Modules that may be imported before: a few milliseconds together."""


@pytest.mark.parametrize(
    "words",
    [
        ("indexamajig", "--asapo-token=S3cret", "-i", "none.lst"),
        ("indexamajig", "--asapo-token", "S3cret"),
        ("indexamajig", "--asapo-to=S3cret"),
        ("asapo", "streams", "--asapo-token=S3cret"),
    ],
)
def test_token_is_gone_before_anything_slow_is_imported(tmp_path, words):
    noted = tmp_path / "imports.json"
    (tmp_path / "sitecustomize.py").write_text(f"FILE = {str(noted)!r}\n{WATCHED}")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = run(*BRAGGSTREAM, *words, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode in (1, 2, 64) and "S3cret" not in done.stderr, done
    seen = json.loads(noted.read_text())
    names = list(seen)
    after = names[names.index("braggstream") :]
    assert {"braggstream.cli.main", "argparse", "numpy"} & set(after)
    shown = {name for name in after if seen[name]}
    assert {name.partition(".")[0] for name in shown} <= QUICK
    assert "braggstream.cli.main" not in shown


def test_secret_option_is_the_one_of_the_table():
    keys = {option.names[-1] for group in GROUPS.values() for option in group if is_secret(option.key)}
    assert keys == {SECRET_OPTION}


@pytest.mark.parametrize(
    ("arguments", "secrets"),
    [
        (b"x\0--asapo-token=abc\0-j\0", [b"abc"]),
        (b"x\0--asapo-token\0abc\0--asapo-token=de\0", [b"abc", b"de"]),
        (b"x\0--asapo-token\0--asapo-token\0--asapo-t=f", [b"--asapo-token", b"f"]),
        (b"x\0--asapo-token-file=abc\0--asapo-token-file\0abc\0--asapo-timeout=3\0", []),
        (b"x\0--asapo-token=\0--asapo-token", [b""]),
    ],
)
def test_places_of_secrets(arguments, secrets):
    assert [arguments[first:last] for first, last in secret_places(arguments)] == secrets


def test_no_message_shows_a_token_behind_a_misspelt_option():
    done = run(*INDEXAMAJIG, "--asapo-tokn=S3cret")
    assert done.returncode == 64 and "--asapo-tokn;" in done.stderr and "S3cret" not in done.stdout + done.stderr


def test_token_in_a_pipe_is_read_once(tmp_path, still_set):
    pipe, stream = tmp_path / "token", tmp_path / "o.stream"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("S3cret-of-a-pipe"))
    writer.start()
    words = [f"--asapo-token-file={pipe}", "--asapo-endpoint=127.0.0.1:9", "--asapo-beamtime=S3cret-of-a-pipe"]
    words += ["-g", still_set.geometry, "-o", stream, "--asapo-source=s", "--asapo-group=g"]
    session = understand([str(word) for word in words])
    writer.join()
    assert session.source.service.token == "S3cret-of-a-pipe"
    assert "--asapo-beamtime=***" in session.output.command_line


@pytest.mark.system
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_runs_with_standard_streams_closed(tmp_path, still_set, closed):
    """A file of the run must not take the number of a standard stream, which all processes write to."""
    stream = tmp_path / "out.stream"
    redirected = " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[number] for number in closed)
    words = ["-i", still_set.list, "-g", still_set.geometry, "-o", stream, "-j", "2", "--indexing=none", *PF8]
    done = run("sh", "-c", f'exec "$@" {redirected}', "sh", *INDEXAMAJIG, *words, stdin=None)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert ("Final: " in done.stderr) is (2 not in closed)
    text = stream.read_text()
    assert text.startswith("CrystFEL stream format") and text.count("Begin chunk") == still_set.n_frames


def test_results_for_a_closed_standard_output_are_an_error(tmp_path):
    """As other programs have it: what is to be shown to nobody is not shown."""
    done = run("sh", "-c", 'exec "$@" >&-', "sh", *BRAGGSTREAM, "--help")
    assert done.returncode != 0 and "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1, done


def test_list_on_a_closed_standard_input_is_an_error(tmp_path, still_set):
    words = ["-i", "-", "-g", still_set.geometry, "-o", tmp_path / "o.stream", "--indexing=none", *PF8]
    done = run("sh", "-c", 'exec "$@" <&-', "sh", *INDEXAMAJIG, *words)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    assert "standard input" in done.stderr


@pytest.mark.system
def test_signals_that_were_blocked_or_ignored_at_the_start_are_heard(tmp_path, still_set):
    """Some launchers block signals, and shells ignore SIGINT for what scripts start with `&`."""
    ours = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    program = (
        "import os, signal, sys\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, {list(map(int, ours))})\n"
        f"for number in {list(map(int, ours))}: signal.signal(number, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    words = ["-i", "-", "-g", still_set.geometry, "-o", tmp_path / "o.stream", "-j", "1", "--indexing=none", *PF8]
    with subprocess.Popen(
        [sys.executable, "-c", program, *INDEXAMAJIG, *map(str, words)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stderr:
                if "Kernels ready" in line:
                    process.send_signal(signal.SIGINT)
                    break
            process.wait(100)
            assert process.returncode == 0
        finally:
            process.kill()
