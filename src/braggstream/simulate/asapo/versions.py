"""Versions of the services' interfaces and of the protocols that bundle them."""

from braggstream.simulate.asapo.http import Refused

NEWEST = 7
"""Protocol, broker and receiver have the version v0.7; older clients are served too."""

OLDEST = 1
DISCOVERY, AUTHORISER, FILE_TRANSFER, DATA_SERVER = 1, 2, 2, 1

SOFTWARE = "25.3.0"
"""The release whose protocol is spoken; a suffix tells that this is the stand-in."""


def minor(text: str) -> int | None:
    """The number of a version such as `v0.7`, with 1000 for each major one; None where it is none."""
    major, dot, low = text.removeprefix("v").partition(".")
    numbers = (major, low)
    if not text.startswith("v") or not dot or not all(n.isascii() and n.isdigit() and len(n) < 4 for n in numbers):
        return None
    return int(major) * 1000 + int(low)


def check(text: str, own: int) -> int:
    """Refuse a version that cannot be read (400) or is newer than the service's own (415)."""
    number = minor(text)
    if number is None:
        raise Refused(400, "cannot read the version")
    if number > own:
        raise Refused(415, f"client's version {text} is too new: this is v0.{own}")
    return number


def microservices(protocol: int) -> dict[str, str]:
    """The interfaces that a protocol bundles."""
    return {
        "Authorizer": f"v0.{2 if protocol > 3 else 1}",
        "Broker": f"v0.{protocol}",
        "Data cache service": f"v0.{DATA_SERVER}",
        "Discovery": f"v0.{DISCOVERY}",
        "File Transfer": f"v0.{2 if protocol > 3 else 1}",
    }
