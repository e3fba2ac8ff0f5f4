import braggstream


def test_the_version_is_a_release_number():
    assert all(part.isdigit() for part in braggstream.__version__.split("."))
