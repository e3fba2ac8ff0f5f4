"""What is told of frames once, however many of them it is true of."""

MAX_REMARKS = 200
"""So many different ones are told: they may have names in them that a sender made up."""


class Remarks:
    """Lines of text, each of which is given out once."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._new: list[str] = []

    def add(self, line: str, *, about: str = "") -> None:
        """Tell something, unless the same was told before; or anything about the same, where that is named."""
        if (about or line) not in self._told and len(self._told) < MAX_REMARKS:
            self._told.add(about or line)
            self._new.append(line)

    def take(self) -> tuple[str, ...]:
        """Give what has not been given before."""
        new, self._new = tuple(self._new), []
        return new
