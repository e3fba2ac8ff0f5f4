"""The warm-up of all kernels: once each, and once for each pixel type where pixels are touched."""

import numpy as np

from braggstream.kernels import warm


def test_pixel_kernels_are_called_for_each_type(monkeypatch):
    calls = []

    def plain():
        calls.append("plain")

    def with_pixels(dtype):
        calls.append(dtype)

    monkeypatch.setattr(warm, "_warm_ups", lambda: iter([plain, with_pixels]))
    warm.warm_up(["int32", "uint16"], after_each=lambda: calls.append("."))
    assert calls == ["plain", ".", np.dtype("int32"), np.dtype("uint16"), "."]
