"""What bad messages of all formats have in common."""

import random

VAST = 2**31
MANY = 100_000


def damaged(message: bytes, *, seed: int = 1, n_cuts: int = 250, n_flips: int = 150) -> list[bytes]:
    """Cut a message off everywhere (or at so many places), and change bytes of it."""
    chance = random.Random(seed)
    step = max(1, len(message) // n_cuts)
    cuts = [message[:end] for end in range(0, len(message), step)]
    flips = []
    for _ in range(n_flips):
        changed = bytearray(message)
        for _ in range(chance.choice((1, 1, 2, 8))):
            changed[chance.randrange(len(changed))] = chance.choice((0, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        flips.append(bytes(changed))
    return cuts + flips


def noise(start: bytes = b"", *, seed: int = 2, n: int = 60) -> list[bytes]:
    """Random bytes, behind the right beginning too."""
    chance = random.Random(seed)
    return [start + chance.randbytes(chance.randrange(1, 3000)) for _ in range(n)] + [
        b"\0" * (1 << 20),
        b"\xff" * 5000,
    ]
