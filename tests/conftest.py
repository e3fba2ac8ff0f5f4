"""Fixtures that every test may use."""

import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, and that is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def start_afresh():
    """Give the processes that tests start the signals of one that a user has started in a terminal.

    `nohup`, and a shell that starts something in the background, have some of them ignored, and what is ignored
    stays so in every child.  A handler does not: this process goes on without these signals.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


start_afresh()

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items):
    """Leave out tests whose data are not beside this checkout; say which may run side by side.

    Tests that start sessions have time limits to keep: one process runs all of them in turn, beside those that
    run everything else, file by file.
    """
    for item in items:
        group = "system" if item.get_closest_marker("system") else item.path.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
        for name in ("golden", "real"):
            if item.get_closest_marker(name) and not (SHARED / name).is_dir():
                item.add_marker(pytest.mark.skip(reason=f"no {name} data beside this checkout"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of simulated frames with truth and the reference program's outputs."""
    return SHARED / "golden"


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real detector frames."""
    return SHARED / "real"
