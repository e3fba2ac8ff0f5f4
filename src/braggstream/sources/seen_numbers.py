"""Which messages of a stream were seen: one bit each, in pages, so that a million take 128 KiB."""

_PAGE_BITS = 15
_PAGE = 1 << _PAGE_BITS


class SeenNumbers:
    """A set of whole numbers from 0, most of them close together."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._n = 0
        self.highest = 0
        """The highest number; 0 for none."""

    def __len__(self) -> int:
        return self._n

    def __contains__(self, number: int) -> bool:
        page = self._pages.get(number >> _PAGE_BITS)
        return page is not None and bool(page[(number % _PAGE) >> 3] >> (number & 7) & 1)

    def add(self, number: int) -> bool:
        """Add a number; gives whether it is new."""
        page = self._pages.setdefault(number >> _PAGE_BITS, bytearray(_PAGE // 8))
        place, bit = (number % _PAGE) >> 3, 1 << (number & 7)
        if page[place] & bit:
            return False
        page[place] |= bit
        self._n += 1
        self.highest = max(self.highest, number)
        return True
