"""A PUSH sender made of a plain TCP socket, which can stop in the middle of a message (ZMTP 3.0, RFC 23)."""

import socket
import struct
import time

PATIENCE_S = 60.0
"""Longest wait for the session, which may have to wait for a processor itself."""
GREETING = b"\xff" + b"\0" * 8 + b"\x7f" + b"\3\0" + b"NULL".ljust(20, b"\0") + b"\0" * 32


def command(name, **properties):
    body = bytes([len(name)]) + name.encode()
    for word, value in properties.items():
        key = word.replace("_", "-").encode()
        body += bytes([len(key)]) + key + struct.pack(">I", len(value)) + value
    return b"\4" + bytes([len(body)]) + body


class RawPusher:
    """Listens, shakes hands with one receiver, and then sends bytes as it is told."""

    def __init__(self, port=0):
        self.server = socket.create_server(("127.0.0.1", port), reuse_port=False)
        self.port = self.server.getsockname()[1]
        self.link = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def endpoint(self):
        return f"tcp://127.0.0.1:{self.port}"

    def accept(self):
        """Shake hands with the next one that wants frames; a session first tries the address with another kind."""
        self.server.settimeout(PATIENCE_S)
        if self.link is not None:
            self.link.close()
        while True:
            self.link, _ = self.server.accept()
            self.link.settimeout(PATIENCE_S)
            try:
                self.link.sendall(GREETING)
                self.receive(64)
                _, n_bytes = self.receive(2)
                if self.receive(n_bytes).endswith(b"PULL"):
                    self.link.sendall(command("READY", Socket_Type=b"PUSH"))
                    return
            except OSError:
                pass
            self.link.close()

    def receive(self, n_bytes):
        found = b""
        while len(found) < n_bytes:
            part = self.link.recv(n_bytes - len(found))
            if not part:
                raise ConnectionResetError
            found += part
        return found

    def begin(self, n_bytes):
        """Announce a message of so many bytes."""
        self.link.sendall(b"\2" + struct.pack(">Q", n_bytes))

    def send(self, payload):
        self.begin(len(payload))
        self.link.sendall(payload)

    def dribble(self, payload, step, is_enough):
        """Send a part of a message in small pieces until it is enough; gives how much that was."""
        n_sent = 0
        while not is_enough():
            assert n_sent + step < len(payload)
            self.link.sendall(payload[n_sent : n_sent + step])
            n_sent += step
            time.sleep(0.02)
        return n_sent

    def close(self):
        if self.link is not None:
            self.link.close()
        self.server.close()
