"""Whole messages over stream sockets between our own processes: a length of four bytes, then the message."""

import socket
import struct

LENGTH = struct.Struct("<I")
MAX_BYTES = 1 << 30
READ_BYTES = 1 << 18


class LinkBroken(Exception):
    """The other process has ended, or sends nonsense."""


def send_message(link: socket.socket, data: bytes) -> None:
    """Send a message, waiting for room; raises `LinkBroken` where nobody listens any more."""
    try:
        link.sendall(LENGTH.pack(len(data)) + data)
    except OSError as error:
        raise LinkBroken(str(error)) from error


def receive_message(link: socket.socket) -> bytes:
    """Wait for a message; raises `LinkBroken` at the end."""
    (n_bytes,) = LENGTH.unpack(_receive_exactly(link, LENGTH.size))
    return _receive_exactly(link, n_bytes)


def _receive_exactly(link: socket.socket, n_bytes: int) -> bytes:
    parts = bytearray()
    while len(parts) < n_bytes:
        try:
            part = link.recv(n_bytes - len(parts))
        except OSError as error:
            raise LinkBroken(str(error)) from error
        if not part:
            raise LinkBroken("the other process has ended")
        parts += part
    return bytes(parts)


class Inbox:
    """The receiving end for a process that must not wait: collects bytes and gives whole messages."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._bytes = bytearray()
        self.is_ended = False
        """Whether the other process has closed its end."""

    def read(self) -> list[bytes]:
        """Take what has arrived; gives the messages that are complete.  Raises `LinkBroken` for nonsense."""
        while not self.is_ended:
            try:
                part = self._link.recv(READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                part = b""
            self.is_ended = not part
            self._bytes += part
            if len(part) < READ_BYTES:
                break
        return self._whole_messages()

    def _whole_messages(self) -> list[bytes]:
        messages = []
        start = 0
        while len(self._bytes) - start >= LENGTH.size:
            (n_bytes,) = LENGTH.unpack_from(self._bytes, start)
            if n_bytes > MAX_BYTES:
                raise LinkBroken(f"a message of {n_bytes} bytes")
            stop = start + LENGTH.size + n_bytes
            if len(self._bytes) < stop:
                break
            messages.append(bytes(self._bytes[start + LENGTH.size : stop]))
            start = stop
        del self._bytes[:start]
        return messages
