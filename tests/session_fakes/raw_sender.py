"""A PUSH sender made of a plain TCP socket, which can stop in the middle of a message (ZMTP 3.0, RFC 23)."""

import socket
import struct
import time

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
        self.server.settimeout(20)
        if self.link is not None:
            self.link.close()
        while True:
            self.link, _ = self.server.accept()
            self.link.settimeout(20)
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

    def send_slowly(self, payload, step, pause_s):
        self.begin(len(payload))
        for start in range(0, len(payload), step):
            self.link.sendall(payload[start : start + step])
            time.sleep(pause_s)

    def close(self):
        if self.link is not None:
            self.link.close()
        self.server.close()
