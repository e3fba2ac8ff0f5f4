"""Names near a word that is none of them: what a message proposes where something was mistyped."""

from collections.abc import Iterable

MOST = 2
"""So many names are proposed."""


def near_names(word: str, known: Iterable[str]) -> list[str]:
    """Give the names nearest to a word, the nearest first; capitals and kinds of dashes make no difference."""
    from difflib import get_close_matches

    by_plain = {_plain(name): name for name in known}
    plain = _plain(word)
    if plain in by_plain:
        return [by_plain[plain]]
    return [by_plain[each] for each in get_close_matches(plain, by_plain, n=MOST)]


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Write the end of a message about a word that is no known name; empty where none is near.

    >>> did_you_mean("xgandlaf", ["asdf", "xgandalf"])
    '; did you mean xgandalf?'
    >>> did_you_mean("nonsense", ["asdf", "xgandalf"])
    ''
    """
    near = near_names(word, known)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def expected_one_of(word: str, known: Iterable[str]) -> str:
    """Write what was expected in the place of a word: all names, and those that may have been meant."""
    names = list(known)
    return f"expected one of {', '.join(names)}{did_you_mean(word, names)}"
