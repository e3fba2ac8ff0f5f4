"""Text from outside, as it may be shown and written: what came in a message cannot steer a terminal."""

_KEPT_BYTES = range(0xDC80, 0xDD00)
"""How Python shows bytes of names that are no text; they are written as they came."""


def shown(text: str, *, keep: str = "") -> str:
    r"""Write out what is not printable, such as `\x1b`; `keep` are characters to be left alone.

    >>> shown("a\x1b[2J\n")
    'a\\x1b[2J\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in text)


def without_controls(text: str) -> str:
    r"""Write out characters that steer a terminal or end a line, as the stream file has it; tabs stay.

    >>> without_controls("a\x1b[2J\tb\u2028")
    'a\\x1b[2J\tb\\u2028'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" or ord(c) in _KEPT_BYTES else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
