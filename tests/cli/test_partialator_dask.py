"""`partialator` on a Dask cluster: the same result."""

import pytest

from braggstream.cli.main import main
from braggstream.formats.hkl import read_hkl

pytestmark = [pytest.mark.golden, pytest.mark.system]


def test_a_cluster_merges_as_one_process_does(golden, tmp_path, capsys):
    from distributed import Client, LocalCluster

    stream = str(golden / "merging" / "many.stream.xz")
    words = ["partialator", stream, stream, "-y", "4/mmm", "--model=offset", "--iterations=1", "--no-logs"]
    # Real sockets between scheduler and workers; in processes of their own they would load every kernel anew.
    how = {"processes": False, "protocol": "tcp://", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=2, threads_per_worker=1, **how) as cluster, Client(cluster):
        address = cluster.scheduler_address
        assert main([*words, "-o", str(tmp_path / "dask.hkl"), f"--dask-scheduler={address}"]) == 0
    assert main([*words, "-o", str(tmp_path / "here.hkl"), "-j", "2"]) == 0
    for suffix in ("", "1", "2"):
        one, other = (read_hkl(tmp_path / f"{name}.hkl{suffix}") for name in ("dask", "here"))
        assert one.hkl.tolist() == other.hkl.tolist()
        assert one.intensity.tobytes() == other.intensity.tobytes()
        assert one.sigma.tobytes() == other.sigma.tobytes()
    assert (tmp_path / "dask.hkl.params").read_text() == (tmp_path / "here.hkl.params").read_text()


def test_no_scheduler_is_told(golden, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("braggstream.run.cluster.PATIENCE_S", 1.0)
    stream = str(golden / "merging" / "many.stream.xz")
    output = str(tmp_path / "out.hkl")
    assert main(["partialator", stream, "-o", output, "--dask-scheduler=tcp://127.0.0.1:1"]) == 1
    assert "--dask-scheduler=tcp://127.0.0.1:1: does not answer" in capsys.readouterr().err
