"""Which messages of a stream were seen: one bit each, so that a million in a row take about a megabyte."""

_BITS = 6


class SeenNumbers:
    """A set of whole numbers from 0, most of them close together."""

    def __init__(self) -> None:
        self._words: dict[int, int] = {}
        """Bits of 64 numbers, by the number of the word."""
        self._n = 0
        self.highest = 0
        """The highest number; 0 for none."""

    def __len__(self) -> int:
        return self._n

    def __contains__(self, number: int) -> bool:
        return bool(self._words.get(number >> _BITS, 0) >> (number & 63) & 1)

    def add(self, number: int) -> bool:
        """Add a number; gives whether it is new."""
        if number in self:
            return False
        self._words[number >> _BITS] = self._words.get(number >> _BITS, 0) | 1 << (number & 63)
        self._n += 1
        self.highest = max(self.highest, number)
        return True
