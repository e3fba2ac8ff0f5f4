"""Metadata of a beamtime and of its streams."""

import json

from braggstream.simulate.asapo.database import Database
from braggstream.simulate.asapo.http import Answer, Refused

INSERT, REPLACE, UPDATE, UPSERT = 1, 2, 3, 10
BEAMTIME = "bt"
KINDS = ("0", "1")
"""As the broker's URLs number them: of the beamtime, of the stream."""


class Metadata:
    """One JSON object for each beamtime's source, and one for each stream."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def answer(self, place: tuple[str, str, str], kind: str) -> Answer:
        """What the broker answers; 409 where there are none, 400 for a kind that is none."""
        if kind not in KINDS:
            raise Refused(400, "unknown kind of metadata")
        content = self.read(place, is_stream=kind == "1")
        if content is None:
            raise Refused(409, "no metadata")
        return Answer(200, content.encode(), "application/json")

    def read(self, place: tuple[str, str, str], *, is_stream: bool) -> str | None:
        """The metadata as JSON text."""
        with self._database.look() as db:
            row = db.execute(
                "SELECT content FROM metadata WHERE beamtime=? AND source=? AND kind=?", _key(place, is_stream)
            ).fetchone()
        return None if row is None else str(row[0])

    def store(self, place: tuple[str, str, str], content: str, mode: int, *, is_stream: bool) -> str | None:
        """Store an object, given as text, in a producer's mode; gives why it cannot be stored, or None."""
        operation, may_insert = (mode - UPSERT, True) if mode > UPSERT else (mode, mode == INSERT)
        if operation not in (INSERT, REPLACE, UPDATE):
            return "unknown mode of metadata"
        key = _key(place, is_stream)
        with self._database.change() as db:
            row = db.execute(
                "SELECT content FROM metadata WHERE beamtime=? AND source=? AND kind=?", key
            ).fetchone()
            if row is not None and operation == INSERT:
                return "there are metadata already"
            if row is None and not may_insert:
                return "there are no metadata to change"
            if row is not None and operation == UPDATE:
                content = json.dumps(json.loads(row[0]) | json.loads(content))
            db.execute("INSERT OR REPLACE INTO metadata VALUES(?,?,?,?)", (*key, content))
        return None


def _key(place: tuple[str, str, str], is_stream: bool) -> tuple[str, str, str]:
    return (*place[:2], f"st_{place[2]}" if is_stream else BEAMTIME)
