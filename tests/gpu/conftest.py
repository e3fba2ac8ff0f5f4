"""For a CUDA device, or Numba's simulator of one: `NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/gpu`."""

import pytest

from braggstream.kernels.cuda.device import why_unavailable


def pytest_collection_modifyitems(items):
    reason = why_unavailable()
    for item in items:
        if reason is not None and item.path.parent.name == "gpu":
            item.add_marker(pytest.mark.skip(reason=reason))
