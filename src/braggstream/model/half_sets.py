"""Half data sets: which half a crystal belongs to, told by its name and by nothing else.

The order in which crystals arrive, a restart, and the program that merges do not matter: `indexamajig --live-merge`
and `process_hkl --half` make the same halves from the same stream file.
"""

from hashlib import blake2b


def half_of(filename: str, event: str, number: int) -> int:
    """Give the half, 0 or 1, of a crystal.

    Parameters
    ----------
    filename, event : str
        Of its frame, as they stand in the stream file.
    number : int
        Which crystal of its frame it is, from 1.

    Returns
    -------
    int
        Lowest bit of the 8-byte BLAKE2b digest of `FILENAME\\nEVENT\\nNUMBER`, little-endian: of the digest's first
        byte.  A good hash, so that the halves are independent of anything that alternates, such as a laser.
    """
    name = f"{filename}\n{event}\n{number}".encode("utf-8", "surrogateescape")
    return blake2b(name, digest_size=8).digest()[0] & 1
