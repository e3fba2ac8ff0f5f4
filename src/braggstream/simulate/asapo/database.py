"""The state that survives a restart, in one SQLite file.

Each change is one transaction, in the write-ahead log before it is answered: `kill -9` loses nothing that was
answered, and leaves nothing half done.
"""

import contextlib
import fcntl
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from braggstream.model.errors import UserError

MAX_ID = 2**63 - 1
"""Largest number that is stored."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS streams(
    key INTEGER PRIMARY KEY, beamtime TEXT, source TEXT, name TEXT,
    created_ns INTEGER, last_ns INTEGER, max_id INTEGER DEFAULT 0, n_arrived INTEGER DEFAULT 0,
    marker_id INTEGER DEFAULT 0, next_stream TEXT DEFAULT '', n_messages INTEGER DEFAULT 0,
    last_automatic INTEGER DEFAULT 0, is_persistent INTEGER DEFAULT 0,
    UNIQUE(beamtime, source, name));
CREATE TABLE IF NOT EXISTS messages(
    stream INTEGER, id INTEGER, time_id INTEGER, timestamp INTEGER, set_size INTEGER,
    PRIMARY KEY(stream, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS arrivals ON messages(stream, time_id);
CREATE TABLE IF NOT EXISTS parts(
    stream INTEGER, id INTEGER, substream INTEGER, name TEXT, size INTEGER, timestamp INTEGER,
    buf_id INTEGER, ingest_mode INTEGER, meta TEXT,
    PRIMARY KEY(stream, id, substream)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions(
    stream INTEGER, reader TEXT, id_key TEXT, position INTEGER,
    PRIMARY KEY(stream, reader, id_key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS last_given(
    stream INTEGER, reader TEXT, id_key TEXT, id INTEGER,
    PRIMARY KEY(stream, reader, id_key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS acknowledged(
    stream INTEGER, reader TEXT, id INTEGER,
    PRIMARY KEY(stream, reader, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resends(
    stream INTEGER, reader TEXT, id INTEGER, due_ns INTEGER, attempts INTEGER, most INTEGER,
    PRIMARY KEY(stream, reader, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS metadata(
    beamtime TEXT, source TEXT, kind TEXT, content TEXT,
    PRIMARY KEY(beamtime, source, kind)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revoked(jti TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Database:
    """One folder's state; it belongs to one service at a time.  Raises `UserError` where it cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._folder_lock = (folder / "lock").open("a")
            _take(self._folder_lock)
            self._connection = sqlite3.connect(
                folder / "state.sqlite", check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(SCHEMA)
            self.secret = _kept_secret(folder / "secret")
            self.admin_token = _kept_secret(folder / "admin-token").decode()
        except BlockingIOError:
            self._folder_lock.close()
            raise UserError("is in use by another service", path=folder) from None
        except (OSError, sqlite3.Error) as error:
            with contextlib.suppress(AttributeError):
                self.close()
            raise UserError(f"cannot hold the service's state: {error}", path=folder) from None

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it happens, or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def look(self) -> Iterator[sqlite3.Connection]:
        """Read; nothing changes meanwhile."""
        with self._lock:
            yield self._connection

    def close(self) -> None:
        """Close the files; another service may take the folder."""
        with self._lock:
            self._folder_lock.close()
            self._connection.close()


def _take(lock: Any) -> None:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _kept_secret(path: Path) -> bytes:
    """A secret that is made at the first start and readable by the owner only."""
    if not path.exists():
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        draft.rename(path)
    return path.read_bytes().strip()
