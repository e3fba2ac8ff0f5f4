"""Messages that are no frames: told when the first of a kind comes, and counted."""

from collections import Counter
from collections.abc import Callable

from braggstream.formats.frame_parts import no_frame

MAX_KINDS = 20
OTHERS = "messages of other kinds"
PARTS = "parts of messages beside a frame"


class LeftOut:
    """Takes messages that are no frames out of a stream."""

    def __init__(self, say: Callable[[str], None], *, needs_image: bool) -> None:
        self._say = say
        self._needs_image = needs_image
        self.counts: Counter[str] = Counter()

    def take(self, payload: memoryview | bytes) -> bool:
        """Take a message that is no frame; gives False for all others."""
        kind = no_frame(payload, needs_image=self._needs_image)
        if kind:
            self.count(kind)
        return bool(kind)

    def count(self, kind: str, n: int = 1) -> None:
        """Count what is left out, and tell it once."""
        if kind not in self.counts and len(self.counts) >= MAX_KINDS:
            kind = OTHERS
        if kind not in self.counts:
            self._say(f"{kind[0].upper()}{kind[1:]} are no frames: they are left out.")
        self.counts[kind] += n

    def finish(self) -> None:
        """Tell how many there were."""
        if self.counts:
            each = ", ".join(f"{n} {kind}" for kind, n in sorted(self.counts.items()))
            self._say(f"Left out, being no frames: {each}.")
