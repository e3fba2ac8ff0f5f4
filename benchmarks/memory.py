"""How much memory the workers of a session hold."""

from pathlib import Path
from threading import Event

PERIOD_S = 0.1
WORKER_NAME = "braggstream-w"


class MemoryWatch:
    """Samples the memory of the workers below a process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.resident_mib = 0.0
        self.share_mib = 0.0

    def until(self, stopped: Event) -> None:
        """Sample until told to stop."""
        while not stopped.wait(PERIOD_S):
            for worker in _workers_below(self._pid):
                sizes = _sizes(worker)
                self.resident_mib = max(self.resident_mib, sizes.get("Rss", 0.0))
                self.share_mib = max(self.share_mib, sizes.get("Pss", 0.0))


def _workers_below(pid: int) -> list[int]:
    parents = {}
    names = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            name, rest = stat[stat.index("(") + 1 :].rsplit(")", 1)
            names[int(entry.name)], parents[int(entry.name)] = name, int(rest.split()[1])
    return [
        child for child, name in names.items() if name.startswith(WORKER_NAME) and _is_below(child, pid, parents)
    ]


def _is_below(child: int, pid: int, parents: dict[int, int]) -> bool:
    while child in parents:
        child = parents[child]
        if child == pid:
            return True
    return False


def _sizes(pid: int) -> dict[str, float]:
    """Sizes by name [MiB]."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
