"""Merging on a Dask cluster: parts of files go to its workers, which read them from a file system that all see."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from braggstream.formats.observation_files import open_observations
from braggstream.formats.stream_columns import is_read_once
from braggstream.model.errors import MissingExtraError, UserError
from braggstream.model.merge_settings import MergeSettings
from braggstream.pipeline.merge_parts import choose_crystals, crystals_of, merge_part, parts_of
from braggstream.pipeline.merging import MergedFiles, Say, check_inputs
from braggstream.steps.merging.mean import MeanMerger
from braggstream.steps.merging.means import PartialMeans

PATIENCE_S = 30.0
"""So long a scheduler is waited for."""


@contextmanager
def open_cluster(*, scheduler: str | None = None, n_workers: int = 1) -> Iterator[Any]:
    """Connect to a scheduler, or start a cluster on this machine; gives the client.

    Raises `UserError` where the scheduler does not answer.
    """
    try:
        import distributed
    except ImportError:
        raise MissingExtraError(library="distributed", extra="dask", purpose="merging on a cluster") from None
    if scheduler is None:
        how: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
        with distributed.LocalCluster(n_workers=n_workers, **how) as cluster, distributed.Client(cluster) as client:  # type: ignore[no-untyped-call]
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=PATIENCE_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UserError(f"--dask-scheduler={scheduler}: does not answer: {error}") from None
    with client:
        yield client


def merge_on_cluster(
    client: Any, paths: Sequence[str], settings: MergeSettings, *, say: Say = lambda _line: None
) -> MergedFiles:
    """Merge the crystals of files as `merge_files` does, on the workers of a cluster.

    Parameters
    ----------
    client
        A Dask client; its workers have this package, and see the files under the same names.
    paths, settings, say
        As for `merge_files`; standard input cannot be sent to a cluster.
    """
    check_inputs(paths, settings)
    if any(is_read_once(path) for path in paths):
        raise UserError("standard input and pipes cannot be merged on a cluster")
    parts = parts_of(paths)
    chosen: list[Any] = [None] * len(parts)
    if settings.choice.counts_crystals:
        chosen = list(choose_crystals(settings, client.gather(client.map(crystals_of, parts, pure=False))))
    reference: PartialMeans | None = None
    for number in range(1, settings.n_passes + 1):
        merger, n_seen = MeanMerger(settings), 0
        shared = None if reference is None else client.scatter(reference, broadcast=True, hash=False)
        futures = [
            client.submit(merge_part, part, settings, shared, own, pure=False)
            for part, own in zip(parts, chosen, strict=True)
        ]
        while futures:
            # In the order of the files, whoever is done first: so the sums are the same each time.
            done = futures.pop(0).result()
            merger.join(done.merge)
            n_seen += done.n_crystals_seen
            if number == settings.n_passes:
                for notice in done.notices:
                    say(notice)
        reference = merger.part().means
    audit = open_observations(paths[0]).audit
    return MergedFiles(merged=merger.merged(n_crystals_seen=n_seen), audit=audit)
