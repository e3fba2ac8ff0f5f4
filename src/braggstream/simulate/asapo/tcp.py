"""TCP for the stand-in: a thread for each connection, their number bounded, and deadlines for each transfer."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

import numpy as np

from braggstream.model.errors import UserError
from braggstream.simulate.asapo.settings import Patience

MOST_CONNECTIONS = 256
"""Connections that a listener holds at a time; further ones are closed at once."""

CHUNK_BYTES, JOINED_BYTES = 1 << 20, 1 << 16


class Closed(Exception):
    """The other end has gone, is too slow, or sends what is no request: the connection is given up."""


class Connection:
    """One accepted connection."""

    def __init__(self, accepted: socket.socket, peer: str, patience: Patience) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self.peer = peer
        self.patience = patience

    def read_some(self, most: int, deadline: float) -> bytes:
        """Read what is there, at least one byte; raises `Closed` at the deadline (monotonic time) or the end."""
        self._set_timeout(deadline)
        try:
            data = self._socket.recv(most)
        except OSError:
            raise Closed from None
        if not data:
            raise Closed
        return data

    def read(self, n_bytes: int, *, first_s: float) -> memoryview:
        """Read exactly `n_bytes`, which must begin within `first_s` and then keep coming fast enough."""
        # Not filled with zeros: the system commits memory as data come, not for what a header claims.
        view = np.empty(n_bytes, np.uint8).data
        done, began, deadline = 0, 0.0, time.monotonic() + first_s
        while done < n_bytes:
            self._set_timeout(deadline)
            try:
                count = self._socket.recv_into(view[done : done + CHUNK_BYTES])
            except OSError:
                raise Closed from None
            if not count:
                raise Closed
            began = began or time.monotonic()
            done += count
            deadline = began + self.patience.seconds_for(done)
        return view

    def write(self, *parts: bytes | memoryview) -> None:
        """Send all of it; raises `Closed` where it is not taken fast enough."""
        n_bytes = sum(len(part) for part in parts)
        began, done = time.monotonic(), 0
        # Small answers go in one piece; large data are not copied for it.
        for part in parts if n_bytes > JOINED_BYTES else (b"".join(parts),):
            view = memoryview(part)
            for start in range(0, len(view), CHUNK_BYTES):
                piece = view[start : start + CHUNK_BYTES]
                done += len(piece)
                self._set_timeout(began + self.patience.seconds_for(done))
                try:
                    self._socket.sendall(piece)
                except OSError:
                    raise Closed from None

    def hang_up(self) -> None:
        """End it after a last answer: what is still coming is thrown away for a while, so that the answer arrives.

        A socket that is closed over unread data is reset, and the answer is lost with it.
        """
        deadline = time.monotonic() + self.patience.request_s
        with contextlib.suppress(OSError, Closed):
            self._socket.shutdown(socket.SHUT_WR)
            while True:
                self.read_some(CHUNK_BYTES, deadline)

    def close(self) -> None:
        """End it; a thread that reads or writes is woken."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _set_timeout(self, deadline: float) -> None:
        try:
            self._socket.settimeout(max(1e-3, deadline - time.monotonic()))
        except OSError:
            raise Closed from None


class Listener:
    """Listens at an address from the moment it is made; `start` begins to serve.

    `serve` is called in a thread of its own for each connection and ends it by returning or by raising `Closed`.
    Raises `UserError` for an address that cannot be bound.
    """

    def __init__(self, host: str, port: int, serve: Callable[[Connection], None], patience: Patience) -> None:
        self._serve = serve
        self._patience = patience
        self._host, self._port = host, port
        self._lock = threading.Lock()
        self._open: dict[Connection, threading.Thread] = {}
        self._accepting: threading.Thread | None = None
        self._socket = self._bind()
        self._port = int(self._socket.getsockname()[1])

    @property
    def address(self) -> str:
        """`host:port`, with the real port."""
        return f"{self._host}:{self._port}"

    @property
    def port(self) -> int:
        """The real port."""
        return self._port

    def start(self) -> None:
        """Begin to serve; after `stop` at the same port again."""
        if self._accepting is not None:
            return
        if self._socket.fileno() < 0:
            self._socket = self._bind()
        self._socket.listen(128)
        self._accepting = threading.Thread(
            target=self._accept, args=(self._socket,), name="asapo accept", daemon=True
        )
        self._accepting.start()

    def stop(self) -> None:
        """Refuse connections from now on, end the open ones, and wait for their threads."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._accepting is not None:
            self._accepting.join()
            self._accepting = None
        with self._lock:
            left = dict(self._open)
        for connection in left:
            connection.close()
        for thread in left.values():
            if thread is not threading.current_thread():
                thread.join()

    def _bind(self) -> socket.socket:
        made = socket.socket()
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self._host, self._port))
        except OSError as error:
            made.close()
            raise UserError(f"{self._host}:{self._port} cannot be bound: {error.strerror or error}") from None
        return made

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                accepted, (host, port, *_) = listening.accept()
            except OSError:
                if listening.fileno() < 0 or not _is_listening(listening):
                    return
                time.sleep(0.05)  # Out of file descriptors: others must be closed first.
                continue
            self._admit(accepted, f"{host}:{port}")

    def _admit(self, accepted: socket.socket, peer: str) -> None:
        try:
            connection = Connection(accepted, peer, self._patience)
        except OSError:
            accepted.close()
            return
        thread = threading.Thread(target=self._run, args=(connection,), name="asapo connection", daemon=True)
        with self._lock:
            is_full = len(self._open) >= MOST_CONNECTIONS
            if not is_full:
                self._open[connection] = thread
        if is_full:
            connection.close()
        else:
            thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            with contextlib.suppress(Closed):
                self._serve(connection)
        finally:
            connection.close()
            with self._lock:
                self._open.pop(connection, None)


def _is_listening(listening: socket.socket) -> bool:
    try:
        return bool(listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False
