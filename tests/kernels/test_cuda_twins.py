"""The kernels for CUDA devices, in Numba's simulator: in a process of its own, for it is chosen on import."""

import os
import re
import sys
from pathlib import Path
from subprocess import run

import pytest

GPU_TESTS = Path(__file__).parents[1] / "gpu"


@pytest.mark.timeout(600)
def test_the_twins_agree_with_the_kernels_of_the_processor():
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=500", str(GPU_TESTS)]
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    ended = run(words, cwd=GPU_TESTS.parents[1], env=environment, capture_output=True, text=True, check=False)
    passed = re.search(r"(\d+) passed in", ended.stdout)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
    assert passed is not None and int(passed[1]) >= 20
    assert "skipped" not in ended.stdout
