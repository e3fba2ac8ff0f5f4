"""ASAP::O's protocols written out by hand: what the official clients do not send."""

import http.client
import json
import socket
import struct
from urllib.parse import quote

from simulate.asapo_clients import BEAMTIME, SOURCE

REQUEST = struct.Struct("<B7xQQQ3Q1024s1024s10s6x")
RESPONSE = struct.Struct("<BxH1024s")
DATA, DATASET, STREAM_INFO, LAST_STREAM, GET_BUFFER, AUTHORISE, METADATA, DELETE, GET_METADATA = range(2, 11)


class Broker:
    """Requests to the broker; each gives status and content."""

    def __init__(self, service, *, version="v0.7", token=None):
        self._http = http.client.HTTPConnection(service.endpoint, timeout=60)
        self._version = version
        self._token = service.token(BEAMTIME) if token is None else token

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._http.close()

    def get(self, stream, path, **query):
        return self.ask("GET", stream, path, None, query)

    def post(self, stream, path, body=None, **query):
        return self.ask("POST", stream, path, body, query)

    def ask(self, method, stream, path, body, query):
        words = "".join(f"&{name}={value}" for name, value in query.items())
        where = f"/{self._version}/beamtime/{BEAMTIME}/{SOURCE}/{quote(stream, safe='')}/{path}"
        content = json.dumps(body) if isinstance(body, dict) else body
        return self.raw(method, f"{where}?token={self._token}{words}", content)

    def raw(self, method, target, body=None, headers=None):
        self._http.request(method, target, body, headers or {})
        answer = self._http.getresponse()
        text = answer.read()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text.decode("latin-1")


class Wire:
    """A TCP connection to the receiver or the data server."""

    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, op, *, number=0, data=b"", meta=b"", custom=(0, 0, 0), message="", stream="", **options):
        sizes = (options.get("data_size", len(data)), options.get("meta_size", len(meta)))
        names = (message if isinstance(message, bytes) else message.encode(), stream.encode())
        version = options.get("version", "v0.7").encode()
        self.socket.sendall(REQUEST.pack(op, number, *sizes, *custom, *names, version) + meta + data)

    def answer(self):
        """Code, text and, for data from memory, nothing else yet; None where the connection is closed."""
        head = self.read(RESPONSE.size)
        if len(head) < RESPONSE.size:
            return None
        _, code, text = RESPONSE.unpack(head)
        return code, text.partition(b"\0")[0].decode()

    def ask(self, op, **options):
        self.send(op, **options)
        return self.answer()

    def read(self, n_bytes):
        data = b""
        while len(data) < n_bytes:
            try:
                part = self.socket.recv(n_bytes - len(data))
            except ConnectionResetError:
                break
            if not part:
                break
            data += part
        return data

    def authorise(self, token, *, version="v0.7", kind="processed"):
        words = f"{kind}%here%step%{BEAMTIME}%auto%{SOURCE}%{token}"
        return self.ask(AUTHORISE, meta=words.encode(), version=version)


def receiver(service):
    with Broker(service) as broker:
        _, found = broker.raw("GET", "/asapo-discovery/v0.1/asapo-receiver?protocol=v0.7")
    return found["Uris"][0]
