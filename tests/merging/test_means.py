"""Numbers of reflections, and their means: against NumPy, also where tables have to grow and parts are joined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braggstream.model.errors import UserError
from braggstream.model.point_group import point_group
from braggstream.steps.merging import reflection_index
from braggstream.steps.merging.means import Means
from braggstream.steps.merging.polarisation import parse_polarisation
from braggstream.steps.merging.reflection_index import ReflectionIndex


@pytest.mark.parametrize(("name", "largest"), [("1", 60), ("4/mmm", 400), ("23", 32767)])
def test_reflections_are_numbered_as_they_come(name, largest):
    group = point_group(name)
    rng = np.random.default_rng(4)
    index, known = ReflectionIndex(group), {}
    for size in (10, 1000, 120_000):
        hkl = rng.integers(-largest, largest + 1, (size, 3)).astype(np.int16)
        numbers = index.numbers(hkl)
        for hkl_asu, number in zip(map(tuple, group.asymmetric(hkl).tolist()), numbers.tolist(), strict=True):
            assert known.setdefault(hkl_asu, len(known)) == number
    assert (
        len(index) == len(known) > (5000 if name == "4/mmm" else reflection_index.FIRST_CAPACITY) or largest == 400
    )
    assert [tuple(hkl) for hkl in index.hkl.tolist()] == list(known)
    other = ReflectionIndex(group)
    other.numbers(hkl[::-1])
    n_known = len(index)
    assert np.array_equal(index.keys[index.numbers_of_keys(other.keys)], other.keys) and len(index) == n_known


def test_there_are_limits(monkeypatch):
    monkeypatch.setattr(reflection_index, "MAX_CAPACITY", reflection_index.FIRST_CAPACITY)
    hkl = np.stack(np.meshgrid(*[np.arange(45, dtype=np.int16)] * 3), axis=-1).reshape(-1, 3)
    with pytest.raises(UserError, match="more than 65536 different reflections"):
        ReflectionIndex(point_group("1")).numbers(hkl)


@given(st.lists(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9), min_size=1, max_size=4))
def test_means_of_parts_are_those_of_the_whole(parts):
    group = point_group("1")
    whole = Means(ReflectionIndex(group))
    for values in parts:
        own = Means(ReflectionIndex(group))
        hkl = np.zeros((len(values), 3), np.int16)
        hkl[:, 0] = np.arange(len(values)) % 2 + 1
        own.add(own.index.numbers(hkl), np.array(values), np.ones(len(values), np.bool_))
        whole.join(own.part())
    found = whole.reflections(group)
    expected = [[value for values in parts for value in values[first::2]] for first in (0, 1)]
    for n, values in enumerate(values for values in expected if values):
        assert found.n_measured[n] == len(values)
        scale = max(np.abs(values).max(), 1.0)
        assert found.intensity[n] == pytest.approx(np.mean(values), abs=1e-12 * scale)
        assert found.sigma[n] == pytest.approx(np.std(values) / np.sqrt(len(values)), abs=1e-12 * scale, rel=1e-7)


def test_equal_values_have_no_error():
    group = point_group("1")
    means = Means(ReflectionIndex(group))
    hkl = np.ones((1000, 3), np.int16)
    means.add(means.index.numbers(hkl), np.full(1000, 123456789.25), np.ones(1000, np.bool_))
    assert means.reflections(group).sigma.tolist() == [0.0]


@pytest.mark.parametrize(
    ("text", "angle", "fraction"),
    [("horiz", 0, 1), ("horizontal97", 0, 0.97), ("vert", 90, 1), ("vertical0", 90, 0), ("45deg", 45, 1),
     ("120deg50", 120, 0.5)],
)  # fmt: skip
def test_polarisations(text, angle, fraction):
    found = parse_polarisation(text)
    assert (found.angle, found.fraction) == (angle, fraction)
    assert found.numbers == pytest.approx([np.cos(np.radians(angle)), np.sin(np.radians(angle)), fraction])


@pytest.mark.parametrize("text", ["", "horiz101", "deg", "10horiz", "left", "45", "horiz-5", "99999deg", "none50"])
def test_what_is_no_polarisation(text):
    with pytest.raises(UserError, match="--polarisation="):
        parse_polarisation(text)
