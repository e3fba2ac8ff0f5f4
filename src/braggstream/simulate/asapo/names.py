"""Names of beamtimes, sources, streams and groups: what the database behind ASAP::O can hold."""

from braggstream.simulate.asapo.http import Refused

MAX_DATABASE, MAX_STREAM, MAX_GROUP = 63, 100, 50
"""Longest `beamtime_source`, stream and group after escaping [bytes]."""


def check_source(beamtime: str, source: str) -> None:
    """Refuse names that are too long, with status 400."""
    if not beamtime or not source:
        raise Refused(400, "empty beamtime or source")
    if _escaped_length(f"{beamtime}_{source}", '$ %\\/."') > MAX_DATABASE:
        raise Refused(400, "beamtime or source name is too long")
    _check_text(beamtime + source)


def check_stream(stream: str) -> None:
    """Refuse names that are too long, with status 400."""
    if not stream or _escaped_length(stream) > MAX_STREAM:
        raise Refused(400, "stream name is too long")
    _check_text(stream)


def check_group(group: str) -> None:
    """Refuse names that are too long, with status 400."""
    if not group or _escaped_length(group) > MAX_GROUP:
        raise Refused(400, "group id is too long")
    _check_text(group)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Refused(400, "a zero byte in a name")


def _escaped_length(text: str, escaped: str = "$ %") -> int:
    """Length after the database's own escaping, in which these characters take three bytes each."""
    return len(text.encode()) + 2 * sum(text.count(character) for character in escaped)
