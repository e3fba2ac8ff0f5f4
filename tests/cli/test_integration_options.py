"""Words of --integration and the options around it, as settings."""

from math import inf

import pytest

from braggstream.cli.indexamajig import understand
from braggstream.model.errors import UserError
from steps.made_frames import SMALL_GEOMETRY


@pytest.fixture
def integration_of(tmp_path):
    (tmp_path / "g.geom").write_text(SMALL_GEOMETRY)
    given = ["-i", "-", "-o", "o.stream", "-g", str(tmp_path / "g.geom")]

    def parse(*words):
        return understand([*given, *words]).settings.integration

    return parse


@pytest.mark.parametrize(
    ("words", "method", "flags"),
    [
        ("rings", "rings", ""),
        ("rings-nocen-nosat-nograd", "rings", ""),
        ("rings-cen-sat-grad", "rings", "cen sat grad"),
        ("rings,cen,grad", "rings", "cen grad"),
        ("rings-cen-nocen", "rings", ""),
        ("rings-grad-nograd-sat", "rings", "sat"),
        ("prof2d", "prof2d", "cen"),
        ("prof2d-nocen", "prof2d", ""),
        ("prof2d-grad-sat", "prof2d", "cen sat grad"),
        # Naming the method sets back what stood before it.
        ("cen-sat-rings", "rings", ""),
        ("nocen-prof2d", "prof2d", "cen"),
        ("prof2d-rings", "rings", ""),
        ("none", "none", ""),
    ],
)
def test_words_of_the_method(integration_of, words, method, flags):
    chosen = integration_of(f"--integration={words}")
    assert chosen.method == method
    expected = [name in flags.split() for name in ("cen", "sat", "grad")]
    assert [chosen.centre, chosen.keep_saturated, chosen.gradient] == expected


def test_the_default_is_plain_rings(integration_of):
    assert integration_of() == integration_of("--integration=rings-nocen-nosat-nograd")


@pytest.mark.parametrize("word", ["rescut", "norescut"])
def test_cutting_at_a_resolution_has_another_option_now(integration_of, word):
    with pytest.raises(UserError, match=rf"--integration=rings-{word}: {word} is no longer used; use --push-res"):
        integration_of(f"--integration=rings-{word}")


@pytest.mark.parametrize("words", ["rings-foo", "prof3d", "", "rings--cen"])
def test_unknown_words_are_refused(integration_of, words):
    with pytest.raises(UserError, match="is not one of"):
        integration_of(f"--integration={words}")


def test_units_of_the_options(integration_of):
    assert integration_of("--push-res=1.5").push_res == pytest.approx(0.15)
    assert integration_of("--push-res=-0.5").push_res == pytest.approx(-0.05)
    assert integration_of().push_res == inf
    assert integration_of("--fix-profile-radius=2e7").fix_profile_radius == pytest.approx(2e-3)
    assert integration_of("--fix-profile-radius=-1").fix_profile_radius is None
    assert integration_of("--fix-divergence=0.003").fix_divergence == 0.003
    assert integration_of("--int-radius=3.9,4.2,6").radii == (3.9, 4.2, 6.0)
    assert integration_of("--overpredict").overpredict
    assert integration_of("--cell-parameters-only").cell_parameters_only
